//! Pulling jobs: never more than there are free slots, because the server's patience with a job
//! begins when it is delivered, not when somebody begins to work on it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use afu9_schemas::codec::{self, DecodeError};
use afu9_schemas::message::JobEnvelope;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::{AckKind, Message};
use bytes::Bytes;
use futures::Stream;
use futures::stream::{SelectAll, StreamExt};

use crate::connection::Broker;
use crate::error::RequestError;

/// How long one pull request lives: short, so that one the server lost holds its slots for seconds only
/// (async-nats gives up 5 s after this time), and a job that is to run alone does not wait longer for
/// the requests of others to end.
///
/// No idle heartbeat is asked for: on receiving one, async-nats 0.51 returns from a batch's poll without
/// a wake-up for the next message, and a job that came afterwards would lie in our buffer until the
/// server's patience with it ends.
const PULL_EXPIRES: Duration = Duration::from_secs(2);

/// Pull requests open at once. More would not fetch faster, and each costs the server memory.
const MAX_PULLS: usize = 4;

/// One lane of a work queue.
pub struct WorkConsumer {
    #[expect(
        dead_code,
        reason = "keeps the connection alive as long as the consumer"
    )]
    broker: Broker,
    consumer: Consumer<pull::Config>,
    pulls: SelectAll<Pull>,
    /// Messages asked for and not yet delivered.
    requested: usize,
}

impl std::fmt::Debug for WorkConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkConsumer")
            .field("requested", &self.requested)
            .finish_non_exhaustive()
    }
}

struct Pull {
    batch: pull::Batch,
    remaining: usize,
    ended: bool,
}

enum Pulled {
    Message(Box<Message>),
    /// The request ended with this many messages not delivered.
    Ended(usize),
}

impl Stream for Pull {
    type Item = Pulled;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Pulled>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match self.batch.poll_next_unpin(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(message))) => {
                self.remaining = self.remaining.saturating_sub(1);
                Poll::Ready(Some(Pulled::Message(Box::new(message))))
            }
            // Expired, a missed heartbeat, a lost connection: in every case the request is over and
            // what it did not bring is asked for again.
            Poll::Ready(Some(Err(_)) | None) => {
                self.ended = true;
                Poll::Ready(Some(Pulled::Ended(self.remaining)))
            }
        }
    }
}

impl WorkConsumer {
    pub(super) fn new(broker: Broker, consumer: Consumer<pull::Config>) -> Self {
        Self {
            broker,
            consumer,
            pulls: SelectAll::new(),
            requested: 0,
        }
    }

    /// Asks for as many messages as bring the number asked for to `free`, if that is worth a
    /// request. Not cancel-safe: await it to its end.
    ///
    /// # Errors
    /// When the server cannot be asked. Try again, after a pause.
    pub async fn ask(&mut self, free: usize) -> Result<(), RequestError> {
        if self.requested == 0 {
            // Every request has brought all it was for. Those that have not been seen to end are
            // dropped, or they would count against the bound and nothing would ever be asked for
            // again: nobody waits for messages while none are requested.
            self.pulls.clear();
        }
        let wanted = free.saturating_sub(self.requested);
        // Small refills wait until they are worth a request, unless nothing is asked for at all.
        let worthwhile = self.requested == 0 || wanted >= free.div_ceil(2);
        if wanted == 0 || !worthwhile || self.pulls.len() >= MAX_PULLS {
            return Ok(());
        }
        let batch = self
            .consumer
            .batch()
            .max_messages(wanted)
            .expires(PULL_EXPIRES)
            .messages()
            .await
            .map_err(|error| RequestError::new("pulling jobs", error))?;
        self.requested += wanted;
        self.pulls.push(Pull {
            batch,
            remaining: wanted,
            ended: false,
        });
        Ok(())
    }

    /// Waits for the next message that was asked for. Returns `None` when a request ended without
    /// one, or nothing was asked for: ask again, with the slots that are free by then.
    ///
    /// Cancel safety: safe. What arrives while nobody waits is handed out by later calls.
    pub async fn next(&mut self) -> Option<Delivery> {
        match self.pulls.next().await? {
            Pulled::Message(message) => {
                self.requested = self.requested.saturating_sub(1);
                Some(Delivery::new(*message))
            }
            Pulled::Ended(remaining) => {
                self.requested = self.requested.saturating_sub(remaining);
                None
            }
        }
    }

    /// Messages asked for and not yet delivered: slots that are spoken for.
    pub fn requested(&self) -> usize {
        self.requested
    }
}

/// A delivered message of jobs. Dropping it without an acknowledgement gives it to another worker
/// after the server's patience.
#[derive(Debug)]
pub struct Delivery {
    message: Message,
}

impl Delivery {
    fn new(message: Message) -> Self {
        Self { message }
    }

    /// The jobs, or why they cannot be read.
    ///
    /// # Errors
    /// A message from a newer AFU-9 must be handed back; any other unreadable one is a dead letter.
    pub fn decode(&self) -> Result<JobEnvelope, DecodeError> {
        codec::decode(&self.message.payload)
    }

    /// The bytes as they came.
    pub fn raw(&self) -> Bytes {
        self.message.payload.clone()
    }

    /// The id under which the message was published: that of its job, where it holds a single one.
    pub fn message_id(&self) -> Option<&str> {
        let headers = self.message.headers.as_ref()?;
        headers.get(NATS_MESSAGE_ID).map(|id| id.as_str())
    }

    /// How often the message was delivered, this time included.
    pub fn delivered(&self) -> u64 {
        self.message
            .info()
            .map_or(1, |info| u64::try_from(info.delivered).unwrap_or(1))
    }

    /// The jobs are done, and their results stored.
    ///
    /// # Errors
    /// When the acknowledgement cannot be sent; the jobs are then delivered again, harmlessly.
    pub async fn done(&self) -> Result<(), RequestError> {
        self.acknowledge(AckKind::Ack).await
    }

    /// The jobs are still being worked on.
    ///
    /// # Errors
    /// When this cannot be sent.
    pub async fn in_progress(&self) -> Result<(), RequestError> {
        self.acknowledge(AckKind::Progress).await
    }

    /// Another worker shall do the jobs, after `delay`. The delay counts against the deliveries in
    /// flight, so it is for short pauses only; long ones are the engine's timers.
    ///
    /// # Errors
    /// When this cannot be sent; the server's patience has the same effect.
    pub async fn hand_back(&self, delay: Duration) -> Result<(), RequestError> {
        self.acknowledge(AckKind::Nak(Some(delay))).await
    }

    async fn acknowledge(&self, kind: AckKind) -> Result<(), RequestError> {
        self.message
            .ack_with(kind)
            .await
            .map_err(|error| RequestError::new("acknowledging jobs", error))
    }
}
