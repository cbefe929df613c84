//! Publishing the jobs that a tick decided on. What a queue does not take waits here: it slows the
//! partition down, it never loses a job, and it keeps the partition from nothing else.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use afu9_broker::PublishError;
use afu9_broker::config::Limits;
use afu9_schemas::error::{ErrorClass, StepError};
use afu9_schemas::{JobId, Lane, WorkerKind};
use tokio::time::Instant;

use super::{FULL_PAUSE, Owner, PAUSE, failed};
use crate::stats::add;
use crate::tick::JobMessage;

/// With this much that queues do not take, a partition decides nothing new. Where queues are smaller, with
/// as much as one of them holds.
const MAX_UNSENT_BYTES: usize = 64 * 1024 * 1024;

/// Most messages of a kind and lane that are tried again at once. Of a queue that is full it may take none, and all
/// the rest need not be sent to learn that; one that has room takes the next ones at once.
const MAX_AGAIN: usize = 256;

/// Jobs that their queues have not taken.
#[derive(Debug)]
pub(crate) struct Unsent {
    /// None of them is empty.
    lines: BTreeMap<(WorkerKind, Lane), Line>,
    bytes: usize,
    max_bytes: usize,
    /// The last checkpoint that says so says that there are some.
    saved: bool,
}

/// Jobs of one kind and lane, in the order in which they were decided on. What somebody waits for is not
/// behind a backlog.
#[derive(Debug)]
struct Line {
    messages: VecDeque<JobMessage>,
    /// When the first of them are tried again.
    due: Instant,
}

impl JobMessage {
    fn line(&self) -> (WorkerKind, Lane) {
        (self.kind.clone(), self.lane)
    }
}

impl Unsent {
    /// What a former owner has left: its jobs are published again, and then the next checkpoint says so.
    pub(crate) fn left(saved: bool, limits: &Limits) -> Self {
        let queue = usize::try_from(limits.work_bytes).unwrap_or(usize::MAX);
        Self {
            lines: BTreeMap::new(),
            bytes: 0,
            max_bytes: queue.min(MAX_UNSENT_BYTES),
            saved,
        }
    }

    /// Puts `message` behind what its queue has not taken. Returns it if there is no such thing.
    fn push(&mut self, message: JobMessage) -> Option<JobMessage> {
        let Some(line) = self.lines.get_mut(&message.line()) else {
            return Some(message);
        };
        self.bytes += message.outgoing.payload.len();
        line.messages.push_back(message);
        None
    }

    /// Puts a message that was tried before all others of its line, which wait for as long as it does.
    fn put_back(&mut self, message: JobMessage, pause: Duration) {
        self.bytes += message.outgoing.payload.len();
        let due = Instant::now() + pause;
        let line = self.lines.entry(message.line()).or_insert_with(|| Line {
            messages: VecDeque::new(),
            due,
        });
        line.due = line.due.max(due);
        line.messages.push_front(message);
    }

    /// Takes the first ones of each line whose time has come, those that somebody waits for first.
    fn take(&mut self, now: Instant) -> Vec<JobMessage> {
        let mut taken = Vec::new();
        self.lines.retain(|_, line| {
            if line.due <= now {
                let count = line.messages.len().min(MAX_AGAIN);
                taken.extend(line.messages.drain(..count));
            }
            !line.messages.is_empty()
        });
        self.bytes -= bytes_of(&taken);
        taken
    }

    /// Forgets the jobs of `kind`.
    pub(super) fn forget(&mut self, kind: &WorkerKind) {
        for lane in Lane::ALL {
            if let Some(line) = self.lines.remove(&(kind.clone(), lane)) {
                self.bytes -= bytes_of(&line.messages);
            }
        }
    }

    /// So much waits that nothing new should be decided.
    pub(super) fn is_full(&self) -> bool {
        self.bytes > self.max_bytes
    }

    /// When some of them should be tried again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.lines.values().map(|line| line.due).min()
    }

    /// Whether a checkpoint should say that there are none any more.
    pub(super) fn wants_saving(&self) -> bool {
        self.saved && self.lines.is_empty()
    }

    /// What a checkpoint must hold; `None` if the former one has it right. `full`: there is no former
    /// one.
    pub(super) fn save(&mut self, full: bool) -> Option<Vec<JobId>> {
        let messages = self.lines.values().flat_map(|line| &line.messages);
        let jobs: Vec<JobId> = messages
            .flat_map(|message| message.jobs.iter().copied())
            .collect();
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
        let messages = self.refuse_without_queue(messages).into_iter();
        let now = messages
            .filter_map(|message| self.unsent.push(message))
            .collect();
        self.try_publish(now).await;
    }

    /// Tries again what was not taken.
    pub(super) async fn publish_unsent(&mut self) {
        let messages = self.unsent.take(Instant::now());
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
        let mut again = Vec::new();
        for (message, verdict) in messages.into_iter().zip(verdicts) {
            match verdict {
                Ok(stored) => {
                    add(&self.shared.stats.jobs, message.jobs.len() as u64);
                    let last = self.work.entry(message.kind).or_default();
                    *last = stored.sequence.max(*last);
                    let published = message.jobs.into_iter().map(|job| (job, stored.sequence));
                    self.published.extend(published);
                }
                Err(PublishError::Full { .. }) => again.push((message, FULL_PAUSE)),
                Err(error) if error.is_retryable() => {
                    unanswered = Some(message.kind.clone());
                    again.push((message, PAUSE));
                }
                Err(error) => self.refused(&message.jobs, &error),
            }
        }
        // The last one first, so that they stand in their order.
        for (message, pause) in again.into_iter().rev() {
            self.unsent.put_back(message, pause);
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

fn bytes_of<'a>(messages: impl IntoIterator<Item = &'a JobMessage>) -> usize {
    let bytes = messages
        .into_iter()
        .map(|message| message.outgoing.payload.len());
    bytes.sum()
}

#[cfg(test)]
mod tests {
    use afu9_broker::publish::Outgoing;

    use super::*;

    /// Longer than a test takes.
    const LONG: Duration = Duration::from_secs(3600);

    fn kind(name: &str) -> WorkerKind {
        WorkerKind::new(name).expect("a valid kind")
    }

    /// The subject tells them apart.
    fn message(name: &str, number: usize) -> JobMessage {
        JobMessage {
            kind: kind(name),
            lane: Lane::Bulk,
            jobs: Vec::new(),
            outgoing: Outgoing {
                subject: number.to_string(),
                payload: vec![0; 10].into(),
                message_id: None,
            },
        }
    }

    fn refused(name: &str, count: usize) -> Unsent {
        let mut unsent = Unsent::left(false, &Limits::default());
        unsent.put_back(message(name, 0), LONG);
        for number in 1..count {
            assert!(unsent.push(message(name, number)).is_none());
        }
        unsent
    }

    fn numbers(messages: &[JobMessage]) -> Vec<usize> {
        let number = |message: &JobMessage| message.outgoing.subject.parse().expect("a number");
        messages.iter().map(number).collect()
    }

    #[test]
    fn some_are_tried_again_at_once_and_keep_their_order() {
        let mut unsent = refused("github", MAX_AGAIN + 2);
        assert!(unsent.take(Instant::now()).is_empty(), "it is too early");
        let later = Instant::now() + LONG;
        let taken = unsent.take(later);
        assert_eq!(numbers(&taken), Vec::from_iter(0..MAX_AGAIN));
        assert_eq!(unsent.bytes, 20);

        // All but the first two are refused.
        for message in taken.into_iter().skip(2).rev() {
            unsent.put_back(message, LONG);
        }
        assert!(unsent.take(Instant::now()).is_empty(), "it is too early");
        let taken = unsent.take(later + LONG);
        assert_eq!(numbers(&taken), Vec::from_iter(2..MAX_AGAIN + 2));
        assert_eq!((unsent.bytes, unsent.due()), (0, None));
    }

    #[test]
    fn what_was_taken_whole_is_followed_at_once() {
        let mut unsent = refused("github", MAX_AGAIN + 1);
        let later = Instant::now() + LONG;
        assert_eq!(unsent.take(later).len(), MAX_AGAIN);
        assert_eq!(numbers(&unsent.take(later)), [MAX_AGAIN]);
    }

    #[test]
    fn what_somebody_waits_for_is_not_behind_a_backlog() {
        let mut unsent = refused("github", 2);
        let mut waited_for = message("github", 7);
        waited_for.lane = Lane::Interactive;
        let waited_for = unsent.push(waited_for).expect("its queue may take it");
        unsent.put_back(waited_for, LONG);
        let taken = unsent.take(Instant::now() + LONG + LONG);
        assert_eq!(numbers(&taken), [7, 0, 1]);
    }

    #[test]
    fn kinds_do_not_wait_for_each_other() {
        let mut unsent = refused("github", 2);
        assert!(
            unsent.push(message("model", 7)).is_some(),
            "its queue may take it"
        );
        unsent.put_back(message("model", 7), Duration::ZERO);
        assert_eq!(numbers(&unsent.take(Instant::now())), [7]);
        assert!(
            unsent.push(message("model", 8)).is_some(),
            "none waits any more"
        );
        unsent.forget(&kind("github"));
        assert_eq!((unsent.bytes, unsent.due()), (0, None));
        assert!(unsent.push(message("github", 9)).is_some());
    }
}
