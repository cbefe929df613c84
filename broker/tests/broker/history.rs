//! History: nothing that a projector has not acknowledged is dropped, and observers see what they
//! asked for.

use std::time::Duration;

use afu9_broker::Broker;
use afu9_broker::history::{HistoryConsumer, HistoryMessage, history_message};
use afu9_schemas::message::history::{ExecutionEnded, HistoryKind};
use afu9_schemas::message::{HistoryBatch, HistoryEvent};
use afu9_schemas::view::ExecutionStatus;
use afu9_schemas::{ExecutionId, Partition, Timestamp};
use anyhow::Result;
use async_nats::jetstream::consumer::{AckPolicy, pull};

use crate::world::{World, until, within};

const HISTORY: &str = "AFU9_HISTORY";

fn batch(number: u32) -> HistoryBatch {
    let ended = ExecutionEnded {
        status: ExecutionStatus::Completed,
        output: None,
        error: None,
        started_at: Timestamp::from_micros(0),
        steps_completed: 0,
        steps_failed: 0,
        steps_skipped: 0,
        steps_compensated: 0,
        stale_results: 0,
    };
    HistoryBatch {
        partition: Some(Partition::new(0)),
        events: vec![HistoryEvent {
            execution: Some(ExecutionId::derived("history")),
            number,
            at: Timestamp::from_micros(0),
            kind: HistoryKind::ExecutionEnded(Box::new(ended)),
        }],
    }
}

async fn publish(broker: &Broker, numbers: impl IntoIterator<Item = u32>) -> Result<()> {
    for number in numbers {
        broker.publish(history_message(&batch(number))?).await?;
    }
    Ok(())
}

async fn take(consumer: &mut HistoryConsumer, count: usize) -> Result<Vec<HistoryMessage>> {
    within("history", async {
        let mut taken = Vec::new();
        while taken.len() < count {
            taken.extend(consumer.next_batch(count - taken.len()).await?);
        }
        Ok(taken)
    })
    .await?
}

fn numbers(messages: &[HistoryMessage]) -> Result<Vec<u32>> {
    messages
        .iter()
        .map(|message| Ok(message.decode()?.events[0].number))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn projectors_share_the_history() -> Result<()> {
    const BATCHES: u32 = 40;
    let world = World::start().await?;
    let broker = world.broker().await?;
    let mut first = broker.projector_history().await?;
    let mut second = world.broker().await?.projector_history().await?;
    publish(&broker, 1..=BATCHES).await?;
    let mut seen = Vec::new();
    within("all history", async {
        while seen.len() < BATCHES as usize {
            let batch = tokio::select! {
                batch = first.next_batch(1) => batch?,
                batch = second.next_batch(1) => batch?,
            };
            for message in &batch {
                message.acknowledge().await?;
            }
            seen.extend(numbers(&batch)?);
        }
        anyhow::Ok(())
    })
    .await??;
    seen.sort_unstable();
    assert_eq!(seen, (1..=BATCHES).collect::<Vec<_>>());
    until("every acknowledgement", || async {
        Ok((broker.drop_projected_history().await? == u64::from(BATCHES)).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_without_acknowledgement_is_kept_and_comes_again() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    // As the crate's own, but with a shorter patience.
    let impatient = pull::Config {
        durable_name: Some("projector".to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_secs(1),
        ..pull::Config::default()
    };
    world.create_consumer(HISTORY, impatient).await?;
    publish(&broker, 1..=5).await?;
    assert_eq!(broker.drop_projected_history().await?, 0);
    let mut first = broker.projector_history().await?;
    let taken = take(&mut first, 5).await?;
    assert_eq!(numbers(&taken)?, [1, 2, 3, 4, 5]);
    for message in taken.iter().filter(|message| message.stream_sequence != 3) {
        message.acknowledge().await?;
    }
    drop(first);
    until("the acknowledgements", || async {
        let info = world.consumer_info(HISTORY, "projector").await?;
        Ok((info.num_ack_pending == 1 && info.ack_floor.stream_sequence == 2).then_some(()))
    })
    .await?;
    assert_eq!(broker.drop_projected_history().await?, 2);
    let state = world.stream_state(HISTORY).await?;
    assert_eq!((state.first_sequence, state.last_sequence), (3, 5));
    let mut second = world.broker().await?.projector_history().await?;
    let again = take(&mut second, 1).await?;
    assert_eq!(numbers(&again)?, [3]);
    again[0].acknowledge().await?;
    until("the last acknowledgement", || async {
        Ok((broker.drop_projected_history().await? == 5).then_some(()))
    })
    .await?;
    assert_eq!(world.stream_state(HISTORY).await?.messages, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_sees_everything_and_a_follower_what_comes() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    publish(&broker, 1..=3).await?;
    let mut observer = broker.observe_history().await?;
    let mut follower = broker.follow_history().await?;
    assert_eq!(numbers(&take(&mut observer, 3).await?)?, [1, 2, 3]);
    publish(&broker, 4..=5).await?;
    assert_eq!(numbers(&take(&mut observer, 2).await?)?, [4, 5]);
    assert_eq!(numbers(&take(&mut follower, 2).await?)?, [4, 5]);
    Ok(())
}

/// In mode `fast` a machine that loses power may lose the end of the stream and not what its consumer has
/// acknowledged. What comes next gets positions that were acknowledged before: the server must know better.
#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_lost_end_is_neither_passed_over_nor_dropped() -> Result<()> {
    let mut world = World::with_files().await?;
    let earlier = {
        let broker = world.broker().await?;
        let mut projector = broker.projector_history().await?;
        publish(&broker, 0..5).await?;
        for message in take(&mut projector, 5).await? {
            message.acknowledge().await?;
        }
        let earlier = world.copy_stream(HISTORY)?;
        publish(&broker, 5..25).await?;
        for message in take(&mut projector, 20).await? {
            message.acknowledge().await?;
        }
        broker.flush().await?;
        earlier
    };
    until("acknowledgements", async || {
        let info = world.consumer_info(HISTORY, "projector").await?;
        Ok((info.ack_floor.stream_sequence >= 25).then_some(()))
    })
    .await?;
    world.kill()?;
    world.lose_what_followed(&earlier, false)?;
    world.restart()?;

    let broker = world.broker().await?;
    publish(&broker, 25..30).await?;
    broker.drop_projected_history().await?;
    let mut projector = broker.projector_history().await?;
    let mut left = numbers(&take(&mut projector, 5).await?)?;
    // What was delivered before and is there again may come once more.
    left.retain(|number| *number >= 25);
    while left.len() < 5 {
        left.extend(numbers(&take(&mut projector, 1).await?)?);
    }
    assert_eq!(left, [25, 26, 27, 28, 29]);
    Ok(())
}
