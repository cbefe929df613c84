//! What a checkpoint of a partition consists of.
//!
//! A checkpoint is a floor and a list of segments. Each segment says what changed since the one
//! before it; now and then one that holds everything replaces them all.

use afu9_schemas::ExecutionId;
use serde::{Deserialize, Serialize};

use crate::execution::Execution;

/// What changed between two checkpoints. Written once, never changed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// Live executions, as they are now.
    pub executions: Vec<Execution>,
    /// Executions that earlier segments hold and that have ended since.
    #[serde(default)]
    pub removed: Vec<ExecutionId>,
    /// Executions with a derived id that ended since: a second submission must find them.
    #[serde(default)]
    pub tombstones: Vec<ExecutionId>,
}

impl Segment {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.executions.is_empty() && self.removed.is_empty() && self.tombstones.is_empty()
    }
}
