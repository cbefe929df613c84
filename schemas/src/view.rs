//! What an execution looks like from outside: the shapes of the HTTP API, of `--output json` and of
//! the owners' answers.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::definition::Decision;
use crate::error::StepError;
use crate::id::{ExecutionId, JobId, ToolName, WorkerId, WorkerKind, WorkflowId};
use crate::message::control::HoldScope;
use crate::message::history::AttemptRecord;
use crate::message::input::Parent;
use crate::subject::Lane;
use crate::time::Timestamp;

/// The status of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionStatus {
    /// Accepted, not yet begun.
    Pending,
    /// In progress.
    Running,
    /// Stopped by somebody until it is resumed.
    Paused,
    /// Ended, every required step done.
    Completed,
    /// Ended by an error.
    Failed,
    /// Ended by somebody's wish.
    Cancelled,
}

impl ExecutionStatus {
    /// Whether the execution has ended. A terminal status never changes by itself; only a failed
    /// execution can be retried by hand.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// The name in the API and in Postgres.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The status of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// Not yet reached.
    Pending,
    /// A job is dispatched.
    Running,
    /// Waits for an instant, for example for its next attempt.
    Waiting,
    /// Done.
    Completed,
    /// Ended by an error.
    Failed,
    /// Its condition was false, or the execution ended before it.
    Skipped,
    /// Done, and undone again.
    Compensated,
}

impl StepStatus {
    /// Whether the step has ended.
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Completed | Self::Failed | Self::Skipped | Self::Compensated
        )
    }

    /// The name in the API and in Postgres.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Compensated => "compensated",
        }
    }
}

/// One line of a list of executions. Instants are microseconds since the epoch on the wire between
/// AFU-9's parts; the gateway turns them into RFC 3339 for its clients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecutionSummary {
    /// Its id.
    pub id: ExecutionId,
    /// The workflow, whatever its version.
    pub workflow_id: WorkflowId,
    /// The workflow's name.
    pub workflow: String,
    /// The version it is pinned to.
    pub version: u32,
    /// Its status.
    pub status: ExecutionStatus,
    /// Who or what started it.
    pub triggered_by: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(default)]
    pub completed_at: Option<Timestamp>,
}

/// Everything about one execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecutionView {
    /// What the list shows of it.
    pub summary: ExecutionSummary,
    /// Its input.
    pub input: Value,
    /// Its output, once it has ended.
    #[serde(default)]
    pub output: Option<Value>,
    /// Why it failed or was cancelled.
    #[serde(default)]
    pub error: Option<StepError>,
    /// `owner/name` of its repository.
    #[serde(default)]
    pub repository: Option<String>,
    /// The branch of that repository that pull requests go to, where its trigger knew it.
    #[serde(default)]
    pub default_branch: Option<String>,
    /// Which queue its jobs wait in.
    #[serde(default)]
    pub lane: Lane,
    /// Among those that wait, higher ones begin first.
    #[serde(default)]
    pub priority: i32,
    /// Its steps, in the order of the definition; compensations and `onFailure` steps that were
    /// reached come behind.
    pub steps: Vec<StepView>,
    /// Who paused it.
    #[serde(default)]
    pub paused: Option<PauseView>,
    /// What it contends for.
    #[serde(default)]
    pub key: Option<String>,
    /// The step that runs it.
    #[serde(default)]
    pub parent: Option<Parent>,
    /// The execution it repeats.
    #[serde(default)]
    pub rerun_of: Option<ExecutionId>,
    /// Why it was to be repeated.
    #[serde(default)]
    pub rerun_reason: Option<String>,
    /// Signals that came and were not waited for yet.
    #[serde(default)]
    pub signals: u32,
    /// Inputs and outputs were left out because the answer would not have fitted into a message.
    #[serde(default)]
    pub truncated: bool,
}

/// Everything about one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepView {
    /// Position in the definition, from 0.
    pub index: u32,
    /// Name in the definition.
    pub name: String,
    /// Its tool.
    #[serde(default)]
    pub tool: Option<ToolName>,
    /// Its status.
    pub status: StepStatus,
    /// The resolved parameters.
    #[serde(default)]
    pub input: Option<Value>,
    /// Its output.
    #[serde(default)]
    pub output: Option<Value>,
    /// Its last error.
    #[serde(default)]
    pub error: Option<StepError>,
    /// When its first attempt was dispatched.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default)]
    pub completed_at: Option<Timestamp>,
    /// Every attempt so far.
    #[serde(default)]
    pub attempts: Vec<AttemptRecord>,
    /// When its next attempt is due, or its wait ends.
    #[serde(default)]
    pub waiting_until: Option<Timestamp>,
    /// How far it has come, where its tool says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// Position of the item; none for the step as a whole.
    #[serde(default)]
    pub item: Option<u32>,
    /// What it is for.
    #[serde(default)]
    pub role: StepRole,
    /// What it does.
    #[serde(default)]
    pub action: StepAction,
    /// Its items, where it runs once for each.
    #[serde(default)]
    pub items: Option<ItemsView>,
    /// Who decided what.
    #[serde(default)]
    pub decisions: Vec<DecisionView>,
    /// What deciders are told.
    #[serde(default)]
    pub message: Option<String>,
    /// The execution it runs.
    #[serde(default)]
    pub child: Option<ExecutionId>,
}

/// What a step is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepRole {
    /// It is part of the work.
    #[default]
    Main,
    /// It undoes another step.
    Compensation,
    /// It runs because the execution failed.
    OnFailure,
}

impl StepRole {
    /// The name in the API and in Postgres.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Compensation => "compensation",
            Self::OnFailure => "on_failure",
        }
    }
}

/// What a step does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepAction {
    /// It runs a tool.
    #[default]
    Tool,
    /// It lets people decide.
    Approval,
    /// It waits for a signal.
    WaitFor,
    /// It waits for an instant.
    Sleep,
    /// It runs another workflow.
    Workflow,
}

impl StepAction {
    /// The name in the API and in Postgres.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Approval => "approval",
            Self::WaitFor => "wait_for",
            Self::Sleep => "sleep",
            Self::Workflow => "workflow",
        }
    }
}

/// The items of a step in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemsView {
    /// How many there are.
    pub total: u32,
    /// How many have ended well.
    pub completed: u32,
    /// How many have failed.
    pub failed: u32,
    /// How many are in progress.
    pub in_progress: u32,
}

/// What one person decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionView {
    /// Who.
    pub by: String,
    /// What.
    pub decision: Decision,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// Who paused, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseView {
    /// Who.
    pub by: String,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// What is held, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldView {
    /// What.
    pub scope: HoldScope,
    /// By whom.
    pub pause: PauseView,
}

/// Why an execution is where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExplainView {
    /// What the list shows of it.
    pub summary: ExecutionSummary,
    /// Why it ended as it did, if it ended badly.
    #[serde(default)]
    pub error: Option<StepError>,
    /// Everything it waits for. Empty only if it has ended.
    pub causes: Vec<CauseView>,
    /// Causes that were left out because there are many of the same sort.
    #[serde(default)]
    pub more: u32,
}

/// One thing an execution waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CauseView {
    /// The step that waits; none where the whole execution does.
    #[serde(default)]
    pub step: Option<String>,
    /// Position of the item.
    #[serde(default)]
    pub item: Option<u32>,
    /// What it waits for.
    pub cause: Cause,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A worker runs the job.
    Running {
        /// Which job.
        job: JobId,
        /// Its tool.
        tool: ToolName,
        /// The worker, if one says so.
        worker: Option<WorkerId>,
        /// Since when.
        since: Timestamp,
    },
    /// The job waits for a free worker.
    Worker {
        /// Which job; none while the orchestrator still holds it back.
        job: Option<JobId>,
        /// The kind of worker.
        kind: WorkerKind,
        /// The queue.
        lane: Lane,
        /// How many workers of the kind are live, where that is known.
        live: Option<u32>,
        /// How many jobs are ahead at most, where that is known.
        ahead: Option<u64>,
        /// Since when.
        since: Timestamp,
    },
    /// The concurrency key is taken.
    Key {
        /// The key.
        key: String,
        /// Who has it.
        held_by: Vec<ExecutionId>,
        /// How many wait before this one.
        ahead: u32,
    },
    /// The rate limit of the key is used up.
    RateLimit {
        /// The key.
        key: String,
        /// Until when.
        until: Timestamp,
    },
    /// It shall be quiet for a while first.
    Debounce {
        /// The key.
        key: String,
        /// Until when.
        until: Timestamp,
    },
    /// An instant.
    Timer {
        /// Which.
        until: Timestamp,
    },
    /// Something outside, at which its tool looks again at an instant.
    Deferred {
        /// That instant.
        at: Timestamp,
        /// How far it has come.
        progress: Option<String>,
    },
    /// A signal.
    Signal {
        /// Its name.
        name: String,
        /// Until when.
        until: Option<Timestamp>,
    },
    /// People.
    Approval {
        /// What their token must be allowed to do.
        scope: String,
        /// How many must approve.
        required: u32,
        /// How many have.
        approved: u32,
        /// Until when.
        until: Option<Timestamp>,
    },
    /// Another execution.
    Child {
        /// Which; none while its workflow is being looked up.
        execution: Option<ExecutionId>,
        /// Its workflow.
        workflow: String,
    },
    /// The next attempt.
    Retry {
        /// Its number.
        attempt: u32,
        /// How many there may be.
        of: u32,
        /// When.
        at: Timestamp,
        /// Why it is needed.
        error: StepError,
    },
    /// Somebody paused it.
    Paused {
        /// What is held; none where it is this execution.
        scope: Option<HoldScope>,
        /// Who.
        by: String,
        /// Why.
        reason: Option<String>,
        /// Since when.
        since: Timestamp,
    },
    /// It failed for good, and the job is a dead letter that can be retried.
    DeadLettered {
        /// Which job.
        job: Option<JobId>,
        /// Why.
        error: StepError,
    },
}
