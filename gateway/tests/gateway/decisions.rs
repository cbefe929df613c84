//! Approvals: who may decide, and what they decide.

use afu9_schemas::ExecutionId;
use afu9_schemas::view::ExecutionStatus;
use reqwest::Method;
use serde_json::{Value, json};

use crate::controls::applied;
use crate::support::{Answer, Running, answer, world};

/// Two that wait at once; whoever started it may not decide the second.
const RELEASE: &str = "\
name: release
steps:
  - { name: review, approval: { message: \"Release ${input.version}?\" }, needs: [] }
  - { name: sign_off, approval: { selfApproval: false, approvers: [approve, admin] }, needs: [] }
";

async fn decide(
    gateway: &Running,
    token: &str,
    id: ExecutionId,
    what: &str,
    body: Value,
) -> Answer {
    let path = format!("/api/executions/{id}/{what}");
    let call = gateway
        .call(Method::POST, &path)
        .bearer_auth(format!("{token}-token"));
    answer(call.json(&body)).await
}

async fn waiting(gateway: &Running) -> ExecutionId {
    let accepted = gateway
        .post(
            "/api/workflows/release/trigger",
            &json!({"input": {"version": 7}, "triggeredBy": "somebody else"}),
        )
        .await;
    let id: ExecutionId = accepted.body["executionId"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("an id");
    gateway.reaches(id, ExecutionStatus::Running).await;
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_goes_on_when_those_who_may_approve_it() {
    let world = world().await;
    let _owner = world.folding().await;
    let gateway = applied(&world, &[("release", RELEASE)]).await;
    let id = waiting(&gateway).await;
    let shown = gateway.show(id).await;
    assert_eq!(shown["steps"][0]["message"], "Release 7?");
    assert_eq!(shown["steps"][0]["action"], "approval");

    let ambiguous = decide(&gateway, "approve", id, "approve", json!({})).await;
    ambiguous.expect_problem(409, "approval.ambiguous", "STATE");
    assert_eq!(ambiguous.body["steps"], json!(["review", "sign_off"]));
    let step = |name: &str| json!({"step": name, "reason": "looks good"});
    let operator = decide(&gateway, "operate", id, "approve", step("review")).await;
    operator.expect_problem(403, "auth.missing_scope", "POLICY");
    let unknown = decide(&gateway, "approve", id, "approve", step("nothing")).await;
    unknown.expect_problem(409, "approval.not_waiting", "STATE");

    let own = decide(&gateway, "admin", id, "approve", step("sign_off")).await;
    own.expect_problem(403, "approval.self", "POLICY");
    let first = decide(&gateway, "approve", id, "approve", step("review")).await;
    first.expect_outcome("applied");
    assert_eq!(first.body["action"], "approve");
    // Only one waits now.
    let second = decide(&gateway, "approve", id, "approve", json!({})).await;
    second.expect_outcome("applied");
    gateway.reaches(id, ExecutionStatus::Completed).await;
    let shown = gateway.show(id).await;
    let decisions = &shown["steps"][0]["decisions"];
    assert_eq!(decisions[0]["by"], "approve", "{shown}");
    assert_eq!(decisions[0]["decision"], "approve");
    assert_eq!(decisions[0]["reason"], "looks good");
    let none = decide(&gateway, "approve", id, "approve", json!({})).await;
    none.expect_problem(409, "approval.not_waiting", "STATE");
    gateway.stop().await;
}

/// Neither the token that started it nor the name it gave.
#[tokio::test(flavor = "multi_thread")]
async fn an_invented_name_does_not_make_somebody_else_the_starter() {
    let world = world().await;
    let _owner = world.folding().await;
    let gateway = applied(&world, &[("release", RELEASE)]).await;
    let body = json!({"input": {"version": 7}, "triggeredBy": "approve"});
    let accepted = gateway.post("/api/workflows/release/trigger", &body).await;
    let id: ExecutionId = accepted.body["executionId"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("an id");
    gateway.reaches(id, ExecutionStatus::Running).await;
    let step = json!({"step": "sign_off"});
    for token in ["admin", "approve"] {
        let own = decide(&gateway, token, id, "approve", step.clone()).await;
        own.expect_problem(403, "approval.self", "POLICY");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_fails_the_step() {
    let world = world().await;
    let _owner = world.folding().await;
    let gateway = applied(&world, &[("release", RELEASE)]).await;
    let id = waiting(&gateway).await;
    let body = json!({"step": "review", "reason": "not today"});
    let rejected = decide(&gateway, "approve", id, "reject", body.clone()).await;
    rejected.expect_outcome("applied");
    assert_eq!(rejected.body["action"], "reject");
    let shown = gateway.show(id).await;
    assert_eq!(shown["steps"][0]["error"]["code"], "approval.rejected");
    let unknown = decide(&gateway, "approve", ExecutionId::new(), "reject", body).await;
    unknown.expect_problem(404, "execution.unknown", "STATE");
    gateway.stop().await;
}

/// One for whoever may approve, one for whoever may ship.
const SHIP: &str = "\
name: ship
steps:
  - { name: review, approval: {}, needs: [] }
  - { name: go, approval: { scope: \"approve:ship\" }, needs: [] }
";

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_asks_for_a_named_scope_is_decided_by_those_who_have_it() {
    let world = world().await;
    let _owner = world.folding().await;
    let gateway = applied(&world, &[("ship", SHIP)]).await;
    let id = gateway.start("ship").await;
    gateway.reaches(id, ExecutionStatus::Running).await;
    let step = |name: &str| json!({ "step": name });
    for (token, name) in [("approve", "go"), ("approve.ship", "review")] {
        let refused = decide(&gateway, token, id, "approve", step(name)).await;
        refused.expect_problem(403, "approval.scope", "POLICY");
    }
    for token in ["operate", "trigger", "read"] {
        let refused = decide(&gateway, token, id, "approve", step("go")).await;
        refused.expect_problem(403, "auth.missing_scope", "POLICY");
    }
    for (token, name) in [("approve", "review"), ("approve.ship", "go")] {
        let approved = decide(&gateway, token, id, "approve", step(name)).await;
        approved.expect_outcome("applied");
    }
    gateway.reaches(id, ExecutionStatus::Completed).await;
    let another = gateway.start("ship").await;
    gateway.reaches(another, ExecutionStatus::Running).await;
    let rejected = decide(&gateway, "admin", another, "reject", step("go")).await;
    rejected.expect_outcome("applied");
    let wrong = SHIP.replace("approve:ship", "ship");
    let refused = gateway.put("ship", &wrong).await;
    refused.expect_problem(422, "definition.invalid", "POLICY");
    assert_eq!(
        refused.body["errors"][0]["path"], "/steps/1/approval/scope",
        "{refused:?}"
    );
    gateway.stop().await;
}
