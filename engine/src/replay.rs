//! What a recorded execution would have done under another definition.
//!
//! The engine runs the execution again, and the record plays the world: each job is answered as the
//! step of the same name was, each approval decided as it was, each wait ended as it did. Nothing is
//! called, nothing is waited for: where time passed then, the clock is set on. What comes out
//! differently is reported.

mod compare;
mod play;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use afu9_schemas::error::StepError;
use afu9_schemas::message::Start;
use afu9_schemas::view::{ExecutionStatus, StepStatus};
use afu9_schemas::{ExecutionId, Timestamp};
use serde_json::Value;

use crate::workflow::Workflow;
use compare::compare;
use play::Replay;

/// What is known of an execution.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its id.
    pub id: ExecutionId,
    /// When it was submitted.
    pub started_at: Timestamp,
    /// How it was submitted.
    pub start: Start,
    /// How it ended.
    pub status: ExecutionStatus,
    /// Why it failed.
    pub error: Option<StepError>,
    /// Its output.
    pub output: Option<Value>,
    /// Its steps.
    pub steps: Vec<RecordedStep>,
}

/// What is known of a step, or of one item of it.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedStep {
    /// Its name.
    pub name: String,
    /// Position of the item.
    pub item: Option<u32>,
    /// How it ended.
    pub status: StepStatus,
    /// Its parameters, if they are known.
    pub input: Option<Value>,
    /// Its output.
    pub output: Option<Value>,
    /// Why it failed.
    pub error: Option<StepError>,
}

/// Something that comes out differently.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// The step; none for the execution as a whole.
    pub step: Option<String>,
    /// What is different.
    pub what: Differs,
}

/// What is different.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Differs {
    /// The step runs and did not before: its answer is not known, and what follows is not either.
    New,
    /// The step ran before and does not exist.
    Gone,
    /// Its parameters are others.
    Params {
        /// As they were, as JSON.
        before: String,
        /// As they would be, as JSON.
        after: String,
    },
    /// It ends in another status.
    Status {
        /// As it was.
        before: &'static str,
        /// As it would be.
        after: &'static str,
    },
    /// The output is another one.
    Output {
        /// As it was, as JSON.
        before: String,
        /// As it would be, as JSON.
        after: String,
    },
}

/// Replays `record` with `workflow`.
pub fn replay(workflow: &Arc<Workflow>, record: &Record) -> Vec<Difference> {
    let mut replay = Replay::new(workflow, record);
    replay.run();
    let mut differences = replay.differences;
    if let Some(view) = replay.state.show(record.id) {
        compare(workflow, record, &view, &mut differences);
    }
    differences.sort();
    differences.dedup();
    differences
}
