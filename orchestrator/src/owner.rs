//! The owner of one partition: the loop that folds its inputs.

mod recover;

use std::collections::BTreeMap;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use afu9_broker::kv::WorkSeen;
use afu9_broker::log::{LogMessage, LogReader, LogWriter};
use afu9_broker::query::{Question, Questions};
use afu9_broker::{Broker, PublishError, RequestError};
use afu9_engine::{Definitions, Effect, PartitionState};
use afu9_schemas::error::{ErrorClass, StepError};
use afu9_schemas::message::{
    Input, InputKind, JobResult, Outcome as JobOutcome, Query, QueryReply,
};
use afu9_schemas::{ExecutionId, JobId, Partition, Timestamp, WorkerId, WorkerKind};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::checkpointer::{Checkpointer, Outcome};
use crate::config::{Config, MAX_TICK_MESSAGES, MAX_WAKES, STOP_AFTER};
use crate::definitions::DefinitionCache;
use crate::stats::{Stats, add};
use crate::tick::{About, Plan, Planned};

/// Pause before something that failed is tried again: long against a round trip, short against
/// anybody's patience.
const PAUSE: Duration = Duration::from_millis(100);

/// The same while a queue is full: it empties at the pace of its workers.
const FULL_PAUSE: Duration = Duration::from_millis(250);

/// Most executions in the answer to a list query.
const MAX_LISTED: usize = 500;

/// Why an owner ended by itself.
#[derive(Debug, Error)]
pub(crate) enum OwnerError {
    /// Another owner has written a checkpoint: this one is stale.
    #[error("partition {0} has another owner")]
    Fenced(Partition),
    /// The lease was not renewed for so long that another owner may have begun.
    #[error("the lease of partition {0} was not renewed in time")]
    LeaseExpired(Partition),
    /// The partition holds something this build cannot read; a newer one can.
    #[error("partition {partition} holds inputs of a newer version, at {sequence}")]
    FromTheFuture { partition: Partition, sequence: u64 },
    /// The partition could not be loaded.
    #[error("cannot load partition {partition}")]
    Load {
        partition: Partition,
        #[source]
        source: RequestError,
    },
    /// A checkpoint cannot be read.
    #[error("the checkpoint of partition {partition} cannot be read")]
    Checkpoint {
        partition: Partition,
        #[source]
        source: afu9_schemas::codec::DecodeError,
    },
    /// A message that cannot be encoded: a bug.
    #[error("cannot encode an effect of partition {partition}")]
    Encode {
        partition: Partition,
        #[source]
        source: PublishError,
    },
}

/// What the owners of one process share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) broker: Broker,
    pub(crate) config: Config,
    pub(crate) definitions: DefinitionCache,
    pub(crate) writer: LogWriter,
    pub(crate) stats: Arc<Stats>,
}

type Woken = (Vec<ExecutionId>, Result<(), Arc<PublishError>>);

/// The owner of one partition.
pub(crate) struct Owner {
    shared: Shared,
    partition: Partition,
    state: PartitionState,
    definitions: Definitions,
    reader: LogReader,
    questions: Questions,
    checkpointer: Checkpointer,
    writing: Option<BoxFuture<'static, Outcome>>,
    waking: FuturesUnordered<BoxFuture<'static, Woken>>,
    /// Position of the last job published to each work queue.
    work: BTreeMap<WorkerKind, u64>,
    connections: watch::Receiver<u64>,
    /// When the lease was last renewed.
    lease: watch::Receiver<Instant>,
}

impl Owner {
    /// Runs until `stop`, then writes a last checkpoint, so that the next owner has nothing to
    /// replay.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), OwnerError> {
        let mut checkpoint_due = tokio::time::interval(self.shared.config.checkpoint_interval);
        checkpoint_due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let woken_in = self.state.next_wake().map(|at| at.since(now()));
            tokio::select! {
                () = stop.cancelled() => break,
                outcome = maybe(&mut self.writing) => {
                    self.writing = None;
                    self.checkpoint_written(outcome)?;
                }
                batch = self.reader.next_batch(MAX_TICK_MESSAGES) => match batch {
                    Ok(batch) => {
                        if !self.tick(batch, &stop).await? {
                            return Ok(());
                        }
                    }
                    Err(error) => {
                        let error = afu9_broker::error::chain(&error);
                        tracing::debug!(partition = %self.partition, error, "log not readable");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
                () = after(woken_in) => self.wake(),
                Some((executions, verdict)) = self.waking.next() => {
                    self.woken(&executions, verdict);
                }
                _ = checkpoint_due.tick(), if self.writing.is_none() => self.begin_checkpoint(),
                question = self.questions.next() => match question {
                    Some(question) => self.answer(question).await,
                    None => return Ok(()),
                },
                changed = self.connections.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    self.repeat_lost_jobs().await?;
                }
            }
        }
        self.last_checkpoint().await
    }

    /// Folds a batch and publishes what comes of it. Returns false if it was told to stop before
    /// everything was published: the state is then ahead of the world and must not be checkpointed.
    async fn tick(
        &mut self,
        batch: Vec<LogMessage>,
        stop: &CancellationToken,
    ) -> Result<bool, OwnerError> {
        self.load_definitions(&batch).await;
        self.check_lease()?;
        let effects = self.fold(batch)?;
        let plan = Plan::new(self.partition, effects).map_err(|source| OwnerError::Encode {
            partition: self.partition,
            source,
        })?;
        for execution in &plan.cancels {
            if let Err(error) = self.shared.broker.publish_cancel(*execution).await {
                tracing::debug!(%execution, %error, "cancel notice not sent");
            }
        }
        let mut publishing = pin!(self.publish(plan.messages));
        tokio::select! {
            () = &mut publishing => Ok(true),
            () = stop.cancelled() => Ok(false),
        }
    }

    /// An owner that was frozen or cut off for longer than its lease decides nothing any more: inputs
    /// it has not seen may have been dropped behind its successor's checkpoint.
    fn check_lease(&self) -> Result<(), OwnerError> {
        if self.lease.borrow().elapsed() > STOP_AFTER {
            return Err(OwnerError::LeaseExpired(self.partition));
        }
        Ok(())
    }

    async fn load_definitions(&mut self, batch: &[LogMessage]) {
        let mut wanted = Vec::new();
        for input in batch
            .iter()
            .flat_map(|message| message.envelope.iter())
            .flat_map(|e| &e.inputs)
        {
            if let InputKind::Start(start) = &input.kind {
                let hash = start.workflow.hash;
                if !self.definitions.contains_key(&hash) && !wanted.contains(&hash) {
                    wanted.push(hash);
                }
            }
        }
        if !wanted.is_empty() {
            self.shared
                .definitions
                .load(wanted, &mut self.definitions)
                .await;
        }
    }

    /// The deciding part of a tick: nothing is awaited here.
    fn fold(&mut self, batch: Vec<LogMessage>) -> Result<Vec<Effect>, OwnerError> {
        let before = self.state.counters();
        let mut effects = Vec::new();
        let mut inputs = 0;
        for message in batch {
            match message.envelope {
                Ok(envelope) => {
                    inputs += envelope.inputs.len();
                    self.state.fold(
                        message.sequence,
                        message.at,
                        envelope,
                        &self.definitions,
                        &mut effects,
                    );
                }
                Err(error) if error.is_from_the_future() => {
                    return Err(OwnerError::FromTheFuture {
                        partition: self.partition,
                        sequence: message.sequence,
                    });
                }
                Err(error) => {
                    // Nothing can be known of its inputs: it is shown, counted and passed over.
                    let error = afu9_broker::error::chain(&error);
                    let (partition, sequence) = (self.partition, message.sequence);
                    tracing::error!(%partition, sequence, error, "unreadable input passed over");
                    add(&self.shared.stats.undecodable_inputs, 1);
                }
            }
        }
        let after = self.state.counters();
        let stats = &self.shared.stats;
        add(&stats.ticks, 1);
        add(&stats.inputs, inputs as u64);
        add(&stats.started, after.started - before.started);
        add(&stats.ended, after.ended - before.ended);
        add(
            &stats.stale_results,
            after.stale_results - before.stale_results,
        );
        add(
            &stats.duplicate_starts,
            after.duplicate_starts - before.duplicate_starts,
        );
        Ok(effects)
    }

    /// Publishes everything, again and again until the server has it. A full work queue slows the
    /// partition down, it never loses a job.
    async fn publish(&mut self, mut messages: Vec<Planned>) {
        while !messages.is_empty() {
            let outgoing = messages
                .iter()
                .map(|planned| planned.outgoing.clone())
                .collect();
            let verdicts = self.shared.broker.publish_all(outgoing).await;
            let mut again = Vec::new();
            let mut pause = PAUSE;
            let mut unanswered: Option<WorkerKind> = None;
            for (planned, verdict) in messages.into_iter().zip(verdicts) {
                match (verdict, &planned.about) {
                    (Ok(stored), About::Jobs { kind, jobs }) => {
                        add(&self.shared.stats.jobs, jobs.len() as u64);
                        let last = self.work.entry(kind.clone()).or_default();
                        *last = stored.sequence.max(*last);
                    }
                    (Ok(_), About::DeadLetter) => add(&self.shared.stats.dead_letters, 1),
                    (Ok(_), About::History) => {}
                    (Err(error), About::DeadLetter) if is_full(&error) => {
                        // The failed step is in history with everything it had: standing still until
                        // somebody makes room would stop every other execution for its sake.
                        add(&self.shared.stats.dead_letters_lost, 1);
                        tracing::error!(partition = %self.partition, "dead letters are full");
                    }
                    (Err(error), _) if error.is_retryable() => {
                        if is_full(&error) {
                            pause = FULL_PAUSE;
                        } else if let About::Jobs { kind, .. } = &planned.about {
                            unanswered = Some(kind.clone());
                        }
                        again.push(planned);
                    }
                    (Err(error), About::Jobs { jobs, .. }) => self.refused(jobs.clone(), &error),
                    (Err(error), _) => {
                        let error = afu9_broker::error::chain(&error);
                        tracing::error!(partition = %self.partition, error, "message refused");
                    }
                }
            }
            messages = again;
            // A queue that does not answer may be gone with the memory of a restarted server.
            if let Some(kind) = unanswered
                && let Err(error) = self.shared.broker.ensure_work_queue(&kind).await
            {
                tracing::debug!(%kind, %error, "work queue not answering");
            }
            if !messages.is_empty() {
                tracing::debug!(partition = %self.partition, left = messages.len(), "publish repeated");
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// The server will never take these jobs: their attempts fail.
    fn refused(&mut self, jobs: Vec<JobId>, error: &PublishError) {
        let why = StepError::new(
            ErrorClass::Permanent,
            "job.refused",
            "the job cannot be queued: it is too large, or its worker kind has no queue",
        )
        .with_causes_of(error);
        let inputs: Vec<Input> = jobs
            .into_iter()
            .map(|job| failed(job, why.clone()))
            .collect();
        let (writer, partition) = (self.shared.writer.clone(), self.partition);
        self.waking.push(Box::pin(async move {
            loop {
                match writer.submit_to(partition, inputs.clone()).await {
                    Err(error) if error.is_retryable() => tokio::time::sleep(PAUSE).await,
                    verdict => return (Vec::new(), verdict),
                }
            }
        }));
    }

    /// Publishes a wake for every execution whose instant has come.
    fn wake(&mut self) {
        let due = self.state.take_due(now(), MAX_WAKES);
        if due.is_empty() {
            return;
        }
        let executions: Vec<ExecutionId> = due.iter().map(|(id, _)| *id).collect();
        let inputs = due
            .into_iter()
            .map(|(execution, due)| Input {
                execution,
                kind: InputKind::Wake { due },
            })
            .collect();
        let (writer, partition) = (self.shared.writer.clone(), self.partition);
        self.waking.push(Box::pin(async move {
            let verdict = writer.submit_to(partition, inputs).await;
            if verdict.is_err() {
                tokio::time::sleep(PAUSE).await;
            }
            (executions, verdict)
        }));
    }

    fn woken(&mut self, executions: &[ExecutionId], verdict: Result<(), Arc<PublishError>>) {
        if let Err(error) = verdict {
            let error = afu9_broker::error::chain(&*error);
            tracing::debug!(partition = %self.partition, error, "wakes not published");
            for execution in executions {
                self.state.rearm(*execution);
            }
        }
    }

    fn begin_checkpoint(&mut self) {
        if !self.state.is_dirty() && self.state.floor() == self.checkpointer.head.floor {
            return;
        }
        let full = self.checkpointer.wants_full();
        let segment = if full {
            self.state.take_full()
        } else {
            self.state.take_delta()
        };
        let floor = self.state.floor();
        let work = self.work_seen();
        self.writing = Some(self.checkpointer.write(segment, full, floor, work));
    }

    fn work_seen(&self) -> Vec<WorkSeen> {
        let seen = |(kind, sequence): (&WorkerKind, &u64)| WorkSeen {
            kind: kind.clone(),
            sequence: *sequence,
        };
        self.work.iter().map(seen).collect()
    }

    fn checkpoint_written(&mut self, outcome: Outcome) -> Result<(), OwnerError> {
        match outcome {
            Outcome::Stored { head, revision } => {
                add(&self.shared.stats.checkpoints, 1);
                self.checkpointer.head = head;
                self.checkpointer.revision = revision;
                Ok(())
            }
            Outcome::Fenced => Err(OwnerError::Fenced(self.partition)),
            Outcome::Failed { delta, error } => {
                let error = afu9_broker::error::chain(&*error);
                tracing::warn!(partition = %self.partition, error, "checkpoint not written");
                self.state.put_back(delta);
                Ok(())
            }
        }
    }

    async fn last_checkpoint(&mut self) -> Result<(), OwnerError> {
        if let Some(writing) = self.writing.take() {
            let outcome = writing.await;
            self.checkpoint_written(outcome)?;
        }
        self.begin_checkpoint();
        if let Some(writing) = self.writing.take() {
            let outcome = writing.await;
            self.checkpoint_written(outcome)?;
        }
        Ok(())
    }

    async fn answer(&mut self, question: Question) {
        let reply = match &question.query {
            Query::Show { execution } => match self.state.show(*execution) {
                Some(view) => QueryReply::Execution(Box::new(view)),
                None => QueryReply::Unknown,
            },
            Query::List { limit } => {
                let limit = usize::try_from(*limit)
                    .unwrap_or(MAX_LISTED)
                    .min(MAX_LISTED);
                QueryReply::Executions {
                    executions: self.state.list(limit),
                    live: self.state.live() as u64,
                }
            }
        };
        if let Err(error) = self.questions.answer(question, &reply).await {
            tracing::debug!(partition = %self.partition, %error, "query not answered");
        }
    }

    /// After a reconnection: if jobs may have been lost, publishes again what is still awaited.
    async fn repeat_lost_jobs(&mut self) -> Result<(), OwnerError> {
        // Whether it is another server process is not asked: the client tells of the connection before
        // it tells to whom, and repeating what was not lost is harmless.
        tracing::info!(partition = %self.partition, "connected again, awaited jobs are repeated");
        let seen = self.work_seen();
        let lost = Self::lost_kinds(&self.shared.broker, &seen, true).await;
        self.repeat_jobs(&lost).await
    }

    /// Worker kinds whose queue may have lost jobs. Behind another server process that is every one:
    /// in durable mode queues are in memory, in fast mode their tail may be gone. A job that was not
    /// lost is dropped by its id, or its second result changes nothing.
    async fn lost_kinds(broker: &Broker, seen: &[WorkSeen], restarted: bool) -> Vec<WorkerKind> {
        if restarted {
            for kind in &broker.config().kinds {
                while let Err(error) = broker.ensure_work_queue(kind).await {
                    tracing::debug!(%kind, %error, "work queue not answering, trying again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
            return broker.config().kinds.clone();
        }
        let mut lost = Vec::new();
        for WorkSeen { kind, sequence } in seen {
            loop {
                match broker.work_mark(kind).await {
                    Ok(mark) if mark.last_sequence < *sequence => lost.push(kind.clone()),
                    Ok(_) => {}
                    Err(error) => {
                        tracing::debug!(%kind, %error, "work queue not readable, trying again");
                        if let Err(error) = broker.ensure_work_queue(kind).await {
                            tracing::debug!(%kind, %error, "work queue not answering");
                        }
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                }
                break;
            }
        }
        lost
    }

    async fn repeat_jobs(&mut self, kinds: &[WorkerKind]) -> Result<(), OwnerError> {
        for kind in kinds {
            self.work.remove(kind);
            let mut jobs: Vec<_> = self
                .state
                .outstanding_jobs()
                .filter(|job| job.tool.kind() == kind)
                .collect();
            if jobs.is_empty() {
                continue;
            }
            jobs.sort_by_key(|job| job.lane as u8);
            tracing::warn!(partition = %self.partition, %kind, jobs = jobs.len(), "lost jobs repeated");
            add(&self.shared.stats.jobs_repeated, jobs.len() as u64);
            let mut plan = Plan::default();
            for queue in jobs.chunk_by(|a, b| a.lane == b.lane) {
                plan.add_jobs(kind, queue.to_vec())
                    .map_err(|source| OwnerError::Encode {
                        partition: self.partition,
                        source,
                    })?;
            }
            self.publish(plan.messages).await;
        }
        Ok(())
    }
}

/// The input that says that a job failed without a worker.
pub(crate) fn failed(job: JobId, error: StepError) -> Input {
    let at = now();
    Input {
        execution: job.execution,
        kind: InputKind::JobResult(Box::new(JobResult {
            step: job.step,
            attempt: job.attempt,
            worker: WorkerId::new("orchestrator").expect("a valid worker id"),
            started_at: at,
            ended_at: at,
            outcome: JobOutcome::Failed {
                error,
                retry_after_ms: None,
            },
        })),
    }
}

fn is_full(error: &PublishError) -> bool {
    matches!(error, PublishError::Full { .. })
}

async fn maybe(writing: &mut Option<BoxFuture<'static, Outcome>>) -> Outcome {
    match writing {
        Some(writing) => writing.await,
        None => pending().await,
    }
}

async fn after(delay: Option<Duration>) {
    match delay {
        Some(delay) => tokio::time::sleep_until(Instant::now() + delay).await,
        None => pending().await,
    }
}

/// The owner's clock, by which it decides that an instant has come.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
