//! Streams and buckets: made once, compared ever after, never mended; but what had no bounds gets them.

use std::collections::BTreeSet;
use std::time::Duration;

use afu9_broker::config::{DEFAULT_KEY_AGE, Limits};
use afu9_broker::topology::Report;
use afu9_broker::{Broker, Config};
use afu9_schemas::PartitionCount;
use anyhow::Result;
use async_nats::jetstream;
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

const BUCKETS: [&str; 5] = [
    "KV_AFU9_CHECKPOINTS",
    "KV_AFU9_OWNERS",
    "KV_AFU9_DEFINITIONS",
    "KV_AFU9_IDEMPOTENCY",
    "KV_AFU9_SCHEDULES",
];

#[tokio::test(flavor = "multi_thread")]
async fn buckets_of_a_version_without_bounds_get_them_and_keep_what_they_hold() -> Result<()> {
    let world = World::start().await?;
    let jetstream = world.jetstream().await?;
    for bucket in BUCKETS {
        let config = jetstream::kv::Config {
            bucket: bucket.trim_start_matches("KV_").to_owned(),
            history: 1,
            ..jetstream::kv::Config::default()
        };
        let bucket = jetstream.create_key_value(config).await?;
        bucket.put("a", "1".into()).await?;
    }
    let mut broker = Broker::connect(world.config()).await?;
    let drift = broker.inspect_topology().await?.drift;
    assert_eq!(drift.len(), BUCKETS.len() + 1, "{drift:?}");
    assert_eq!(broker.ensure_topology().await?.drift, []);
    let limits = Limits::default();
    let expected = [
        limits.checkpoint_bytes,
        limits.small_bucket_bytes,
        limits.definition_bytes,
        limits.key_bytes,
        limits.small_bucket_bytes,
    ];
    for (bucket, max_bytes) in BUCKETS.into_iter().zip(expected) {
        let stream = jetstream.get_stream(bucket).await?;
        let info = stream.cached_info();
        assert_eq!(info.config.max_bytes, max_bytes, "{bucket}");
        assert_eq!(info.state.messages, 1, "{bucket}");
        let age = if bucket == "KV_AFU9_IDEMPOTENCY" {
            DEFAULT_KEY_AGE
        } else {
            Duration::ZERO
        };
        assert_eq!(info.config.max_age, age, "{bucket}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_that_was_chosen_stays_and_the_age_of_keys_is_what_is_configured() -> Result<()> {
    const CHOSEN: i64 = 3 * 1024 * 1024;
    let world = World::start().await?;
    world.broker().await?;
    let jetstream = world.jetstream().await?;
    let stream = jetstream.get_stream("KV_AFU9_IDEMPOTENCY").await?;
    let mut config = stream.cached_info().config.clone();
    config.max_bytes = CHOSEN;
    jetstream.update_stream(&config).await?;
    let key_age = 2 * DEFAULT_KEY_AGE;
    let config = Config {
        key_age,
        ..world.config()
    };
    let mut broker = Broker::connect(config).await?;
    let drift = broker.ensure_topology().await?.drift;
    assert_eq!(drift.len(), 1, "{drift:?}");
    assert_eq!(
        (drift[0].stream.as_str(), drift[0].setting),
        ("KV_AFU9_IDEMPOTENCY", "max_bytes")
    );
    let stream = jetstream.get_stream("KV_AFU9_IDEMPOTENCY").await?;
    let found = &stream.cached_info().config;
    assert_eq!((found.max_bytes, found.max_age), (CHOSEN, key_age));
    Ok(())
}

/// A role may look at streams, and not change them; then it works with what is there.
#[tokio::test(flavor = "multi_thread")]
async fn bounds_that_are_refused_do_not_keep_a_process_from_working() -> Result<()> {
    let world = World::start().await?;
    let jetstream = world.jetstream().await?;
    let config = jetstream::kv::Config {
        bucket: "AFU9_SCHEDULES".to_owned(),
        history: 1,
        ..jetstream::kv::Config::default()
    };
    jetstream.create_key_value(config).await?;
    let limits = Limits {
        // More than the server has.
        small_bucket_bytes: 1 << 50,
        ..Limits::default()
    };
    // Room is set aside for what is created, and there is enough for that.
    let mut broker = Broker::connect(world.config()).await?;
    broker.ensure_topology().await?;
    let mut stream = jetstream.get_stream("KV_AFU9_SCHEDULES").await?;
    let mut config = stream.info().await?.config.clone();
    config.max_bytes = -1;
    jetstream.update_stream(&config).await?;
    let config = Config {
        limits,
        ..world.config()
    };
    let mut broker = Broker::connect(config).await?;
    let drift = broker.ensure_topology().await?.drift;
    let found: Vec<_> = drift
        .iter()
        .filter(|drift| drift.stream == "KV_AFU9_SCHEDULES")
        .map(|drift| (drift.setting, drift.found.as_str()))
        .collect();
    assert_eq!(found, [("max_bytes", "-1")]);
    Ok(())
}
