//! The core on a real nats-server: orchestrators and test workers in this process, inputs through
//! the log, outcomes read from history.

mod children;
#[path = "../e2e/harness/command.rs"]
mod command;
mod commands;
mod deferred;
mod desk;
mod docs;
mod facts;
mod full;
mod handover;
mod items;
mod keys;
mod lanes;
mod poison;
mod queues;
mod schedules;
mod tails;
mod upgrades;
mod wishes;
mod world;

use std::time::Duration;

use afu9_broker::Durability;
use afu9_broker::kv::Swap;
use afu9_broker::publish::Outgoing;
use afu9_schemas::message::history::HistoryKind;
use afu9_schemas::message::{Cancel, InputKind};
use afu9_schemas::view::{ExecutionStatus, ExecutionView, StepStatus};
use afu9_schemas::{InstanceId, Partition};
use anyhow::Result;
use bytes::Bytes;
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
    // Partitions are given to the newcomer one by one, while work goes on.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while first.stats().started == 0 || second.stats().started == 0 {
        anyhow::ensure!(
            tokio::time::Instant::now() < deadline,
            "one owns everything"
        );
        let ids = world.start_many(&workflow, json!({}), 20).await?;
        world.wait_for_ends(&ids).await?;
    }
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
    let workflow = world
        .apply(concat!(
            "name: unhurried\n",
            "steps:\n",
            "  - { name: a, tool: test.noop }\n",
            "  - { name: b, tool: test.sleep, params: { ms: 300 } }\n",
            "  - { name: c, tool: test.sleep, params: { ms: 300 } }\n",
            "  - { name: d, tool: test.noop }\n",
        ))
        .await?;
    let mut ids = world.start_many(&workflow, json!({}), 100).await?;
    let past_the_first = |view: &ExecutionView| view.steps[0].status == StepStatus::Completed;
    let what = "past its first step";
    world.view_when(ids[99], what, past_the_first).await?;
    assert!(
        world.ended() < 100,
        "the server must be killed in the middle"
    );
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

/// An owner that was frozen between its segment and its head must not bring the checkpoint back to
/// what it knew: its successor has claimed it, and removed the segment.
#[tokio::test(flavor = "multi_thread")]
async fn a_stale_owner_cannot_write_a_checkpoint() -> Result<()> {
    let world = World::start().await?;
    let store = world.broker().checkpoints(Partition::new(0)).await?;
    let (first, second) = (InstanceId::new(), InstanceId::new());
    let (head, revision) = store.claim(first, 1).await?;
    let segment = store
        .put_segment("1-1", Bytes::from_static(b"state"))
        .await?;
    let mut stale = head.clone();
    stale.segments.push(segment);
    let (claimed, _) = store.claim(second, 2).await?;
    assert_eq!((claimed.owner, claimed.floor), (second, head.floor));
    assert_eq!(store.sweep(&claimed).await?, 1, "the leftover is removed");
    assert_eq!(store.put_head(&stale, revision).await?, Swap::Lost);
    let (found, _) = store.load_head().await?.expect("a head");
    assert_eq!(found, claimed);
    assert!(store.segments(&found).await?.is_empty());
    Ok(())
}

/// More messages in one tick than the connection has permits for, from several callers at once.
#[tokio::test(flavor = "multi_thread")]
async fn very_many_messages_are_published_at_once() -> Result<()> {
    let world = World::start().await?;
    let publish = |caller: usize| {
        let broker = world.broker().clone();
        let messages = (0..6000)
            .map(|number| Outgoing {
                subject: "afu9.dlq.test".to_owned(),
                payload: Bytes::from_static(b"x"),
                message_id: Some(format!("{caller}.{number}")),
            })
            .collect();
        async move { broker.publish_all(messages).await }
    };
    let all = futures::future::join_all((0..3).map(publish));
    let results = tokio::time::timeout(Duration::from_secs(60), all).await?;
    let stored = results
        .iter()
        .flatten()
        .filter(|result| result.is_ok())
        .count();
    assert_eq!(stored, 18_000);
    Ok(())
}
