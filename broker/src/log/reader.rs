//! Reading one partition in order, from a position on.

use std::time::Duration;

use afu9_schemas::codec::{self, DecodeError};
use afu9_schemas::message::InputEnvelope;
use afu9_schemas::{Partition, Timestamp, subject};
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, ReplayPolicy, pull};
use async_nats::jetstream::stream::Info;
use futures::{FutureExt, StreamExt};
use thiserror::Error;

use crate::connection::Broker;
use crate::error::RequestError;
use crate::topology::LOG;

/// Messages asked for ahead. They need no acknowledgement, so that waiting in our memory costs them
/// nothing; the checkpoint's floor is what counts.
const READ_AHEAD: usize = 128;

/// How long one pull request lives. Short, so that a request the server lost stalls us for seconds
/// at most.
const PULL_EXPIRES: Duration = Duration::from_secs(10);

/// The server says this often that it is still there.
const PULL_HEARTBEAT: Duration = Duration::from_secs(3);

/// The server forgets a reader that has gone away after this time.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// One message of the log.
#[derive(Debug)]
pub struct LogMessage {
    /// Its position in the log.
    pub sequence: u64,
    /// When the server stored it: the `now` of every decision about it.
    pub at: Timestamp,
    /// Its inputs, or why they cannot be read.
    pub envelope: Result<InputEnvelope, DecodeError>,
    /// The bytes, for a dead letter.
    pub raw: bytes::Bytes,
}

/// Why reading cannot go on.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The server refuses or does not answer; the reader tries again at the next call.
    #[error("cannot read the input log")]
    Unavailable(#[source] RequestError),
    /// At a position that was read before there is a newer message, or none yet: the server lost the end of
    /// its log, as it may in mode `fast` when a machine loses power, and goes on from there.
    #[error(
        "position {sequence} of the input log is not what it was: its server lost what followed"
    )]
    TailLost {
        /// Position of the first message that was not read. Read on there, after [`LogReader::rewind`].
        sequence: u64,
        /// Position up to which was read.
        read: u64,
    },
}

/// Reads one partition in order, without gaps.
pub struct LogReader {
    broker: Broker,
    partition: Partition,
    /// Position of the last message handed out.
    position: u64,
    /// When the latest of the messages handed out was stored; `None` if that is not known. What is later
    /// and not behind `position` was never handed out.
    read_at: Option<Timestamp>,
    /// The highest position seen since the stream was opened, and the server process it was opened at.
    seen: u64,
    server: String,
    /// The consumer's own count, by which a gap shows.
    delivered: u64,
    stream: Option<pull::Stream>,
}

impl std::fmt::Debug for LogReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogReader")
            .field("partition", &self.partition)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl LogReader {
    /// A reader of what `partition` holds behind `floor`.
    pub fn new(broker: Broker, partition: Partition, floor: u64) -> Self {
        Self {
            broker,
            partition,
            position: floor,
            read_at: None,
            seen: 0,
            server: String::new(),
            delivered: 0,
            stream: None,
        }
    }

    /// The same, knowing when the latest of what was read before was stored.
    #[must_use]
    pub fn having_read(mut self, until: Option<Timestamp>) -> Self {
        self.read_at = until;
        self
    }

    /// Waits for the next message, then takes what has arrived with it, up to `max`.
    ///
    /// Cancel safety: safe; messages are handed out only by a call that completes, and a call that
    /// was dropped before loses nothing.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn next_batch(&mut self, max: usize) -> Result<Vec<LogMessage>, ReadError> {
        loop {
            if self.stream.is_none() {
                let end = self.broker.log_end().await;
                let end = end.map_err(ReadError::Unavailable)?;
                if end < self.position {
                    let (sequence, read) = (end + 1, self.position);
                    return Err(ReadError::TailLost { sequence, read });
                }
                let stream = self.open().await.map_err(ReadError::Unavailable)?;
                self.stream = Some(stream);
            }
            let Some(stream) = self.stream.as_mut() else {
                continue;
            };
            let first = stream.next().await;
            let mut batch = Vec::new();
            if !self.take(first, &mut batch)? {
                continue;
            }
            while batch.len() < max {
                let Some(stream) = self.stream.as_mut() else {
                    break;
                };
                match stream.next().now_or_never() {
                    Some(next) => {
                        if !self.take(next, &mut batch)? {
                            break;
                        }
                    }
                    None => break,
                }
            }
            if !batch.is_empty() {
                return Ok(batch);
            }
        }
    }

    /// When the latest of the messages handed out was stored, if that is known.
    pub fn read_at(&self) -> Option<Timestamp> {
        self.read_at
    }

    /// Reads on behind `position`: what follows it has not been read.
    pub fn rewind(&mut self, position: u64) {
        self.position = position;
        self.stream = None;
    }

    /// Asks the server anew. After a reconnection: what was asked before may be forgotten, which else shows
    /// only after seconds.
    pub fn reopen(&mut self) {
        self.stream = None;
    }

    /// Whether the log is known to reach `floor`, so that no new message can get a position up to it. Then
    /// says of which server process that is known.
    pub fn reaches(&mut self, floor: u64) -> Option<String> {
        if self.stream.is_some() && self.server != self.broker.server_id() {
            self.stream = None;
        }
        (self.stream.is_some() && self.seen >= floor).then(|| self.server.clone())
    }

    /// Adds a message to `batch`, or closes the stream if it is broken or has a gap: the next call
    /// reads on from the last position. What was handed out before is passed over.
    fn take(
        &mut self,
        next: Option<Result<Message, async_nats::error::Error<pull::MessagesErrorKind>>>,
        batch: &mut Vec<LogMessage>,
    ) -> Result<bool, ReadError> {
        let message = match next {
            Some(Ok(message)) => message,
            Some(Err(error)) => {
                tracing::debug!(partition = %self.partition, %error, "log reader reopened");
                self.stream = None;
                return Ok(false);
            }
            None => {
                self.stream = None;
                return Ok(false);
            }
        };
        let Ok(info) = message.info() else {
            self.stream = None;
            return Ok(false);
        };
        if info.consumer_sequence != self.delivered + 1 {
            tracing::debug!(partition = %self.partition, "gap in the log reader's deliveries");
            self.stream = None;
            return Ok(false);
        }
        self.delivered = info.consumer_sequence;
        let sequence = info.stream_sequence;
        let at = Timestamp::from_nanos(info.published.unix_timestamp_nanos());
        if sequence <= self.position {
            if self.read_at.is_some_and(|read_at| at > read_at) {
                self.stream = None;
                let read = self.position;
                return Err(ReadError::TailLost { sequence, read });
            }
            self.seen = sequence;
            return Ok(true);
        }
        self.seen = sequence;
        self.position = sequence;
        self.read_at = self.read_at.max(Some(at));
        batch.push(LogMessage {
            sequence,
            at,
            envelope: codec::decode(&message.payload),
            raw: message.payload.clone(),
        });
        Ok(true)
    }

    async fn open(&mut self) -> Result<pull::Stream, RequestError> {
        let failed = |error: async_nats::Error| RequestError::new("opening the log reader", error);
        self.server = self.broker.server_id();
        self.seen = 0;
        let stream = self.broker.stream(LOG).await.map_err(failed)?;
        let consumer = stream
            .create_consumer(pull::Config {
                // From the first one on: what a checkpoint covers is dropped with it, so that there is little
                // to pass over, and what stands at a position that was read need not be what was read.
                deliver_policy: DeliverPolicy::All,
                ack_policy: AckPolicy::None,
                replay_policy: ReplayPolicy::Instant,
                filter_subject: subject::log(self.partition),
                inactive_threshold: FORGET_AFTER,
                memory_storage: true,
                num_replicas: 1,
                ..pull::Config::default()
            })
            .await
            .map_err(|error| failed(error.into()))?;
        self.delivered = 0;
        consumer
            .stream()
            .max_messages_per_batch(READ_AHEAD)
            .expires(PULL_EXPIRES)
            .heartbeat(PULL_HEARTBEAT)
            .messages()
            .await
            .map_err(|error| failed(error.into()))
    }
}

impl Broker {
    /// The log as the server has it.
    pub(crate) async fn log_info(&self) -> Result<Info, RequestError> {
        let log = self.jetstream.get_stream(LOG).await;
        let log = log.map_err(|error| RequestError::new("looking up the input log", error))?;
        Ok(log.cached_info().clone())
    }

    /// How many messages of the log no checkpoint covers yet.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn log_size(&self) -> Result<u64, RequestError> {
        Ok(self.log_info().await?.state.messages)
    }

    /// Position of the last message of the log, of whatever partition.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn log_end(&self) -> Result<u64, RequestError> {
        Ok(self.log_info().await?.state.last_sequence)
    }

    /// How many bytes the log holds, and how many it may.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn log_bytes(&self) -> Result<(u64, u64), RequestError> {
        let info = self.log_info().await?;
        // Without a bound there always is room.
        let bound = u64::try_from(info.config.max_bytes).unwrap_or(u64::MAX);
        Ok((info.state.bytes, bound))
    }

    /// Drops the messages of `partition` up to and including `floor`. Only after a checkpoint that
    /// covers them is stored.
    ///
    /// # Errors
    /// When the server does not answer; the messages are then dropped with the next checkpoint.
    pub async fn drop_log(&self, partition: Partition, floor: u64) -> Result<u64, RequestError> {
        let failed = |error: async_nats::Error| RequestError::new("dropping covered inputs", error);
        let stream = self.stream(LOG).await.map_err(failed)?;
        let purged = stream
            .purge()
            .filter(subject::log(partition))
            .sequence(floor + 1)
            .await
            .map_err(|error| failed(error.into()))?;
        Ok(purged.purged)
    }
}
