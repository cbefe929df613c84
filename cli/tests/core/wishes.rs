//! Pauses and holds; and at each moment `explain` says what an execution waits for.

use afu9_schemas::message::{ControlAction, ControlOutcome, HistoryKind, HoldScope};
use afu9_schemas::view::{Cause, ExecutionStatus};
use afu9_schemas::{ExecutionId, WorkerKind};
use anyhow::Result;
use serde_json::{Value, json};

use crate::world::World;

/// A step that waits for a signal, and one behind it.
const WAITING: &str = r#"
name: waiting
steps:
  - { name: wait, waitFor: go }
  - { name: work, tool: test.noop }
"#;

fn go() -> ControlAction {
    ControlAction::Signal {
        name: "go".to_owned(),
        payload: json!({}),
    }
}

fn code(outcome: &ControlOutcome) -> Option<&str> {
    match outcome {
        ControlOutcome::Refused { code, .. } => Some(code),
        ControlOutcome::Applied | ControlOutcome::Unchanged => None,
    }
}

async fn completes(world: &World, id: ExecutionId) -> Result<()> {
    let ended = world.wait_for_ends(&[id]).await?;
    assert_eq!(ended[&id].status, ExecutionStatus::Completed, "{ended:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_execution_begins_nothing_until_it_is_resumed() -> Result<()> {
    let world = World::start().await?;
    let first = world.orchestrator();
    let worker = world.worker();
    let workflow = world.apply(WAITING).await?;
    let id = world.start_one(&workflow, json!({})).await?;
    let is_signal = |cause: &Cause| matches!(cause, Cause::Signal { name, .. } if name == "go");
    let cause = world.cause(id, "waiting for a signal", is_signal).await?;
    assert_eq!(cause.step.as_deref(), Some("wait"));
    let pause = world.control(id, ControlAction::Pause).await?;
    assert_eq!(pause, ControlOutcome::Applied);
    let again = world.control(id, ControlAction::Pause).await?;
    assert_eq!(again, ControlOutcome::Unchanged);
    let is_paused =
        |cause: &Cause| matches!(cause, Cause::Paused { scope: None, by, .. } if by == "operator");
    world.cause(id, "paused", is_paused).await?;
    // The signal is taken in, and what is behind it does not begin; another owner knows that too.
    assert_eq!(world.control(id, go()).await?, ControlOutcome::Applied);
    first.abort().await;
    let second = world.orchestrator();
    let view = world.view(id).await?;
    assert_eq!(view.summary.status, ExecutionStatus::Paused);
    assert!(view.steps[1].started_at.is_none(), "{view:?}");
    let explained = world.explain(id).await?;
    assert!(
        explained.causes.iter().all(|cause| is_paused(&cause.cause)),
        "{explained:?}"
    );
    let resume = world.control(id, ControlAction::Resume).await?;
    assert_eq!(resume, ControlOutcome::Applied);
    completes(&world, id).await?;
    let late = world.control(id, ControlAction::Resume).await?;
    assert_eq!(code(&late), Some("execution.ended"));
    let statuses = world.events_as(|event| match &event.kind {
        HistoryKind::StatusChanged(changed) if event.execution == Some(id) => Some(changed.status),
        _ => None,
    });
    assert!(
        statuses.starts_with(&[ExecutionStatus::Paused]),
        "{statuses:?}"
    );
    world.assert_history_is_gapless();
    worker.stop().await?;
    second.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_kind_gives_no_jobs_and_a_held_workflow_begins_nothing() -> Result<()> {
    let world = World::start().await?;
    let orchestrator = world.orchestrator();
    let worker = world.worker();
    let held = world.apply(WAITING).await?;
    let other = world
        .apply("name: other\nsteps: [{ name: work, tool: test.noop }]\n")
        .await?;

    let kind = HoldScope::Kind(WorkerKind::new("test")?);
    world.hold(&kind).await?;
    let one = world.start_one(&other, json!({})).await?;
    let is_kind =
        |cause: &Cause| matches!(cause, Cause::Paused { scope: Some(scope), .. } if *scope == kind);
    world.cause(one, "held with its kind", is_kind).await?;
    let is_turn = |cause: &Cause| matches!(cause, Cause::Worker { job: None, .. });
    world.cause(one, "waiting for its turn", is_turn).await?;
    world.release(&kind).await?;
    completes(&world, one).await?;

    let scope = HoldScope::Workflow("waiting".to_owned());
    let before = world.start_one(&held, json!({})).await?;
    let is_signal = |cause: &Cause| matches!(cause, Cause::Signal { .. });
    world
        .cause(before, "waiting for a signal", is_signal)
        .await?;
    world.hold(&scope).await?;
    let is_held = |cause: &Cause| matches!(cause, Cause::Paused { scope: Some(found), .. } if *found == scope);
    let during = world.start_one(&held, json!({})).await?;
    for id in [before, during] {
        world.cause(id, "held with its workflow", is_held).await?;
    }
    assert_eq!(world.control(before, go()).await?, ControlOutcome::Applied);
    assert_eq!(world.control(during, go()).await?, ControlOutcome::Applied);
    let free = world.start_one(&other, json!({})).await?;
    completes(&world, free).await?;
    for id in [before, during] {
        let view = world.view(id).await?;
        assert!(view.steps[1].started_at.is_none(), "{view:?}");
    }
    world.release(&scope).await?;
    completes(&world, before).await?;
    completes(&world, during).await?;
    worker.stop().await?;
    orchestrator.stop().await?;
    Ok(())
}

/// Steps (and limits) that wait, how many executions are started of them, and what the last one waits
/// for.
const WAITS: &[(&str, usize, &str)] = &[
    ("steps: [{ name: a, sleep: 1h }]", 1, r#"{ "timer": {} }"#),
    (
        "steps: [{ name: a, approval: { approvals: 2, scope: approve:ship } }]",
        1,
        r#"{ "approval": { "scope": "approve:ship", "required": 2, "approved": 0 } }"#,
    ),
    (
        "steps: [{ name: a, waitFor: go }]",
        1,
        r#"{ "signal": { "name": "go" } }"#,
    ),
    (
        "steps: [{ name: a, workflow: wait_0 }]",
        1,
        r#"{ "child": { "workflow": "wait_0" } }"#,
    ),
    (
        "steps: [{ name: a, tool: test.fail, params: { class: rate_limited, retryAfterMs: 3600000 } }]",
        1,
        r#"{ "retry": { "attempt": 2, "of": 3, "error": { "code": "test.fail" } } }"#,
    ),
    (
        "steps: [{ name: a, tool: test.sleep, params: { ms: 60000 }, timeoutMs: 60000 }]",
        1,
        r#"{ "worker": { "kind": "test", "job": { "step": 0, "attempt": 1 } } }"#,
    ),
    (
        "steps: [{ name: a, tool: test.fail, params: { class: permanent } }]",
        1,
        r#"{ "dead_lettered": { "error": { "code": "test.fail" } } }"#,
    ),
    (
        "concurrency: {}\nsteps: [{ name: a, sleep: 1h }]",
        3,
        r#"{ "key": { "ahead": 1 } }"#,
    ),
    (
        "rateLimit: { limit: 1, periodMs: 3600000 }\nsteps: [{ name: a, sleep: 1h }]",
        2,
        r#"{ "rate_limit": {} }"#,
    ),
    (
        "debounce: { periodMs: 3600000 }\nsteps: [{ name: a, sleep: 1h }]",
        1,
        r#"{ "debounce": {} }"#,
    ),
];

/// Whether `found` has everything that `expected` has.
fn has(found: &Value, expected: &Value) -> bool {
    match expected {
        Value::Object(fields) => fields
            .iter()
            .all(|(name, field)| found.get(name).is_some_and(|found| has(found, field))),
        other => found == other,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wait_has_its_cause() -> Result<()> {
    let world = World::start().await?;
    let orchestrator = world.orchestrator();
    let worker = world.worker();
    for (number, (rest, count, expected)) in WAITS.iter().enumerate() {
        let definition = format!("name: wait_{number}\n{rest}\n");
        let workflow = world.apply(&definition).await?;
        let ids = world.start_many(&workflow, json!({}), *count).await?;
        let expected: Value = serde_json::from_str(expected)?;
        let is = |cause: &Cause| has(&json!(cause), &expected);
        let what = format!("waiting for {expected}");
        world.cause(ids[count - 1], &what, is).await?;
        for id in ids {
            world.control(id, ControlAction::Cancel).await?;
        }
    }
    worker.stop().await?;
    orchestrator.stop().await?;
    Ok(())
}
