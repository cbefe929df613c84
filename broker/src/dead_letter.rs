//! Dead letters: setting them aside, and finding those that only the server knows of.

mod stored;

use std::time::Duration;

use afu9_schemas::codec;
use afu9_schemas::message::{DeadLetter, DeadLetterReason, JobEnvelope};
use afu9_schemas::{WorkerKind, subject};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, pull};
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use async_nats::jetstream::{AckKind, ErrorCode};
use bytes::Bytes;
use futures::StreamExt;
use serde::Deserialize;

use crate::connection::Broker;
use crate::error::{PublishError, RequestError};
use crate::publish::Outgoing;
use crate::topology::{ADVISORIES, WORK_PREFIX};

pub use stored::{StoredLetter, StoredLetters};

const ACK_WAIT: Duration = Duration::from_secs(30);
/// Without an idle heartbeat, for the reason given at the work queues' pulls.
const PULL_EXPIRES: Duration = Duration::from_secs(10);

/// One message with `letter`.
///
/// # Errors
/// When it cannot be encoded.
pub fn dead_letter_message(letter: &DeadLetter) -> Result<Outgoing, PublishError> {
    // The same attempt of the same job is one dead letter, however often it is found. One that cannot
    // be read is another: what the engine says of the attempt later has its parameters.
    let unread = || letter.job_id.map(|id| format!("dlq.unread.{id}"));
    let read = letter.job.as_ref().map(|job| format!("dlq.{}", job.id));
    named_dead_letter_message(letter, read.or_else(unread))
}

/// One message with `letter`, under the message id by which a second copy of it is recognised.
///
/// # Errors
/// When it cannot be encoded.
pub fn named_dead_letter_message(
    letter: &DeadLetter,
    message_id: Option<String>,
) -> Result<Outgoing, PublishError> {
    let subject = match (&letter.kind, letter.reason) {
        (Some(kind), _) => subject::dead_letter(kind),
        (None, DeadLetterReason::Unwritable) => subject::DEAD_LETTER_HISTORY.to_owned(),
        (None, DeadLetterReason::Poison) => subject::DEAD_LETTER_INPUT.to_owned(),
        (None, DeadLetterReason::Unstarted) => subject::DEAD_LETTER_TRIGGER.to_owned(),
        (None, _) => subject::DEAD_LETTER_INBOX.to_owned(),
    };
    let payload = codec::encode(letter).map_err(|source| PublishError::Encode {
        subject: subject.clone(),
        source,
    })?;
    Ok(Outgoing {
        subject,
        payload,
        message_id,
    })
}

/// A message of jobs that was delivered too often without an answer.
#[derive(Debug)]
pub struct Exhausted {
    /// The work queue it is still in.
    stream: String,
    sequence: u64,
    /// How often it was delivered.
    pub deliveries: u64,
    /// Its jobs, where they can be read.
    pub jobs: Option<JobEnvelope>,
    /// The bytes as they are; none if the message is gone.
    pub raw: Option<Bytes>,
    advisory: async_nats::jetstream::Message,
}

impl Exhausted {
    /// Whether only a newer AFU-9 can read the jobs, so that they must be left in place.
    pub fn is_from_the_future(&self) -> bool {
        self.raw.as_deref().is_some_and(|bytes| {
            codec::decode::<JobEnvelope>(bytes).is_err_and(|error| error.is_from_the_future())
        })
    }

    /// The worker kind whose queue the jobs were in.
    pub fn kind(&self) -> Option<WorkerKind> {
        let name = self.stream.strip_prefix(WORK_PREFIX)?.to_ascii_lowercase();
        WorkerKind::new(name).ok()
    }
}

/// Reads the server's notices of exhausted deliveries; shared between all orchestrators.
#[derive(Debug)]
pub struct ExhaustedJobs {
    broker: Broker,
    consumer: Consumer<pull::Config>,
}

/// The server's notice, as far as we read it.
#[derive(Debug, Deserialize)]
struct Advisory {
    stream: String,
    stream_seq: u64,
    deliveries: u64,
}

impl Broker {
    /// Opens the notices of exhausted deliveries.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn exhausted_jobs(&self) -> Result<ExhaustedJobs, RequestError> {
        let failed = |error: async_nats::Error| RequestError::new("opening advisories", error);
        let stream = self.stream(ADVISORIES).await.map_err(failed)?;
        let consumer = stream
            .get_or_create_consumer(
                "dead_letters",
                pull::Config {
                    durable_name: Some("dead_letters".to_owned()),
                    ack_policy: AckPolicy::Explicit,
                    ack_wait: ACK_WAIT,
                    ..pull::Config::default()
                },
            )
            .await
            .map_err(|error| failed(error.into()))?;
        Ok(ExhaustedJobs {
            broker: self.clone(),
            consumer,
        })
    }
}

impl ExhaustedJobs {
    /// Waits for the next notice; `None` after a while without one.
    ///
    /// Cancel safety: safe; a notice that was not acknowledged comes again.
    ///
    /// # Errors
    /// When the server cannot be asked. Call again, after a pause.
    pub async fn next(&mut self) -> Result<Option<Exhausted>, RequestError> {
        let failed = |error: async_nats::Error| RequestError::new("reading advisories", error);
        let mut batch = self
            .consumer
            .batch()
            .max_messages(1)
            .expires(PULL_EXPIRES)
            .messages()
            .await
            .map_err(|error| failed(error.into()))?;
        let advisory = match batch.next().await {
            None => return Ok(None),
            Some(message) => message.map_err(failed)?,
        };
        let Ok(notice) = advisory_of(&advisory.payload) else {
            tracing::warn!("unreadable advisory left out");
            advisory.ack().await.map_err(failed)?;
            return Ok(None);
        };
        let stream = self.broker.stream(&notice.stream).await.map_err(failed)?;
        let raw = content(&stream, notice.stream_seq).await.map_err(failed)?;
        let jobs = raw.as_deref().and_then(|bytes| codec::decode(bytes).ok());
        Ok(Some(Exhausted {
            stream: notice.stream,
            sequence: notice.stream_seq,
            deliveries: notice.deliveries,
            jobs,
            raw,
            advisory,
        }))
    }

    /// The jobs are dead letters now, and their executions know: remove them from the queue.
    ///
    /// # Errors
    /// When the server does not answer; the notice then comes again.
    pub async fn settled(&self, exhausted: &Exhausted) -> Result<(), RequestError> {
        let failed = |error: async_nats::Error| RequestError::new("removing dead jobs", error);
        if exhausted.raw.is_some() {
            let stream = self
                .broker
                .stream(&exhausted.stream)
                .await
                .map_err(failed)?;
            if let Err(error) = stream.delete_message(exhausted.sequence).await {
                // Already gone is what we want; anything else comes again with the notice.
                let left = content(&stream, exhausted.sequence).await;
                if !matches!(left, Ok(None)) {
                    return Err(failed(error.into()));
                }
            }
        }
        exhausted
            .advisory
            .ack_with(AckKind::Ack)
            .await
            .map_err(failed)
    }
}

/// The bytes of a message; `None` if it is gone because somebody answered after all, or with its
/// whole queue. No answer is not that: the message would be left to nobody.
async fn content(stream: &Stream<()>, sequence: u64) -> Result<Option<Bytes>, async_nats::Error> {
    match stream.get_raw_message(sequence).await {
        Ok(message) => Ok(Some(message.payload)),
        Err(error) => match error.kind() {
            RawMessageErrorKind::NoMessageFound => Ok(None),
            RawMessageErrorKind::JetStream(cause)
                if cause.error_code() == ErrorCode::STREAM_NOT_FOUND =>
            {
                Ok(None)
            }
            _ => Err(error.into()),
        },
    }
}

fn advisory_of(payload: &[u8]) -> Result<Advisory, RequestError> {
    serde_json::from_slice(payload).map_err(|error| RequestError::new("reading an advisory", error))
}
