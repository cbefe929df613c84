//! What an execution looks like from outside: the shapes of the HTTP API, of `--output json` and of
//! the owners' answers.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::StepError;
use crate::id::{ExecutionId, ToolName, WorkflowId};
use crate::message::history::AttemptRecord;
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
    /// Whether the execution has ended. A terminal status never changes.
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
    /// Its steps, in the order of the definition.
    pub steps: Vec<StepView>,
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
    /// When its next attempt is due.
    #[serde(default)]
    pub waiting_until: Option<Timestamp>,
}
