//! Dead letters as the stream holds them: read one after another by whoever lists them, or one by its
//! place.

use std::time::Duration;

use afu9_schemas::codec::{self, DecodeError};
use afu9_schemas::message::DeadLetter;
use afu9_schemas::{DeadLetterId, Timestamp};
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, pull};
use async_nats::jetstream::{AckKind, Message};
use bytes::Bytes;
use futures::StreamExt;

use super::content;
use crate::connection::Broker;
use crate::error::RequestError;
use crate::topology::DLQ;

/// Name of the projector's durable consumer.
const PROJECTOR: &str = "projector";

/// A projector may wait for the database this long before another one gets its dead letters. Writing
/// them twice is harmless.
const ACK_WAIT: Duration = Duration::from_secs(60);

/// Dead letters delivered and not acknowledged, over all projectors.
const MAX_ACK_PENDING: i64 = 1000;

/// Without an idle heartbeat, for the reason given at the work queues' pulls.
const PULL_EXPIRES: Duration = Duration::from_secs(1);

/// A dead letter as it was delivered.
#[derive(Debug)]
pub struct StoredLetter {
    /// The same for every copy of it.
    pub id: DeadLetterId,
    /// Its position in the stream.
    pub stream_sequence: u64,
    /// When the stream took it.
    pub stored_at: Timestamp,
    /// The bytes as they came.
    pub raw: Bytes,
    message: Message,
}

impl StoredLetter {
    /// What it says, or why that cannot be read.
    ///
    /// # Errors
    /// One of a newer AFU-9 must be left in place.
    pub fn decode(&self) -> Result<DeadLetter, DecodeError> {
        codec::decode(&self.raw)
    }

    /// It is written down.
    ///
    /// # Errors
    /// When this cannot be sent; it is then delivered again, harmlessly.
    pub async fn acknowledge(&self) -> Result<(), RequestError> {
        self.message
            .ack_with(AckKind::Ack)
            .await
            .map_err(|error| RequestError::new("acknowledging a dead letter", error))
    }
}

/// Reads dead letters in order; shared between all projectors.
#[derive(Debug)]
pub struct StoredLetters {
    consumer: Consumer<pull::Config>,
}

impl Broker {
    /// Opens the dead letters for the projector: each one since the last that was acknowledged.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn stored_letters(&self) -> Result<StoredLetters, RequestError> {
        let failed = |error: async_nats::Error| RequestError::new("opening dead letters", error);
        let stream = self.stream(DLQ).await.map_err(failed)?;
        let consumer = stream
            .get_or_create_consumer(
                PROJECTOR,
                pull::Config {
                    durable_name: Some(PROJECTOR.to_owned()),
                    ack_policy: AckPolicy::Explicit,
                    ack_wait: ACK_WAIT,
                    max_ack_pending: MAX_ACK_PENDING,
                    max_deliver: -1,
                    ..pull::Config::default()
                },
            )
            .await
            .map_err(|error| failed(error.into()))?;
        Ok(StoredLetters { consumer })
    }

    /// The bytes of the dead letter at this place in the stream; `None` if it is there no more.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn dead_letter_at(&self, sequence: u64) -> Result<Option<Bytes>, RequestError> {
        let failed = |error: async_nats::Error| RequestError::new("reading a dead letter", error);
        let stream = self.stream(DLQ).await.map_err(failed)?;
        content(&stream, sequence).await.map_err(failed)
    }
}

impl StoredLetters {
    /// What comes within a moment, at most `max`.
    ///
    /// Cancel safety: safe; what was not acknowledged comes again.
    ///
    /// # Errors
    /// When the server cannot be asked. Call again, after a pause.
    pub async fn next_batch(&mut self, max: usize) -> Result<Vec<StoredLetter>, RequestError> {
        let failed = |error: async_nats::Error| RequestError::new("reading dead letters", error);
        let mut messages = self
            .consumer
            .batch()
            .max_messages(max)
            .expires(PULL_EXPIRES)
            .messages()
            .await
            .map_err(|error| failed(error.into()))?;
        let mut letters = Vec::new();
        while let Some(message) = messages.next().await {
            letters.extend(read(message.map_err(failed)?));
        }
        Ok(letters)
    }
}

fn read(message: Message) -> Option<StoredLetter> {
    let (stream_sequence, published) = message
        .info()
        .ok()
        .map(|info| (info.stream_sequence, info.published.unix_timestamp_nanos()))?;
    let named = message
        .headers
        .as_ref()
        .and_then(|headers| headers.get(NATS_MESSAGE_ID))
        .map(|id| id.as_str().to_owned());
    // One without a name is told from others by its place, in this stream: a new one counts anew.
    let name = named.unwrap_or_else(|| format!("{stream_sequence} {published}"));
    Some(StoredLetter {
        id: DeadLetterId::derived(&name),
        stream_sequence,
        stored_at: Timestamp::from_nanos(published),
        raw: message.payload.clone(),
        message,
    })
}
