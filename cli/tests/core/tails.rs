//! Streams that lost their end, as in mode `fast` they may when a machine loses power.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::NOOP_5;
use crate::world::{Shape, World};

const LOG: &str = "AFU9_LOG";

const OWNERS: &str = "KV_AFU9_OWNERS";

const PATIENCE: Duration = Duration::from_secs(10);

async fn carry_out(world: &World, count: usize) -> Result<()> {
    let workflow = world.apply(NOOP_5).await?;
    let ids = world.start_many(&workflow, json!({}), count).await?;
    world.wait_for_ends(&ids).await?;
    Ok(())
}

/// The log goes on at positions that were read, and that the checkpoints name as covered.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_accepted_after_the_log_lost_its_end_is_carried_out() -> Result<()> {
    let mut world = World::start_as(Shape {
        files: true,
        ..Shape::default()
    })
    .await?;
    let worker = world.worker();
    let first = world.orchestrator();
    carry_out(&world, 20).await?;
    world.wait_until_log_is_empty(PATIENCE).await?;
    world.nats.kill()?;
    let earlier = world.nats.copy_stream(LOG)?;
    world.nats.restart()?;

    // While an owner runs, and while none does. Each time less comes than was lost, and it stays in the log
    // until it is folded.
    carry_out(&world, 50).await?;
    world.wait_until_log_is_empty(PATIENCE).await?;
    world.nats.kill()?;
    world.nats.lose_what_followed(&earlier, true)?;
    world.nats.restart()?;
    carry_out(&world, 10).await?;
    assert!(first.stats().log_tails_lost > 0);
    world.wait_until_log_is_empty(PATIENCE).await?;

    carry_out(&world, 50).await?;
    first.stop().await?;
    world.nats.kill()?;
    world.nats.lose_what_followed(&earlier, true)?;
    world.nats.restart()?;
    let second = world.orchestrator();
    carry_out(&world, 10).await?;
    assert!(second.stats().log_tails_lost > 0);
    world.wait_until_log_is_empty(PATIENCE).await?;
    world.assert_history_is_gapless();
    worker.stop().await?;
    second.stop().await
}

/// An owner renews its lease at a revision that is no longer there.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_have_owners_after_the_leases_lost_their_end() -> Result<()> {
    let mut world = World::start_as(Shape {
        files: true,
        ..Shape::default()
    })
    .await?;
    let worker = world.worker();
    let orchestrator = world.orchestrator();
    carry_out(&world, 1).await?;
    let earlier = world.nats.copy_stream(OWNERS)?;
    // Some renewals.
    tokio::time::sleep(Duration::from_secs(4)).await;
    world.nats.kill()?;
    world.nats.lose_what_followed(&earlier, true)?;
    world.nats.restart()?;
    // Longer than a lease lives that nobody renews.
    tokio::time::sleep(Duration::from_secs(6)).await;
    carry_out(&world, 20).await?;
    worker.stop().await?;
    orchestrator.stop().await
}
