//! The inbox: webhook deliveries, stored before they are acknowledged, routed afterwards.

use std::time::Duration;

use afu9_schemas::codec::{self, DecodeError};
use afu9_schemas::message::InboxDelivery;
use afu9_schemas::subject;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::{AckKind, Message};
use futures::StreamExt;

use crate::connection::Broker;
use crate::error::{PublishError, RequestError};
use crate::publish::{Outgoing, Stored};
use crate::pull::Pull;
use crate::topology::INBOX;

/// A router that shows no sign of life for this long is dead: another one takes the delivery.
const ACK_WAIT: Duration = Duration::from_secs(30);

/// Deliveries being routed at once, over all gateways.
const MAX_ACK_PENDING: i64 = 1000;

/// Deliveries read ahead by one router: fewer than it routes at once, because the server's patience
/// with a delivery begins when it is read.
const READ_AHEAD: usize = 16;

impl Broker {
    /// Stores a delivery. `duplicate` tells that one with the same id from the same source is
    /// already stored.
    ///
    /// # Errors
    /// See [`PublishError`]; the sender must be told to try again.
    pub async fn publish_delivery(&self, delivery: &InboxDelivery) -> Result<Stored, PublishError> {
        self.store_delivery(delivery, "").await
    }

    /// Stores a delivery again, for the replay of the dead letter it names: it is routed once more, and
    /// starts what it has not started yet. The same replay twice is one.
    ///
    /// # Errors
    /// See [`PublishError`]; try again.
    pub async fn redeliver(&self, delivery: &InboxDelivery) -> Result<Stored, PublishError> {
        let replay = delivery.replay_of.map(|letter| format!(".replay.{letter}"));
        self.store_delivery(delivery, &replay.unwrap_or_default())
            .await
    }

    async fn store_delivery(
        &self,
        delivery: &InboxDelivery,
        suffix: &str,
    ) -> Result<Stored, PublishError> {
        let subject = subject::inbox(&delivery.source, &delivery.event);
        let payload = codec::encode(delivery).map_err(|source| PublishError::Encode {
            subject: subject.clone(),
            source,
        })?;
        let message_id = Some(format!("{}.{}{suffix}", delivery.source, delivery.id));
        self.publish(Outgoing {
            subject,
            payload,
            message_id,
        })
        .await
    }

    /// Opens the inbox for routing; shared between all gateways.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn inbox(&self) -> Result<Inbox, RequestError> {
        let failed = |error: async_nats::Error| RequestError::new("opening the inbox", error);
        let stream = self.stream(INBOX).await.map_err(failed)?;
        let consumer = stream
            .get_or_create_consumer(
                "router",
                pull::Config {
                    durable_name: Some("router".to_owned()),
                    ack_policy: AckPolicy::Explicit,
                    ack_wait: ACK_WAIT,
                    max_ack_pending: MAX_ACK_PENDING,
                    ..pull::Config::default()
                },
            )
            .await
            .map_err(|error| failed(error.into()))?;
        Ok(Inbox {
            pull: Pull::new(consumer, READ_AHEAD),
        })
    }
}

/// The inbox, as a router reads it.
pub struct Inbox {
    pull: Pull,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

/// A delivery to be routed. Dropping it without an acknowledgement has it routed again later.
#[derive(Debug)]
pub struct InboxMessage {
    /// The delivery, or why it cannot be read.
    pub delivery: Result<InboxDelivery, DecodeError>,
    /// How often routing it was tried, this time included.
    pub tries: u64,
    /// The bytes as they came.
    pub raw: bytes::Bytes,
    message: Message,
}

impl Inbox {
    /// Waits for the next delivery.
    ///
    /// Cancel safety: safe; a dropped call loses nothing.
    ///
    /// # Errors
    /// When the server cannot be asked. Call again, after a pause.
    pub async fn next(&mut self) -> Result<InboxMessage, RequestError> {
        let failed = |error: async_nats::Error| RequestError::new("reading the inbox", error);
        loop {
            let messages = self.pull.messages().await.map_err(failed)?;
            match messages.next().await {
                Some(Ok(message)) => {
                    let tries = message
                        .info()
                        .map_or(1, |info| u64::try_from(info.delivered).unwrap_or(1));
                    return Ok(InboxMessage {
                        delivery: codec::decode(&message.payload),
                        tries,
                        raw: message.payload.clone(),
                        message,
                    });
                }
                Some(Err(error)) => {
                    self.pull.close();
                    return Err(failed(error.into()));
                }
                None => self.pull.close(),
            }
        }
    }
}

impl InboxMessage {
    /// The delivery is routed, or a dead letter.
    ///
    /// # Errors
    /// When this cannot be sent; it is then routed again, harmlessly.
    pub async fn routed(&self) -> Result<(), RequestError> {
        self.acknowledge(AckKind::Ack).await
    }

    /// Route it again after `delay`.
    ///
    /// # Errors
    /// When this cannot be sent; the server's patience has the same effect.
    pub async fn again(&self, delay: Duration) -> Result<(), RequestError> {
        self.acknowledge(AckKind::Nak(Some(delay))).await
    }

    async fn acknowledge(&self, kind: AckKind) -> Result<(), RequestError> {
        self.message
            .ack_with(kind)
            .await
            .map_err(|error| RequestError::new("acknowledging a delivery", error))
    }
}
