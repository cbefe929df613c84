//! Repeating executions that have ended.

use afu9_schemas::ExecutionId;
use afu9_schemas::message::{KeptStep, Start, TriggerKind};
use afu9_schemas::view::ExecutionStatus;
use reqwest::Method;
use serde_json::{Value, json};

use crate::controls::{WORK, applied};
use crate::support::{Answer, World, answer, world};

fn id(answer: &Answer) -> ExecutionId {
    let text = answer.body["executionId"].as_str();
    let text = text.unwrap_or_else(|| panic!("{answer:?}"));
    text.parse().expect("an id")
}

async fn start_of(world: &World, id: ExecutionId) -> Start {
    let starts = world.starts().await;
    let found = starts.into_iter().find(|(found, _)| *found == id);
    found.expect("in the log").1
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_execution_is_repeated_whole_or_from_a_step() {
    let world = world().await;
    let owner = world.folding().await;
    let gateway = applied(&world, &[("work", WORK)]).await;
    let body = json!({"input": {"n": 1}, "repository": "acme/shop"});
    let first = id(&gateway.post("/api/workflows/work/trigger", &body).await);
    gateway.reaches(first, ExecutionStatus::Running).await;
    let early = gateway.wish(first, "rerun", &json!({})).await;
    early.expect_problem(409, "execution.not_ended", "STATE");
    owner.completes(first, 0, json!({"x": 1})).await;
    owner.fails(first, 1).await;
    gateway.reaches(first, ExecutionStatus::Failed).await;
    // A version that came later is not what is repeated.
    let newer = WORK.replace("test.noop }", "test.noop, timeoutMs: 5000 }");
    assert_eq!(gateway.put("work", &newer).await.body["version"], 2);

    let again = gateway
        .wish(first, "rerun", &json!({"reason": "once more"}))
        .await;
    assert_eq!(again.status, 202, "{again:?}");
    assert_eq!(
        (&again.body["rerunOf"], &again.body["kept"]),
        (&json!(first), &json!([]))
    );
    assert_eq!(
        (&again.body["workflow"], &again.body["version"]),
        (&json!("work"), &json!(1))
    );
    let start = start_of(&world, id(&again)).await;
    assert_eq!(
        (&start.input, start.workflow.version),
        (&json!({"n": 1}), 1)
    );
    assert_eq!(
        (start.trigger.kind, start.trigger.by.as_str()),
        (TriggerKind::Rerun, "admin")
    );
    assert_eq!(start.repository.map(|r| r.name).as_deref(), Some("shop"));
    assert_eq!(start.rerun.expect("a rerun").of, first);

    let from = json!({"fromStep": "b", "input": {"n": 2}});
    let from = gateway.wish(first, "rerun", &from).await;
    assert_eq!(from.body["kept"], json!(["a"]), "{from:?}");
    let start = start_of(&world, id(&from)).await;
    assert_eq!(start.input, json!({"n": 2}));
    let kept = KeptStep {
        name: "a".to_owned(),
        output: Some(json!({"x": 1})),
    };
    assert_eq!(start.rerun.expect("a rerun").kept, [kept]);
    let shown = gateway.show(id(&from)).await;
    assert_eq!(shown["execution"]["rerunOf"], json!(first));
    crate::support::eventually("it is related", async || {
        let list = gateway
            .get(&format!("/api/executions?rerunOf={first}"))
            .await;
        list.body["executions"].as_array().map(Vec::len) == Some(2)
    })
    .await;
    let both = gateway
        .get(&format!("/api/executions?rerunOf={first}&key=x"))
        .await;
    both.expect_problem(400, "request.malformed", "POLICY");

    let newest = gateway
        .wish(first, "rerun", &json!({"version": "latest"}))
        .await;
    assert_eq!(newest.body["version"], 2);
    let unknown = gateway.wish(first, "rerun", &json!({"version": 9})).await;
    unknown.expect_problem(404, "version.unknown", "STATE");
    let unknown = gateway
        .wish(first, "rerun", &json!({"fromStep": "x"}))
        .await;
    unknown.expect_problem(400, "rerun.unknown_step", "POLICY");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_before_the_step_must_be_done_and_the_same_key_repeats_once() {
    let world = world().await;
    let owner = world.folding().await;
    let gateway = applied(&world, &[("work", WORK)]).await;
    let first = gateway.start("work").await;
    gateway.reaches(first, ExecutionStatus::Running).await;
    owner.fails(first, 0).await;
    gateway.reaches(first, ExecutionStatus::Failed).await;
    let refused = gateway
        .wish(first, "rerun", &json!({"fromStep": "b"}))
        .await;
    refused.expect_problem(409, "rerun.not_completed", "STATE");
    let keyed = async |body: Value| {
        let call = gateway.admin(Method::POST, &format!("/api/executions/{first}/rerun"));
        answer(call.header("Idempotency-Key", "k").json(&body)).await
    };
    let new = keyed(json!({})).await;
    assert_eq!(new.status, 202, "{new:?}");
    let again = keyed(json!({})).await;
    assert_eq!(id(&again), id(&new));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    let other = keyed(json!({"input": null})).await;
    other.expect_problem(422, "idempotency.conflict", "STATE");
    let unknown = gateway.wish(ExecutionId::new(), "rerun", &json!({})).await;
    unknown.expect_problem(404, "execution.unknown", "STATE");
    let operator = gateway
        .call(Method::POST, &format!("/api/executions/{first}/rerun"))
        .bearer_auth("operate-token");
    answer(operator)
        .await
        .expect_problem(403, "auth.missing_scope", "POLICY");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_cannot_be_kept_and_history_is_enough() {
    let world = world().await;
    let owner = world.folding().await;
    let three = "name: three\nsteps:\n  - { name: a, tool: test.noop }\n  \
                 - { name: b, tool: test.noop }\n  - { name: c, tool: test.noop }\n  \
                 - { name: d, tool: test.noop }\n";
    let gateway = applied(&world, &[("three", three)]).await;
    let first = gateway.start("three").await;
    gateway.reaches(first, ExecutionStatus::Running).await;
    let output = json!("x".repeat(200 * 1024));
    for step in 0..3 {
        owner.completes(first, step, output.clone()).await;
    }
    owner.fails(first, 3).await;
    gateway.reaches(first, ExecutionStatus::Failed).await;
    let path = format!("/api/executions/{first}");
    owner.end().await;
    crate::support::eventually("history is read", async || {
        gateway.get(&path).await.body["metadata"]["source"] == "stream"
    })
    .await;
    let large = gateway
        .wish(first, "rerun", &json!({"fromStep": "d"}))
        .await;
    large.expect_problem(409, "rerun.too_large", "STATE");
    let fits = gateway
        .wish(first, "rerun", &json!({"fromStep": "c"}))
        .await;
    assert_eq!(fits.body["kept"], json!(["a", "b"]), "{fits:?}");
    gateway.stop().await;
}
