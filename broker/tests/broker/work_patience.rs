//! How long the server waits for a worker.

use std::time::Duration;

use afu9_broker::config::DEFAULT_ACK_WAIT;
use afu9_schemas::Lane;
use anyhow::Result;
use tokio::time::{Instant, interval};

use crate::world::{WORK, World, job, kind, pull_one, within};

const PATIENCE_OF_SERVER: Duration = Duration::from_millis(500);

/// Names of the consumers of a work queue.
const CONSUMERS: [&str; 3] = ["workers_interactive", "workers_bulk", "workers_alone"];

#[tokio::test(flavor = "multi_thread")]
async fn consumers_that_are_there_get_the_patience_that_is_configured() -> Result<()> {
    let world = World::start().await?;
    let before = world.broker().await?;
    before.ensure_work_consumers(&kind()).await?;
    let mut worker = before.work_consumer(&kind(), Lane::Bulk).await?;
    before.publish_jobs(vec![job("lost", Lane::Bulk)]).await?;
    drop(pull_one(&mut worker).await?);
    for patience in [PATIENCE_OF_SERVER, DEFAULT_ACK_WAIT, PATIENCE_OF_SERVER] {
        let after = world.broker_waiting(patience).await?;
        // A worker leaves them as they are.
        after.ensure_work_consumers(&kind()).await?;
        let info = world.consumer_info(WORK, "workers_bulk").await?;
        assert_ne!(info.config.ack_wait, patience);
        after.adjust_work_consumers(&kind()).await?;
        for consumer in CONSUMERS {
            let info = world.consumer_info(WORK, consumer).await?;
            assert_eq!(info.config.ack_wait, patience, "{consumer}");
        }
    }
    // It counts for what was delivered before, and the consumer of a worker that runs goes on.
    let begun = Instant::now();
    assert_eq!(pull_one(&mut worker).await?.delivered(), 2);
    assert!(begun.elapsed() < DEFAULT_ACK_WAIT / 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn signs_of_life_keep_a_job_and_their_end_gives_it_away() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker_waiting(PATIENCE_OF_SERVER).await?;
    let mut worker = broker.work_consumer(&kind(), Lane::Bulk).await?;
    let mut other = broker.work_consumer(&kind(), Lane::Bulk).await?;
    broker.publish_jobs(vec![job("long", Lane::Bulk)]).await?;
    let delivery = pull_one(&mut worker).await?;
    let begun = Instant::now();
    let mut signs = interval(PATIENCE_OF_SERVER / 3);
    while begun.elapsed() < 4 * PATIENCE_OF_SERVER {
        other.ask(1).await?;
        tokio::select! {
            _ = signs.tick() => delivery.in_progress().await?,
            taken = other.next() => assert!(taken.is_none(), "taken from a living worker: {taken:?}"),
        }
    }
    let taken = pull_one(&mut other).await?;
    assert_eq!(taken.delivered(), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_worker_vanished_comes_again() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker_waiting(PATIENCE_OF_SERVER).await?;
    let mut consumer = broker.work_consumer(&kind(), Lane::Bulk).await?;
    broker.publish_jobs(vec![job("lost", Lane::Bulk)]).await?;
    drop(pull_one(&mut consumer).await?);
    assert_eq!(pull_one(&mut consumer).await?.delivered(), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_waited_for_is_handed_out_later() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    let mut consumer = broker.work_consumer(&kind(), Lane::Bulk).await?;
    consumer.ask(2).await?;
    for name in ["a", "b"] {
        // The waiting ends here, as it does in a `select!` whose other branch was quicker.
        let waiting = futures::future::poll_immediate(consumer.next()).await;
        assert!(waiting.is_none(), "nothing is published yet");
        broker.publish_jobs(vec![job(name, Lane::Bulk)]).await?;
        let delivery = within("the job", consumer.next())
            .await?
            .expect("asked for");
        assert_eq!(
            (
                delivery.delivered(),
                delivery.decode()?.jobs[0].step_name.as_str()
            ),
            (1, name)
        );
    }
    Ok(())
}
