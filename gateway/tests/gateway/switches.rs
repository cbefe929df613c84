//! What stays off until somebody turns it on again: workflows and schedules.

use afu9_schemas::view::ExecutionStatus;
use reqwest::Method;
use serde_json::{Value, json};

use crate::controls::{GATE, WORK, applied};
use crate::support::{Answer, Running, answer, config, eventually, world};

const TICKS: &str = "name: ticks\non:\n  \
    - { schedule: { cron: '0 3 * * *', timezone: Europe/Berlin, missed: all, jitterMs: 500 } }\n  \
    - { schedule: { cron: '0 4 * * *', paused: true } }\n\
    steps: [{ name: a, tool: test.noop }]\n";

async fn switch(gateway: &Running, path: &str, key: &str, reason: Option<&str>) -> Answer {
    let call = gateway.admin(Method::POST, path);
    let body = json!({"reason": reason});
    answer(call.header("Idempotency-Key", key).json(&body)).await
}

async fn audit(gateway: &Running, action: &str) -> Vec<Value> {
    let found = gateway.get(&format!("/api/audit?action={action}")).await;
    assert_eq!(found.status, 200, "{found:?}");
    found.body["entries"].as_array().expect("a list").clone()
}

async fn schedules(gateway: &Running) -> Vec<Value> {
    let found = gateway.get("/api/v1/schedules").await;
    assert_eq!(found.status, 200, "{found:?}");
    found.body["schedules"].as_array().expect("a list").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_workflow_starts_nothing_until_it_is_enabled() {
    let world = world().await;
    let _owner = world.folding().await;
    let gateway = applied(&world, &[("gate", GATE), ("work", WORK)]).await;
    // Another gateway hears of it.
    let other = world.gateway(config()).await;
    let running = gateway.start("gate").await;
    gateway.reaches(running, ExecutionStatus::Running).await;
    let path = "/api/workflows/gate/disable";
    switch(&gateway, path, "k", Some("on fire"))
        .await
        .expect_outcome("applied");
    switch(&gateway, path, "k", None)
        .await
        .expect_outcome("unchanged");
    switch(&gateway, path, "l", None)
        .await
        .expect_outcome("unchanged");
    let start = "/api/workflows/gate/trigger";
    let refused = gateway.post(start, &json!({})).await;
    refused.expect_problem(409, "workflow.disabled", "STATE");
    let detail = refused.body["detail"].as_str().expect("text");
    assert!(detail.contains("disabled by admin since"), "{detail}");
    eventually("the other gateway refuses it, too", async || {
        other.post(start, &json!({})).await.status == 409
    })
    .await;
    // What runs goes on, and a new version does not enable it.
    gateway.wish(running, "signal/go", &json!({})).await;
    gateway.reaches(running, ExecutionStatus::Completed).await;
    let rerun = gateway.wish(running, "rerun", &json!({})).await;
    rerun.expect_problem(409, "workflow.disabled", "STATE");
    let newer = GATE.replace("hold", "other");
    assert_eq!(gateway.put("gate", &newer).await.body["version"], 2);
    assert_eq!(gateway.put("gate", &newer).await.body["created"], false);
    let refused = gateway.post(start, &json!({})).await;
    refused.expect_problem(409, "workflow.disabled", "STATE");
    let shown = gateway.get("/api/workflows/gate").await.body;
    assert_eq!(
        (&shown["enabled"], &shown["switched"]["reason"]),
        (&json!(false), &json!("on fire"))
    );
    assert_eq!(
        gateway
            .post("/api/workflows/work/trigger", &json!({}))
            .await
            .status,
        202
    );

    let enabled = switch(&gateway, "/api/workflows/gate/enable", "k", None).await;
    enabled.expect_outcome("applied");
    assert_eq!(
        (&enabled.body["enabled"], &enabled.body["version"]),
        (&json!(true), &json!(2))
    );
    // The first wish comes again, late: it was carried out before.
    switch(&gateway, path, "k", None)
        .await
        .expect_outcome("unchanged");
    assert_eq!(gateway.post(start, &json!({})).await.status, 202);

    eventually("it is on record", async || {
        audit(&gateway, "enable").await.len() == 1
    })
    .await;
    let outcomes: Vec<Value> = audit(&gateway, "disable").await;
    let outcomes: Vec<&Value> = outcomes
        .iter()
        .rev()
        .map(|entry| &entry["outcome"])
        .collect();
    assert_eq!(outcomes, ["applied", "unchanged"]);
    let entry = &audit(&gateway, "disable").await[1];
    assert_eq!(
        (&entry["by"], &entry["reason"]),
        (&json!("admin"), &json!("on fire"))
    );
    assert_eq!(entry["details"], json!({"workflow": "gate"}));

    for name in ["nothing", "Not%20a%20name"] {
        let unknown = switch(
            &gateway,
            &format!("/api/workflows/{name}/disable"),
            "k",
            None,
        )
        .await;
        unknown.expect_problem(404, "workflow.unknown", "STATE");
    }
    let call = gateway
        .call(Method::POST, path)
        .bearer_auth("trigger-token");
    let refused = answer(call.json(&json!({}))).await;
    refused.expect_problem(403, "auth.missing_scope", "POLICY");
    other.stop().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_are_listed_and_paused_by_people_whatever_their_definition_says() {
    let world = world().await;
    let gateway = applied(&world, &[("ticks", TICKS), ("work", WORK)]).await;
    let found = schedules(&gateway).await;
    assert_eq!(found.len(), 2);
    let (first, second) = (&found[0], &found[1]);
    for (member, value) in [
        ("workflow", json!("ticks")),
        ("cron", json!("0 3 * * *")),
        ("timezone", json!("Europe/Berlin")),
        ("missed", json!("all")),
        ("jitterMs", json!(500)),
        ("enabled", json!(true)),
        ("paused", json!(false)),
        ("pausedBy", json!([])),
        // No orchestrator has seen it.
        ("next", Value::Null),
        ("lastFired", Value::Null),
    ] {
        assert_eq!(first[member], value, "{first}");
    }
    assert_eq!(second["pausedBy"], json!([{"kind": "definition"}]));

    let of = |schedule: &Value, action: &str| {
        let id = schedule["schedule"].as_str().expect("an id");
        format!("/api/v1/schedules/ticks/{id}/{action}")
    };
    let pause = of(first, "pause");
    let paused = switch(&gateway, &pause, "k", Some("holiday")).await;
    paused.expect_outcome("applied");
    assert_eq!(paused.body["schedule"]["paused"], true);
    switch(&gateway, &pause, "l", None)
        .await
        .expect_outcome("unchanged");
    let both = switch(&gateway, &of(second, "pause"), "k", None).await;
    assert_eq!(
        both.body["schedule"]["pausedBy"].as_array().map(Vec::len),
        Some(2)
    );
    // A new version, whose rule is the same.
    gateway
        .put("ticks", &TICKS.replace("missed: all", "missed: skip"))
        .await;
    let found = schedules(&gateway).await;
    assert_eq!(
        (&found[0]["missed"], &found[0]["paused"]),
        (&json!("skip"), &json!(true))
    );
    let by = &found[0]["pausedBy"][0];
    assert_eq!(
        (&by["kind"], &by["by"], &by["reason"]),
        (&json!("operator"), &json!("admin"), &json!("holiday"))
    );
    switch(&gateway, &of(first, "resume"), "k", None)
        .await
        .expect_outcome("applied");
    switch(&gateway, &of(first, "resume"), "l", None)
        .await
        .expect_outcome("unchanged");
    let resumed = switch(&gateway, &of(second, "resume"), "k", None).await;
    resumed.expect_outcome("applied");
    assert_eq!(
        resumed.body["schedule"]["pausedBy"],
        json!([{"kind": "definition"}])
    );

    eventually("it is on record", async || {
        audit(&gateway, "resume_schedule").await.len() == 3
    })
    .await;
    let entries = audit(&gateway, "pause_schedule").await;
    let details = json!({"workflow": "ticks", "schedule": first["schedule"]});
    assert_eq!(
        entries.last().map(|entry| &entry["details"]),
        Some(&details)
    );

    for (path, code) in [
        ("/api/v1/schedules/ticks/nothing/pause", "schedule.unknown"),
        ("/api/v1/schedules/ticks/nothing/resume", "schedule.unknown"),
        ("/api/v1/schedules/ticks/a%20b/pause", "schedule.unknown"),
        ("/api/v1/schedules/nothing/x-0/pause", "schedule.unknown"),
        ("/api/v1/schedules/A/x-0/pause", "workflow.unknown"),
    ] {
        let unknown = switch(&gateway, path, "k", None).await;
        unknown.expect_problem(404, code, "STATE");
    }
    let of_one = gateway.get("/api/v1/schedules?workflow=work").await;
    assert_eq!(of_one.body["total"], 0);
    // What nobody has any more can still be resumed.
    switch(&gateway, &pause, "m", None)
        .await
        .expect_outcome("applied");
    gateway
        .put("ticks", &WORK.replace("name: work", "name: ticks"))
        .await;
    assert_eq!(schedules(&gateway).await, Vec::<Value>::new());
    switch(&gateway, &of(first, "resume"), "m", None)
        .await
        .expect_outcome("applied");
    switch(&gateway, &pause, "n", None)
        .await
        .expect_problem(404, "schedule.unknown", "STATE");
    let call = gateway
        .call(Method::POST, &pause)
        .bearer_auth("trigger-token");
    let refused = answer(call.json(&json!({}))).await;
    refused.expect_problem(403, "auth.missing_scope", "POLICY");
    gateway.stop().await;
}
