//! Reads HISTORY into memory, and keeps the stream from filling up where no projector empties it.

use std::time::Duration;

use afu9_broker::error::chain;
use afu9_broker::history::HistoryConsumer;
use afu9_broker::{Broker, RequestError};
use tokio::time::sleep;

use super::Observed;
use super::retention::Retention;
use crate::metrics::Metrics;

/// Batches taken at once.
const BATCH: usize = 256;

/// Pause before a stream that could not be read is opened again.
const OPEN_AGAIN: Duration = Duration::from_secs(1);

/// Observes history until the task is dropped.
///
/// Only for a gateway without a database: another process that writes history down would miss what
/// is dropped here.
pub(crate) async fn observe(broker: &Broker, observed: &Observed, metrics: &Metrics) {
    loop {
        // From the beginning each time: what is known already changes nothing.
        let mut retention = Retention::new(broker.config().limits.history_bytes);
        let error = match broker.observe_history().await {
            Ok(mut consumer) => loop {
                let read = read(broker, &mut consumer, observed, metrics, &mut retention).await;
                if let Err(error) = read {
                    break error;
                }
            },
            Err(error) => error,
        };
        tracing::debug!(error = %chain(&error), "history reopened");
        sleep(OPEN_AGAIN).await;
    }
}

async fn read(
    broker: &Broker,
    consumer: &mut HistoryConsumer,
    observed: &Observed,
    metrics: &Metrics,
    retention: &mut Retention,
) -> Result<(), RequestError> {
    let mut drop_through = None;
    for message in consumer.next_batch(BATCH).await? {
        let bytes = u64::try_from(message.raw.len()).unwrap_or(u64::MAX);
        drop_through = retention
            .note(message.stream_sequence, bytes)
            .or(drop_through);
        match message.decode() {
            Ok(batch) => observed.take(batch),
            Err(error) => {
                metrics.history_unreadable.add();
                tracing::debug!(error = %chain(&error), "unreadable history left out");
            }
        }
    }
    match drop_through {
        Some(sequence) => broker.drop_history(sequence).await,
        None => Ok(()),
    }
}
