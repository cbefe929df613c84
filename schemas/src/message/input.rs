//! Inputs: everything that can change an execution. They are the truth; all else is derived.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::StepError;
use crate::id::{ExecutionId, WorkerId};
use crate::message::control::Control;
use crate::message::definition::WorkflowRef;
use crate::subject::Lane;
use crate::time::Timestamp;
use crate::view::ExecutionStatus;

/// One message of LOG: inputs of one partition that were gathered while the previous message was
/// being written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InputEnvelope {
    /// In the order in which they are folded.
    pub inputs: Vec<Input>,
}

/// One input of one execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Whom it concerns; [`ExecutionId::NONE`] where it is the whole partition.
    pub execution: ExecutionId,
    /// What happened.
    pub kind: InputKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputKind {
    /// The execution was submitted.
    Start(Box<Start>),
    /// A worker answered for a job.
    JobResult(Box<JobResult>),
    /// Somebody wants the execution to end.
    Cancel(Cancel),
    /// An instant the execution waited for has come, by its owner's clock.
    Wake {
        /// The instant that was waited for.
        due: Timestamp,
    },
    /// Somebody wants something changed.
    Control(Box<Control>),
    /// The owner looked up the workflow a step wants to run. Recorded, so that a replay runs the same
    /// version.
    ChildResolved(Box<ChildResolved>),
    /// An execution that a step waits for has ended.
    ChildEnded(Box<ChildEnded>),
}

/// A submission.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The version the execution is pinned to.
    pub workflow: WorkflowRef,
    /// The root `input` of expressions.
    pub input: Value,
    /// The root `repo` of expressions, if the trigger knows a repository.
    #[serde(default)]
    pub repository: Option<Repository>,
    /// Who or what started it.
    pub trigger: Trigger,
    /// Which queue its jobs wait in.
    #[serde(default)]
    pub lane: Lane,
    /// W3C trace context of the submission.
    #[serde(default)]
    pub traceparent: Option<String>,
    /// What it contends for, if its workflow has limits: the value of the definition's key, with the
    /// name of the workflow before it where others do not share it.
    #[serde(default)]
    pub key: Option<String>,
    /// Among those that wait, higher ones begin first.
    #[serde(default)]
    pub priority: i32,
    /// The step that runs it.
    #[serde(default)]
    pub parent: Option<Parent>,
    /// The execution it repeats.
    #[serde(default)]
    pub rerun: Option<Box<Rerun>>,
}

impl Start {
    /// A submission that asks for nothing special: without a repository, a trace or a key, in the lane
    /// for everything that nobody waits for.
    pub fn new(workflow: WorkflowRef, input: Value, trigger: Trigger) -> Self {
        Self {
            workflow,
            input,
            repository: None,
            trigger,
            lane: Lane::default(),
            traceparent: None,
            key: None,
            priority: 0,
            parent: None,
            rerun: None,
        }
    }
}

/// The step of another execution that runs this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// That execution.
    pub execution: ExecutionId,
    /// Position of the step.
    pub step: u32,
    /// Position of the item.
    #[serde(default)]
    pub item: Option<u32>,
    /// Number of the attempt.
    pub attempt: u32,
    /// Whether the step waits for the end.
    pub waits: bool,
    /// How many executions stand above this one.
    pub depth: u32,
}

/// An execution that begins where an earlier one is to be repeated from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rerun {
    /// The earlier one.
    pub of: ExecutionId,
    /// Steps that are not run again, with the outputs they had.
    pub kept: Vec<KeptStep>,
    /// The step it begins at; none where it is repeated whole.
    #[serde(default)]
    pub from_step: Option<String>,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// What the token of whoever wants it may do.
    #[serde(default)]
    pub scopes: Vec<String>,
}

/// A step that is taken over from an earlier execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptStep {
    /// Its name.
    pub name: String,
    /// Its output.
    #[serde(default)]
    pub output: Option<Value>,
}

/// What the owner found for a step that runs another workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChildResolved {
    /// Position of the step.
    pub step: u32,
    /// Position of the item.
    #[serde(default)]
    pub item: Option<u32>,
    /// Number of the attempt.
    pub attempt: u32,
    /// The execution to start and how, or why none can be started.
    pub child: Result<Box<ChildStart>, StepError>,
}

/// An execution to start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChildStart {
    /// Its id, which lies in the partition of its key.
    pub execution: ExecutionId,
    /// Its submission.
    pub start: Start,
}

/// How an execution ended that a step waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChildEnded {
    /// Position of the step.
    pub step: u32,
    /// Position of the item.
    #[serde(default)]
    pub item: Option<u32>,
    /// Number of the attempt.
    pub attempt: u32,
    /// The execution that ended.
    pub child: ExecutionId,
    /// How.
    pub status: ExecutionStatus,
    /// Its output.
    #[serde(default)]
    pub output: Option<Value>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<StepError>,
}

/// A repository on GitHub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// Its owner's login.
    pub owner: String,
    /// Its name without the owner.
    pub name: String,
    /// The branch pull requests go to, where the trigger knew it.
    #[serde(default)]
    pub default_branch: Option<String>,
}

/// Who or what started an execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// The sort of trigger.
    pub kind: TriggerKind,
    /// Its name: a token's name, a route's name, a person.
    pub by: String,
    /// The webhook delivery behind it.
    #[serde(default)]
    pub delivery: Option<String>,
    /// How many executions are behind it, each started by the end of the one before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub depth: u32,
    /// The token behind it all, where `by` does not name it: because somebody was named in its place, or
    /// because another execution stands between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initiator: Option<String>,
}

impl Trigger {
    /// Who began it all: what an execution starts is started by whoever started the execution.
    pub fn initiator(&self) -> &str {
        self.initiator.as_deref().unwrap_or(&self.by)
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The sort of trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerKind {
    /// A person or program called the API.
    Manual,
    /// A webhook delivery matched a route.
    Webhook,
    /// A schedule was due.
    Schedule,
    /// Another execution started it.
    Child,
    /// Another execution ended.
    Workflow,
    /// Somebody wants an earlier execution repeated.
    Rerun,
    /// An MCP client called.
    Mcp,
}

/// A worker's answer for one attempt at one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobResult {
    /// Position of the step.
    pub step: u32,
    /// Position of the item, where the step runs once for each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
    /// Which attempt this answers; an answer to any but the current one changes nothing.
    pub attempt: u32,
    /// Who answered.
    pub worker: WorkerId,
    /// When the tool began, by the worker's clock.
    pub started_at: Timestamp,
    /// When the tool ended, by the worker's clock.
    pub ended_at: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The tool's output; above 256 KiB a reference to an artifact.
    Done(Value),
    /// The tool failed. `retry_after_ms` is the least delay the other side asked for.
    Failed {
        /// Why.
        error: StepError,
        /// Least delay before another attempt, in milliseconds.
        #[serde(default)]
        retry_after_ms: Option<u64>,
    },
    /// The tool waits for something outside, and wants to be run again later: no worker waits with it.
    Deferred(Box<Deferral>),
}

/// A tool's wish to be run again, within the same attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deferral {
    /// After how many milliseconds.
    pub after_ms: u64,
    /// What it wants to know then; its job brings it.
    pub state: Value,
    /// How far it has come, for people.
    #[serde(default)]
    pub progress: Option<String>,
}

impl Deferral {
    /// Largest state, in bytes of JSON: with ten thousand items deferred at a time, and their progress, no more
    /// than an execution may hold of other data.
    pub const MAX_STATE_BYTES: usize = 1024;
    /// Longest text of progress, in bytes.
    pub const MAX_PROGRESS_BYTES: usize = 512;
    /// The shortest and the longest wait; others count as the nearest of these.
    pub const AFTER_MS: std::ops::RangeInclusive<u64> = 100..=3_600_000;
}

/// A wish to end an execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// Who wishes it.
    pub by: String,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
}
