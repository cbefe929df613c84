//! What a newer version wrote is not touched: it is refused, stays where it is, and holds up nobody who
//! does not need it.

use std::time::Duration;

use afu9_schemas::message::{ControlAction, ControlOutcome, InputKind, WorkflowRef};
use afu9_schemas::view::ExecutionStatus;
use afu9_schemas::{ExecutionId, Lane, Partition, WorkerKind, codec, subject};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::world::{Server, World, until};

const ECHO: &str = "name: echo\nsteps:\n  - { name: a, tool: test.echo, params: { value: 1 } }\n";

/// Its executions wait until they are told to go on.
const WAITING: &str = "name: waiting\nsteps:\n  - { name: a, waitFor: { signal: go } }\n";

/// The partition that meets something newer, and one that does not.
const STOPPED: Partition = Partition::new(1);
const OTHER: Partition = Partition::new(2);

/// Owners that took a lease since, if one has taken it, given up, and taken it again.
const TWO_TRIES: u64 = 2;

/// The same message as a newer version would write it, as far as this one can tell.
fn newer(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[0] = codec::WIRE_VERSION + 1;
    bytes
}

/// A key of a bucket: its revision and its value.
async fn entry(server: &Server, bucket: &str, key: &str) -> Result<(u64, Vec<u8>)> {
    let stream = format!("KV_{bucket}");
    let last = json!({ "last_by_subj": format!("$KV.{bucket}.{key}") });
    let found = server
        .api(&format!("STREAM.MSG.GET.{stream}"), &last)
        .await?;
    let revision = found["message"]["seq"].as_u64().context("a revision")?;
    let value = server.message(&stream, revision).await?;
    Ok((revision, value.context("a value")?))
}

/// How many owners [`STOPPED`] has had; none if its lease is just being written.
async fn owners(server: &Server) -> Option<u64> {
    let entry = entry(server, "AFU9_OWNERS", &format!("partition.{STOPPED}")).await;
    let lease: afu9_broker::kv::Lease = codec::decode(&entry.ok()?.1).ok()?;
    Some(lease.epoch)
}

/// Waits until an owner has given up and another one has tried.
async fn gives_up(server: &Server, before: u64) -> Result<()> {
    until("the owner to give up twice", async || {
        let owners = owners(server).await;
        Ok(owners.is_some_and(|owners| owners >= before + TWO_TRIES))
    })
    .await
}

/// Starts an execution in a partition.
async fn start_in(
    world: &World,
    partition: Partition,
    workflow: &WorkflowRef,
) -> Result<ExecutionId> {
    let id = ExecutionId::new_in(partition, world.broker().partitions());
    let start = world.submission(workflow, json!({}))?;
    world.submit(id, InputKind::Start(Box::new(start))).await?;
    Ok(id)
}

async fn completes(world: &World, id: ExecutionId) -> Result<()> {
    let ended = world.wait_for_ends(&[id]).await?;
    ensure!(ended[&id].status == ExecutionStatus::Completed, "{ended:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_of_a_newer_version_stops_its_partition_only_and_stays() -> Result<()> {
    let world = World::start().await?;
    let server = world.server()?;
    let workflow = world.apply(ECHO).await?;
    let payload = newer(&[0, 0x80]);
    let sequence = world
        .publish(subject::log(STOPPED), payload.clone())
        .await?;
    let behind = start_in(&world, STOPPED, &workflow).await?;
    let worker = world.worker();
    let orchestrator = world.orchestrator();
    let beside = start_in(&world, OTHER, &workflow).await?;
    completes(&world, beside).await?;
    let before = owners(&server).await.unwrap_or(0);
    gives_up(&server, before).await?;
    assert_eq!(world.ended(), 1, "what is behind it waits");
    assert_eq!(server.message("AFU9_LOG", sequence).await?, Some(payload));
    assert_eq!(server.messages("AFU9_DLQ").await?, 0);
    assert_eq!(orchestrator.stats().undecodable_inputs, 0);

    // A newer process has taken care of it.
    let gone = json!({ "seq": sequence, "no_erase": true });
    server.api("STREAM.MSG.DELETE.AFU9_LOG", &gone).await?;
    completes(&world, behind).await?;
    worker.stop().await?;
    orchestrator.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_of_a_newer_version_is_not_overwritten() -> Result<()> {
    let world = World::start().await?;
    let server = world.server()?;
    let workflow = world.apply(WAITING).await?;
    let orchestrator = world.orchestrator();
    let id = start_in(&world, STOPPED, &workflow).await?;
    world.view(id).await?;
    orchestrator.stop().await?;

    let store = world.broker().checkpoints(STOPPED).await?;
    let (head, _) = store.load_head().await?.context("a head")?;
    let segment = format!("{}.0", head.segments.first().context("a segment")?.name);
    for key in [format!("{STOPPED}.head"), segment.clone()] {
        let bucket = "AFU9_CHECKPOINTS";
        let (_, known) = entry(&server, bucket, &key).await?;
        let subject = format!("$KV.{bucket}.{key}");
        let revision = world.publish(subject.clone(), newer(&known)).await?;
        let before = owners(&server).await.unwrap_or(0);
        let orchestrator = world.orchestrator();
        gives_up(&server, before).await?;
        orchestrator.stop().await?;
        let found = entry(&server, bucket, &key).await?;
        assert_eq!(found, (revision, newer(&known)), "{key}");
        world.publish(subject, known).await?;
        // An owner puts its name into a head it can read, and changes nothing else.
        let (found, _) = store.load_head().await?.context("a head")?;
        assert_eq!((found.floor, &found.segments), (head.floor, &head.segments));
    }

    let orchestrator = world.orchestrator();
    let signal = ControlAction::Signal {
        name: "go".to_owned(),
        payload: Value::Null,
    };
    assert_eq!(world.control(id, signal).await?, ControlOutcome::Applied);
    completes(&world, id).await?;
    orchestrator.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_a_newer_version_is_handed_back_and_the_next_one_is_done() -> Result<()> {
    let world = World::start().await?;
    let server = world.server()?;
    let kind = WorkerKind::new("test")?;
    let payload = newer(&[0, 0x80]);
    let sequence = world
        .publish(subject::work(&kind, Lane::Bulk), payload.clone())
        .await?;
    let worker = world.worker();
    let orchestrator = world.orchestrator();
    let workflow = world.apply(ECHO).await?;
    let id = world.start_one(&workflow, json!({})).await?;
    completes(&world, id).await?;
    // The other job is acknowledged after its result, on which the execution ended.
    until(
        "the newer job alone to be delivered and not done",
        async || {
            let info = server.consumer("AFU9_WORK_TEST", "workers_bulk").await?;
            Ok(info["num_ack_pending"] == 1)
        },
    )
    .await?;
    let found = server.message("AFU9_WORK_TEST", sequence).await?;
    assert_eq!(found, Some(payload));
    assert_eq!(server.messages("AFU9_DLQ").await?, 0);
    worker.stop().await?;
    orchestrator.stop().await
}

/// Its deliveries run out while no newer worker is there: then the notice of that stays as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_a_newer_version_outlasts_its_deliveries() -> Result<()> {
    let world = World::start().await?;
    let server = world.server()?;
    let kind = WorkerKind::new("test")?;
    let payload = newer(&[0, 0x80]);
    let sequence = world
        .publish(subject::work(&kind, Lane::Bulk), payload.clone())
        .await?;
    let mut queue = world.broker().work_consumer(&kind, Lane::Bulk).await?;
    for _ in 0..afu9_broker::work::MAX_DELIVER {
        let delivery = loop {
            queue.ask(1).await?;
            if let Some(delivery) = queue.next().await {
                break delivery;
            }
        };
        delivery.hand_back(Duration::ZERO).await?;
    }
    queue.ask(1).await?;
    until("the notice", async || {
        Ok(server.messages("AFU9_ADVISORIES").await? == 1)
    })
    .await?;
    let orchestrator = world.orchestrator();
    until("the notice to be looked at", async || {
        let info = server.consumer("AFU9_ADVISORIES", "dead_letters").await;
        Ok(info.is_ok_and(|info| info["num_ack_pending"] == 1))
    })
    .await?;
    // The orchestrator works on, beside it.
    let workflow = world
        .apply("name: w\nsteps:\n  - { name: a, sleep: 1ms }\n")
        .await?;
    let id = world.start_one(&workflow, json!({})).await?;
    completes(&world, id).await?;
    orchestrator.stop().await?;
    let info = server.consumer("AFU9_ADVISORIES", "dead_letters").await?;
    assert_eq!(info["num_ack_pending"], 1, "{info}");
    let found = server.message("AFU9_WORK_TEST", sequence).await?;
    assert_eq!(found, Some(payload));
    assert_eq!(server.messages("AFU9_DLQ").await?, 0);
    Ok(())
}
