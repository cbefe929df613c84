//! How long the server waits for a worker. Its patience of half a minute is shortened here by
//! consumers that are there before the crate looks for them.

use std::time::Duration;

use afu9_broker::Broker;
use afu9_broker::work::WorkConsumer;
use afu9_schemas::{Lane, subject};
use anyhow::Result;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use tokio::time::{Instant, interval};

use crate::world::{WORK, World, job, kind, pull_one, within};

const PATIENCE_OF_SERVER: Duration = Duration::from_millis(500);

async fn impatient(world: &World, broker: &Broker) -> Result<WorkConsumer> {
    let name = "workers_bulk".to_owned();
    let config = pull::Config {
        durable_name: Some(name),
        ack_policy: AckPolicy::Explicit,
        ack_wait: PATIENCE_OF_SERVER,
        filter_subject: subject::work(&kind(), Lane::Bulk),
        ..pull::Config::default()
    };
    world.create_consumer(WORK, config).await?;
    Ok(broker.work_consumer(&kind(), Lane::Bulk).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn signs_of_life_keep_a_job_and_their_end_gives_it_away() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    let mut worker = impatient(&world, &broker).await?;
    let mut other = broker.work_consumer(&kind(), Lane::Bulk).await?;
    broker.publish_jobs(vec![job("long", Lane::Bulk)]).await?;
    let delivery = pull_one(&mut worker).await?;
    other.ask(1).await?;
    let begun = Instant::now();
    let mut signs = interval(PATIENCE_OF_SERVER / 5);
    let next = other.next();
    tokio::pin!(next);
    while begun.elapsed() < 4 * PATIENCE_OF_SERVER {
        tokio::select! {
            _ = signs.tick() => delivery.in_progress().await?,
            taken = &mut next => panic!("taken from a living worker: {taken:?}"),
        }
    }
    let taken = within("the job", next)
        .await?
        .expect("the request has not expired");
    assert_eq!(taken.delivered(), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_worker_vanished_comes_again() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    let mut consumer = impatient(&world, &broker).await?;
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
