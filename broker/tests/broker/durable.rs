//! Durable mode: what cannot be derived again is on disk, and jobs, which can, are in memory; their
//! loss shows.

use afu9_broker::Broker;
use afu9_broker::log::{LogReader, LogWriter};
use afu9_schemas::{Lane, Partition};
use anyhow::Result;
use async_nats::jetstream::stream::StorageType;

use crate::world::{WORK, World, job, kind, names, pull_one, read_to, submit, until};

const A: Partition = Partition::new(0);

#[tokio::test(flavor = "multi_thread")]
async fn only_work_queues_are_in_memory() -> Result<()> {
    let world = World::durable().await?;
    let _broker = world.broker().await?;
    let jetstream = world.jetstream().await?;
    for (stream, storage) in [
        ("AFU9_LOG", StorageType::File),
        ("AFU9_HISTORY", StorageType::File),
        ("AFU9_INBOX", StorageType::File),
        ("AFU9_DLQ", StorageType::File),
        ("KV_AFU9_CHECKPOINTS", StorageType::File),
        (WORK, StorageType::Memory),
    ] {
        let found = jetstream.get_stream(stream).await?;
        assert_eq!(found.cached_info().config.storage, storage, "{stream}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_leaves_the_log_and_shows_that_jobs_are_lost() -> Result<()> {
    let mut world = World::durable().await?;
    let broker = world.broker().await?;
    let (writer, _writing) = LogWriter::start(broker.clone());
    for name in ["1", "2", "3"] {
        submit(&writer, A, name).await?;
        broker.publish_jobs(vec![job(name, Lane::Bulk)]).await?;
    }
    let before = broker.work_mark(&kind()).await?;
    assert_eq!(before.last_sequence, 3);
    world.kill()?;
    world.restart()?;
    let read = read_to(&mut LogReader::new(broker.clone(), A, 0), "3").await?;
    assert_eq!(names(read), ["1", "2", "3"]);
    submit(&writer, A, "4").await?;
    // Whoever starts puts the queues back.
    let mut started = until("a connection", || async {
        Ok(Broker::connect(world.config()).await.ok())
    })
    .await?;
    started.ensure_topology().await?;
    let after = started.work_mark(&kind()).await?;
    assert!(after.last_sequence < before.last_sequence && after.created > before.created);
    // The same job again, with the same id: the server has forgotten it with the queue.
    started.publish_jobs(vec![job("1", Lane::Bulk)]).await?;
    let mut consumer = started.work_consumer(&kind(), Lane::Bulk).await?;
    assert_eq!(
        pull_one(&mut consumer).await?.decode()?.jobs,
        [job("1", Lane::Bulk)]
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_durability_a_crash_keeps_the_jobs() -> Result<()> {
    let mut world = World::start().await?;
    let broker = world.broker().await?;
    broker.publish_jobs(vec![job("1", Lane::Bulk)]).await?;
    let before = broker.work_mark(&kind()).await?;
    world.kill()?;
    world.restart()?;
    let after = until("the queue", || async {
        Ok(Some(broker.work_mark(&kind()).await?))
    })
    .await?;
    assert_eq!(after, before);
    let mut consumer = until("the consumer", || async {
        Ok(Some(broker.work_consumer(&kind(), Lane::Bulk).await?))
    })
    .await?;
    assert_eq!(
        pull_one(&mut consumer).await?.decode()?.jobs,
        [job("1", Lane::Bulk)]
    );
    Ok(())
}
