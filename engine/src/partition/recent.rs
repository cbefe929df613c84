//! Executions that ended: some of them whole, to be shown until history has them; of those that
//! could be submitted again, only that they existed.

use std::collections::VecDeque;
use std::sync::Arc;

use afu9_schemas::ExecutionId;
use afu9_schemas::view::{ExecutionStatus, ExecutionView};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::execution::Execution;
use crate::workflow::Workflow;

/// How many ended executions a partition keeps whole. History has them a moment later; this covers
/// that moment.
const MAX_WHOLE: usize = 256;

/// How many bytes they may hold together.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// How many ended executions with a derived id are remembered. A webhook delivery is routed again
/// only after a gateway died in the middle of routing it: thousands of others do not pass meanwhile.
const MAX_TOMBSTONES: usize = 20_000;

#[derive(Debug, Default)]
pub(super) struct Recent {
    whole: FxHashMap<ExecutionId, (Execution, Option<Arc<Workflow>>)>,
    whole_order: VecDeque<ExecutionId>,
    bytes: usize,
    tombstones: FxHashSet<ExecutionId>,
    tombstone_order: VecDeque<ExecutionId>,
}

impl Recent {
    pub(super) fn push(&mut self, execution: Execution, workflow: Option<Arc<Workflow>>) {
        let id = execution.id();
        self.bytes += execution.bytes();
        match self.whole.insert(id, (execution, workflow)) {
            None => self.whole_order.push_back(id),
            Some((before, _)) => self.bytes = self.bytes.saturating_sub(before.bytes()),
        }
        while self.whole_order.len() > MAX_WHOLE
            || (self.bytes > MAX_BYTES && self.whole_order.len() > 1)
        {
            let Some(oldest) = self.whole_order.pop_front() else {
                break;
            };
            if let Some((execution, _)) = self.whole.remove(&oldest) {
                self.bytes = self.bytes.saturating_sub(execution.bytes());
            }
        }
    }

    /// Remembers that an execution existed. Returns whether that is new.
    pub(super) fn bury(&mut self, id: ExecutionId) -> bool {
        let new = self.tombstones.insert(id);
        if new {
            self.tombstone_order.push_back(id);
        }
        if self.tombstone_order.len() > MAX_TOMBSTONES
            && let Some(oldest) = self.tombstone_order.pop_front()
        {
            self.tombstones.remove(&oldest);
        }
        new
    }

    /// How an execution ended that is still whole.
    pub(super) fn status(&self, id: ExecutionId) -> Option<ExecutionStatus> {
        self.get(id).map(Execution::status)
    }

    pub(super) fn has_ended(&self, id: ExecutionId) -> bool {
        self.tombstones.contains(&id) || self.whole.contains_key(&id)
    }

    /// In the order in which they ended.
    pub(super) fn tombstones(&self) -> impl Iterator<Item = ExecutionId> + '_ {
        self.tombstone_order.iter().copied()
    }

    pub(super) fn show(&self, id: ExecutionId) -> Option<ExecutionView> {
        let (execution, workflow) = self.whole.get(&id)?;
        Some(execution.view(workflow.as_deref()))
    }

    pub(super) fn get(&self, id: ExecutionId) -> Option<&Execution> {
        let (execution, _) = self.whole.get(&id)?;
        Some(execution)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Execution> {
        self.whole.values().map(|(execution, _)| execution)
    }
}
