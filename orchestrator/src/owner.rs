//! The owner of one partition: the loop that folds its inputs.

mod careful;
mod checkpoint;
mod jobs;
mod prove;
mod publish;
mod recover;
mod resolve;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use afu9_broker::log::{LogMessage, LogReader, LogWriter, ReadError};
use afu9_broker::query::{Question, Questions};
use afu9_broker::{Broker, PublishError, RequestError};
use afu9_engine::partition::Counters;
use afu9_engine::{Definitions, Effect, PartitionState};
use afu9_schemas::codec::DecodeError;
use afu9_schemas::error::StepError;
use afu9_schemas::message::{
    ControlAction, Input, InputKind, JobResult, OrchestratorStatus, Outcome as JobOutcome, Query,
    QueryReply,
};
use afu9_schemas::view::HoldView;
use afu9_schemas::{ExecutionId, JobId, Lane, Partition, Timestamp, WorkerId, WorkerKind};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use rustc_hash::FxHashMap;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::catalog::Catalog;
use crate::checkpointer::{Checkpointer, Outcome};
use crate::config::{Config, MAX_WAKES, STOP_AFTER};
use crate::definitions::{DefinitionCache, MAX_IDLE};
use crate::followers::Followers;
use crate::outbox::Outbox;
use crate::records::Records;
use crate::schedule::HOME;
use crate::stats::{Stats, add};
use crate::tick::Plan;
use crate::wait::{maybe, reached};
use careful::{Careful, caught, tick_messages};
use publish::Unsent;

/// Pause before something that failed is tried again: long against a round trip, short against
/// anybody's patience.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

/// The same while a queue is full: it empties at the pace of its workers.
pub(crate) const FULL_PAUSE: Duration = Duration::from_millis(250);

/// Of an owner that decides nothing new for want of room: with no more than so many sixteenths of the log
/// free it reads on. Between what gateways leave free and what workers do: submissions are refused
/// then, and what comes are the results that make room in the queues.
const READ_ON_BELOW: u64 = 3;

/// How often a part of the executions is proven to wait for something that will come.
const PROVE_EVERY: Duration = Duration::from_secs(1);

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
    #[error(
        "partition {partition} holds an input of a newer version, at {sequence}: run that version"
    )]
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
    /// A panic: a bug. What the owner had in memory is not to be trusted, and is dropped with it.
    #[error("the owner of partition {partition} panicked: {message}")]
    Panicked {
        partition: Partition,
        message: String,
    },
}

/// What the owners of one process share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) broker: Broker,
    pub(crate) config: Config,
    pub(crate) definitions: DefinitionCache,
    pub(crate) catalog: Catalog,
    pub(crate) writer: LogWriter,
    pub(crate) followers: Followers,
    pub(crate) stats: Arc<Stats>,
    /// What is held, for the schedules; `None` while nobody here knows.
    pub(crate) holds: Arc<watch::Sender<Option<Vec<HoldView>>>>,
}

/// What comes of a lookup is an input.
type Resolved = ();

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
    /// Inputs that ticks decided to send.
    outbox: Outbox,
    /// Jobs that their queues have not taken.
    unsent: Unsent,
    /// At the last look the log was so full that no result may be left unread in it.
    log_is_tight: bool,
    /// History and dead letters that the server has not taken.
    records: Records,
    /// Lookups of workflows that steps want to run, and what comes of them.
    resolving: FuturesUnordered<BoxFuture<'static, Resolved>>,
    /// Position of the last job published to each work queue.
    work: BTreeMap<WorkerKind, u64>,
    /// Position of each job that is not answered, as far as this owner published it.
    published: FxHashMap<JobId, u64>,
    /// How often a part of the executions was proven.
    turns: u64,
    /// Jobs that were gone from their queue at the last look, and not answered.
    lost: Vec<JobId>,
    /// Tells when workflows may have begun to follow others.
    rules: watch::Receiver<u64>,
    connections: watch::Receiver<u64>,
    /// When the lease was last renewed.
    lease: watch::Receiver<Instant>,
    /// An owner before this one may have been brought down by an input.
    care: Option<Careful>,
}

impl Owner {
    /// Runs until `stop`, then writes a last checkpoint, so that the next owner has nothing to
    /// replay.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), OwnerError> {
        self.tell_holds();
        let mut checkpoint_due = tokio::time::interval(self.shared.config.checkpoint_interval);
        checkpoint_due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut prove_due = tokio::time::interval(PROVE_EVERY);
        prove_due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut look_due = tokio::time::interval(FULL_PAUSE);
        look_due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let wakes_in = self.state.next_wake().map(|at| at.since(now()));
            let wake_at = wakes_in.map(|delay| Instant::now() + delay);
            let most = tick_messages(self.care.as_ref());
            tokio::select! {
                () = stop.cancelled() => break,
                outcome = maybe(&mut self.writing) => {
                    self.writing = None;
                    self.checkpoint_written(outcome)?;
                }
                Some(()) = self.outbox.next() => {}
                () = self.records.next() => {}
                () = reached(self.unsent.due()) => self.publish_unsent().await,
                batch = self.reader.next_batch(most), if self.may_read() => match batch {
                    Ok(batch) => {
                        if !self.tick(batch, &stop).await? {
                            return Ok(());
                        }
                    }
                    Err(ReadError::TailLost { sequence, read }) => {
                        self.go_back(sequence, read).await?;
                    }
                    Err(error) => {
                        let error = afu9_broker::error::chain(&error);
                        tracing::debug!(partition = %self.partition, error, "log not readable");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
                () = reached(wake_at) => self.wake(),
                Some((executions, verdict)) = self.waking.next() => {
                    self.woken(&executions, verdict);
                }
                Some(()) = self.resolving.next() => {}
                changed = self.rules.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    self.state.follow(self.shared.followers.followed());
                }
                _ = look_due.tick(), if self.is_behind() => self.look_at_log().await,
                _ = prove_due.tick() => self.prove().await?,
                _ = checkpoint_due.tick(), if self.writing.is_none() => self.begin_checkpoint(),
                question = self.questions.next() => match question {
                    Some(question) => self.answer(question).await,
                    None => return Ok(()),
                },
                changed = self.connections.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    self.reader.reopen();
                    self.repeat_lost_jobs().await?;
                }
            }
        }
        self.last_checkpoint().await
    }

    /// So much of what was decided waits for queues and for the log that nothing new is decided.
    fn is_behind(&self) -> bool {
        self.outbox.is_full() || self.unsent.is_full()
    }

    /// An owner that is behind must not wait for room that only it can make: queues empty when results
    /// are stored, and results are stored when somebody reads what fills the log.
    fn may_read(&self) -> bool {
        !self.records.is_full() && (!self.is_behind() || self.log_is_tight)
    }

    /// Lanes to which no more should be submitted, because so much is live: the last eighth is kept for
    /// what somebody waits for. Whoever is told keeps it out; what is in the log all the same is taken in.
    fn full_lanes(&self) -> Vec<Lane> {
        let broker = &self.shared.broker;
        let share = broker.config().limits.live_bytes / i64::from(broker.partitions().get());
        let share = usize::try_from(share).unwrap_or(usize::MAX);
        let live = self.state.live_bytes();
        let is_full = |lane: &Lane| match lane {
            Lane::Interactive => live > share,
            Lane::Bulk => live > share - share / 8,
        };
        Lane::ALL.into_iter().filter(is_full).collect()
    }

    async fn look_at_log(&mut self) {
        let tight = match self.shared.broker.log_bytes().await {
            Ok((held, bound)) => held > bound - bound / 16 * READ_ON_BELOW,
            Err(error) => {
                tracing::debug!(partition = %self.partition, %error, "room in the log not known");
                return;
            }
        };
        if tight != self.log_is_tight {
            tracing::warn!(partition = %self.partition, tight, "more is decided than queues take");
        }
        self.log_is_tight = tight;
    }

    /// Folds a batch and publishes what comes of it. Returns false if it was told to stop before
    /// everything was published: the state is then ahead of the world and must not be checkpointed.
    async fn tick(
        &mut self,
        batch: Vec<LogMessage>,
        stop: &CancellationToken,
    ) -> Result<bool, OwnerError> {
        let planned = if self.is_careful(&batch) {
            Box::pin(self.plan_carefully(batch, stop)).await?
        } else {
            self.load_definitions(&batch).await;
            self.check_lease()?;
            let planned = caught(|| self.fold(batch));
            match planned {
                Ok(plan) => Some(plan?),
                Err(message) => return Err(Box::pin(self.panicked(message)).await),
            }
        };
        let Some(mut plan) = planned else {
            return Ok(false);
        };
        self.tell_holds();
        let encode = |source| OwnerError::Encode {
            partition: self.partition,
            source,
        };
        for notice in &plan.cancels {
            if let Err(error) = self.shared.broker.publish_cancel(*notice).await {
                tracing::debug!(execution = %notice.execution, %error, "cancel notice not sent");
            }
        }
        let mut inputs = plan.inputs;
        for started in plan
            .followed
            .iter()
            .flat_map(|ended| self.shared.followers.started_by(ended))
        {
            match started {
                Ok(input) => inputs.push(input),
                Err(unstarted) => {
                    add(&self.shared.stats.unstarted, 1);
                    plan.letters.push(unstarted.message().map_err(encode)?);
                }
            }
        }
        for wanted in plan.resolve {
            self.resolve(wanted);
        }
        self.records.push(plan.history, plan.letters);
        tokio::select! {
            () = self.publish(plan.jobs) => {}
            () = stop.cancelled() => return Ok(false),
        }
        self.outbox.push(inputs);
        // Only now: what was answered with yes is on record.
        for (to, outcome) in plan.answers {
            if let Err(error) = self.shared.broker.publish_outcome(to, &outcome).await {
                tracing::debug!(%error, "answer not sent");
            }
        }
        Ok(true)
    }

    /// The log's server lost the end of it. What was read of that has been folded and has had its effects;
    /// what takes its positions, from `sequence` on, is new.
    async fn go_back(&mut self, sequence: u64, read: u64) -> Result<(), OwnerError> {
        tracing::error!(
            partition = %self.partition,
            sequence,
            read,
            "the input log lost its end: inputs that were accepted may be gone"
        );
        add(&self.shared.stats.log_tails_lost, 1);
        // What is being written is of the positions before.
        self.finish_checkpoint().await?;
        let head = &self.checkpointer.head;
        if !head.poison.is_empty() || head.mark.is_some() {
            // Its positions are those of other inputs now.
            match self.checkpointer.note(None, Vec::new()).await {
                Ok(true) => self.care = None,
                Ok(false) => return Err(OwnerError::Fenced(self.partition)),
                Err(error) => {
                    let error = afu9_broker::error::chain(&error);
                    tracing::debug!(partition = %self.partition, error, "poison not forgotten, trying again");
                    tokio::time::sleep(PAUSE).await;
                    return Ok(());
                }
            }
        }
        let before = sequence.saturating_sub(1);
        self.state.rewind(before);
        self.checkpointer.dropped = self.checkpointer.dropped.min(before);
        self.reader.rewind(before);
        Ok(())
    }

    /// An owner that was frozen or cut off for longer than its lease decides nothing any more: inputs
    /// it has not seen may have been dropped behind its successor's checkpoint.
    fn check_lease(&self) -> Result<(), OwnerError> {
        if self.lease.borrow().elapsed() > STOP_AFTER {
            return Err(OwnerError::LeaseExpired(self.partition));
        }
        Ok(())
    }

    /// Whoever runs the schedules must know what is held. That is the process of one certain partition, and
    /// holds are the same in all.
    fn tell_holds(&self) {
        if self.partition != HOME {
            return;
        }
        let holds = self.state.holds();
        self.shared.holds.send_if_modified(|known| {
            let changed = known.as_deref() != Some(holds);
            if changed {
                *known = Some(holds.to_vec());
            }
            changed
        });
    }

    async fn load_definitions(&mut self, batch: &[LogMessage]) {
        // Executions have their own pointers: all that is needed here is what this batch names.
        if self.definitions.len() >= MAX_IDLE {
            self.definitions.clear();
        }
        let mut wanted = Vec::new();
        for input in batch
            .iter()
            .flat_map(|message| message.envelope.iter())
            .flat_map(|e| &e.inputs)
        {
            let hash = match &input.kind {
                InputKind::Start(start) => Some(start.workflow.hash),
                InputKind::Control(control) => match &control.action {
                    ControlAction::Move { to } => Some(to.hash),
                    _ => None,
                },
                InputKind::Wake { .. } => self.state.stranded(input.execution),
                _ => None,
            };
            if let Some(hash) = hash
                && !self.definitions.contains_key(&hash)
                && !wanted.contains(&hash)
            {
                wanted.push(hash);
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
    fn fold(&mut self, batch: Vec<LogMessage>) -> Result<Plan, OwnerError> {
        let before = self.state.counters();
        let mut effects = Vec::new();
        let mut inputs = 0;
        for message in batch {
            match message.envelope {
                Ok(envelope) => {
                    inputs += envelope.inputs.len();
                    self.note_answers(&envelope);
                    self.state.fold(
                        message.sequence,
                        message.at,
                        envelope,
                        &self.definitions,
                        &mut effects,
                    );
                }
                Err(error) => self.pass_over(message.sequence, &error)?,
            }
        }
        self.count(inputs, before);
        self.plan(effects)
    }

    /// Nothing can be known of the inputs of an unreadable message: it is shown, counted and passed over.
    fn pass_over(&self, sequence: u64, error: &DecodeError) -> Result<(), OwnerError> {
        let partition = self.partition;
        if error.is_from_the_future() {
            return Err(OwnerError::FromTheFuture {
                partition,
                sequence,
            });
        }
        let error = afu9_broker::error::chain(error);
        tracing::error!(%partition, sequence, error, "unreadable input passed over");
        add(&self.shared.stats.undecodable_inputs, 1);
        Ok(())
    }

    /// What `effects` are to the world.
    fn plan(&self, effects: Vec<Effect>) -> Result<Plan, OwnerError> {
        Plan::new(effects).map_err(|source| OwnerError::Encode {
            partition: self.partition,
            source,
        })
    }

    /// Counts what a tick has done since `before`.
    fn count(&self, inputs: usize, before: Counters) {
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

    async fn answer(&mut self, question: Question) {
        let reply = match &question.query {
            Query::Show { execution } => match self.state.show(*execution) {
                Some(view) => QueryReply::Execution(Box::new(view)),
                None => QueryReply::Unknown,
            },
            Query::Explain { execution } => match self.state.explain(*execution) {
                Some(view) => QueryReply::Explained(Box::new(view)),
                None => QueryReply::Unknown,
            },
            Query::Status => QueryReply::Status(OrchestratorStatus {
                instance: self.shared.config.instance,
                counters: self.shared.stats.named(),
                full: self.full_lanes(),
            }),
            Query::Holds => QueryReply::Holds(self.state.holds().to_vec()),
            Query::List { limit, filter } => {
                let limit = usize::try_from(*limit).unwrap_or(usize::MAX);
                let listed = self.state.list(filter, limit.min(MAX_LISTED));
                QueryReply::Executions {
                    executions: listed.executions,
                    live: self.state.live() as u64,
                    more: listed.more,
                }
            }
        };
        if let Err(error) = self.questions.answer(question, &reply).await {
            tracing::debug!(partition = %self.partition, %error, "query not answered");
        }
    }
}

/// The input that says that a job failed without a worker.
pub(crate) fn failed(job: JobId, error: StepError) -> Input {
    let at = now();
    Input {
        execution: job.execution,
        kind: InputKind::JobResult(Box::new(JobResult {
            step: job.step,
            item: job.item,
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

/// The owner's clock, by which it decides that an instant has come.
pub(crate) fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}
