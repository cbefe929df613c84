//! Publishing the jobs that a tick decided on. What a queue does not take waits here: it slows the
//! partition down, it never loses a job, and it keeps the partition from nothing else.

use std::time::Duration;

use afu9_broker::PublishError;
use afu9_broker::config::Limits;
use afu9_schemas::error::{ErrorClass, StepError};
use afu9_schemas::{JobId, WorkerKind};
use futures::future::pending;
use tokio::time::Instant;

use super::{FULL_PAUSE, Owner, PAUSE, failed};
use crate::stats::add;
use crate::tick::JobMessage;

/// With this much that queues do not take, a partition decides nothing new. Where queues are smaller, with
/// as much as one of them holds.
const MAX_UNSENT_BYTES: usize = 64 * 1024 * 1024;

/// Jobs that their queues have not taken.
#[derive(Debug)]
pub(crate) struct Unsent {
    messages: Vec<JobMessage>,
    bytes: usize,
    max_bytes: usize,
    /// When they are tried again.
    due: Option<Instant>,
    /// The last checkpoint that says so says that there are some.
    saved: bool,
}

impl Unsent {
    /// What a former owner has left: its jobs are published again, and then the next checkpoint says so.
    pub(crate) fn left(saved: bool, limits: &Limits) -> Self {
        let queue = usize::try_from(limits.work_bytes).unwrap_or(usize::MAX);
        Self {
            messages: Vec::new(),
            bytes: 0,
            max_bytes: queue.min(MAX_UNSENT_BYTES),
            due: None,
            saved,
        }
    }

    fn push(&mut self, message: JobMessage, pause: Duration) {
        self.bytes += message.outgoing.payload.len();
        self.messages.push(message);
        let due = Instant::now() + pause;
        self.due = Some(self.due.map_or(due, |before| before.max(due)));
    }

    fn take(&mut self) -> Vec<JobMessage> {
        self.bytes = 0;
        self.due = None;
        std::mem::take(&mut self.messages)
    }

    /// Forgets the jobs of `kind`.
    pub(super) fn forget(&mut self, kind: &WorkerKind) {
        self.messages.retain(|message| message.kind != *kind);
        self.bytes = self.messages.iter().map(|m| m.outgoing.payload.len()).sum();
    }

    fn has(&self, kind: &WorkerKind) -> bool {
        self.messages.iter().any(|message| message.kind == *kind)
    }

    /// So much waits that nothing new should be decided.
    pub(super) fn is_full(&self) -> bool {
        self.bytes > self.max_bytes
    }

    /// Waits until they should be tried again.
    pub(super) async fn due(&self) {
        match self.due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => pending().await,
        }
    }

    /// Whether a checkpoint should say that there are none any more.
    pub(super) fn wants_saving(&self) -> bool {
        self.saved && self.messages.is_empty()
    }

    /// What a checkpoint must hold; `None` if the former one has it right. `full`: there is no former
    /// one.
    pub(super) fn save(&mut self, full: bool) -> Option<Vec<JobId>> {
        let jobs = self.messages.iter().flat_map(|message| &message.jobs);
        let jobs: Vec<JobId> = jobs.copied().collect();
        let same = jobs.is_empty() && (full || !self.saved);
        self.saved = !jobs.is_empty();
        (!same).then_some(jobs)
    }

    /// What was saved may not count.
    pub(super) fn not_saved(&mut self) {
        self.saved = true;
    }
}

impl Owner {
    /// Publishes jobs. What is not taken now is tried again later, and a kind's jobs queue up behind those.
    pub(super) async fn publish(&mut self, messages: Vec<JobMessage>) {
        let mut now = Vec::new();
        for message in self.refuse_without_queue(messages) {
            if self.unsent.has(&message.kind) {
                self.unsent.push(message, Duration::ZERO);
            } else {
                now.push(message);
            }
        }
        self.try_publish(now).await;
    }

    /// Tries again what was not taken.
    pub(super) async fn publish_unsent(&mut self) {
        let messages = self.unsent.take();
        tracing::debug!(partition = %self.partition, messages = messages.len(), "jobs repeated");
        self.try_publish(messages).await;
    }

    async fn try_publish(&mut self, messages: Vec<JobMessage>) {
        if messages.is_empty() {
            return;
        }
        let outgoing = messages.iter().map(|message| message.outgoing.clone());
        let verdicts = self.shared.broker.publish_all(outgoing.collect()).await;
        let mut unanswered: Option<WorkerKind> = None;
        for (message, verdict) in messages.into_iter().zip(verdicts) {
            match verdict {
                Ok(stored) => {
                    add(&self.shared.stats.jobs, message.jobs.len() as u64);
                    let last = self.work.entry(message.kind).or_default();
                    *last = stored.sequence.max(*last);
                    let published = message.jobs.into_iter().map(|job| (job, stored.sequence));
                    self.published.extend(published);
                }
                Err(PublishError::Full { .. }) => self.unsent.push(message, FULL_PAUSE),
                Err(error) if error.is_retryable() => {
                    unanswered = Some(message.kind.clone());
                    self.unsent.push(message, PAUSE);
                }
                Err(error) => self.refused(&message.jobs, &error),
            }
        }
        // A queue that does not answer may be gone with the memory of a restarted server.
        if let Some(kind) = unanswered
            && let Err(error) = self.shared.broker.ensure_work_queue(&kind).await
        {
            tracing::debug!(%kind, %error, "work queue not answering");
        }
    }

    /// The server will never take these jobs: their attempts fail.
    fn refused(&mut self, jobs: &[JobId], error: &PublishError) {
        let why = StepError::new(
            ErrorClass::Permanent,
            "job.refused",
            "the job cannot be queued: it is too large for a message",
        )
        .with_causes_of(error);
        self.fail_jobs(jobs, &why);
    }

    /// Takes out the jobs whose worker kind has no queue here: nobody would ever work on them.
    fn refuse_without_queue(&mut self, messages: Vec<JobMessage>) -> Vec<JobMessage> {
        let mut kept = Vec::new();
        for message in messages {
            let kind = &message.kind;
            if self.has_queue(kind) {
                kept.push(message);
                continue;
            }
            tracing::warn!(partition = %self.partition, %kind, jobs = message.jobs.len(), "kind is off");
            let why = format!(
                "the worker kind `{kind}` is off: no work queue is configured for it; turn it on in every \
                 process, or use other tools"
            );
            let why = StepError::new(ErrorClass::Permanent, "job.no_queue", why);
            self.fail_jobs(&message.jobs, &why);
        }
        kept
    }

    pub(super) fn has_queue(&self, kind: &WorkerKind) -> bool {
        self.shared.broker.config().kinds.contains(kind)
    }

    fn fail_jobs(&mut self, jobs: &[JobId], why: &StepError) {
        let inputs = jobs.iter().map(|job| failed(*job, why.clone()));
        self.outbox.push(inputs.collect());
    }
}
