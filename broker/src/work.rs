//! Work queues: publishing jobs, and pulling them with free slots only.

mod consumer;

use afu9_schemas::message::{CancelNotice, Job, JobEnvelope};
use afu9_schemas::{Lane, Timestamp, WorkerKind, codec, subject};
use async_nats::jetstream::consumer::{AckPolicy, pull};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use std::time::Duration;

use crate::connection::Broker;
use crate::error::{PublishError, RequestError};
use crate::publish::{Outgoing, Stored};
use crate::topology::work_stream;

pub use consumer::{Delivery, WorkConsumer};

/// A job that was delivered this often without an answer kills workers, or was beside one that does, or
/// none can read it. This is a guard against crashes; attempts are counted by the engine.
pub const MAX_DELIVER: i64 = 3;

/// A job that runs alone, and was delivered this often without an answer, kills workers.
pub const MAX_DELIVER_ALONE: i64 = 2;

/// Jobs in the hands of workers at once, per lane: far above any fleet, so that it never limits one.
const MAX_ACK_PENDING: i64 = 200_000;

/// What of a work queue a consumer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Lane(Lane),
    /// Jobs that run alone.
    Alone,
}

impl Part {
    pub(crate) const ALL: [Self; 3] = [
        Self::Lane(Lane::Interactive),
        Self::Lane(Lane::Bulk),
        Self::Alone,
    ];

    /// Name of its durable consumer.
    pub(crate) fn consumer_name(self) -> String {
        match self {
            Self::Lane(lane) => format!("workers_{lane}"),
            Self::Alone => "workers_alone".to_owned(),
        }
    }

    fn subject(self, kind: &WorkerKind) -> String {
        match self {
            Self::Lane(lane) => subject::work(kind, lane),
            Self::Alone => subject::work_alone(kind),
        }
    }

    const fn max_deliver(self) -> i64 {
        match self {
            Self::Lane(_) => MAX_DELIVER,
            Self::Alone => MAX_DELIVER_ALONE,
        }
    }
}

/// What identifies the content of a work queue: if it is lower than before, jobs were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkMark {
    /// When the stream was created.
    pub created: Timestamp,
    /// Position of the oldest job in it, or behind the last one if it is empty. A job below it was
    /// answered and acknowledged, or lost.
    pub first_sequence: u64,
    /// Position of the last job it ever held.
    pub last_sequence: u64,
}

impl Broker {
    /// Creates the consumers of a work queue where they are missing.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn ensure_work_consumers(&self, kind: &WorkerKind) -> Result<(), RequestError> {
        for part in Part::ALL {
            self.work_consumer_of(kind, part).await?;
        }
        Ok(())
    }

    /// The same, and gives those that are there the patience of this configuration. Orchestrators alone do
    /// this: workers show signs of life as they are told, and must not be taken for dead meanwhile.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn adjust_work_consumers(&self, kind: &WorkerKind) -> Result<(), RequestError> {
        for part in Part::ALL {
            let found = self.work_consumer_of(kind, part).await?;
            let before = found.cached_info().config.ack_wait;
            if before != self.config.ack_wait {
                self.change_patience(kind, part, before).await?;
            }
        }
        Ok(())
    }

    async fn change_patience(
        &self,
        kind: &WorkerKind,
        part: Part,
        before: Duration,
    ) -> Result<(), RequestError> {
        let failed = |error: async_nats::Error| {
            let name = part.consumer_name();
            let operation = format!("setting ack_wait of the work queue {kind} ({name})");
            RequestError::new(operation, error)
        };
        let stream = self.stream(&work_stream(kind)).await.map_err(failed)?;
        stream
            .update_consumer(self.work_consumer_config(kind, part))
            .await
            .map_err(|error| failed(error.into()))?;
        let (before, now) = (before.as_millis(), self.config.ack_wait.as_millis());
        tracing::info!(%kind, before, now, "ack_wait of a work queue changed");
        Ok(())
    }

    fn work_consumer_config(&self, kind: &WorkerKind, part: Part) -> pull::Config {
        pull::Config {
            durable_name: Some(part.consumer_name()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.config.ack_wait,
            max_deliver: part.max_deliver(),
            max_ack_pending: MAX_ACK_PENDING,
            filter_subject: part.subject(kind),
            ..pull::Config::default()
        }
    }

    async fn work_consumer_of(
        &self,
        kind: &WorkerKind,
        part: Part,
    ) -> Result<async_nats::jetstream::consumer::Consumer<pull::Config>, RequestError> {
        let name = part.consumer_name();
        let failed = |error: async_nats::Error| {
            RequestError::new(format!("opening the work queue {kind} ({name})"), error)
        };
        let stream = self.stream(&work_stream(kind)).await.map_err(failed)?;
        stream
            .get_or_create_consumer(&name, self.work_consumer_config(kind, part))
            .await
            .map_err(|error| failed(error.into()))
    }

    /// Opens one lane of a work queue for pulling.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn work_consumer(
        &self,
        kind: &WorkerKind,
        lane: Lane,
    ) -> Result<WorkConsumer, RequestError> {
        Ok(WorkConsumer::new(
            self.clone(),
            self.work_consumer_of(kind, Part::Lane(lane)).await?,
        ))
    }

    /// Opens the jobs of a work queue that run alone for pulling. Pull one at a time: each delivery counts
    /// against the job.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn lone_work_consumer(
        &self,
        kind: &WorkerKind,
    ) -> Result<WorkConsumer, RequestError> {
        Ok(WorkConsumer::new(
            self.clone(),
            self.work_consumer_of(kind, Part::Alone).await?,
        ))
    }

    /// Publishes one message of jobs of the same kind and lane.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publish_jobs(&self, jobs: Vec<Job>) -> Result<Option<Stored>, PublishError> {
        match job_message(jobs)? {
            Some(message) => self.publish(message).await.map(Some),
            None => Ok(None),
        }
    }

    /// The state of a work queue, by which lost jobs show.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn work_mark(&self, kind: &WorkerKind) -> Result<WorkMark, RequestError> {
        let stream = self
            .jetstream
            .get_stream(work_stream(kind))
            .await
            .map_err(|error| {
                RequestError::new(format!("looking up the work queue {kind}"), error)
            })?;
        let info = stream.cached_info();
        Ok(WorkMark {
            created: Timestamp::from_nanos(info.created.unix_timestamp_nanos()),
            first_sequence: if info.state.messages == 0 {
                info.state.last_sequence + 1
            } else {
                info.state.first_sequence
            },
            last_sequence: info.state.last_sequence,
        })
    }

    /// How many messages of jobs are in one lane of a work queue, those included that workers have.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn work_queued(&self, kind: &WorkerKind, lane: Lane) -> Result<u64, RequestError> {
        let failed = |error: async_nats::Error| {
            RequestError::new(format!("counting the work queue {kind} ({lane})"), error)
        };
        let stream = self.stream(&work_stream(kind)).await.map_err(failed)?;
        let counts = stream.info_with_subjects(subject::work(kind, lane)).await;
        let mut counts = counts.map_err(|error| failed(error.into()))?;
        let mut queued = 0;
        while let Some(count) = counts.next().await {
            let (_, messages) = count.map_err(|error| failed(error.into()))?;
            queued += messages as u64;
        }
        Ok(queued)
    }

    /// Tells workers that an execution was cancelled.
    ///
    /// # Errors
    /// When the notice cannot be sent; the execution is cancelled all the same, workers only go on
    /// in vain.
    pub async fn publish_cancel(&self, notice: CancelNotice) -> Result<(), PublishError> {
        self.announce(subject::CANCEL.to_owned(), &notice).await
    }

    /// Notices of cancelled executions, from now on. Unreadable ones are left out.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn cancels(
        &self,
    ) -> Result<impl Stream<Item = CancelNotice> + Send + use<>, RequestError> {
        let notices = self
            .client
            .subscribe(subject::CANCEL)
            .await
            .map_err(|error| RequestError::new("subscribing to cancellations", error))?;
        Ok(notices.filter_map(|message| async move {
            codec::decode::<CancelNotice>(&message.payload).ok()
        }))
    }
}

/// One message with `jobs`, all of the same kind and lane; `None` if there are none. A job that runs
/// alone has a message of its own.
///
/// A single job's message carries the job's id, by which the server drops a second copy. Several
/// jobs share a message only where they have no effect outside.
///
/// # Errors
/// When a job cannot be encoded.
pub fn job_message(jobs: Vec<Job>) -> Result<Option<Outgoing>, PublishError> {
    let Some(first) = jobs.first() else {
        return Ok(None);
    };
    let part = if first.alone {
        Part::Alone
    } else {
        Part::Lane(first.lane)
    };
    let subject = part.subject(first.tool.kind());
    let message_id = (jobs.len() == 1).then(|| first.id.to_string());
    let payload: Bytes =
        codec::encode(&JobEnvelope { jobs }).map_err(|source| PublishError::Encode {
            subject: subject.clone(),
            source,
        })?;
    Ok(Some(Outgoing {
        subject,
        payload,
        message_id,
    }))
}
