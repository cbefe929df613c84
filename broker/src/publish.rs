//! Publishing with acknowledgements, many at a time.

use async_nats::HeaderMap;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{PublishAckFuture, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use futures::future::join_all;

use crate::connection::Broker;
use crate::error::PublishError;
use crate::topology::has_code;

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

    /// Publishes all messages without waiting between them, then awaits every acknowledgement. The
    /// results are in the order of the messages.
    pub async fn publish_all(&self, messages: Vec<Outgoing>) -> Vec<Result<Stored, PublishError>> {
        let mut sent = Vec::with_capacity(messages.len());
        for message in messages {
            let subject = message.subject.clone();
            sent.push((subject, self.send(message).await));
        }
        join_all(sent.into_iter().map(|(subject, sent)| async move {
            match sent {
                Ok(acknowledgement) => settle(subject, acknowledgement).await,
                Err(error) => Err(error),
            }
        }))
        .await
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
            if has_code(&error, ErrorCode::STREAM_STORE_FAILED)
                && error.to_string().contains("maximum")
            {
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
