//! Jobs: what workers pull. Derived from inputs, so a lost job can always be dispatched again.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::id::{ExecutionId, JobId, Partition, ToolName};
use crate::subject::Lane;
use crate::time::Timestamp;

/// One message of a WORK stream: jobs that one worker takes together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobEnvelope {
    /// At most as many as the worker kind allows in one message.
    pub jobs: Vec<Job>,
}

/// One attempt at one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Which attempt at which step of which execution.
    pub id: JobId,
    /// Where the answer goes.
    pub partition: Partition,
    /// The step's name, for logs.
    pub step_name: String,
    /// What to run.
    pub tool: ToolName,
    /// Its parameters, with every expression resolved.
    pub params: Value,
    /// Which queue it waits in.
    pub lane: Lane,
    /// When the orchestrator dispatched it.
    pub dispatched_at: Timestamp,
    /// When its answer stops being of interest.
    #[serde(default)]
    pub deadline: Option<Timestamp>,
    /// The name of the workflow, for logs and marks left outside.
    pub workflow: String,
    /// W3C trace context.
    #[serde(default)]
    pub traceparent: Option<String>,
    /// Workers were lost that had it: nothing else is to run beside it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
    /// The state that the tool gave when it was deferred: this is the same attempt, later.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub state: Option<Value>,
}

/// A value that is there, even if it is `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Notice that nobody waits for an execution's jobs any more: workers stop what they run for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelNotice {
    /// The execution.
    pub execution: ExecutionId,
    /// Only jobs dispatched before this instant are meant: those that undo what was done, or that
    /// are run again by hand, come later. All of them, where it is absent.
    #[serde(default)]
    pub before: Option<Timestamp>,
}
