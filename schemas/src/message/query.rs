//! Questions to the owner of a partition about what it holds in memory.

use serde::{Deserialize, Serialize};

use crate::id::ExecutionId;
use crate::view::{ExecutionSummary, ExecutionView};

/// A question. The reply is a [`QueryReply`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Query {
    /// Everything about one execution.
    Show {
        /// Which.
        execution: ExecutionId,
    },
    /// The newest executions the owner still holds.
    List {
        /// How many at most.
        limit: u32,
    },
}

/// The owner's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueryReply {
    /// Live, or ended so recently that the owner still holds it.
    Execution(Box<ExecutionView>),
    /// The owner holds no such execution: it never existed here, or it is history.
    Unknown,
    /// Newest first.
    Executions {
        /// At most as many as were asked for.
        executions: Vec<ExecutionSummary>,
        /// How many executions are live in the partition.
        live: u64,
    },
}
