//! Failed executions, kept so that their failed steps can be run again by hand.

use std::collections::BTreeSet;

use afu9_schemas::{ExecutionId, Timestamp};
use rustc_hash::FxHashMap;

use super::Live;

/// How many failed executions a partition keeps. Older ones can still be rerun from history, as new
/// executions.
pub(super) const MAX_RETAINED: usize = 1000;

/// How many bytes they may hold together.
const MAX_BYTES: usize = 32 * 1024 * 1024;

#[derive(Debug, Default)]
pub(super) struct Retained {
    executions: FxHashMap<ExecutionId, Live>,
    /// In the order in which they failed, whatever happened to them since.
    order: BTreeSet<(Timestamp, ExecutionId)>,
    bytes: usize,
}

impl Retained {
    /// Keeps a failed execution. Returns those that are not kept any more.
    pub(super) fn put(&mut self, live: Live) -> Vec<Live> {
        let id = live.execution.id();
        self.bytes += live.execution.bytes();
        self.order.insert(place(&live));
        self.executions.insert(id, live);
        let mut forgotten = Vec::new();
        while self.executions.len() > MAX_RETAINED
            || (self.bytes > MAX_BYTES && self.executions.len() > 1)
        {
            let Some((_, oldest)) = self.order.first().copied() else {
                break;
            };
            forgotten.extend(self.take(oldest));
        }
        forgotten
    }

    pub(super) fn take(&mut self, id: ExecutionId) -> Option<Live> {
        let live = self.executions.remove(&id)?;
        self.order.remove(&place(&live));
        self.bytes = self.bytes.saturating_sub(live.execution.bytes());
        Some(live)
    }

    pub(super) fn get(&self, id: ExecutionId) -> Option<&Live> {
        self.executions.get(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Live> {
        self.executions.values()
    }
}

fn place(live: &Live) -> (Timestamp, ExecutionId) {
    let ended_at = live.execution.ended_at().unwrap_or_default();
    (ended_at, live.execution.id())
}
