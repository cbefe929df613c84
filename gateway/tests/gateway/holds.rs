//! Holds: nothing new begins in a scope until it is released.

use afu9_schemas::view::ExecutionStatus;
use reqwest::Method;
use serde_json::{Value, json};

use crate::controls::{GATE, WORK, applied};
use crate::support::{Running, answer, limits, world, world_with};

async fn held(gateway: &Running) -> Vec<Value> {
    let held = gateway.get("/api/holds").await;
    assert_eq!(held.status, 200, "{held:?}");
    assert_eq!(held.body["incomplete"], false);
    held.body["holds"].as_array().expect("a list").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_is_held_in_every_partition_and_released() {
    let world = world().await;
    let _owner = world.folding().await;
    let gateway = applied(&world, &[("gate", GATE), ("work", WORK)]).await;
    assert_eq!(held(&gateway).await, Vec::<Value>::new());
    let all = json!({"scope": "all", "reason": "deploy"});
    let first = gateway.post("/api/holds", &all).await;
    first.expect_outcome("applied");
    assert_eq!(
        (&first.body["action"], &first.body["scope"]),
        (&json!("hold"), &json!("all"))
    );
    assert_eq!(
        first.body["partitions"],
        json!({"decided": 2, "pending": 0})
    );
    gateway
        .post("/api/holds", &all)
        .await
        .expect_outcome("unchanged");
    let kind = json!({"scope": {"kind": "test"}});
    gateway
        .post("/api/holds", &kind)
        .await
        .expect_outcome("applied");
    let paused = gateway
        .post(
            "/api/workflows/gate/pause",
            &json!({"pausedBy": "ada", "reason": "x"}),
        )
        .await;
    paused.expect_outcome("applied");
    let holds = held(&gateway).await;
    let scopes: Vec<&Value> = holds.iter().map(|hold| &hold["scope"]).collect();
    let expected = [
        json!("all"),
        json!({"workflow": "gate"}),
        json!({"kind": "test"}),
    ];
    assert_eq!(scopes, expected.iter().collect::<Vec<_>>());
    assert_eq!(
        (&holds[0]["by"], &holds[0]["reason"]),
        (&json!("admin"), &json!("deploy"))
    );
    assert!(holds.iter().all(|hold| hold["everywhere"] == true));

    // What is submitted now does not begin.
    let id = gateway.start("work").await;
    gateway.reaches(id, ExecutionStatus::Running).await;
    let told = gateway.get(&format!("/api/executions/{id}/explain")).await;
    let scopes: Vec<Value> = told.body["causes"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|cause| cause["cause"] == "paused")
        .map(|cause| cause["scope"].clone())
        .collect();
    assert!(scopes.contains(&json!("all")), "{told:?}");

    gateway
        .post("/api/holds/release", &all)
        .await
        .expect_outcome("applied");
    gateway
        .post("/api/holds/release", &all)
        .await
        .expect_outcome("unchanged");
    gateway
        .post("/api/holds/release", &kind)
        .await
        .expect_outcome("applied");
    let resumed = gateway
        .post("/api/workflows/gate/resume", &json!({"resumedBy": "ada"}))
        .await;
    resumed.expect_outcome("applied");
    assert_eq!(held(&gateway).await, Vec::<Value>::new());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_there_is_can_be_held_and_only_with_the_scope() {
    let world = world().await;
    let _owner = world.folding().await;
    let gateway = applied(&world, &[("gate", GATE)]).await;
    for bad in [
        json!({}),
        json!({"scope": "some"}),
        json!({"scope": {"kind": "nothing"}}),
        json!({"scope": {"kind": "a b"}}),
        json!({"scope": "all", "more": 1}),
    ] {
        let refused = gateway.post("/api/holds", &bad).await;
        refused.expect_problem(400, "request.malformed", "POLICY");
    }
    let unknown = json!({"scope": {"workflow": "nothing"}});
    let refused = gateway.post("/api/holds", &unknown).await;
    refused.expect_problem(404, "workflow.unknown", "STATE");
    // A hold must not outlive its workflow.
    let released = gateway.post("/api/holds/release", &unknown).await;
    released.expect_outcome("unchanged");
    let reader = gateway
        .call(Method::POST, "/api/holds")
        .bearer_auth("trigger-token")
        .json(&json!({"scope": "all"}));
    let refused = answer(reader).await;
    refused.expect_problem(403, "auth.missing_scope", "POLICY");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_owners_a_hold_is_stored_and_what_is_held_is_not_known() {
    let world = world().await;
    let gateway = applied(&world, &[]).await;
    let pending = gateway.post("/api/holds", &json!({"scope": "all"})).await;
    pending.expect_outcome("pending");
    assert_eq!(
        pending.body["partitions"],
        json!({"decided": 0, "pending": 2})
    );
    let unknown = gateway.get("/api/holds").await;
    unknown.expect_problem(503, "execution.unreachable", "UPSTREAM");
    let _owner = world.folding().await;
    crate::support::eventually("it is held", async || {
        let held = gateway.get("/api/holds").await;
        held.body["holds"][0]["everywhere"] == true
    })
    .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_some_partitions_may_not_have_is_a_503() {
    let world = world_with(afu9_broker::config::Limits {
        log_bytes: 64,
        ..limits()
    })
    .await;
    let gateway = applied(&world, &[]).await;
    let refused = gateway.post("/api/holds", &json!({"scope": "all"})).await;
    refused.expect_problem(503, "broker.full", "UPSTREAM");
    assert_eq!(refused.body["partitions"], json!([0, 1]));
    gateway.stop().await;
}
