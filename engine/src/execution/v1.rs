//! Executions as version 1 wrote them into checkpoints: steps ran one after the other, once each.
//!
//! Read only. Its steps were laid out otherwise, so that defaults are not enough.

use afu9_schemas::message::history::AttemptRecord;
use afu9_schemas::message::{Repository, Trigger, WorkflowRef};
use afu9_schemas::view::{ExecutionStatus, StepStatus};
use afu9_schemas::{ExecutionId, Lane, StepError, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::step::{Body, Run, Unit, Wait};
use super::{Execution, StepState};
use crate::requests::Requests;

/// What changed between two checkpoints of version 1.
#[derive(Deserialize)]
pub(crate) struct Segment {
    executions: Vec<Sequential>,
    #[serde(default)]
    removed: Vec<ExecutionId>,
    #[serde(default)]
    tombstones: Vec<ExecutionId>,
}

#[derive(Deserialize)]
struct Sequential {
    id: ExecutionId,
    workflow: WorkflowRef,
    status: ExecutionStatus,
    input: Value,
    #[serde(default)]
    repository: Option<Repository>,
    trigger: Trigger,
    #[serde(default)]
    lane: Lane,
    #[serde(default)]
    traceparent: Option<String>,
    started_at: Timestamp,
    #[serde(default)]
    ended_at: Option<Timestamp>,
    deadline: Timestamp,
    steps: Vec<Once>,
    events: u32,
    #[serde(default)]
    context_bytes: usize,
    #[serde(default)]
    stale_results: u32,
    #[serde(default)]
    output: Option<Value>,
    #[serde(default)]
    error: Option<StepError>,
}

/// A step that runs once.
#[derive(Deserialize)]
struct Once {
    status: StepStatus,
    /// For a job or for the next attempt, which are written as they were.
    #[serde(default)]
    wait: Option<Wait>,
    #[serde(default)]
    started_at: Option<Timestamp>,
    #[serde(default)]
    ended_at: Option<Timestamp>,
    #[serde(default)]
    params: Option<Value>,
    #[serde(default)]
    output: Option<Value>,
    #[serde(default)]
    error: Option<StepError>,
    #[serde(default)]
    attempts: Vec<AttemptRecord>,
}

impl From<Segment> for crate::checkpoint::Segment {
    fn from(segment: Segment) -> Self {
        Self {
            executions: segment.executions.into_iter().map(Into::into).collect(),
            removed: segment.removed,
            tombstones: segment.tombstones,
            ..Self::default()
        }
    }
}

impl From<Sequential> for Execution {
    fn from(before: Sequential) -> Self {
        let steps: Vec<StepState> = (1..)
            .zip(before.steps)
            .map(|(place, step)| step.at(place))
            .collect();
        let open = steps.iter().filter(|step| !step.status.is_terminal());
        Self {
            open: u32::try_from(open.count()).unwrap_or(u32::MAX),
            id: before.id,
            workflow: before.workflow,
            status: before.status,
            input: before.input,
            repository: before.repository,
            trigger: before.trigger,
            lane: before.lane,
            traceparent: before.traceparent,
            key: None,
            priority: 0,
            parent: None,
            rerun: None,
            started_at: before.started_at,
            ended_at: before.ended_at,
            queued: None,
            ticket: 0,
            deadline: before.deadline,
            steps,
            ending: None,
            events: before.events,
            context_bytes: before.context_bytes,
            stale_results: before.stale_results,
            output: before.output,
            error: before.error,
            paused: None,
            halted_since: None,
            breathes: false,
            signals: Vec::new(),
            requests: Requests::default(),
        }
    }
}

impl Once {
    /// The same step, the `place`th of its execution.
    fn at(self, place: u32) -> StepState {
        let run = self.started_at.map(|started_at| {
            Box::new(Run {
                started_at,
                ended_at: self.ended_at,
                // They ended in the order of their places, and only the order counts.
                ended_as: self.ended_at.map_or(0, |_| place),
                output: self.output,
                error: self.error,
                kept: false,
                body: Body::One(Unit {
                    wait: self.wait,
                    params: self.params,
                    attempts: self.attempts,
                    ..Unit::default()
                }),
            })
        });
        StepState {
            status: self.status,
            broken: false,
            run,
        }
    }
}
