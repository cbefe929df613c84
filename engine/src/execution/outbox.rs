//! What a transition gives to the outside and to the partition.

use afu9_schemas::artifact::json_size;
use afu9_schemas::message::{
    CancelNotice, ControlOutcome, DeadLetter, HistoryEvent, Input, Job, Repository,
};
use afu9_schemas::view::ExecutionStatus;
use afu9_schemas::{ExecutionId, Lane, StepError, Timestamp};
use serde_json::Value;

use super::Turn;

/// What the outside shall see of a transition. Carried out by the shell after the decision; a
/// replay of the same inputs gives the same effects again, with the same ids.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Publish a job.
    Dispatch(Box<Job>),
    /// Tell workers to stop working for the execution.
    CancelJobs(CancelNotice),
    /// Record what happened.
    History(Box<HistoryEvent>),
    /// Set a job aside that nobody could finish.
    DeadLetter(Box<DeadLetter>),
    /// Write an input for another execution into the log of its partition.
    Submit(Box<Input>),
    /// Find out what a step wants to run, and write the finding into the log of this partition.
    Resolve(Box<ResolveChild>),
    /// Tell somebody who waits what came of a wish.
    Answer {
        /// The subject on which they wait.
        to: String,
        /// What came of it.
        outcome: ControlOutcome,
    },
    /// An execution ended whose end starts others.
    Followed(Box<Ended>),
}

/// A step wants to run another workflow.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolveChild {
    /// The execution that wants it.
    pub parent: ExecutionId,
    /// Position of the step.
    pub step: u32,
    /// Position of the item.
    pub item: Option<u32>,
    /// Number of the attempt.
    pub attempt: u32,
    /// How many executions stand above the one to start.
    pub depth: u32,
    /// Who began it all.
    pub initiator: String,
    /// The workflow's name.
    pub workflow: String,
    /// Its version; the newest where it is absent.
    pub version: Option<u32>,
    /// The input.
    pub input: Value,
    /// Whether its end is waited for.
    pub waits: bool,
    /// The repository, which children inherit.
    pub repository: Option<Repository>,
    /// The queue, which children inherit.
    pub lane: Lane,
    /// The priority, which children inherit.
    pub priority: i32,
    /// W3C trace context.
    pub traceparent: Option<String>,
}

/// An execution that ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// Which.
    pub execution: ExecutionId,
    /// Its workflow.
    pub workflow: String,
    /// Who began it all.
    pub initiator: String,
    /// How it ended.
    pub status: ExecutionStatus,
    /// Its input.
    pub input: Value,
    /// Its output.
    pub output: Option<Value>,
    /// Why it failed.
    pub error: Option<StepError>,
    /// Its repository.
    pub repository: Option<Repository>,
    /// How many executions are behind it, each started by the end of the one before.
    pub depth: u32,
    /// When.
    pub at: Timestamp,
}

/// A queue of jobs: a worker kind, by its position among all kinds, and a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Queue {
    pub(crate) kind: u16,
    pub(crate) lane: Lane,
}

/// A unit that wants a job dispatched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) execution: ExecutionId,
    pub(crate) step: u32,
    pub(crate) item: Option<u32>,
    pub(crate) queue: Queue,
}

/// Collects what transitions give.
#[derive(Debug, Default)]
pub struct Outbox {
    /// For the shell.
    pub effects: Vec<Effect>,
    /// For the partition: units that want a job dispatched.
    pub(crate) ready: Vec<Ready>,
    /// For the partition: queues in which a job is not waited for any more.
    pub(crate) freed: Vec<Queue>,
    /// For the partition: turns that are not waited for any more.
    pub(crate) left: Vec<(Queue, Turn)>,
    /// What the expressions of units have cost.
    pub(crate) cost: u64,
}

/// `value` if it is small enough to travel in messages with others, else its size.
pub(super) fn small_enough(value: &Value, most: usize) -> Value {
    let bytes = json_size(value);
    if bytes <= most {
        value.clone()
    } else {
        serde_json::json!({ "$omitted": { "bytes": bytes } })
    }
}
