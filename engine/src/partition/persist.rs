//! Between a partition in memory and its checkpoint.

use std::sync::Arc;

use afu9_schemas::{DefinitionHash, ExecutionId, Partition};
use rustc_hash::FxHashMap;

use super::hold::held_kinds;
use super::{Definitions, Live, PartitionState};
use crate::checkpoint::{Segment, Shared};
use crate::execution::{Execution, Wait};
use crate::workflow::Workflow;

impl PartitionState {
    /// The partition as a checkpoint describes it: `segments` in the order in which they were
    /// written.
    ///
    /// An execution whose definition is missing from `definitions` wants to be woken at once: by then
    /// its definition has been looked for again, or it fails. The others are not affected.
    pub fn restore(
        partition: Partition,
        floor: u64,
        segments: Vec<Segment>,
        definitions: &Definitions,
    ) -> Self {
        let mut state = Self::new(partition);
        state.floor = floor;
        let mut executions: FxHashMap<ExecutionId, Execution> = FxHashMap::default();
        let mut shared = Shared::default();
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
            if let Some(newer) = segment.shared {
                shared = newer;
            }
        }
        state.ticket = shared.ticket;
        state.held = held_kinds(&shared.holds);
        state.holds = shared.holds;
        state.keys.set_rates(shared.rates);
        state.dispatcher.set_clocks(&shared.clocks);
        state.requests = shared.requests;
        let mut executions: Vec<Execution> = executions.into_values().collect();
        // Failed ones are forgotten in the order in which they ended.
        executions.sort_unstable_by_key(|execution| (execution.ended_at(), execution.id()));
        for execution in executions {
            state.load(execution, definitions);
        }
        state
    }

    fn load(&mut self, execution: Execution, definitions: &Definitions) {
        let id = execution.id();
        self.persisted.insert(id);
        let found = definitions.get(&execution.workflow().hash);
        let mut live = Live::new(execution, found.map_or_else(Workflow::none, Arc::clone));
        live.stranded = found.is_none();
        if live.execution.status().is_terminal() {
            // Without its definition it could not be retried.
            if !live.stranded {
                for forgotten in self.retained.put(live) {
                    self.forget(forgotten.execution.id());
                }
            }
            return;
        }
        self.index(&live);
        self.keep(live);
    }

    /// Notes what a loaded execution occupies and waits for.
    pub(super) fn index(&mut self, live: &Live) {
        let execution = &live.execution;
        if let Some(key) = execution.key() {
            match execution.queued() {
                Some(queued) => {
                    self.keys
                        .wait(key, execution.priority(), queued.ticket, execution.id());
                }
                None => self.keys.hold(key, execution.id()),
            }
        }
        for (step, _, unit) in execution.units() {
            if matches!(unit.wait, Some(Wait::Job { .. }))
                && let Some(queue) = execution.queue_of(step, &live.workflow)
            {
                self.dispatcher.occupy(queue);
            }
        }
        if !execution.is_halted() {
            self.rejoin_turns(live);
        }
    }

    /// The hashes of the definitions that executions in `segments` are pinned to.
    pub fn wanted(segments: &[Segment]) -> impl Iterator<Item = DefinitionHash> + '_ {
        segments
            .iter()
            .flat_map(|segment| &segment.executions)
            .map(|execution| execution.workflow().hash)
    }

    /// What changed since the last call, for a checkpoint. Should writing it fail, give it back with
    /// [`Self::put_back`].
    pub fn take_delta(&mut self) -> Segment {
        let executions: Vec<Execution> = self
            .dirty
            .drain()
            .filter_map(|id| self.live.get(&id).or_else(|| self.retained.get(id)))
            .map(|live| (*live.execution).clone())
            .collect();
        self.persisted.extend(executions.iter().map(Execution::id));
        let shared = std::mem::take(&mut self.shared_dirty).then(|| self.shared());
        Segment {
            executions,
            removed: std::mem::take(&mut self.removed),
            tombstones: std::mem::take(&mut self.new_tombstones),
            shared,
            outgoing: None,
            unsent: None,
        }
    }

    /// Undoes [`Self::take_delta`] after a failed write.
    pub fn put_back(&mut self, delta: Segment) {
        let kept =
            |id: &ExecutionId| self.live.contains_key(id) || self.retained.get(*id).is_some();
        let dirty: Vec<ExecutionId> = delta
            .executions
            .iter()
            .map(Execution::id)
            .filter(kept)
            .collect();
        self.dirty.extend(dirty);
        self.removed.extend(delta.removed);
        // Before those since: the oldest are forgotten first.
        let since = std::mem::replace(&mut self.new_tombstones, delta.tombstones);
        self.new_tombstones.extend(since);
        self.shared_dirty |= delta.shared.is_some();
    }

    /// Everything a checkpoint must hold, in place of all earlier segments. Counts as a delta.
    pub fn take_full(&mut self) -> Segment {
        self.dirty.clear();
        self.new_tombstones.clear();
        self.shared_dirty = false;
        let executions: Vec<Execution> = self
            .live
            .values()
            .chain(self.retained.iter())
            .map(|live| (*live.execution).clone())
            .collect();
        self.persisted = executions.iter().map(Execution::id).collect();
        Segment {
            executions,
            // Means nothing in the first of all segments; but should writing it fail, the earlier ones
            // stay, and still hold these.
            removed: std::mem::take(&mut self.removed),
            tombstones: self.recent.tombstones().collect(),
            shared: Some(self.shared()),
            outgoing: None,
            unsent: None,
        }
    }

    fn shared(&mut self) -> Shared {
        Shared {
            ticket: self.ticket,
            holds: self.holds.clone(),
            rates: self.keys.rates(self.last_at),
            clocks: self.dispatcher.clocks(),
            requests: self.requests.clone(),
        }
    }

    /// Whether a checkpoint would hold anything new.
    pub fn is_dirty(&self) -> bool {
        !(self.dirty.is_empty()
            && self.removed.is_empty()
            && self.new_tombstones.is_empty()
            && !self.shared_dirty)
    }
}
