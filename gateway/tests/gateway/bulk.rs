//! One wish about many executions.

use afu9_schemas::ExecutionId;
use afu9_schemas::view::ExecutionStatus;
use reqwest::Method;
use serde_json::{Value, json};

use crate::controls::{GATE, WORK, applied};
use crate::support::{Answer, Running, answer, eventually, world};

const BULK: &str = "/api/executions/bulk";

async fn bulk(gateway: &Running, body: Value) -> Value {
    let done = gateway.post(BULK, &body).await;
    assert_eq!(done.status, 200, "{done:?}");
    done.body
}

async fn started(gateway: &Running, name: &str, count: usize) -> Vec<ExecutionId> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(gateway.start(name).await);
    }
    for id in &ids {
        gateway.reaches(*id, ExecutionStatus::Running).await;
    }
    let path = format!("/api/executions?workflow={name}&status=running");
    eventually("they are listed", async || {
        let list = gateway.get(&path).await;
        list.body["executions"].as_array().map(Vec::len) == Some(count)
    })
    .await;
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_counts_and_changes_nothing() {
    let world = world().await;
    let _owner = world.folding().await;
    let gateway = applied(&world, &[("gate", GATE), ("work", WORK)]).await;
    let ids = started(&gateway, "gate", 3).await;
    started(&gateway, "work", 1).await;
    let dry = |action: &str, filter: Value, limit: usize| {
        let body = json!({"action": action, "filter": filter, "dryRun": true, "limit": limit});
        bulk(&gateway, body)
    };
    let all = dry("pause", json!({"workflow": "gate"}), 10).await;
    assert_eq!((&all["matched"], &all["more"]), (&json!(3), &json!(false)));
    assert_eq!(
        (&all["dryRun"], &all["incomplete"]),
        (&json!(true), &json!(false))
    );
    let sample = all["sample"].as_array().expect("a list");
    assert!(ids.iter().all(|id| sample.contains(&json!(id))), "{all}");
    let some = dry("pause", json!({"workflow": "gate"}), 2).await;
    assert_eq!((&some["matched"], &some["more"]), (&json!(2), &json!(true)));
    for (filter, matched) in [
        (json!({"triggeredBy": "admin"}), 4),
        (json!({"triggeredBy": "somebody"}), 0),
        (json!({"startedAfter": "2020-01-01T00:00:00Z"}), 4),
        (json!({"startedBefore": "2020-01-01T00:00:00Z"}), 0),
        (json!({"status": "pending"}), 0),
    ] {
        let found = dry("cancel", filter.clone(), 10).await;
        assert_eq!(found["matched"], matched, "{filter}: {found}");
    }
    let paused = dry("resume", json!({"workflow": "gate"}), 10).await;
    assert_eq!(paused["matched"], 0, "nothing was paused");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_that_matches_gets_the_wish_once() {
    let world = world().await;
    let _owner = world.folding().await;
    let gateway = applied(&world, &[("gate", GATE)]).await;
    let ids = started(&gateway, "gate", 5).await;
    let keyed = async |action: &str| -> Answer {
        let body = json!({"action": action, "filter": {"workflow": "gate"}, "reason": "all"});
        let call = gateway.admin(Method::POST, BULK);
        answer(call.header("Idempotency-Key", "k").json(&body)).await
    };
    let paused = keyed("pause").await.body;
    assert_eq!(
        (&paused["matched"], &paused["applied"]),
        (&json!(5), &json!(5)),
        "{paused}"
    );
    let shown = gateway.show(ids[0]).await;
    assert_eq!(shown["execution"]["paused"]["reason"], "all");
    let resumed = keyed("resume").await.body;
    assert_eq!(resumed["applied"], 5, "{resumed}");
    // The same request again: its wishes were carried out.
    let again = keyed("pause").await.body;
    assert_eq!(
        (&again["applied"], &again["unchanged"]),
        (&json!(0), &json!(5)),
        "{again}"
    );

    let signal = json!({
        "action": "signal",
        "filter": {"workflow": "gate"},
        "signal": {"name": "go", "payload": {"n": 1}},
        "limit": 4,
    });
    let told = bulk(&gateway, signal.clone()).await;
    assert_eq!(
        (&told["applied"], &told["more"]),
        (&json!(4), &json!(true)),
        "{told}"
    );
    let cancelled = keyed("cancel").await.body;
    assert_eq!(cancelled["matched"], 1, "{cancelled}");
    assert_eq!(cancelled["failures"], json!([]));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_told_one_by_one() {
    let world = world().await;
    let owner = world.folding().await;
    let gateway = applied(&world, &[("work", WORK)]).await;
    let ids = started(&gateway, "work", 2).await;
    for id in &ids {
        owner.fails(*id, 0).await;
        gateway.reaches(*id, ExecutionStatus::Failed).await;
    }
    eventually("they are listed", async || {
        let list = gateway.get("/api/executions?status=failed").await;
        list.body["executions"].as_array().map(Vec::len) == Some(2)
    })
    .await;
    // Another owner does not keep what failed before its time; here it folds everything again.
    let retry = json!({"action": "retry", "filter": {"status": "failed"}});
    let retried = bulk(&gateway, retry).await;
    assert_eq!(retried["applied"], 2, "{retried}");
    for bad in [
        json!({"action": "retry", "filter": {"status": "running"}}),
        json!({"action": "retry", "filter": {}}),
        json!({"action": "explode", "filter": {"status": "failed"}}),
        json!({"filter": {"status": "failed"}}),
        json!({"action": "cancel", "filter": {"nothing": 1}}),
    ] {
        let refused = gateway.post(BULK, &bad).await;
        refused.expect_problem(400, "request.malformed", "POLICY");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_decides_in_time_is_pending() {
    let world = world().await;
    let owner = world.folding().await;
    let gateway = applied(&world, &[("gate", GATE)]).await;
    started(&gateway, "gate", 2).await;
    eventually("history is read", async || {
        gateway.get("/api/executions").await.body["total"] == 2
    })
    .await;
    owner.end().await;
    let cancelled = bulk(
        &gateway,
        json!({"action": "cancel", "filter": {"workflow": "gate"}}),
    )
    .await;
    assert_eq!(
        (&cancelled["matched"], &cancelled["pending"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(cancelled["incomplete"], true);
    gateway.stop().await;
}
