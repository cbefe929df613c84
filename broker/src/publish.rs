//! Publishing with acknowledgements, many at a time.

use std::pin::pin;

use afu9_schemas::codec;
use async_nats::HeaderMap;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{PublishAckFuture, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt};
use serde::Serialize;

use crate::connection::Broker;
use crate::error::{PublishError, is_full};
use crate::topology::has_code;

/// Messages of one call in flight at once. A window of 500 publishes over 200,000 messages a second;
/// a larger one only holds more of the connection's permits.
const WINDOW: usize = 500;

/// One message on its way out.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Where to.
    pub subject: String,
    /// The encoded message.
    pub payload: Bytes,
    /// The server drops a second message with the same id within its window.
    pub message_id: Option<String>,
}

/// Where a message was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its position in its stream.
    pub sequence: u64,
    /// The server had it already, by its message id.
    pub duplicate: bool,
}

impl Broker {
    /// Publishes one message and awaits its acknowledgement.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publish(&self, message: Outgoing) -> Result<Stored, PublishError> {
        let subject = message.subject.clone();
        let acknowledgement = self.send(message).await?;
        settle(subject, acknowledgement).await
    }

    /// Publishes all messages without waiting between them, and awaits every acknowledgement. At most
    /// `WINDOW` are in flight; acknowledgements are taken in while the next message waits for its
    /// turn, so that several callers can never wait for each other's. The results are in the order
    /// of the messages.
    pub async fn publish_all(&self, messages: Vec<Outgoing>) -> Vec<Result<Stored, PublishError>> {
        let mut results: Vec<Option<Result<Stored, PublishError>>> = Vec::new();
        results.resize_with(messages.len(), || None);
        let mut waiting = FuturesUnordered::new();
        for (index, message) in messages.into_iter().enumerate() {
            while waiting.len() >= WINDOW {
                if let Some((settled, result)) = waiting.next().await {
                    let settled: usize = settled;
                    results[settled] = Some(result);
                }
            }
            let subject = message.subject.clone();
            let mut sending = pin!(self.send(message));
            let sent = loop {
                tokio::select! {
                    sent = &mut sending => break sent,
                    Some((settled, result)) = waiting.next() => results[settled] = Some(result),
                }
            };
            match sent {
                Ok(acknowledgement) => {
                    waiting.push(async move { (index, settle(subject, acknowledgement).await) })
                }
                Err(error) => results[index] = Some(Err(error)),
            }
        }
        while let Some((settled, result)) = waiting.next().await {
            results[settled] = Some(result);
        }
        results
            .into_iter()
            .map(|result| result.expect("every message was sent or failed"))
            .collect()
    }

    /// Tells whoever listens just now: nothing is stored, nobody acknowledges.
    pub(crate) async fn announce<T: Serialize>(
        &self,
        subject: String,
        message: &T,
    ) -> Result<(), PublishError> {
        let payload = codec::encode(message).map_err(|source| PublishError::Encode {
            subject: subject.clone(),
            source,
        })?;
        self.client
            .publish(subject.clone(), payload)
            .await
            .map_err(|error| PublishError::Unacknowledged {
                subject,
                source: error.into(),
            })
    }

    async fn send(&self, message: Outgoing) -> Result<PublishAckFuture, PublishError> {
        let Outgoing {
            subject,
            payload,
            message_id,
        } = message;
        let mut outgoing = PublishMessage::build().payload(payload);
        if let Some(id) = message_id {
            let mut headers = HeaderMap::new();
            headers.insert(async_nats::header::NATS_MESSAGE_ID, id);
            outgoing = outgoing.headers(headers);
        }
        self.jetstream
            .send_publish(subject.clone(), outgoing)
            .await
            .map_err(|error| classify(subject, error))
    }
}

async fn settle(
    subject: String,
    acknowledgement: PublishAckFuture,
) -> Result<Stored, PublishError> {
    match acknowledgement.await {
        Ok(ack) => Ok(Stored {
            sequence: ack.sequence,
            duplicate: ack.duplicate,
        }),
        Err(error) => Err(classify(subject, error)),
    }
}

fn classify(subject: String, error: async_nats::jetstream::context::PublishError) -> PublishError {
    match error.kind() {
        PublishErrorKind::WrongLastSequence | PublishErrorKind::WrongLastMessageId => {
            PublishError::Conflict { subject }
        }
        PublishErrorKind::MaxPayloadExceeded => PublishError::Refused {
            subject,
            source: error.into(),
        },
        // No stream answers: it is missing, or its leader is being elected.
        PublishErrorKind::StreamNotFound
        | PublishErrorKind::TimedOut
        | PublishErrorKind::BrokenPipe
        | PublishErrorKind::MaxAckPending => PublishError::Unacknowledged {
            subject,
            source: error.into(),
        },
        PublishErrorKind::Other => {
            if is_full(&error) {
                PublishError::Full { subject }
            } else if has_code(&error, ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM) {
                PublishError::Refused {
                    subject,
                    source: error.into(),
                }
            } else {
                PublishError::Unacknowledged {
                    subject,
                    source: error.into(),
                }
            }
        }
    }
}
