//! Questions to the owner of a partition about what it holds in memory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{ExecutionId, InstanceId, JobId, WorkerId};
use crate::subject::Lane;
use crate::time::Timestamp;
use crate::view::{ExecutionStatus, ExecutionSummary, ExecutionView, ExplainView, HoldView};

/// A question. The reply is a [`QueryReply`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Query {
    /// Everything about one execution.
    Show {
        /// Which.
        execution: ExecutionId,
    },
    /// Why an execution is where it is.
    Explain {
        /// Which.
        execution: ExecutionId,
    },
    /// What is held in the partition.
    Holds,
    /// What the orchestrator behind the owner has done.
    Status,
    /// The newest executions the owner still holds.
    List {
        /// How many at most.
        limit: u32,
        /// Which.
        #[serde(default)]
        filter: ListFilter,
    },
}

/// Which executions a list is about; what is absent does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListFilter {
    /// In any of these.
    pub statuses: Vec<ExecutionStatus>,
    /// Of this workflow.
    pub workflow: Option<String>,
    /// With this concurrency key.
    pub key: Option<String>,
    /// Run by a step of this execution.
    pub parent: Option<ExecutionId>,
    /// That repeat this execution.
    pub rerun_of: Option<ExecutionId>,
    /// Started by whom or what.
    pub triggered_by: Option<String>,
    /// Submitted at this instant or later.
    pub started_after: Option<Timestamp>,
    /// Behind the page that ended here.
    pub before: Option<ListCursor>,
}

/// Where a page of a list ended, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ListCursor {
    /// When its last execution was submitted.
    pub started_at: Timestamp,
    /// Its id, which orders executions of the same instant.
    pub id: ExecutionId,
}

/// A question to every worker: which of these jobs do you run?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkQuery {
    /// The jobs.
    pub jobs: Vec<JobId>,
}

/// The answer of a worker that runs some of them; the others say nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkReply {
    /// The worker.
    pub worker: WorkerId,
    /// What it runs, and since when by its clock.
    pub running: Vec<(JobId, Timestamp)>,
}

/// What an orchestrator has done since it started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrchestratorStatus {
    /// Which: it may own many partitions.
    pub instance: InstanceId,
    /// Its counters by their names.
    pub counters: BTreeMap<String, u64>,
    /// So much is live in the partition that was asked about that nothing more should be submitted to
    /// these lanes.
    #[serde(default)]
    pub full: Vec<Lane>,
}

/// The owner's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueryReply {
    /// Live, or ended so recently that the owner still holds it.
    Execution(Box<ExecutionView>),
    /// The owner holds no such execution: it never existed here, or it is history.
    Unknown,
    /// Why an execution is where it is.
    Explained(Box<ExplainView>),
    /// What is held.
    Holds(Vec<HoldView>),
    /// What the orchestrator has done.
    Status(OrchestratorStatus),
    /// Newest first.
    Executions {
        /// At most as many as were asked for.
        executions: Vec<ExecutionSummary>,
        /// How many executions are live in the partition, whatever was asked for.
        live: u64,
        /// Others pass the filter, too, behind the last of these.
        #[serde(default)]
        more: bool,
    },
}
