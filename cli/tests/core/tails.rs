//! Streams that lost their end, as in mode `fast` they may when a machine loses power.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use afu9_broker::kv::Change;
use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::time::timeout;

use crate::NOOP_5;
use crate::world::{Shape, World};

const LOG: &str = "AFU9_LOG";

const OWNERS: &str = "KV_AFU9_OWNERS";

const PATIENCE: Duration = Duration::from_secs(10);

/// A lease is renewed each second, or taken over after four.
const RENEWED_WITHIN: Duration = Duration::from_secs(30);

/// With a server into whose files one can look.
async fn world() -> Result<World> {
    World::start_as(Shape {
        files: true,
        ..Shape::default()
    })
    .await
}

/// Waits until every partition's lease was renewed, by whoever holds it.
async fn wait_until_renewed(world: &World) -> Result<()> {
    let mut watch = world.broker().leases().await?.watch().await?;
    let mut first = BTreeMap::new();
    let mut renewed = BTreeSet::new();
    let all = usize::from(world.broker().partitions().get());
    let renewals = async {
        while renewed.len() < all {
            if let Change::Lease {
                partition, lease, ..
            } = watch.next().await?
            {
                let seen = first.entry(partition).or_insert_with(|| lease.clone());
                if lease.owner.is_some() && *seen != lease {
                    renewed.insert(partition);
                }
            }
        }
        anyhow::Ok(())
    };
    timeout(RENEWED_WITHIN, renewals)
        .await
        .context("leases are not renewed")?
}

async fn carry_out(world: &World, count: usize) -> Result<()> {
    let workflow = world.apply(NOOP_5).await?;
    let ids = world.start_many(&workflow, json!({}), count).await?;
    world.wait_for_ends(&ids).await?;
    Ok(())
}

/// The log goes on at positions that were read, and that the checkpoints name as covered.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_accepted_after_the_log_lost_its_end_is_carried_out() -> Result<()> {
    let mut world = world().await?;
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
    let mut world = world().await?;
    let worker = world.worker();
    let orchestrator = world.orchestrator();
    carry_out(&world, 1).await?;
    let earlier = world.nats.copy_stream(OWNERS)?;
    wait_until_renewed(&world).await?;
    world.nats.kill()?;
    world.nats.lose_what_followed(&earlier, true)?;
    world.nats.restart()?;
    wait_until_renewed(&world).await?;
    carry_out(&world, 20).await?;
    worker.stop().await?;
    orchestrator.stop().await
}
