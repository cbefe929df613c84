//! What a checkpoint of a partition consists of.
//!
//! A checkpoint is a floor and a list of segments. Each segment says what changed since the one
//! before it; now and then one that holds everything replaces them all.

use afu9_schemas::codec::{self, DecodeError};
use afu9_schemas::message::Input;
use afu9_schemas::view::HoldView;
use afu9_schemas::{ExecutionId, JobId, Lane, Timestamp, WorkerKind};
use serde::{Deserialize, Serialize};

use crate::execution::{Execution, v1};
use crate::requests::Requests;

/// What changed between two checkpoints. Written once, never changed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// Live executions and failed ones that can be retried, as they are now.
    pub executions: Vec<Execution>,
    /// Executions that earlier segments hold and that are not kept any more.
    #[serde(default)]
    pub removed: Vec<ExecutionId>,
    /// Executions with a derived id that ended since: a second submission must find them.
    #[serde(default)]
    pub tombstones: Vec<ExecutionId>,
    /// What executions share, as it is now; the last segment that has it counts.
    #[serde(default)]
    pub shared: Option<Shared>,
    /// Inputs that were decided to be sent and that the log had not taken, in their order; the last
    /// segment that has them counts. The owner's, who fills them in and sends them.
    #[serde(default)]
    pub outgoing: Option<Vec<Input>>,
    /// Jobs that were decided and that their queues had not taken; the last segment that has them counts.
    /// The owner's, who fills them in and publishes them.
    #[serde(default)]
    pub unsent: Option<Vec<JobId>>,
}

/// What the executions of a partition share. Whatever decides about the order in which they go on
/// is here or in themselves: a replay must give the same order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Shared {
    /// The last ticket that was given.
    pub ticket: u64,
    /// What is held.
    #[serde(default)]
    pub holds: Vec<HoldView>,
    /// For each key with a rate limit, when its allowance is whole again.
    #[serde(default)]
    pub rates: Vec<(String, Timestamp)>,
    /// How far each queue has come in virtual time, at each priority.
    #[serde(default)]
    pub clocks: Vec<(WorkerKind, Lane, i32, u64)>,
    /// Wishes about the whole partition that were answered.
    #[serde(default)]
    pub requests: Requests,
}

impl Segment {
    /// Reads a segment that this version or an earlier one wrote.
    ///
    /// # Errors
    /// See [`codec::decode`]; whatever it is, the segment must be left in place.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.first() == Some(&1) {
            return codec::decode::<v1::Segment>(bytes).map(Into::into);
        }
        codec::decode(bytes)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.executions.is_empty()
            && self.removed.is_empty()
            && self.tombstones.is_empty()
            && self.shared.is_none()
            && self.outgoing.is_none()
            && self.unsent.is_none()
    }
}
