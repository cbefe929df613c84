//! Work queues: what is asked for is what comes, at once, and in the right lane.

use std::time::Duration;

use afu9_broker::Broker;
use afu9_broker::publish::Outgoing;
use afu9_broker::work::job_message;
use afu9_schemas::Lane;
use anyhow::Result;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::world::{WORK, World, job, kind, pull_one, until, within};

fn jobs(lane: Lane, count: usize) -> Vec<Outgoing> {
    (0..count)
        .filter_map(|number| {
            job_message(vec![job(&number.to_string(), lane)]).expect("jobs can be encoded")
        })
        .collect()
}

async fn publish(broker: &Broker, messages: Vec<Outgoing>) -> Result<()> {
    for stored in broker.publish_all(messages).await {
        stored?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_delivered_than_was_asked_for() -> Result<()> {
    const ASKED: usize = 3;
    let world = World::start().await?;
    let broker = world.broker().await?;
    publish(&broker, jobs(Lane::Bulk, 100)).await?;
    let mut consumer = broker.work_consumer(&kind(), Lane::Bulk).await?;
    // Asking again for the same slots is no second request.
    consumer.ask(ASKED).await?;
    consumer.ask(ASKED).await?;
    assert_eq!(consumer.requested(), ASKED);
    let mut taken = Vec::new();
    while let Some(delivery) = within("a job", consumer.next()).await? {
        taken.push(delivery);
    }
    assert_eq!((taken.len(), consumer.requested()), (ASKED, 0));
    let info = world.consumer_info(WORK, "workers_bulk").await?;
    assert_eq!((info.num_ack_pending, info.num_pending), (ASKED, 97));
    // A slot that becomes free is one more message.
    taken[0].done().await?;
    consumer.ask(1).await?;
    let next = within("a job", consumer.next())
        .await?
        .expect("97 are left");
    assert_eq!(next.decode()?.jobs[0].step_name, "3");
    Ok(())
}

/// The positions between the oldest and the last one are no count: what is in between may be done.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_queued_in_a_lane_is_counted() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    publish(&broker, jobs(Lane::Bulk, 10)).await?;
    publish(
        &broker,
        vec![job_message(vec![job("x", Lane::Interactive)])?.expect("a job")],
    )
    .await?;
    let mut consumer = broker.work_consumer(&kind(), Lane::Bulk).await?;
    let mut taken = Vec::new();
    for _ in 0..9 {
        taken.push(pull_one(&mut consumer).await?);
    }
    for delivery in &taken[1..] {
        delivery.done().await?;
    }
    until("what is done to be gone", || async {
        let queued = broker.work_queued(&kind(), Lane::Bulk).await?;
        Ok((queued == 2).then_some(()))
    })
    .await?;
    assert_eq!(broker.work_queued(&kind(), Lane::Interactive).await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_after_an_idle_while_is_delivered_at_once() -> Result<()> {
    /// Longer than a pull request lives (2 s), and well into the life of the next one.
    const IDLE: Duration = Duration::from_secs(3);
    const AT_ONCE: Duration = Duration::from_secs(1);
    let world = World::start().await?;
    let broker = world.broker().await?;
    let mut consumer = broker.work_consumer(&kind(), Lane::Bulk).await?;
    let (sender, mut taken) = mpsc::channel(1);
    let mut worker = JoinSet::new();
    worker.spawn(async move {
        let delivery = pull_one(&mut consumer).await;
        sender.send((Instant::now(), delivery)).await
    });
    assert!(
        timeout(IDLE, taken.recv()).await.is_err(),
        "nothing to take"
    );
    let published = Instant::now();
    publish(&broker, jobs(Lane::Bulk, 1)).await?;
    let (at, delivery) = within("the job", taken.recv())
        .await?
        .expect("the worker lives");
    assert_eq!(delivery?.delivered(), 1);
    assert!(at - published < AT_ONCE, "it took {:?}", at - published);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_urgent_job_does_not_wait_behind_a_backlog() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    broker.ensure_work_consumers(&kind()).await?;
    publish(&broker, jobs(Lane::Bulk, 1000)).await?;
    broker
        .publish_jobs(vec![job("urgent", Lane::Interactive)])
        .await?;
    let mut urgent = broker.work_consumer(&kind(), Lane::Interactive).await?;
    let delivery = pull_one(&mut urgent).await?;
    assert_eq!(delivery.decode()?.jobs, [job("urgent", Lane::Interactive)]);
    let info = world.consumer_info(WORK, "workers_interactive").await?;
    assert_eq!(info.num_pending, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_done_is_gone_and_one_handed_back_comes_again() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    broker.publish_jobs(vec![job("a", Lane::Bulk)]).await?;
    let mut first = broker.work_consumer(&kind(), Lane::Bulk).await?;
    let mut second = broker.work_consumer(&kind(), Lane::Bulk).await?;
    let delivery = pull_one(&mut first).await?;
    assert_eq!(delivery.delivered(), 1);
    delivery.hand_back(Duration::ZERO).await?;
    let delivery = pull_one(&mut second).await?;
    assert_eq!(delivery.delivered(), 2);
    assert_eq!(delivery.decode()?.jobs, [job("a", Lane::Bulk)]);
    delivery.done().await?;
    until("an empty queue", || async {
        Ok((world.stream_state(WORK).await?.messages == 0).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_job_has_an_id_and_several_in_a_message_have_none() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    let one = || vec![job("a", Lane::Bulk)];
    let two = || vec![job("b", Lane::Bulk), job("c", Lane::Bulk)];
    assert!(job_message(Vec::new())?.is_none());
    assert_eq!(
        job_message(one())?.and_then(|message| message.message_id),
        Some(one()[0].id.to_string())
    );
    assert_eq!(
        job_message(two())?.and_then(|message| message.message_id),
        None
    );
    let stored = [
        broker.publish_jobs(one()).await?,
        broker.publish_jobs(one()).await?,
    ];
    assert_eq!(
        stored.map(|stored| stored.map(|stored| stored.duplicate)),
        [Some(false), Some(true)]
    );
    broker.publish_jobs(two()).await?;
    broker.publish_jobs(two()).await?;
    assert_eq!(broker.publish_jobs(Vec::new()).await?, None);
    assert_eq!(world.stream_state(WORK).await?.messages, 3);
    assert_eq!(broker.work_mark(&kind()).await?.last_sequence, 3);
    Ok(())
}
