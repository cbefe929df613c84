//! HISTORY as the broker delivers it.

use std::collections::VecDeque;
use std::time::Duration;

use afu9_broker::dead_letter::named_dead_letter_message;
use afu9_broker::history::{HistoryConsumer, HistoryMessage};
use afu9_broker::{Broker, RequestError};
use afu9_schemas::message::{DeadLetter, DeadLetterReason};
use afu9_schemas::{ErrorClass, StepError};
use tokio::time::Instant;

use super::{DeadMessage, Message, Source, now};

/// How often what is written is dropped from the stream.
const DROP_EVERY: Duration = Duration::from_secs(5);

/// The HISTORY stream, shared with every other projector.
#[derive(Debug)]
pub struct StreamSource {
    broker: Broker,
    consumer: Option<HistoryConsumer>,
    /// Delivered and not yet acknowledged, in the order of delivery.
    delivered: VecDeque<HistoryMessage>,
    dropped: Instant,
}

impl StreamSource {
    /// The stream on `broker`.
    pub fn new(broker: Broker) -> Self {
        Self {
            broker,
            consumer: None,
            delivered: VecDeque::new(),
            dropped: Instant::now(),
        }
    }

    async fn drop_written(&mut self) {
        if self.dropped.elapsed() < DROP_EVERY {
            return;
        }
        self.dropped = Instant::now();
        if let Err(error) = self.broker.drop_projected_history().await {
            tracing::debug!(%error, "written history stays in the stream for now");
        }
    }
}

impl Source for StreamSource {
    type Error = RequestError;

    async fn next_batch(
        &mut self,
        max_messages: usize,
        max_wait: Duration,
    ) -> Result<Vec<Message>, RequestError> {
        self.drop_written().await;
        let consumer = match self.consumer.as_mut() {
            Some(consumer) => consumer,
            None => self.consumer.insert(self.broker.projector_history().await?),
        };
        let messages = match tokio::time::timeout(max_wait, consumer.next_batch(max_messages)).await
        {
            Err(_elapsed) => return Ok(Vec::new()),
            Ok(Ok(messages)) => messages,
            Ok(Err(error)) => {
                self.consumer = None;
                return Err(error);
            }
        };
        let mut batch = Vec::with_capacity(messages.len());
        for message in messages {
            batch.push(Message {
                batch: message.decode(),
                stream_sequence: message.stream_sequence,
                pending: message.pending,
            });
            self.delivered.push_back(message);
        }
        Ok(batch)
    }

    async fn dead_letter(&mut self, dead: &DeadMessage) -> Result<(), RequestError> {
        let raw = self
            .delivered
            .iter()
            .find(|message| message.stream_sequence == dead.stream_sequence)
            .map(|message| message.raw.to_vec());
        let letter = DeadLetter {
            reason: DeadLetterReason::Unwritable,
            kind: None,
            job: None,
            raw,
            attempts: Vec::new(),
            error: StepError::new(ErrorClass::Permanent, "history.unwritable", &dead.reason),
            at: now(),
            job_id: None,
            replay_of: None,
        };
        let failed =
            |error| RequestError::other("setting history aside", Box::new(error) as Box<_>);
        let id = format!("dlq.history.{}", dead.stream_sequence);
        let message = named_dead_letter_message(&letter, Some(id)).map_err(failed)?;
        self.broker.publish(message).await.map_err(failed)?;
        Ok(())
    }

    async fn acknowledge(&mut self, through: u64) -> Result<(), RequestError> {
        while let Some(message) = self.delivered.front() {
            if message.stream_sequence > through {
                break;
            }
            message.acknowledge().await?;
            self.delivered.pop_front();
        }
        Ok(())
    }
}
