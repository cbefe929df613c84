//! The fold of one partition of the input log: all of its live executions, when they want to be
//! woken, and what a checkpoint must hold.
//!
//! Owned by exactly one loop of the orchestrator. A partition that is folded by two owners gives
//! both the same states and effects, which is why a stale owner can waste work but not corrupt it.

mod recent;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use afu9_schemas::message::{Input, InputEnvelope, InputKind, Job};
use afu9_schemas::view::{ExecutionSummary, ExecutionView};
use afu9_schemas::{DefinitionHash, ExecutionId, Partition, Timestamp};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::checkpoint::Segment;
use crate::execution::{Applied, Effect, Execution, Ignored, Setting};
use crate::workflow::Workflow;
use recent::Recent;

/// Definitions by hash. The shell loads them before it folds.
pub type Definitions = FxHashMap<DefinitionHash, Arc<Workflow>>;

/// What a partition has seen since it was loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Executions begun.
    pub started: u64,
    /// Executions ended, in whatever way.
    pub ended: u64,
    /// Results that came late or twice and changed nothing.
    pub stale_results: u64,
    /// Submissions that came twice and changed nothing.
    pub duplicate_starts: u64,
    /// Inputs for executions that are not known here.
    pub unknown: u64,
}

#[derive(Debug)]
struct Live {
    execution: Execution,
    workflow: Arc<Workflow>,
    wake: Option<Timestamp>,
}

/// The state of one partition.
#[derive(Debug)]
pub struct PartitionState {
    partition: Partition,
    live: FxHashMap<ExecutionId, Live>,
    recent: Recent,
    /// Instants at which live executions want to be woken, the earliest first.
    wakes: BTreeSet<(Timestamp, ExecutionId)>,
    /// Live executions that changed since the last checkpoint.
    dirty: FxHashSet<ExecutionId>,
    /// Executions some segment of the checkpoint holds.
    persisted: FxHashSet<ExecutionId>,
    /// Persisted executions that ended since the last checkpoint.
    removed: Vec<ExecutionId>,
    /// Tombstones since the last checkpoint.
    new_tombstones: Vec<ExecutionId>,
    floor: u64,
    counters: Counters,
}

impl PartitionState {
    /// A partition nothing has happened in yet.
    pub fn new(partition: Partition) -> Self {
        Self {
            partition,
            live: FxHashMap::default(),
            recent: Recent::default(),
            wakes: BTreeSet::new(),
            dirty: FxHashSet::default(),
            persisted: FxHashSet::default(),
            removed: Vec::new(),
            new_tombstones: Vec::new(),
            floor: 0,
            counters: Counters::default(),
        }
    }

    /// The partition as a checkpoint describes it: `segments` in the order in which they were
    /// written. Executions whose definition is missing from `definitions` are returned by hash, and
    /// nothing is restored: load them and try again.
    ///
    /// # Errors
    /// The hashes that are missing.
    pub fn restore(
        partition: Partition,
        floor: u64,
        segments: Vec<Segment>,
        definitions: &Definitions,
    ) -> Result<Self, Vec<DefinitionHash>> {
        let mut state = Self::new(partition);
        state.floor = floor;
        let mut executions: FxHashMap<ExecutionId, Execution> = FxHashMap::default();
        for segment in segments {
            for execution in segment.executions {
                executions.insert(execution.id(), execution);
            }
            for id in &segment.removed {
                executions.remove(id);
            }
            for id in segment.tombstones {
                state.recent.bury(id);
            }
        }
        let mut missing: Vec<DefinitionHash> = executions
            .values()
            .map(|execution| execution.workflow().hash)
            .filter(|hash| !definitions.contains_key(hash))
            .collect();
        if !missing.is_empty() {
            missing.sort_unstable();
            missing.dedup();
            return Err(missing);
        }
        for (id, execution) in executions {
            let workflow = Arc::clone(&definitions[&execution.workflow().hash]);
            state.persisted.insert(id);
            state.keep(Live {
                execution,
                workflow,
                wake: None,
            });
        }
        Ok(state)
    }

    /// Folds one message of the log: `sequence` is its position, `now` its timestamp.
    ///
    /// A message at or below the floor was folded before and changes nothing.
    pub fn fold(
        &mut self,
        sequence: u64,
        now: Timestamp,
        envelope: InputEnvelope,
        definitions: &Definitions,
        effects: &mut Vec<Effect>,
    ) {
        if sequence <= self.floor {
            return;
        }
        self.floor = sequence;
        for input in envelope.inputs {
            self.fold_input(input, now, definitions, effects);
        }
    }

    fn fold_input(
        &mut self,
        input: Input,
        now: Timestamp,
        definitions: &Definitions,
        effects: &mut Vec<Effect>,
    ) {
        let id = input.execution;
        let Some(mut live) = self.take(id) else {
            match input.kind {
                InputKind::Start(_) if self.recent.has_ended(id) => {
                    self.counters.duplicate_starts += 1;
                }
                InputKind::Start(start) => {
                    self.counters.started += 1;
                    let workflow = definitions.get(&start.workflow.hash).cloned();
                    match workflow {
                        Some(workflow) => {
                            let setting = Setting {
                                workflow: &workflow,
                                partition: self.partition,
                            };
                            let execution = Execution::start(id, *start, setting, now, effects);
                            self.settle(Live {
                                execution,
                                workflow,
                                wake: None,
                            });
                        }
                        None => {
                            let execution = Execution::without_definition(id, *start, now, effects);
                            self.counters.ended += 1;
                            self.remember(execution, None);
                        }
                    }
                }
                InputKind::JobResult(_) => self.counters.stale_results += 1,
                InputKind::Cancel(_) | InputKind::Wake { .. } => self.counters.unknown += 1,
            }
            return;
        };
        let setting = Setting {
            workflow: &live.workflow,
            partition: self.partition,
        };
        match live.execution.apply(&input.kind, setting, now, effects) {
            Applied::Changed => self.settle(live),
            Applied::Ignored(why) => {
                match why {
                    Ignored::StaleResult => {
                        self.counters.stale_results += 1;
                        // The execution's own count of them has changed, and its end will tell it.
                        self.dirty.insert(id);
                    }
                    Ignored::DuplicateStart => self.counters.duplicate_starts += 1,
                    Ignored::Late | Ignored::EarlyWake => {}
                }
                self.keep(live);
            }
        }
    }

    /// Takes an execution out, with its wish to be woken.
    fn take(&mut self, id: ExecutionId) -> Option<Live> {
        let mut live = self.live.remove(&id)?;
        if let Some(at) = live.wake.take() {
            self.wakes.remove(&(at, id));
        }
        Some(live)
    }

    /// Puts a changed execution back, or away if it has ended.
    fn settle(&mut self, live: Live) {
        let id = live.execution.id();
        if live.execution.status().is_terminal() {
            self.counters.ended += 1;
            self.dirty.remove(&id);
            if self.persisted.remove(&id) {
                self.removed.push(id);
            }
            self.remember(live.execution, Some(live.workflow));
        } else {
            self.dirty.insert(id);
            self.keep(live);
        }
    }

    fn remember(&mut self, execution: Execution, workflow: Option<Arc<Workflow>>) {
        let id = execution.id();
        if is_resubmittable(id) {
            self.recent.bury(id);
            self.new_tombstones.push(id);
        }
        self.recent.push(execution, workflow);
    }

    fn keep(&mut self, mut live: Live) {
        let id = live.execution.id();
        live.wake = live.execution.next_wake();
        if let Some(at) = live.wake {
            self.wakes.insert((at, id));
        }
        self.live.insert(id, live);
    }

    /// Takes at most `limit` executions that want to be woken at or before `now`, with the instant
    /// each waited for. The shell publishes a wake for each; folding that wake, or any other input
    /// of the execution, arms its next one. If publishing fails, [`Self::rearm`].
    pub fn take_due(&mut self, now: Timestamp, limit: usize) -> Vec<(ExecutionId, Timestamp)> {
        let mut due = Vec::new();
        while due.len() < limit {
            match self.wakes.first().copied() {
                Some((at, id)) if at <= now => {
                    self.wakes.pop_first();
                    if let Some(live) = self.live.get_mut(&id) {
                        live.wake = None;
                    }
                    due.push((id, at));
                }
                _ => break,
            }
        }
        due
    }

    /// Arms the wake of an execution again after a wake could not be published.
    pub fn rearm(&mut self, id: ExecutionId) {
        if let Some(live) = self.take(id) {
            self.keep(live);
        }
    }

    /// The earliest instant at which an execution wants to be woken.
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// Jobs that were dispatched and not answered, as they were dispatched.
    pub fn outstanding_jobs(&self) -> impl Iterator<Item = Job> + '_ {
        self.live
            .values()
            .filter(|live| live.execution.awaits_job())
            .filter_map(|live| {
                live.execution.job(Setting {
                    workflow: &live.workflow,
                    partition: self.partition,
                })
            })
    }

    /// What changed since the last call, for a checkpoint. Should writing it fail, give it back with
    /// [`Self::put_back`].
    pub fn take_delta(&mut self) -> Segment {
        let executions: Vec<Execution> = self
            .dirty
            .drain()
            .filter_map(|id| self.live.get(&id))
            .map(|live| live.execution.clone())
            .collect();
        self.persisted.extend(executions.iter().map(Execution::id));
        Segment {
            executions,
            removed: std::mem::take(&mut self.removed),
            tombstones: std::mem::take(&mut self.new_tombstones),
        }
    }

    /// Undoes [`Self::take_delta`] after a failed write.
    pub fn put_back(&mut self, delta: Segment) {
        self.dirty.extend(
            delta
                .executions
                .iter()
                .map(Execution::id)
                .filter(|id| self.live.contains_key(id)),
        );
        self.removed.extend(delta.removed);
        self.new_tombstones.extend(delta.tombstones);
    }

    /// Everything a checkpoint must hold, in place of all earlier segments. Counts as a delta.
    pub fn take_full(&mut self) -> Segment {
        self.dirty.clear();
        self.removed.clear();
        self.new_tombstones.clear();
        self.persisted = self.live.keys().copied().collect();
        Segment {
            executions: self
                .live
                .values()
                .map(|live| live.execution.clone())
                .collect(),
            removed: Vec::new(),
            tombstones: self.recent.tombstones().collect(),
        }
    }

    /// Whether a checkpoint would hold anything new.
    pub fn is_dirty(&self) -> bool {
        !(self.dirty.is_empty() && self.removed.is_empty() && self.new_tombstones.is_empty())
    }

    /// Position of the last folded message of the log.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// How many executions are live.
    pub fn live(&self) -> usize {
        self.live.len()
    }

    /// What happened since the partition was loaded.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// One execution, if it is live or ended recently.
    pub fn show(&self, id: ExecutionId) -> Option<ExecutionView> {
        match self.live.get(&id) {
            Some(live) => Some(live.execution.view(Some(&live.workflow))),
            None => self.recent.show(id),
        }
    }

    /// The newest executions, live or ended recently, newest first.
    pub fn list(&self, limit: usize) -> Vec<ExecutionSummary> {
        let mut summaries: Vec<ExecutionSummary> = self
            .live
            .values()
            .map(|live| live.execution.summary())
            .chain(self.recent.summaries())
            .collect();
        summaries.sort_unstable_by_key(|s| std::cmp::Reverse((s.started_at, s.id)));
        summaries.truncate(limit);
        summaries
    }
}

/// Ids that are derived from a key can be submitted again long after their execution ended; drawn
/// ones cannot.
fn is_resubmittable(id: ExecutionId) -> bool {
    id.as_uuid().get_version_num() == 5
}
