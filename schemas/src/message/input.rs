//! Inputs: everything that can change an execution. They are the truth; all else is derived.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::StepError;
use crate::id::{ExecutionId, WorkerId};
use crate::message::definition::WorkflowRef;
use crate::subject::Lane;
use crate::time::Timestamp;

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
    /// Whom it concerns.
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
    /// An MCP client called.
    Mcp,
}

/// A worker's answer for one attempt at one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobResult {
    /// Position of the step.
    pub step: u32,
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
