//! Starts what schedules start, in the one process that owns a certain partition.
//!
//! Called by the orchestrator, which tells whether this is that process. When it changes hands, two may
//! run for a moment: the id of an execution is derived from its schedule and its instant, so that what
//! both start is started once. For the same reason a state is stored only after the log has taken
//! what it speaks of, and whoever finds the older state starts the same again.
//!
//! What is due is decided in [`afu9_engine::schedule`]. While everything is held, or the workflow, its
//! schedules stand still: what came due meanwhile is late at the release, and the rule says what becomes
//! of it.

mod table;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use afu9_broker::kv::{ScheduleStore, Swap};
use afu9_broker::log::LogWriter;
use afu9_broker::{Broker, PublishError, RequestError};
use afu9_engine::schedule::Plan;
use afu9_engine::submit;
use afu9_schemas::definition::MissedRuns;
use afu9_schemas::message::{Input, InputKind, Start, Trigger, TriggerKind, Unstarted as Cause};
use afu9_schemas::view::HoldView;
use afu9_schemas::{ExecutionId, Partition, PartitionCount, Timestamp};
use futures::StreamExt;
use futures::future::try_join_all;
use futures::stream;
use serde_json::json;
use thiserror::Error;
use tokio::sync::watch;

use crate::catalog::Catalog;
use crate::owner::now;
use crate::stats::{Stats, add};
use crate::unstarted::Unstarted;

use table::{Change, Held, Rule, Table};

/// The partition whose owner runs the schedules. There always is one.
pub(crate) const HOME: Partition = Partition::new(0);

/// Longest time without a look at the clock: somebody may set it.
const MAX_SLEEP: Duration = Duration::from_secs(60);

/// Pause after something failed, before everything is read again.
const PAUSE: Duration = Duration::from_secs(1);

/// About how many instants are dealt with in one turn, started or passed over: so that what is stored
/// follows soon after, and planning takes milliseconds.
const ENOUGH: u64 = 1024;

/// Entries written at once.
const WRITE_AT_ONCE: usize = 32;

/// What it takes to run schedules.
#[derive(Debug)]
pub(crate) struct Scheduler {
    pub(crate) catalog: Catalog,
    pub(crate) store: ScheduleStore,
    pub(crate) writer: LogWriter,
    pub(crate) partitions: PartitionCount,
    pub(crate) stats: Arc<Stats>,
    pub(crate) broker: Broker,
    /// What is held, as the owner of [`HOME`] knows it; `None` until it does.
    pub(crate) holds: watch::Receiver<Option<Vec<HoldView>>>,
}

/// Why the stored states have to be read again.
#[derive(Debug, Error)]
enum Interruption {
    /// Another process has written one.
    #[error("another orchestrator runs the schedules, too")]
    Rivalled,
    #[error(transparent)]
    Store(#[from] RequestError),
    /// What may not be stored is started again, with the same id.
    #[error("cannot submit what schedules start")]
    Submit(#[source] Arc<PublishError>),
}

impl Scheduler {
    /// Runs the schedules for as long as `active` says so, until its sender is gone.
    pub(crate) async fn run(self, mut active: watch::Receiver<bool>) {
        while active.wait_for(|active| *active).await.is_ok() {
            tracing::info!("schedules taken over");
            tokio::select! {
                () = Box::pin(self.keep_running(self.holds.clone())) => {}
                _ = active.wait_for(|active| !*active) => {}
            }
            self.stats.schedules.store(0, Ordering::Relaxed);
            tracing::info!("schedules given up");
        }
    }

    /// Cancel safety: safe. What was submitted and not stored is started again, with the same id.
    async fn keep_running(&self, mut holds: watch::Receiver<Option<Vec<HoldView>>>) {
        loop {
            let Err(interruption) = self.run_until_interrupted(&mut holds).await;
            let error = afu9_broker::error::chain(&interruption);
            tracing::warn!(error, "schedules interrupted, trying again");
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn run_until_interrupted(
        &self,
        holds: &mut watch::Receiver<Option<Vec<HoldView>>>,
    ) -> Result<std::convert::Infallible, Interruption> {
        let mut changes = self.catalog.changes();
        // The changes first, so that none is missed between the list and them.
        let mut pauses = self.store.follow_pauses().await?;
        let mut table = Table::new(self.store.list().await?);
        table.note_pauses(self.store.pauses().await?);
        loop {
            changes.mark_unchanged();
            table.follow(self.catalog.readable(), now());
            self.stats.schedules.store(table.ruled(), Ordering::Relaxed);
            loop {
                let known = holds.wait_for(Option::is_some).await;
                let known = known.map(|holds| Held::new(holds.as_deref().unwrap_or_default()));
                let Ok(held) = known else {
                    // The process ends.
                    std::future::pending().await
                };
                self.turn(&mut table, now(), &held).await?;
                let wake = table
                    .wake(&held)
                    .map_or(MAX_SLEEP, |wake| wake.since(now()));
                tokio::select! {
                    // The sender is in our own catalog.
                    _ = changes.changed() => break,
                    _ = holds.changed() => {}
                    pause = pauses.next() => {
                        table.note_pauses([pause?]);
                        break;
                    }
                    () = tokio::time::sleep(wake.min(MAX_SLEEP)) => {}
                }
            }
        }
    }

    /// Starts what is due, then stores how far the schedules have got.
    async fn turn(
        &self,
        table: &mut Table,
        now: Timestamp,
        held: &Held,
    ) -> Result<(), Interruption> {
        // What is new is on record before anything of it is started: should this process end, it counts
        // from here.
        self.store(table).await?;
        let due = table.due(now, ENOUGH, held);
        let submitted = due.iter().map(|(_, rule, plan)| self.submit(rule, plan));
        let mut failed = None;
        for ((key, rule, plan), verdict) in
            due.iter().zip(futures::future::join_all(submitted).await)
        {
            match verdict {
                Ok(()) => {
                    self.tell(rule, plan);
                    table.done(key, plan);
                }
                Err(error) => failed = Some(error),
            }
        }
        self.store(table).await?;
        failed.map_or(Ok(()), |error| Err(Interruption::Submit(error)))
    }

    /// Puts everything that a plan starts into the log.
    async fn submit(&self, rule: &Rule, plan: &Plan) -> Result<(), Arc<PublishError>> {
        let started = plan.fire.iter().filter_map(|firing| {
            let started = self.start(rule, firing.at).transpose()?;
            Some(async move {
                match started {
                    Ok(input) => self.writer.submit(input).await,
                    Err(unstarted) => self.set_aside(unstarted).await.map_err(Arc::new),
                }
            })
        });
        try_join_all(started).await?;
        Ok(())
    }

    async fn set_aside(&self, unstarted: Unstarted) -> Result<(), PublishError> {
        add(&self.stats.unstarted, 1);
        match self.broker.publish(unstarted.message()?).await {
            Ok(_) => add(&self.stats.dead_letters, 1),
            // What comes after it must not wait until somebody makes room.
            Err(PublishError::Full { .. }) => {
                add(&self.stats.dead_letters_lost, 1);
                tracing::error!("dead letters are full");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// What the instant `at` starts, if anything.
    fn start(&self, rule: &Rule, at: Timestamp) -> Result<Option<Input>, Unstarted> {
        let Some(written) = rule.written() else {
            return Ok(None);
        };
        let workflow = &rule.found.workflow;
        let name = &rule.found.record.workflow.name;
        let schedule = json!({
            "at": at.to_string(),
            "cron": written.cron,
            "timezone": written.timezone,
        });
        let trigger = || Trigger {
            kind: TriggerKind::Schedule,
            by: format!("schedule {} {}", written.cron, written.timezone),
            delivery: None,
            depth: 0,
            initiator: None,
        };
        let roots = submit::Roots(&[("schedule", &schedule)]);
        let input = match workflow.triggers[rule.index].fire(roots, || json!({})) {
            Ok(Some(input)) => input,
            Ok(None) => return Ok(None),
            Err((place, error)) => {
                tracing::warn!(workflow = name, %at, place, %error, "not started: no input");
                let origin = rule.schedule.origin(at);
                let cause = Cause {
                    workflow: name.clone(),
                    version: rule.found.record.workflow.version,
                    rule: rule.index,
                    origin,
                    cause: json!({ "schedule": schedule }),
                    trigger: Some(trigger()),
                    repository: None,
                };
                let message = format!("{place}: {error}");
                let code = "trigger.expression";
                return Err(Unstarted::new(&cause, code, message, now()));
            }
        };
        let mut start = Start::new(rule.found.record.workflow.clone(), input, trigger());
        // An input that does not fit becomes an execution that has failed and says why, so that it is
        // seen.
        if let Err(error) = submit::prepare(workflow, &mut start) {
            tracing::warn!(workflow = name, %at, %error, "input does not fit");
        }
        let origin = rule.schedule.origin(at);
        let key = start.key.as_deref();
        Ok(Some(Input {
            execution: ExecutionId::derived_for(&origin, key, self.partitions),
            kind: InputKind::Start(Box::new(start)),
        }))
    }

    /// Counts what a plan came to, and logs what it leaves out.
    fn tell(&self, rule: &Rule, plan: &Plan) {
        let workflow = &rule.found.record.workflow.name;
        let caught_up = plan.fire.iter().filter(|firing| firing.missed).count();
        let (skipped, through) = (plan.skipped, plan.through);
        add(&self.stats.schedules_fired, plan.fire.len() as u64);
        add(&self.stats.schedules_caught_up, caught_up as u64);
        add(&self.stats.schedules_skipped, skipped);
        if skipped == 0 {
            return;
        }
        if rule
            .written()
            .is_some_and(|rule| rule.missed == MissedRuns::All)
        {
            tracing::warn!(workflow, %through, skipped, caught_up, "too much was missed, only the newest is started");
        } else {
            tracing::info!(workflow, %through, skipped, caught_up, "missed instants passed over");
        }
    }

    /// Stores what has changed.
    async fn store(&self, table: &mut Table) -> Result<(), Interruption> {
        let write = |change: Change| async move {
            let written = self.write(&change).await;
            (change, written)
        };
        let changes = stream::iter(table.changes().into_iter().map(write));
        let mut written = std::pin::pin!(changes.buffer_unordered(WRITE_AT_ONCE));
        let mut interruption = None;
        while let Some((change, result)) = written.next().await {
            match result {
                Ok(Swap::Stored(revision)) => table.stored(&change, revision),
                Ok(Swap::Lost) => interruption = Some(Interruption::Rivalled),
                Err(error) => interruption = Some(error.into()),
            }
        }
        interruption.map_or(Ok(()), Err)
    }

    async fn write(&self, change: &Change) -> Result<Swap, RequestError> {
        let (workflow, schedule) = &change.key;
        match &change.state {
            Some(state) => self.store.put(state, change.revision).await,
            // Nobody has stored it yet.
            None if change.revision == 0 => Ok(Swap::Stored(0)),
            None => {
                tracing::info!(workflow, %schedule, "schedule removed: no definition has it any more");
                self.store
                    .remove(workflow, schedule, change.revision)
                    .await?;
                Ok(Swap::Stored(0))
            }
        }
    }
}
