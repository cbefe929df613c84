//! A work queue and the input log that are full at the same time, with bounds small enough to get there.

use std::collections::HashSet;
use std::time::Duration;

use afu9_broker::config::Limits;
use afu9_engine::checkpoint::Segment;
use afu9_schemas::message::WorkflowRef;
use afu9_schemas::view::ExecutionStatus;
use afu9_schemas::{ExecutionId, Lane, codec};
use anyhow::{Context as _, Result, ensure};
use reqwest::{StatusCode, header};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::desk::Desk;
use crate::world::{Probe, Shape, World};

/// Several seconds of submissions: how full it is, gateways and owners know within a fraction of a second.
const LOG_BYTES: i64 = 8 * 1024 * 1024;

const WORK_BYTES: i64 = 512 * 1024;

/// Of each submission, and so of its job.
const INPUT_BYTES: usize = 6 * 1024;

/// Of each of the first results: a few of them fill what gateways leave free in the log, and the queue has
/// room for a few jobs only by then.
const OUTPUT_BYTES: usize = 192 * 1024;

const LARGE_OUTPUTS: usize = 64;

/// Several checkpoints: what is refused all this time is not refused for want of one.
const REFUSED_FOR: Duration = Duration::from_secs(3);

/// Far longer than anything here takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(10);

const SOURCE: &str = concat!(
    "name: comment\n",
    "steps:\n",
    "  - name: say\n",
    "    tool: github.addComment\n",
    "    params: { owner: octo, repo: factory, number: 1, body: \"${input.text}\" }\n",
);

async fn bounded_by(limits: Limits) -> Result<World> {
    World::start_as(Shape {
        limits,
        ..Shape::default()
    })
    .await
}

async fn small() -> Result<World> {
    bounded_by(Limits {
        log_bytes: LOG_BYTES,
        work_bytes: WORK_BYTES,
        ..Limits::default()
    })
    .await
}

fn input() -> Value {
    json!({ "text": "x".repeat(INPUT_BYTES) })
}

/// Submits until nothing is taken any more, and returns what was. What comes after the first `at_once` is
/// submitted at leisure.
async fn submit_until_full(
    desk: &Desk,
    workflow: &WorkflowRef,
    lane: Lane,
    at_once: usize,
) -> Result<Vec<ExecutionId>> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let body = json!({ "input": input(), "lane": lane });
    let deadline = Instant::now() + PATIENCE;
    let mut accepted = Vec::new();
    let mut taken = Instant::now();
    while taken.elapsed() < REFUSED_FOR {
        ensure!(Instant::now() < deadline, "{} were taken", accepted.len());
        let answer = desk.trigger(&http, &workflow.name, &body).await?;
        let status = answer.status();
        let wait = answer.headers().get(header::RETRY_AFTER).cloned();
        let answer: Value = answer.json().await?;
        if status == StatusCode::ACCEPTED {
            let id = answer["executionId"].as_str().context("an id")?;
            accepted.push(id.parse()?);
            if accepted.len() >= at_once {
                sleep(POLL).await;
            }
            taken = Instant::now();
            continue;
        }
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
        let seconds: u64 = wait.context("Retry-After")?.to_str()?.parse()?;
        assert!(seconds > 0, "{answer}");
        sleep(POLL).await;
    }
    Ok(accepted)
}

/// All of them completed, each of their jobs ran once, and each ended once.
async fn assert_worked_off(world: &World, probe: &Probe, ids: &[ExecutionId]) -> Result<()> {
    for (id, end) in &world.wait_for_ends(ids).await? {
        assert_eq!(
            end.status,
            ExecutionStatus::Completed,
            "{id}: {:?}",
            end.error
        );
    }
    assert_eq!(world.ended(), ids.len(), "each once");
    world.assert_history_is_gapless();
    let ran = probe.jobs();
    let wanted: HashSet<ExecutionId> = ids.iter().copied().collect();
    let seen: HashSet<ExecutionId> = ran.iter().map(|job| job.execution).collect();
    assert_eq!(seen, wanted);
    assert_eq!(ran.len(), ids.len(), "each job ran once");
    Ok(())
}

/// The owners decide nothing new for want of room in the queue, and the results that make room there fill
/// the log that they do not read.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_and_a_full_log_are_worked_off_as_soon_as_there_are_workers() -> Result<()> {
    let world = small().await?;
    let orchestrator = world.orchestrator();
    let desk = world.desk().await?;
    let workflow = world.apply(SOURCE).await?;
    let ids = submit_until_full(&desk, &workflow, Lane::Bulk, usize::MAX).await?;
    let held = ids.len() * INPUT_BYTES;
    // Gateways leave a quarter of the log free.
    let streams = usize::try_from(LOG_BYTES / 4 * 3 + WORK_BYTES)?;
    assert!(
        held > streams,
        "{held} bytes were taken: the owners keep what queues do not take"
    );

    let probe = Probe::default();
    let worker = world.worker_with(probe.toolbox_with(|before| {
        let bytes = if before < LARGE_OUTPUTS {
            OUTPUT_BYTES
        } else {
            1
        };
        json!({ "text": "y".repeat(bytes) })
    }));
    assert_worked_off(&world, &probe, &ids).await?;
    world.wait_until_log_is_empty(PATIENCE).await?;
    desk.close().await?;
    worker.stop().await?;
    orchestrator.stop().await
}

/// Without workers everything waits in the memory of the owners.
#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_taken_in_than_may_be_live_and_the_last_of_it_is_for_those_who_wait()
-> Result<()> {
    const LIVE_BYTES: usize = 16 * 1024 * 1024;
    // Owners are asked twice a second: what is submitted between two answers must be little against the
    // eighth that is kept for those who wait.
    const AT_ONCE: usize = LIVE_BYTES / INPUT_BYTES / 4;
    let world = bounded_by(Limits {
        live_bytes: i64::try_from(LIVE_BYTES)?,
        ..Limits::default()
    })
    .await?;
    let orchestrator = world.orchestrator();
    let desk = world.desk().await?;
    let workflow = world.apply(SOURCE).await?;
    let mut ids = submit_until_full(&desk, &workflow, Lane::Bulk, AT_ONCE).await?;
    let bulk = ids.len();
    // An input counts twice while a job has it too.
    assert!(bulk * INPUT_BYTES > LIVE_BYTES / 4, "{bulk}");
    // What was under way when the owners became full came on top.
    assert!(bulk * INPUT_BYTES < LIVE_BYTES * 2, "{bulk}");
    ids.extend(submit_until_full(&desk, &workflow, Lane::Interactive, 0).await?);
    assert!(ids.len() > bulk, "the other lane has room left");

    let probe = Probe::default();
    let worker = world.worker_with(probe.toolbox());
    assert_worked_off(&world, &probe, &ids).await?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    let body = json!({ "input": input() });
    let deadline = Instant::now() + PATIENCE;
    while desk.trigger(&http, &workflow.name, &body).await?.status() != StatusCode::ACCEPTED {
        ensure!(Instant::now() < deadline, "there is room again");
        sleep(POLL).await;
    }
    desk.close().await?;
    worker.stop().await?;
    orchestrator.stop().await
}

/// Jobs that the queue has not taken, as checkpoints have them.
async fn unsent(world: &World) -> Result<usize> {
    let mut unsent = 0;
    for partition in world.broker().partitions().all() {
        let store = world.broker().checkpoints(partition).await?;
        let Some((head, _)) = store.load_head().await? else {
            continue;
        };
        let mut last = None;
        for bytes in store.segments(&head).await? {
            last = codec::decode::<Segment>(&bytes)?.unsent.or(last);
        }
        unsent += last.map_or(0, |jobs| jobs.len());
    }
    Ok(unsent)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_queue_did_not_take_is_published_by_the_next_owner() -> Result<()> {
    const EXECUTIONS: usize = 200;
    let world = small().await?;
    let first = world.orchestrator();
    let workflow = world.apply(SOURCE).await?;
    let ids = world.start_many(&workflow, input(), EXECUTIONS).await?;
    // Nothing is left to be folded again: the checkpoints alone know of these jobs.
    world.wait_until_log_is_empty(PATIENCE).await?;
    let left = unsent(&world).await?;
    let queue = usize::try_from(WORK_BYTES)? / INPUT_BYTES;
    assert!(left >= EXECUTIONS - queue, "{left}");
    first.abort().await;

    let probe = Probe::default();
    let worker = world.worker_with(probe.toolbox());
    let second = world.orchestrator();
    assert_worked_off(&world, &probe, &ids).await?;
    let deadline = Instant::now() + PATIENCE;
    while unsent(&world).await? > 0 {
        ensure!(
            Instant::now() < deadline,
            "they are still left for another owner"
        );
        sleep(POLL).await;
    }
    worker.stop().await?;
    second.stop().await
}
