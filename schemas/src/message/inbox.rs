//! Webhook deliveries as they were received.

use serde::{Deserialize, Serialize};

use crate::artifact::ArtifactRef;
use crate::id::{DeadLetterId, DeliveryId};
use crate::time::Timestamp;

/// One delivery, stored before it is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboxDelivery {
    /// The sender's id of the delivery; a second delivery with the same id is the same delivery.
    pub id: DeliveryId,
    /// `github`, or the name of a configured source.
    pub source: String,
    /// The event as the sender named it.
    pub event: String,
    /// The body's `action`, if it has one.
    #[serde(default)]
    pub action: Option<String>,
    /// Headers worth keeping: names in lower case, no signature, no authorisation.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The raw body.
    pub body: InboxBody,
    /// When the gateway received it.
    pub received_at: Timestamp,
    /// W3C trace context of the request.
    #[serde(default)]
    pub traceparent: Option<String>,
    /// The dead letter that somebody replays by having the delivery routed again.
    #[serde(default)]
    pub replay_of: Option<DeadLetterId>,
}

/// A body, or where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InboxBody {
    /// The bytes themselves.
    Inline(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Stored as an artifact, because it is larger than 256 KiB.
    Artifact(ArtifactRef),
}
