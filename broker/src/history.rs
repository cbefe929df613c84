//! History: batches out, and in for whoever writes them down.

use std::time::Duration;

use afu9_schemas::codec::{self, DecodeError};
use afu9_schemas::message::HistoryBatch;
use afu9_schemas::subject;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::{AckKind, Message};
use futures::{FutureExt, StreamExt};

use crate::connection::Broker;
use crate::error::{PublishError, RequestError};
use crate::publish::Outgoing;
use crate::pull::Pull;
use crate::topology::HISTORY;

/// A batch larger than this is split: the server refuses messages above 1 MiB, and one event is
/// below the difference.
pub const SPLIT_AT_BYTES: usize = 256 * 1024;

/// Name of the projector's durable consumer.
const PROJECTOR: &str = "projector";

/// Batches read ahead of the writer.
const READ_AHEAD: usize = 128;

/// A projector may be busy with the database, or wait for it, this long before another one gets its
/// batches. Writing them twice is harmless.
const ACK_WAIT: Duration = Duration::from_secs(60);

/// Batches delivered and not acknowledged: bounds what a projector holds in memory.
const MAX_ACK_PENDING: i64 = 8192;

/// One batch as it was delivered.
#[derive(Debug)]
pub struct HistoryMessage {
    /// Its position in the stream.
    pub stream_sequence: u64,
    /// How many batches wait behind it.
    pub pending: u64,
    /// The bytes as they came.
    pub raw: bytes::Bytes,
    message: Message,
}

impl HistoryMessage {
    /// Its events, or why they cannot be read.
    ///
    /// # Errors
    /// A batch of a newer AFU-9 must be left in place; any other unreadable one is a dead letter.
    pub fn decode(&self) -> Result<HistoryBatch, DecodeError> {
        codec::decode(&self.raw)
    }

    /// The batch is written down for good.
    ///
    /// # Errors
    /// When this cannot be sent; the batch is then delivered again, harmlessly.
    pub async fn acknowledge(&self) -> Result<(), RequestError> {
        self.message
            .ack_with(AckKind::Ack)
            .await
            .map_err(|error| RequestError::new("acknowledging history", error))
    }
}

/// Reads history in order.
pub struct HistoryConsumer {
    pull: Pull,
}

impl std::fmt::Debug for HistoryConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HistoryConsumer").finish_non_exhaustive()
    }
}

impl HistoryConsumer {
    /// Waits for the next batch, then takes what has arrived with it, up to `max`.
    ///
    /// Cancel safety: safe; a dropped call loses nothing.
    ///
    /// # Errors
    /// When the server cannot be asked. Call again, after a pause.
    pub async fn next_batch(&mut self, max: usize) -> Result<Vec<HistoryMessage>, RequestError> {
        let failed = |error: async_nats::Error| RequestError::new("reading history", error);
        loop {
            let messages = self.pull.messages().await.map_err(failed)?;
            let mut batch = Vec::new();
            match messages.next().await {
                Some(Ok(message)) => batch.extend(read(message)),
                Some(Err(error)) => {
                    self.pull.close();
                    return Err(failed(error.into()));
                }
                None => {
                    self.pull.close();
                    continue;
                }
            }
            while batch.len() < max {
                match messages.next().now_or_never() {
                    Some(Some(Ok(message))) => batch.extend(read(message)),
                    // An error shows again at the next call.
                    _ => break,
                }
            }
            if !batch.is_empty() {
                return Ok(batch);
            }
        }
    }
}

fn read(message: Message) -> Option<HistoryMessage> {
    let (stream_sequence, pending) = message
        .info()
        .ok()
        .map(|info| (info.stream_sequence, info.pending))?;
    let raw = message.payload.clone();
    Some(HistoryMessage {
        stream_sequence,
        pending,
        raw,
        message,
    })
}

/// One message with `batch`.
///
/// # Errors
/// When it cannot be encoded.
pub fn history_message(batch: &HistoryBatch) -> Result<Outgoing, PublishError> {
    let subject = match batch.partition {
        Some(partition) => subject::history(partition),
        None => subject::HISTORY_DEFINITIONS.to_owned(),
    };
    let payload = codec::encode(batch).map_err(|source| PublishError::Encode {
        subject: subject.clone(),
        source,
    })?;
    Ok(Outgoing {
        subject,
        payload,
        message_id: None,
    })
}

impl Broker {
    /// Opens history for the projector: every batch since the last one that was acknowledged, shared
    /// between all projectors.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn projector_history(&self) -> Result<HistoryConsumer, RequestError> {
        self.history_consumer(pull::Config {
            durable_name: Some(PROJECTOR.to_owned()),
            // One by one: an acknowledgement of a later batch must never cover an earlier one that
            // was lost on its way to us.
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: MAX_ACK_PENDING,
            max_deliver: -1,
            ..pull::Config::default()
        })
        .await
    }

    /// Opens history for looking at it: everything the stream still holds, then what comes.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn observe_history(&self) -> Result<HistoryConsumer, RequestError> {
        self.observer(DeliverPolicy::All).await
    }

    /// Opens history for following it: what comes from now on.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn follow_history(&self) -> Result<HistoryConsumer, RequestError> {
        self.observer(DeliverPolicy::New).await
    }

    async fn observer(
        &self,
        deliver_policy: DeliverPolicy,
    ) -> Result<HistoryConsumer, RequestError> {
        self.history_consumer(pull::Config {
            deliver_policy,
            ack_policy: AckPolicy::None,
            inactive_threshold: Duration::from_secs(60),
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        })
        .await
    }

    async fn history_consumer(
        &self,
        config: pull::Config,
    ) -> Result<HistoryConsumer, RequestError> {
        let failed = |error: async_nats::Error| RequestError::new("opening history", error);
        let stream = self.stream(HISTORY).await.map_err(failed)?;
        let consumer = match config.durable_name.clone() {
            Some(name) => stream.get_or_create_consumer(&name, config).await,
            None => stream.create_consumer(config).await.map_err(|error| {
                async_nats::jetstream::stream::ConsumerError::with_source(
                    async_nats::jetstream::stream::ConsumerErrorKind::Other,
                    error,
                )
            }),
        }
        .map_err(|error| failed(error.into()))?;
        Ok(HistoryConsumer {
            pull: Pull::new(consumer, READ_AHEAD),
        })
    }

    /// Drops the history that the projector has acknowledged without a gap, and returns up to where.
    ///
    /// # Errors
    /// When the server does not answer; it is then dropped with a later call.
    pub async fn drop_projected_history(&self) -> Result<u64, RequestError> {
        let failed =
            |error: async_nats::Error| RequestError::new("dropping written history", error);
        let stream = self.stream(HISTORY).await.map_err(failed)?;
        let info = stream
            .consumer_info(PROJECTOR)
            .await
            .map_err(|error| failed(error.into()))?;
        let floor = info.ack_floor.stream_sequence;
        if floor > 0 {
            self.drop_history(floor).await?;
        }
        Ok(floor)
    }

    /// Drops history up to and including `sequence`: it is written down.
    ///
    /// # Errors
    /// When the server does not answer; it is then dropped with a later call.
    pub async fn drop_history(&self, sequence: u64) -> Result<(), RequestError> {
        let failed =
            |error: async_nats::Error| RequestError::new("dropping written history", error);
        let stream = self.stream(HISTORY).await.map_err(failed)?;
        stream
            .purge()
            .sequence(sequence + 1)
            .await
            .map_err(|error| failed(error.into()))?;
        Ok(())
    }
}
