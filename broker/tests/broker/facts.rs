//! What JetStream does that one would not think, where nothing else here shows it. The list of all such
//! facts, with their tests, is in docs/reliability.md.

use std::time::Duration;

use afu9_broker::work::job_message;
use afu9_schemas::{Lane, subject};
use anyhow::Result;
use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, pull};
use futures::StreamExt;
use tokio::time::Instant;

use crate::proxy::Proxy;
use crate::world::{WORK, World, job, kind, pull_one, until, within};

/// Far longer than a delivery takes, and than a test runs.
const LONG: Duration = Duration::from_secs(60);

/// Long enough for what can be delivered now.
const AT_ONCE: Duration = Duration::from_secs(1);

async fn raw(world: &World, max_ack_pending: i64) -> Result<Consumer<pull::Config>> {
    let config = pull::Config {
        durable_name: Some("raw".to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: LONG,
        max_ack_pending,
        filter_subject: subject::work(&kind(), Lane::Bulk),
        ..pull::Config::default()
    };
    world.create_consumer(WORK, config).await?;
    let stream = world.jetstream().await?.get_stream(WORK).await?;
    let found = stream.get_consumer("raw").await;
    found.map_err(anyhow::Error::msg)
}

/// What comes at once, at most `count`.
async fn fetch(
    consumer: &Consumer<pull::Config>,
    count: usize,
) -> Result<Vec<async_nats::jetstream::Message>> {
    let batch = consumer.batch().max_messages(count).expires(AT_ONCE);
    let batch = batch.messages().await?;
    Ok(batch
        .filter_map(|message| async { message.ok() })
        .collect()
        .await)
}

/// So long delays are timers of the engine: the deliveries in flight are for jobs that run.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_handed_back_with_a_delay_keeps_its_place_among_those_in_flight() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    for name in ["delayed", "next"] {
        broker.publish_jobs(vec![job(name, Lane::Bulk)]).await?;
    }
    let consumer = raw(&world, 1).await?;
    let taken = fetch(&consumer, 1).await?;
    let nak = taken[0].ack_with(AckKind::Nak(Some(LONG))).await;
    nak.map_err(anyhow::Error::msg)?;
    assert_eq!(fetch(&consumer, 1).await?.len(), 0, "there is no place");
    let info = world.consumer_info(WORK, "raw").await?;
    assert_eq!((info.num_ack_pending, info.num_pending), (1, 1));
    Ok(())
}

/// So it is never done to a job: what is not done is a dead letter first, and acknowledged then.
#[tokio::test(flavor = "multi_thread")]
async fn terminating_a_job_deletes_it() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    broker.publish_jobs(vec![job("ended", Lane::Bulk)]).await?;
    let consumer = raw(&world, 10).await?;
    let taken = fetch(&consumer, 1).await?;
    taken[0]
        .ack_with(AckKind::Term)
        .await
        .map_err(anyhow::Error::msg)?;
    until("the job to be gone", || async {
        Ok((world.stream_state(WORK).await?.messages == 0).then_some(()))
    })
    .await
}

/// The client's own default is 200 messages, whoever works on them.
#[tokio::test(flavor = "multi_thread")]
async fn a_router_reads_ahead_no_more_than_it_is_told() -> Result<()> {
    const DELIVERIES: usize = 300;
    /// What it reads ahead, and a request for more when half of that is taken.
    const MOST: usize = 16 + 8;
    let world = World::start().await?;
    let broker = world.broker().await?;
    for number in 0..DELIVERIES {
        let message = afu9_broker::publish::Outgoing {
            subject: subject::inbox("github", "issues"),
            payload: format!("{number}").into(),
            message_id: None,
        };
        broker.publish(message).await?;
    }
    let mut inbox = broker.inbox().await?;
    within("a delivery", inbox.next()).await??;
    let info = world.consumer_info("AFU9_INBOX", "router").await?;
    assert!(info.num_ack_pending <= MOST, "{}", info.num_ack_pending);
    assert!(info.num_pending as usize >= DELIVERIES - MOST);
    Ok(())
}

/// A request for jobs that the server never sees costs its own short life, and the client's patience
/// beyond that; then jobs flow again.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_request_for_jobs_stalls_a_worker_for_seconds_only() -> Result<()> {
    /// It lives for 2 s, and async-nats waits 5 s more for the server to say so.
    const STALL: Duration = Duration::from_secs(7);
    const MARGIN: Duration = Duration::from_secs(3);
    let world = World::start().await?;
    let other = world.broker().await?;
    let proxy = Proxy::start(world.address()?).await?;
    let broker = world.broker_at(&proxy.url()).await?;
    let mut consumer = broker.work_consumer(&kind(), Lane::Bulk).await?;
    proxy.swallow("$JS.API.CONSUMER.MSG.NEXT.");
    consumer.ask(1).await?;
    until("the request to be lost", || async {
        Ok((proxy.swallowed() == 1).then_some(()))
    })
    .await?;
    let message = job_message(vec![job("a", Lane::Bulk)])?.expect("a job");
    other.publish(message).await?;
    let begun = Instant::now();
    // As a worker does: it waits for what it has asked for, then asks again.
    let delivery = pull_one(&mut consumer).await?;
    assert_eq!(delivery.delivered(), 1);
    let stalled = begun.elapsed();
    assert!(stalled < STALL + MARGIN, "{stalled:?}");
    assert!(stalled > Duration::from_secs(1), "nothing was lost");
    Ok(())
}
