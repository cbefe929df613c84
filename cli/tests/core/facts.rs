//! What JetStream does that one would not think, as it is met by the roles. The list of all such facts,
//! with their tests, is in docs/reliability.md.

use std::time::Duration;

use afu9_broker::config::Limits;
use afu9_schemas::view::ExecutionStatus;
use afu9_schemas::{Lane, WorkerKind, codec, subject};
use anyhow::Result;
use serde_json::json;

use crate::world::{Shape, World, until};

const WORK: &str = "AFU9_WORK_TEST";

/// Several times as long as the server waits for a sign of life.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_job_is_delivered_once() -> Result<()> {
    let world = World::start_as(Shape {
        ack_wait: Duration::from_millis(1500),
        ..Shape::default()
    })
    .await?;
    let orchestrator = world.orchestrator();
    let worker = world.worker();
    let source = "name: long\nsteps:\n  - { name: a, tool: test.sleep, params: { ms: 6000 } }\n";
    let workflow = world.apply(source).await?;
    let id = world.start_one(&workflow, json!({})).await?;
    let ended = world.wait_for_ends(&[id]).await?;
    assert_eq!(ended[&id].status, ExecutionStatus::Completed);
    assert_eq!(world.step(id, "a").attempts.len(), 1);
    let info = world.server()?.consumer(WORK, "workers_bulk").await?;
    assert_eq!(info["delivered"]["consumer_seq"], 1, "{info}");
    worker.stop().await?;
    orchestrator.stop().await
}

/// Acknowledging a job deletes it: what cannot be set aside yet stays where it is.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_job_is_acknowledged_only_once_it_is_a_dead_letter() -> Result<()> {
    const DLQ: &str = "AFU9_DLQ";
    let world = World::start_as(Shape {
        limits: Limits {
            dead_letter_bytes: 1024,
            ..Limits::default()
        },
        ..Shape::default()
    })
    .await?;
    let server = world.server()?;
    let mut garbage = vec![0xc1; 4096];
    garbage[0] = codec::WIRE_VERSION;
    let work = subject::work(&WorkerKind::new("test")?, Lane::Bulk);
    let sequence = world.publish(work.clone(), garbage.clone()).await?;
    let small = vec![codec::WIRE_VERSION, 0xc1];
    let worker = world.worker();
    until("the job to be looked at", async || {
        let info = server.consumer(WORK, "workers_bulk").await;
        Ok(info.is_ok_and(|info| info["delivered"]["stream_seq"] == sequence))
    })
    .await?;
    // One that fits is done with meanwhile.
    world.publish(work, small).await?;
    until("the small one to be set aside", async || {
        Ok(server.messages(DLQ).await? == 1 && server.messages(WORK).await? == 1)
    })
    .await?;
    assert_eq!(server.message(WORK, sequence).await?, Some(garbage));
    let info = server.consumer(WORK, "workers_bulk").await?;
    assert_eq!(info["num_ack_pending"], 1, "{info}");
    worker.stop().await
}

/// The server allows a thousand of them for each stream.
#[tokio::test(flavor = "multi_thread")]
async fn executions_have_no_consumers_of_their_own() -> Result<()> {
    let world = World::start().await?;
    let server = world.server()?;
    let orchestrator = world.orchestrator();
    let worker = world.worker();
    let source = concat!(
        "name: w\nsteps:\n",
        "  - { name: a, tool: test.noop }\n",
        "  - { name: b, tool: test.noop, forEach: [1, 2, 3] }\n",
    );
    let workflow = world.apply(source).await?;
    let first = world.start_many(&workflow, json!({}), 20).await?;
    world.wait_for_ends(&first).await?;
    let before = server.consumers().await?;
    let more = world.start_many(&workflow, json!({}), 500).await?;
    world.wait_for_ends(&more).await?;
    assert_eq!(server.consumers().await?, before);
    worker.stop().await?;
    orchestrator.stop().await
}
