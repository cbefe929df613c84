//! One wish about many executions.

use std::collections::HashSet;

use afu9_schemas::message::Query;
use afu9_schemas::view::ExecutionStatus;
use afu9_schemas::{ExecutionId, Partition};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::controls::{GATE, WORK, applied};
use crate::executions::view;
use crate::support::{Answer, Running, answer, config, eventually, listed, world};

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
    assert_eq!((&all["matched"], &all["exact"]), (&json!(3), &json!(true)));
    assert_eq!(
        (&all["dryRun"], &all["incomplete"]),
        (&json!(true), &json!(false))
    );
    let sample = all["sample"].as_array().expect("a list");
    assert!(ids.iter().all(|id| sample.contains(&json!(id))), "{all}");
    let some = dry("pause", json!({"workflow": "gate"}), 2).await;
    assert_eq!(some["matched"], 3, "all are counted, whatever the limit");
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
    assert_eq!(told["applied"], 4, "{told}");
    // Those that were told have ended, and the one behind them is told next.
    eventually("history is read", async || {
        let left = json!({"action": "signal", "filter": {"workflow": "gate"}, "dryRun": true,
            "signal": {"name": "go"}});
        bulk(&gateway, left).await["matched"] == 1
    })
    .await;
    let mut rest = signal.clone();
    rest["cursor"] = told["nextCursor"].clone();
    rest["signal"]["name"] = json!("other");
    let told = bulk(&gateway, rest).await;
    assert_eq!(
        (&told["matched"], &told["applied"], &told["nextCursor"]),
        (&json!(1), &json!(1), &Value::Null),
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

#[tokio::test(flavor = "multi_thread")]
async fn all_that_match_are_moved_to_a_version() {
    let world = world().await;
    let _owner = world.folding().await;
    let gateway = applied(&world, &[("gate", GATE)]).await;
    let ids = started(&gateway, "gate", 3).await;
    let longer = format!("{GATE}  - {{ name: more, waitFor: more }}\n");
    gateway.put("gate", &longer).await;
    let body = json!({"action": "move", "filter": {"workflow": "gate"}, "version": "latest"});
    let moved = bulk(&gateway, body).await;
    assert_eq!(moved["applied"], 3, "{moved}");
    for id in ids {
        assert_eq!(gateway.show(id).await["execution"]["version"], 2);
    }
    for bad in [
        json!({"action": "move", "filter": {"workflow": "gate"}}),
        json!({"action": "move", "filter": {"status": "running"}, "version": 1}),
        json!({"action": "cancel", "filter": {"workflow": "gate"}, "version": 1}),
        json!({"action": "signal", "filter": {"workflow": "gate"}}),
        json!({"action": "cancel", "filter": {"workflow": "gate"}, "signal": {"name": "s"}}),
    ] {
        let refused = gateway.post(BULK, &bad).await;
        refused.expect_problem(400, "request.malformed", "POLICY");
    }
    gateway.stop().await;
}

/// More live executions than fit on a page of their owner's, and the oldest of them are not forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn live_executions_behind_a_page_are_found() {
    const MANY: i64 = 1300;
    let world = world().await;
    let owner = world.owner().await;
    let gateway = world.gateway(config()).await;
    for began in 0..MANY {
        owner.knows(view(ExecutionId::new(), began));
    }
    let body = json!({"action": "cancel", "filter": {"workflow": "echo"}, "dryRun": true});
    let counted = bulk(&gateway, body).await;
    assert_eq!(
        (
            &counted["matched"],
            &counted["exact"],
            &counted["incomplete"]
        ),
        (&json!(MANY), &json!(true), &json!(false))
    );
    let mut seen = HashSet::new();
    let mut next = String::new();
    loop {
        let page = gateway
            .get(&format!("/api/executions?status=running&limit=200{next}"))
            .await;
        let executions = page.body["executions"].as_array().expect("a list");
        let ids = executions
            .iter()
            .map(|one| one["id"].as_str().expect("an id").to_owned());
        seen.extend(ids);
        match page.body["nextCursor"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), usize::try_from(MANY).expect("positive"));
    gateway.stop().await;
}

/// It is pending when the first question comes, and running at every later one.
#[tokio::test(flavor = "multi_thread")]
async fn an_execution_that_changes_meanwhile_is_not_missed() {
    let world = world().await;
    let gateway = world.gateway(config()).await;
    let partition = Partition::new(0);
    let id = (0..)
        .map(|_| ExecutionId::new())
        .find(|id| world.broker.partitions().of(*id) == partition)
        .expect("one of many");
    let mut owners = JoinSet::new();
    for owned in world.broker.partitions().all() {
        let mut questions = world.broker.questions(owned).await.expect("subscribes");
        owners.spawn(async move {
            let mut status = ExecutionStatus::Pending;
            while let Some(question) = questions.next().await {
                let Query::List { limit, filter } = &question.query else {
                    continue;
                };
                let mut summary = view(id, 1).summary;
                summary.status = std::mem::replace(&mut status, ExecutionStatus::Running);
                let held = if owned == partition {
                    vec![summary]
                } else {
                    Vec::new()
                };
                let reply = listed(held, *limit as usize, filter);
                questions.answer(question, &reply).await.expect("answers");
            }
        });
    }
    world.broker.flush().await.expect("flushes");
    let body = json!({"action": "cancel", "filter": {"workflow": "echo"}, "dryRun": true});
    let found = bulk(&gateway, body).await;
    assert_eq!(found["sample"], json!([id]), "{found}");
    gateway.stop().await;
}
