//! The core on a real nats-server: orchestrators and test workers in this process, inputs through
//! the log, outcomes read from history.

mod world;

use std::time::Duration;

use afu9_broker::Durability;
use afu9_schemas::message::history::HistoryKind;
use afu9_schemas::message::{Cancel, InputKind};
use afu9_schemas::view::{ExecutionStatus, StepStatus};
use anyhow::Result;
use serde_json::json;
use world::World;

const NOOP_5: &str = include_str!("../../../schemas/workflows/noop_5.yaml");

#[tokio::test(flavor = "multi_thread")]
async fn many_executions_run_to_their_end_with_gapless_history() -> Result<()> {
    let world = World::start().await?;
    let orchestrator = world.orchestrator();
    let worker = world.worker();
    let workflow = world.apply(NOOP_5).await?;
    let ids = world.start_many(&workflow, json!({}), 200).await?;
    let ended = world.wait_for_ends(&ids).await?;
    for (id, end) in &ended {
        assert_eq!(end.status, ExecutionStatus::Completed, "{id}");
        assert_eq!(end.steps_completed, 5, "{id}");
    }
    world.assert_history_is_gapless();
    worker.stop().await?;
    orchestrator.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn values_travel_between_steps_and_failures_are_retried() -> Result<()> {
    let world = World::start().await?;
    let orchestrator = world.orchestrator();
    let worker = world.worker();
    let workflow = world
        .apply(
            r#"
name: values
steps:
  - { name: first, tool: test.echo, assign: first, params: { value: { n: "${input.n + 1}" } } }
  - { name: skipped, tool: test.noop, if: "${first.value.n > 100}" }
  - name: flaky
    tool: test.fail
    assign: flaky
    params: { times: 2 }
    retry: { maxAttempts: 3, backoff: fixed, initialDelayMs: 100 }
  - name: last
    tool: test.echo
    assign: last
    params: { value: "n=${steps.first.output.value.n} after ${flaky.attempt}" }
"#,
        )
        .await?;
    let ids = world.start_many(&workflow, json!({ "n": 41 }), 1).await?;
    let ended = world.wait_for_ends(&ids).await?;
    let end = &ended[&ids[0]];
    assert_eq!(end.status, ExecutionStatus::Completed, "{:?}", end.error);
    let output = end.output.clone().unwrap_or_default();
    assert_eq!(output["last"], json!({ "value": "n=42 after 3" }));
    assert_eq!((end.steps_completed, end.steps_skipped), (3, 1));
    let flaky = world.step(ids[0], "flaky");
    assert_eq!(flaky.attempts.len(), 3);
    assert!(flaky.attempts[0].error.is_some() && flaky.attempts[2].error.is_none());
    worker.stop().await?;
    orchestrator.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_cancels_and_timeouts_end_executions() -> Result<()> {
    let world = World::start().await?;
    let orchestrator = world.orchestrator();
    let worker = world.worker();
    let failing = world
        .apply(concat!(
            "name: failing\n",
            "steps:\n",
            "  - { name: bad, tool: test.fail, params: { permanent: true } }\n",
            "  - { name: never, tool: test.noop }\n"
        ))
        .await?;
    let slow = world
        .apply("name: slow\nsteps:\n  - { name: sleep, tool: test.sleep, params: { ms: 60000 } }\n")
        .await?;
    let late = world
        .apply(concat!(
            "name: late\n",
            "steps:\n",
            "  - { name: sleep, tool: test.sleep, params: { ms: 60000 } }\n",
            "config: { timeoutMs: 1000 }\n"
        ))
        .await?;
    let missing = world
        .apply("name: missing\nsteps:\n  - { name: a, tool: test.echo, params: { value: \"${input.absent}\" } }\n")
        .await?;
    let failed = world.start_many(&failing, json!({}), 1).await?[0];
    let cancelled = world.start_many(&slow, json!({}), 1).await?[0];
    let timed_out = world.start_many(&late, json!({}), 1).await?[0];
    let unresolved = world.start_many(&missing, json!({}), 1).await?[0];
    world.wait_until_running(cancelled).await?;
    let cancel = Cancel {
        by: "test".to_owned(),
        reason: Some("enough".to_owned()),
    };
    world.submit(cancelled, InputKind::Cancel(cancel)).await?;
    let ended = world
        .wait_for_ends(&[failed, cancelled, timed_out, unresolved])
        .await?;
    let status = |id| {
        (
            ended[&id].status,
            ended[&id].error.clone().expect("a reason").code,
        )
    };
    assert_eq!(
        status(failed),
        (ExecutionStatus::Failed, "test.fail".to_owned())
    );
    assert_eq!(
        status(cancelled),
        (ExecutionStatus::Cancelled, "execution.cancelled".to_owned())
    );
    assert_eq!(
        status(timed_out),
        (ExecutionStatus::Failed, "execution.timeout".to_owned())
    );
    assert_eq!(
        status(unresolved),
        (ExecutionStatus::Failed, "expression.unresolved".to_owned())
    );
    assert_eq!(world.step(failed, "never").status, StepStatus::Skipped);
    worker.stop().await?;
    orchestrator.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_moves_to_another_orchestrator_and_nothing_is_lost() -> Result<()> {
    let world = World::start().await?;
    let first = world.orchestrator();
    let worker = world.worker();
    let workflow = world.apply(NOOP_5).await?;
    let before = world.start_many(&workflow, json!({}), 100).await?;
    // Aborted in the middle: no last checkpoint, no lease given back.
    first.abort().await;
    let between = world.start_many(&workflow, json!({}), 100).await?;
    let second = world.orchestrator();
    let after = world.start_many(&workflow, json!({}), 100).await?;
    let all: Vec<_> = before.into_iter().chain(between).chain(after).collect();
    let ended = world.wait_for_ends(&all).await?;
    assert!(
        ended
            .values()
            .all(|end| end.status == ExecutionStatus::Completed)
    );
    world.assert_history_is_gapless();
    worker.stop().await?;
    second.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_orchestrators_share_the_partitions() -> Result<()> {
    let world = World::start().await?;
    let first = world.orchestrator();
    let second = world.orchestrator();
    let worker = world.worker();
    let workflow = world.apply(NOOP_5).await?;
    let ids = world.start_many(&workflow, json!({}), 300).await?;
    let ended = world.wait_for_ends(&ids).await?;
    assert!(
        ended
            .values()
            .all(|end| end.status == ExecutionStatus::Completed)
    );
    world
        .wait_until("both own partitions", || {
            first.stats().started > 0 || second.stats().started > 0
        })
        .await?;
    first.stop().await?;
    let ids = world.start_many(&workflow, json!({}), 100).await?;
    world.wait_for_ends(&ids).await?;
    world.assert_history_is_gapless();
    worker.stop().await?;
    second.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_nats_server_loses_nothing() -> Result<()> {
    killed_nats_server(Durability::Fast).await
}

/// In durable mode the work queues are in the server's memory: they are gone, with their consumers.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_nats_server_loses_nothing_in_durable_mode() -> Result<()> {
    killed_nats_server(Durability::Durable).await
}

async fn killed_nats_server(durability: Durability) -> Result<()> {
    let mut world = World::start_with(durability).await?;
    let orchestrator = world.orchestrator();
    let worker = world.worker();
    let workflow = world.apply(NOOP_5).await?;
    let mut ids = world.start_many(&workflow, json!({}), 100).await?;
    world.kill_and_restart_nats()?;
    ids.extend(world.start_many(&workflow, json!({}), 100).await?);
    let ended = world.wait_for_ends(&ids).await?;
    assert!(
        ended
            .values()
            .all(|end| end.status == ExecutionStatus::Completed)
    );
    world.assert_history_is_gapless();
    worker.stop().await?;
    orchestrator.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn large_outputs_travel_as_artifacts() -> Result<()> {
    let world = World::start().await?;
    let orchestrator = world.orchestrator();
    let worker = world.worker();
    let workflow = world
        .apply(concat!(
            "name: large\n",
            "steps:\n",
            "  - { name: a, tool: test.bytes, assign: a, params: { bytes: 700000 } }\n",
            "  - { name: b, tool: test.echo, assign: b, params: { value: \"${a}\" } }\n"
        ))
        .await?;
    let ids = world.start_many(&workflow, json!({}), 1).await?;
    let ended = world.wait_for_ends(&ids).await?;
    assert_eq!(
        ended[&ids[0]].status,
        ExecutionStatus::Completed,
        "{:?}",
        ended[&ids[0]].error
    );
    let output = world.step(ids[0], "a").output.unwrap_or_default();
    assert!(output.get("$artifact").is_some(), "a reference: {output}");
    let echoed = world.step(ids[0], "b").output.unwrap_or_default();
    assert!(
        echoed.get("$artifact").is_some(),
        "resolved, echoed and stored again: {echoed}"
    );
    worker.stop().await?;
    orchestrator.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_dropped_up_to_the_checkpoint() -> Result<()> {
    let world = World::start().await?;
    let orchestrator = world.orchestrator();
    let worker = world.worker();
    let workflow = world.apply(NOOP_5).await?;
    let ids = world.start_many(&workflow, json!({}), 50).await?;
    world.wait_for_ends(&ids).await?;
    world
        .wait_until_log_is_empty(Duration::from_secs(10))
        .await?;
    let starts = world
        .events()
        .into_iter()
        .filter(|event| matches!(event.kind, HistoryKind::ExecutionStarted(_)));
    assert_eq!(starts.count(), 50);
    worker.stop().await?;
    orchestrator.stop().await?;
    Ok(())
}
