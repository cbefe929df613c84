//! Jobs that no worker survives: the server's notice leads to them, and they stay until settled.

use std::time::Duration;

use afu9_broker::Broker;
use afu9_broker::dead_letter::{Exhausted, ExhaustedJobs, dead_letter_message};
use afu9_broker::publish::Outgoing;
use afu9_broker::work::{MAX_DELIVER, WorkConsumer};
use afu9_schemas::message::{DeadLetter, DeadLetterReason};
use afu9_schemas::{ErrorClass, Lane, StepError, Timestamp, subject};
use anyhow::Result;

use crate::world::{WORK, World, job, kind, pull_one, until, within};

/// Takes the only message of the queue and hands it back until the server gives up on it. That is
/// when the consumer, still there, asks once more.
async fn exhaust(broker: &Broker) -> Result<WorkConsumer> {
    let mut consumer = broker.work_consumer(&kind(), Lane::Bulk).await?;
    for delivered in 1..=MAX_DELIVER {
        let delivery = pull_one(&mut consumer).await?;
        assert_eq!(i64::try_from(delivery.delivered())?, delivered);
        delivery.hand_back(Duration::ZERO).await?;
    }
    consumer.ask(1).await?;
    Ok(consumer)
}

async fn notice(notices: &mut ExhaustedJobs) -> Result<Exhausted> {
    within("a notice", async {
        loop {
            if let Some(exhausted) = notices.next().await? {
                return Ok(exhausted);
            }
        }
    })
    .await?
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_delivered_too_often_is_found_and_stays_until_it_is_settled() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    broker.publish_jobs(vec![job("deadly", Lane::Bulk)]).await?;
    let _asking = exhaust(&broker).await?;
    let mut notices = broker.exhausted_jobs().await?;
    let exhausted = notice(&mut notices).await?;
    assert_eq!(i64::try_from(exhausted.deliveries)?, MAX_DELIVER);
    assert_eq!(exhausted.kind(), Some(kind()));
    let jobs = exhausted.jobs.as_ref().expect("it can be read");
    assert_eq!(jobs.jobs, [job("deadly", Lane::Bulk)]);
    assert!(exhausted.raw.is_some());
    assert_eq!(world.stream_state(WORK).await?.messages, 1);
    notices.settled(&exhausted).await?;
    assert_eq!(world.stream_state(WORK).await?.messages, 0);
    notices.settled(&exhausted).await?;
    let info = world
        .consumer_info("AFU9_ADVISORIES", "dead_letters")
        .await?;
    assert_eq!((info.num_pending, info.num_redelivered), (0, 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_nobody_can_read_keeps_its_bytes() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    let payload = bytes::Bytes::from_static(b"\x01not a job");
    let message = Outgoing {
        subject: subject::work(&kind(), Lane::Bulk),
        payload: payload.clone(),
        message_id: None,
    };
    broker.publish(message).await?;
    let _asking = exhaust(&broker).await?;
    let mut notices = broker.exhausted_jobs().await?;
    let exhausted = notice(&mut notices).await?;
    assert_eq!(
        (exhausted.jobs.as_ref(), exhausted.raw.as_ref()),
        (None, Some(&payload))
    );
    notices.settled(&exhausted).await.map_err(Into::into)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_done_after_all_leaves_only_its_notice() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    broker.publish_jobs(vec![job("late", Lane::Bulk)]).await?;
    let _asking = exhaust(&broker).await?;
    until("the notice", || async {
        Ok((world.stream_state("AFU9_ADVISORIES").await?.messages == 1).then_some(()))
    })
    .await?;
    let queue = world.jetstream().await?.get_stream(WORK).await?;
    queue.delete_message(1).await?;
    let mut notices = broker.exhausted_jobs().await?;
    let exhausted = notice(&mut notices).await?;
    assert!(exhausted.jobs.is_none() && exhausted.raw.is_none());
    notices.settled(&exhausted).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_be_looked_up_just_now_is_not_taken_for_gone() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    broker.publish_jobs(vec![job("deadly", Lane::Bulk)]).await?;
    let _asking = exhaust(&broker).await?;
    // Stands for anything that keeps direct reads from being answered.
    let jetstream = world.jetstream().await?;
    let mut config = jetstream
        .get_stream(WORK)
        .await?
        .cached_info()
        .config
        .clone();
    config.allow_direct = false;
    jetstream.update_stream(&config).await?;
    let mut notices = broker.exhausted_jobs().await?;
    match within("a notice", notices.next()).await? {
        Err(_) => {}
        Ok(found) => {
            let found = found.expect("there is a notice");
            assert!(
                found.raw.is_some(),
                "the job is there, and would be forgotten"
            );
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_job_is_one_dead_letter() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    let letter = |name: Option<&str>| DeadLetter {
        reason: DeadLetterReason::DeliveriesExhausted,
        kind: Some(kind()),
        job: name.map(|name| job(name, Lane::Bulk)),
        raw: None,
        attempts: Vec::new(),
        error: StepError::new(ErrorClass::WorkerLost, "test", "test"),
        at: Timestamp::from_micros(0),
        job_id: None,
        replay_of: None,
    };
    let mut duplicates = Vec::new();
    for name in [Some("a"), Some("a"), Some("b"), None, None] {
        let stored = broker.publish(dead_letter_message(&letter(name))?).await?;
        duplicates.push(stored.duplicate);
    }
    // What could not be read has no identity of its own: rather twice than not at all.
    assert_eq!(duplicates, [false, true, false, false, false]);
    assert_eq!(world.stream_state("AFU9_DLQ").await?.messages, 4);
    Ok(())
}
