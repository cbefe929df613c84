//! Repeating executions that have ended.

use afu9_schemas::message::{
    ChildEnded, ChildResolved, ChildStart, InputKind, KeptStep, Start, TriggerKind,
};
use afu9_schemas::view::ExecutionStatus;
use afu9_schemas::{ExecutionId, Lane};
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
    let repository = json!({"owner": "acme", "name": "shop", "default_branch": "trunk"});
    let body = json!({
        "input": {"n": 1}, "repository": repository, "lane": "interactive", "priority": 7,
    });
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
    assert_eq!(json!(start.repository), repository);
    assert_eq!((start.lane, start.priority), (Lane::Interactive, 7));
    let rerun = start.rerun.expect("a rerun");
    assert_eq!(
        (rerun.of, rerun.reason.as_deref()),
        (first, Some("once more"))
    );
    let shown = gateway.show(id(&again)).await["execution"].clone();
    assert_eq!(
        (
            &shown["rerunReason"],
            &shown["defaultBranch"],
            &shown["lane"],
            &shown["priority"]
        ),
        (
            &json!("once more"),
            &json!("trunk"),
            &json!("interactive"),
            &json!(7)
        )
    );
    let path = format!("/api/audit?execution={first}&action=rerun");
    crate::support::eventually("it is on record", async || {
        let entry = gateway.get(&path).await.body["entries"][0].clone();
        entry["by"] == "admin"
            && entry["reason"] == "once more"
            && entry["scopes"] == json!(["admin"])
            && entry["details"]["executionId"] == again.body["executionId"]
    })
    .await;

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

const GUARDED: &str = "name: guarded\nsteps:\n  - { name: build, tool: test.noop }\n  \
                       - { name: ask, approval: {} }\n  - { name: prepare, tool: test.noop }\n  \
                       - { name: ship, tool: test.noop }\n";

/// Whoever may only start executions must not pass by what others decide.
#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_asked_again() {
    let world = world().await;
    let owner = world.folding().await;
    let gateway = applied(&world, &[("guarded", GUARDED)]).await;
    let first = gateway.start("guarded").await;
    gateway.reaches(first, ExecutionStatus::Running).await;
    owner.completes(first, 0, json!({"x": 1})).await;
    crate::support::eventually("it is asked", async || {
        gateway.show(first).await["steps"][1]["status"] == "waiting"
    })
    .await;
    let approved = gateway.wish(first, "approve", &json!({})).await;
    approved.expect_outcome("applied");
    owner.completes(first, 2, json!({})).await;
    owner.fails(first, 3).await;
    gateway.reaches(first, ExecutionStatus::Failed).await;
    let rerun = gateway
        .call(Method::POST, &format!("/api/executions/{first}/rerun"))
        .bearer_auth("trigger-token")
        .json(&json!({"fromStep": "ship", "input": {"other": true}}));
    let rerun = answer(rerun).await;
    assert_eq!(rerun.body["kept"], json!(["build", "prepare"]), "{rerun:?}");
    let again = id(&rerun);
    gateway.reaches(again, ExecutionStatus::Running).await;
    let shown = gateway.show(again).await;
    let statuses: Vec<&Value> = shown["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .map(|step| &step["status"])
        .collect();
    assert_eq!(statuses, ["completed", "waiting", "pending", "pending"]);
    gateway.stop().await;
}

/// Nor by what others decide in a workflow that a step runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_child_in_which_people_decide_runs_again() {
    let world = world().await;
    let owner = world.folding().await;
    let outer = "name: outer\nsteps:\n  - { name: a, workflow: between }\n  \
                 - { name: b, tool: test.noop }\n";
    let between = "name: between\nsteps:\n  - { name: a, workflow: guarded }\n";
    let definitions = [("outer", outer), ("between", between), ("guarded", GUARDED)];
    let gateway = applied(&world, &definitions).await;
    let first = gateway.start("outer").await;
    gateway.reaches(first, ExecutionStatus::Running).await;
    let child = ExecutionId::new();
    let start = start_of(&world, first).await;
    let child_start = ChildStart {
        execution: child,
        start,
    };
    let resolved = ChildResolved {
        step: 0,
        item: None,
        attempt: 1,
        child: Ok(Box::new(child_start)),
    };
    owner
        .takes(first, InputKind::ChildResolved(Box::new(resolved)))
        .await;
    let ended = ChildEnded {
        step: 0,
        item: None,
        attempt: 1,
        child,
        status: ExecutionStatus::Completed,
        output: None,
        error: None,
    };
    owner
        .takes(first, InputKind::ChildEnded(Box::new(ended)))
        .await;
    owner.fails(first, 1).await;
    gateway.reaches(first, ExecutionStatus::Failed).await;
    let rerun = gateway
        .wish(first, "rerun", &json!({"fromStep": "b"}))
        .await;
    assert_eq!(rerun.body["kept"], json!([]), "{rerun:?}");
    // Nobody is asked any more.
    let free = GUARDED.replace("approval: {}", "tool: test.noop");
    assert_eq!(gateway.put("guarded", &free).await.status, 201);
    let rerun = gateway
        .wish(first, "rerun", &json!({"fromStep": "b"}))
        .await;
    assert_eq!(rerun.body["kept"], json!(["a"]), "{rerun:?}");
    gateway.stop().await;
}
