//! History: what happened, for looking back. Published in batches, one message per tick.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::StepError;
use crate::id::{ExecutionId, Partition, ToolName, WorkerId};
use crate::message::control::ControlRecord;
use crate::message::definition::{DefinitionRecord, WorkflowRef};
use crate::message::input::{Parent, Repository, Trigger};
use crate::subject::Lane;
use crate::time::Timestamp;
use crate::view::{ExecutionStatus, StepAction, StepRole, StepStatus};

/// One message of HISTORY.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryBatch {
    /// The partition it comes from; none for definitions.
    #[serde(default)]
    pub partition: Option<Partition>,
    /// In the order in which they happened.
    pub events: Vec<HistoryEvent>,
}

/// One thing that happened. `(execution, number)` identifies it: writing it twice is harmless.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryEvent {
    /// The execution; none for definitions.
    #[serde(default)]
    pub execution: Option<ExecutionId>,
    /// Running number within the execution, from 1, without gaps.
    pub number: u32,
    /// When, by the input log's clock.
    pub at: Timestamp,
    /// What.
    pub kind: HistoryKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HistoryKind {
    /// An execution began.
    ExecutionStarted(Box<ExecutionStarted>),
    /// A step reached its final status.
    StepEnded(Box<StepEnded>),
    /// An execution reached its final status.
    ExecutionEnded(Box<ExecutionEnded>),
    /// A version of a workflow was accepted, or enabled, or disabled.
    DefinitionApplied(Box<DefinitionRecord>),
    /// The status of an execution changed without its beginning or ending.
    StatusChanged(Box<StatusChanged>),
    /// A step that is deferred tells how far it has come. The event has the number 0: it is passing news, of
    /// which the database has no row.
    StepProgressed(Box<StepProgressed>),
    /// Somebody wished a change. The event belongs to no execution and has the number 0; the
    /// request's id identifies it.
    Controlled(Box<ControlRecord>),
}

/// An execution began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecutionStarted {
    /// The version it is pinned to.
    pub workflow: WorkflowRef,
    /// Its input.
    pub input: Value,
    /// Its repository.
    #[serde(default)]
    pub repository: Option<Repository>,
    /// Who or what started it.
    pub trigger: Trigger,
    /// W3C trace context.
    #[serde(default)]
    pub traceparent: Option<String>,
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
    /// Which queue its jobs wait in.
    #[serde(default)]
    pub lane: Lane,
    /// Among those that wait, higher ones begin first.
    #[serde(default)]
    pub priority: i32,
    /// Its status then: `pending` where it has to wait for its key.
    #[serde(default = "running")]
    pub status: ExecutionStatus,
}

fn running() -> ExecutionStatus {
    ExecutionStatus::Running
}

/// The status of an execution changed without its beginning or ending.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusChanged {
    /// What it is now.
    pub status: ExecutionStatus,
    /// Who wished it, where somebody did.
    #[serde(default)]
    pub by: Option<String>,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// The version the execution goes on with, where that changed.
    #[serde(default)]
    pub workflow: Option<WorkflowRef>,
}

/// A step, or one item of it, reached its final status. Carries everything about it. A step that is
/// retried by hand ends again, and one that was compensated ends a second time; `(index, item,
/// started_at)` tells which end replaces which.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepEnded {
    /// Position in the definition, from 0; compensations and `onFailure` steps come behind.
    pub index: u32,
    /// Position of the item, from 0; none for the step as a whole.
    #[serde(default)]
    pub item: Option<u32>,
    /// What the step is for.
    #[serde(default)]
    pub role: StepRole,
    /// What it does.
    #[serde(default)]
    pub action: StepAction,
    /// Name in the definition.
    pub name: String,
    /// The tool, if the step has one.
    #[serde(default)]
    pub tool: Option<ToolName>,
    /// Its final status.
    pub status: StepStatus,
    /// The parameters of its last attempt, resolved.
    #[serde(default)]
    pub input: Option<Value>,
    /// Its output.
    #[serde(default)]
    pub output: Option<Value>,
    /// Why it failed or was skipped.
    #[serde(default)]
    pub error: Option<StepError>,
    /// When its first attempt was dispatched, or when it was skipped.
    pub started_at: Timestamp,
    /// Every attempt, in order.
    #[serde(default)]
    pub attempts: Vec<AttemptRecord>,
}

/// One attempt at a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// From 1.
    pub attempt: u32,
    /// When its job was dispatched, by the input log's clock.
    pub dispatched_at: Timestamp,
    /// Who answered; none if nobody did.
    #[serde(default)]
    pub worker: Option<WorkerId>,
    /// When the tool began, by the worker's clock.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// When the attempt ended: by the worker's clock if one answered, else by the log's.
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<StepError>,
    /// How often its tool was deferred. Each time counts in `attempt`: the answers are told apart by it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub deferrals: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// How far a step has come that is not over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepProgressed {
    /// Position in the definition, from 0.
    pub index: u32,
    /// Name in the definition.
    pub name: String,
    /// Position of the item, where it runs once for each.
    #[serde(default)]
    pub item: Option<u32>,
    /// What its tool says.
    pub progress: String,
    /// When the tool looks again.
    pub next: Timestamp,
}

/// An execution reached its final status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecutionEnded {
    /// Its final status.
    pub status: ExecutionStatus,
    /// What the definition's `output` gives, else every assigned name.
    #[serde(default)]
    pub output: Option<Value>,
    /// Why it failed or was cancelled.
    #[serde(default)]
    pub error: Option<StepError>,
    /// When it began.
    pub started_at: Timestamp,
    /// How many steps ended in which way.
    #[serde(default)]
    pub steps_completed: u32,
    /// Steps that failed (with `continueOnError` an execution completes all the same).
    #[serde(default)]
    pub steps_failed: u32,
    /// Steps that were skipped.
    #[serde(default)]
    pub steps_skipped: u32,
    /// Steps that were undone.
    #[serde(default)]
    pub steps_compensated: u32,
    /// Results that came late or twice and changed nothing.
    #[serde(default)]
    pub stale_results: u32,
}
