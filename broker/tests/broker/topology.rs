//! Streams and buckets: made once, compared ever after, never mended.

use std::collections::BTreeSet;

use afu9_broker::topology::Report;
use afu9_broker::{Broker, Config};
use afu9_schemas::PartitionCount;
use anyhow::Result;
use futures::TryStreamExt;

use crate::world::World;

/// One of each: five streams, a work queue, five buckets and the artifacts.
const EVERYTHING: usize = 12;

fn partitions(world: &World, count: u16) -> Result<Config> {
    Ok(Config {
        partitions: PartitionCount::new(count)?,
        ..world.config()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_topology_is_created_once() -> Result<()> {
    let world = World::start().await?;
    let mut first = Broker::connect(world.config()).await?;
    let created = first.ensure_topology().await?;
    assert_eq!(created.created.len(), EVERYTHING);
    assert_eq!(created.drift, []);
    assert_eq!(first.ensure_topology().await?, Report::default());
    let mut second = Broker::connect(world.config()).await?;
    assert_eq!(second.ensure_topology().await?, Report::default());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_start_together_agree() -> Result<()> {
    let world = World::start().await?;
    let mut brokers = Vec::new();
    for count in [4, 8, 16, 4] {
        brokers.push(Broker::connect(partitions(&world, count)?).await?);
    }
    let ensured = brokers.iter_mut().map(Broker::ensure_topology);
    futures::future::try_join_all(ensured).await?;
    let counts: BTreeSet<u16> = brokers
        .iter()
        .map(|broker| broker.partitions().get())
        .collect();
    assert_eq!(counts.len(), 1, "{counts:?}");
    assert_eq!(brokers[0].inspect_topology().await?.missing, [""; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_reported_and_left_alone() -> Result<()> {
    let world = World::start().await?;
    let mut broker = world.broker().await?;
    let jetstream = world.jetstream().await?;
    let mut config = jetstream
        .get_stream("AFU9_LOG")
        .await?
        .cached_info()
        .config
        .clone();
    config.max_bytes = 1_000_000;
    jetstream.update_stream(&config).await?;
    for report in [
        broker.ensure_topology().await?,
        broker.inspect_topology().await?,
    ] {
        assert_eq!(report.drift.len(), 1, "{report:?}");
        let drift = &report.drift[0];
        assert_eq!(
            (drift.stream.as_str(), drift.setting),
            ("AFU9_LOG", "max_bytes")
        );
        assert_eq!(drift.found, "1000000");
    }
    let after = jetstream.get_stream("AFU9_LOG").await?;
    assert_eq!(after.cached_info().config.max_bytes, 1_000_000);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_partitions_of_the_log_win_over_the_configured_ones() -> Result<()> {
    let world = World::start().await?;
    let first = world.broker().await?;
    let mut second = Broker::connect(partitions(&world, 16)?).await?;
    assert_eq!(second.partitions().get(), 16);
    let report = second.ensure_topology().await?;
    assert_eq!(second.partitions(), first.partitions());
    let settings: Vec<_> = report.drift.iter().map(|drift| drift.setting).collect();
    assert_eq!(settings, ["partitions"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_at_the_topology_changes_nothing() -> Result<()> {
    let world = World::start().await?;
    let mut broker = Broker::connect(world.config()).await?;
    let missing = broker.inspect_topology().await?.missing;
    assert_eq!(missing.len(), EVERYTHING, "{missing:?}");
    let streams: Vec<String> = world
        .jetstream()
        .await?
        .stream_names()
        .try_collect()
        .await?;
    assert_eq!(streams, [""; 0]);
    assert_eq!(broker.ensure_topology().await?.created, missing);
    assert_eq!(broker.inspect_topology().await?, Report::default());
    Ok(())
}
