//! Keys and shares: what contends waits, and nothing else does.

use std::collections::BTreeSet;

use afu9_schemas::id::mix64;
use afu9_schemas::message::{HistoryKind, InputKind, WorkflowRef};
use afu9_schemas::view::{Cause, ExecutionStatus};
use afu9_schemas::{ExecutionId, Partition, Timestamp};
use anyhow::{Context, Result};
use serde_json::json;

use crate::world::{Probe, World};

const SINGLE: &str = r#"
name: single
concurrency: { key: "${input.k}", limit: 1 }
steps:
  - { name: first, tool: test.noop }
  - { name: second, tool: test.sleep, params: { ms: 1 } }
"#;

/// Two steps, between which another execution could come.
const COMMENTS: &str = r#"
name: comments
concurrency: { key: "${input.k}", limit: 1 }
steps:
  - name: first
    tool: github.addComment
    params: { owner: octo, repo: factory, number: 1, body: first }
  - name: second
    tool: github.addComment
    params: { owner: octo, repo: factory, number: 1, body: second }
"#;

/// Decides at which moments the orchestrators are killed, and which of them.
const SEED: u64 = 9;

/// The numbers of ended executions at which an orchestrator is killed.
fn moments(kills: u64, of: u64) -> BTreeSet<u64> {
    (0..kills).map(|n| mix64(SEED ^ n) % of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_for_one_never_has_two_while_orchestrators_are_killed() -> Result<()> {
    let count = 1000;
    let world = World::start().await?;
    let mut orchestrators = vec![world.orchestrator(), world.orchestrator()];
    let probe = Probe::default();
    let worker = world.worker_with(probe.toolbox());
    let workflow = world.apply(COMMENTS).await?;
    let input = json!({ "k": "one" });
    let ids = world.start_many(&workflow, input, count).await?;
    for moment in moments(6, count as u64) {
        world.wait_until_ended(usize::try_from(moment)?).await?;
        let victim = mix64(SEED ^ moment) as usize % orchestrators.len();
        orchestrators.swap_remove(victim).abort().await;
        orchestrators.push(world.orchestrator());
    }
    let ended = world.wait_for_ends(&ids).await?;
    for (id, end) in &ended {
        assert_eq!(end.status, ExecutionStatus::Completed, "{id}");
    }
    assert_eq!(probe.overlap(), None, "by the worker's clock");
    assert_eq!(probe.turns(), ids, "one after the other, as they came");
    assert_eq!(overlap(&intervals(&world)), None, "by the log's clock");
    world.assert_history_is_gapless();
    worker.stop().await?;
    for orchestrator in orchestrators {
        orchestrator.stop().await?;
    }
    Ok(())
}

/// From when to when each execution ran, by the log's clock.
fn intervals(world: &World) -> Vec<(Timestamp, Timestamp, ExecutionId)> {
    let mut began = std::collections::BTreeMap::new();
    let mut ended = std::collections::BTreeMap::new();
    for event in world.events() {
        let Some(id) = event.execution else { continue };
        let status = match &event.kind {
            HistoryKind::ExecutionStarted(started) => started.status,
            HistoryKind::StatusChanged(changed) => changed.status,
            HistoryKind::ExecutionEnded(_) => {
                ended.insert(id, event.at);
                continue;
            }
            _ => continue,
        };
        if status == ExecutionStatus::Running {
            began.entry(id).or_insert(event.at);
        }
    }
    let mut intervals: Vec<_> = began
        .into_iter()
        .map(|(id, from)| (from, ended[&id], id))
        .collect();
    intervals.sort();
    intervals
}

/// Two executions of which one began before the other had ended.
fn overlap(
    intervals: &[(Timestamp, Timestamp, ExecutionId)],
) -> Option<(ExecutionId, ExecutionId)> {
    intervals.windows(2).find_map(|pair| match pair {
        [(_, ended, one), (began, _, other)] if began < ended => Some((*one, *other)),
        _ => None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_noisy_key_does_not_hold_up_a_quiet_one() -> Result<()> {
    let noisy = 3000;
    let world = World::start().await?;
    let orchestrator = world.orchestrator();
    let worker = world.worker();
    let workflow = world.apply(SINGLE).await?;
    let input = json!({ "k": "noisy" });
    let loud = world.start_many(&workflow, input, noisy).await?;
    let last = *loud.last().expect("some");
    let is_key = |cause: &Cause| matches!(cause, Cause::Key { ahead, .. } if *ahead > 0);
    world.cause(last, "waiting for its key", is_key).await?;
    let quiet = world.start_one(&workflow, json!({ "k": "quiet" })).await?;
    let end = world.wait_for_ends(&[quiet]).await?;
    assert_eq!(end[&quiet].status, ExecutionStatus::Completed);
    let ended = world.ended();
    assert!(ended < noisy / 2, "{ended} of the noisy key had ended");
    let explained = world.explain(last).await?;
    assert!(
        explained.causes.iter().any(|cause| is_key(&cause.cause)),
        "the last of the noisy key still waits: {explained:?}"
    );
    worker.stop().await?;
    orchestrator.stop().await?;
    Ok(())
}

/// More units than a queue takes in: what another workflow wants later is next all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_noisy_workflow_does_not_hold_up_another_one() -> Result<()> {
    let noisy = 8000;
    let world = World::start().await?;
    let orchestrator = world.orchestrator();
    let definition =
        |name: &str| format!("name: {name}\nsteps: [{{ name: a, tool: test.noop }}]\n");
    let loud = world.apply(&definition("loud")).await?;
    let quiet = world.apply(&definition("quiet")).await?;
    // All in one partition: each has queues of its own.
    let partitions = world.broker().partitions();
    let submit = async |workflow: &WorkflowRef, count: usize| -> Result<ExecutionId> {
        let start = world.submission(workflow, json!({}))?;
        let starts = (0..count).map(|_| {
            let id = ExecutionId::new_in(Partition::new(0), partitions);
            (id, InputKind::Start(Box::new(start.clone())))
        });
        let ids = world.submit_all(starts).await?;
        Ok(ids[count - 1])
    };
    let last = submit(&loud, noisy).await?;
    let one = submit(&quiet, 1).await?;
    let ahead = async |id: ExecutionId| -> Result<u64> {
        let is_turn = |cause: &Cause| matches!(cause, Cause::Worker { job: None, .. });
        let cause = world.cause(id, "waiting for its turn", is_turn).await?;
        match cause.cause {
            Cause::Worker { ahead, .. } => ahead.context("known to the owner"),
            _ => Ok(0),
        }
    };
    let (of_last, of_one) = (ahead(last).await?, ahead(one).await?);
    assert_eq!(of_last, noisy as u64, "all of its own, and the quiet one");
    assert!(
        of_one < noisy as u64 / 2,
        "{of_one} are ahead of the quiet one"
    );
    // Only now somebody works.
    let worker = world.worker();
    let end = world.wait_for_ends(&[one]).await?;
    assert_eq!(end[&one].status, ExecutionStatus::Completed);
    let ended = world.ended();
    assert!(
        ended < noisy * 3 / 4,
        "{ended} of the noisy workflow had ended"
    );
    worker.stop().await?;
    orchestrator.stop().await?;
    Ok(())
}
