//! Queues that are not there, and a log that is full.

use std::time::Duration;

use afu9_broker::Durability;
use afu9_broker::config::Limits;
use afu9_schemas::view::ExecutionStatus;
use anyhow::{Context, Result};
use serde_json::json;

use crate::world::{Shape, World};

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_a_kind_that_is_off_fail_and_hold_nobody_up() -> Result<()> {
    let world = World::start_as(Shape {
        kinds: vec!["github"],
        ..Shape::default()
    })
    .await?;
    let orchestrator = world.orchestrator();
    let off = world
        .apply("name: off\nsteps:\n  - { name: a, tool: test.noop, retry: { maxAttempts: 3 } }\n")
        .await?;
    let on = world
        .apply("name: on\nsteps:\n  - { name: a, sleep: 1ms }\n")
        .await?;
    let refused = world.start_many(&off, json!({}), 20).await?;
    let others = world.start_many(&on, json!({}), 20).await?;
    for (id, end) in &world.wait_for_ends(&others).await? {
        assert_eq!(end.status, ExecutionStatus::Completed, "{id}");
    }
    for (id, end) in &world.wait_for_ends(&refused).await? {
        assert_eq!(end.status, ExecutionStatus::Failed, "{id}");
        let error = end.error.as_ref().context("a reason")?;
        assert_eq!(error.code, "job.no_queue");
        assert_eq!(world.step(*id, "a").attempts.len(), 1, "not tried again");
    }
    orchestrator.stop().await
}

/// In durable mode queues are in the memory of the server.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_waits_for_a_queue_that_went_with_the_server() -> Result<()> {
    let mut world = World::start_with(Durability::Durable).await?;
    let workflow = world
        .apply("name: w\nsteps:\n  - { name: a, tool: test.noop }\n")
        .await?;
    world.kill_and_restart_nats()?;
    let worker = world.worker();
    // It has looked, and found no queue.
    tokio::time::timeout(Duration::from_secs(1), worker.ended())
        .await
        .expect_err("it waits");
    let orchestrator = world.orchestrator();
    let id = world.start_one(&workflow, json!({})).await?;
    let ended = world.wait_for_ends(&[id]).await?;
    assert_eq!(ended[&id].status, ExecutionStatus::Completed);
    worker.stop().await?;
    orchestrator.stop().await
}

/// What executions send each other has to go through the log that their own inputs fill.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_nearly_always_full_is_worked_off() -> Result<()> {
    const CHILDREN: usize = 60;
    let world = World::start_as(Shape {
        limits: Limits {
            log_bytes: 64 * 1024,
            ..Limits::default()
        },
        ..Shape::default()
    })
    .await?;
    let orchestrator = world.orchestrator();
    world
        .apply("name: child\nsteps:\n  - { name: a, sleep: 1ms }\noutput: \"${input.n}\"\n")
        .await?;
    let parent = world
        .apply(concat!(
            "name: parent\n",
            "steps:\n",
            "  - name: each\n",
            "    forEach: \"${input.items}\"\n",
            "    maxParallel: 60\n",
            "    workflow: { name: child, input: { n: \"${item}\", pad: \"${input.pad}\" } }\n",
            "output: \"${steps.each.output}\"\n",
        ))
        .await?;
    let items: Vec<usize> = (0..CHILDREN).collect();
    let input = json!({ "items": items, "pad": "x".repeat(3000) });
    let id = world.start_one(&parent, input).await?;
    let ended = world.wait_for_ends(&[id]).await?;
    let end = &ended[&id];
    assert_eq!(end.status, ExecutionStatus::Completed, "{:?}", end.error);
    assert_eq!(end.output, Some(json!(items)), "of each, in order");
    world
        .wait_until_log_is_empty(Duration::from_secs(10))
        .await?;
    orchestrator.stop().await
}
