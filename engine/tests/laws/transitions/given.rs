//! Every kind of input, meant for what an execution waits for or just beside it.

use std::time::Duration;

use afu9_schemas::definition::Decision;
use afu9_schemas::message::{
    Cancel, ChildEnded, ChildResolved, ControlAction, InputKind, JobResult, Outcome, WorkflowRef,
};
use afu9_schemas::view::ExecutionStatus;
use afu9_schemas::{DefinitionHash, ErrorClass, StepError, WorkerId};
use serde_json::json;

use super::stage::{Stage, State, source};
use crate::inputs::{self, failure};

/// The inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Given {
    Start,
    JobDone,
    JobFailed,
    JobFailedForGood,
    JobOfAnotherAttempt,
    JobOfAnotherItem,
    JobOfAnotherStep,
    ChildFound,
    ChildNotFound,
    ChildFoundForAnotherAttempt,
    ChildCompleted,
    ChildFailed,
    AnotherChildEnded,
    /// As the previous version wrote it, and as executions cancel their children.
    PlainCancel,
    EarlyWake,
    DueWake,
    Cancel,
    Pause,
    Resume,
    Retry,
    RetryOfAStepThatDidNotFail,
    Signal,
    SignalThatDoesNotFit,
    Approve,
    Reject,
    ApproveWithoutScope,
    MoveThatFits,
    MoveThatDoesNot,
    MoveToTheSame,
    MoveToNothing,
}

pub(crate) const GIVEN: [Given; 30] = [
    Given::Start,
    Given::JobDone,
    Given::JobFailed,
    Given::JobFailedForGood,
    Given::JobOfAnotherAttempt,
    Given::JobOfAnotherItem,
    Given::JobOfAnotherStep,
    Given::ChildFound,
    Given::ChildNotFound,
    Given::ChildFoundForAnotherAttempt,
    Given::ChildCompleted,
    Given::ChildFailed,
    Given::AnotherChildEnded,
    Given::PlainCancel,
    Given::EarlyWake,
    Given::DueWake,
    Given::Cancel,
    Given::Pause,
    Given::Resume,
    Given::Retry,
    Given::RetryOfAStepThatDidNotFail,
    Given::Signal,
    Given::SignalThatDoesNotFit,
    Given::Approve,
    Given::Reject,
    Given::ApproveWithoutScope,
    Given::MoveThatFits,
    Given::MoveThatDoesNot,
    Given::MoveToTheSame,
    Given::MoveToNothing,
];

impl Given {
    /// Whether only the partition can carry it out.
    pub(crate) const fn is_for_the_partition(self) -> bool {
        matches!(
            self,
            Self::MoveThatFits | Self::MoveThatDoesNot | Self::MoveToTheSame | Self::MoveToNothing
        )
    }

    pub(crate) fn input(self, state: State, stage: &mut Stage) -> InputKind {
        let permanent = || failure(ErrorClass::Permanent);
        let done = || Outcome::Done(json!({ "value": 1 }));
        match self {
            Self::Start => stage.rig.submission("subject", json!({})),
            Self::JobDone => result(stage, 0, 0, None, done()),
            Self::JobFailed => result(stage, 0, 0, None, failure(ErrorClass::Retryable)),
            Self::JobFailedForGood => result(stage, 0, 0, None, permanent()),
            Self::JobOfAnotherAttempt => result(stage, 0, 1, None, done()),
            Self::JobOfAnotherItem => result(stage, 0, 0, Some(3), done()),
            Self::JobOfAnotherStep => result(stage, 100, 0, None, done()),
            Self::ChildFound => InputKind::ChildResolved(Box::new(stage.found())),
            Self::ChildNotFound => not_found(stage, 0),
            Self::ChildFoundForAnotherAttempt => not_found(stage, 1),
            Self::ChildCompleted => ended(stage, true, ExecutionStatus::Completed),
            Self::ChildFailed => ended(stage, true, ExecutionStatus::Failed),
            Self::AnotherChildEnded => ended(stage, false, ExecutionStatus::Completed),
            Self::PlainCancel => InputKind::Cancel(Cancel {
                by: "parent".to_owned(),
                reason: None,
            }),
            Self::EarlyWake => InputKind::Wake { due: stage.rig.now },
            Self::DueWake => InputKind::Wake {
                due: stage
                    .execution
                    .next_wake()
                    .unwrap_or(stage.rig.now)
                    .plus(Duration::from_micros(1)),
            },
            wish => {
                let action = wish.action(state, stage);
                let mut control = inputs::control(88_000, action);
                if wish == Self::ApproveWithoutScope {
                    control.scopes = vec!["start".to_owned()];
                }
                InputKind::Control(Box::new(control))
            }
        }
    }

    fn action(self, state: State, stage: &mut Stage) -> ControlAction {
        let signal = |ok: bool| ControlAction::Signal {
            name: "go".to_owned(),
            payload: json!({ "ok": ok }),
        };
        let decide = |decision| ControlAction::Decide {
            step: "a".to_owned(),
            decision,
        };
        let further = "  - { name: z, tool: test.noop }\n";
        match self {
            Self::Cancel => ControlAction::Cancel,
            Self::Pause => ControlAction::Pause,
            Self::Resume => ControlAction::Resume,
            Self::Retry => ControlAction::Retry {
                step: None,
                params: None,
                failed: None,
            },
            Self::RetryOfAStepThatDidNotFail => ControlAction::Retry {
                step: Some("b".to_owned()),
                params: None,
                failed: None,
            },
            Self::Signal => signal(true),
            Self::SignalThatDoesNotFit => signal(false),
            Self::Approve | Self::ApproveWithoutScope => decide(Decision::Approve),
            Self::Reject => decide(Decision::Reject),
            Self::MoveThatFits => ControlAction::Move {
                to: stage.rig.define(&source(state, "a", further)),
            },
            Self::MoveThatDoesNot => ControlAction::Move {
                to: stage.rig.define(&source(state, "other", "")),
            },
            Self::MoveToTheSame => ControlAction::Move {
                to: stage.execution.workflow().clone(),
            },
            _ => ControlAction::Move {
                to: WorkflowRef {
                    hash: DefinitionHash::of(b"nowhere"),
                    version: 9,
                    ..stage.execution.workflow().clone()
                },
            },
        }
    }
}

fn result(
    stage: &Stage,
    step: u32,
    attempt: u32,
    item: Option<u32>,
    outcome: Outcome,
) -> InputKind {
    InputKind::JobResult(Box::new(JobResult {
        step: stage.step + step,
        item: item.or(stage.item),
        attempt: stage.attempt + attempt,
        worker: WorkerId::new("worker").expect("a valid id"),
        started_at: stage.rig.now,
        ended_at: stage.rig.now,
        outcome,
    }))
}

fn not_found(stage: &Stage, attempt: u32) -> InputKind {
    let error = StepError::new(ErrorClass::Permanent, "child.unknown", "no such workflow");
    InputKind::ChildResolved(Box::new(ChildResolved {
        step: stage.step,
        item: stage.item,
        attempt: stage.attempt + attempt,
        child: Err(error),
    }))
}

fn ended(stage: &Stage, same: bool, status: ExecutionStatus) -> InputKind {
    InputKind::ChildEnded(Box::new(ChildEnded {
        step: stage.step,
        item: stage.item,
        attempt: stage.attempt,
        child: if same {
            stage.child
        } else {
            inputs::drawn(6000)
        },
        status,
        output: Some(json!({})),
        error: None,
    }))
}
