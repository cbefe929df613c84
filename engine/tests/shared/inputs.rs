//! What the outside writes into the log, and the definitions it means. Shared by the test binaries of
//! the engine.

use std::sync::Arc;

use afu9_engine::Workflow;
use afu9_schemas::definition::ReadOptions;
use afu9_schemas::message::{
    Control, ControlAction, Input, InputKind, Job, JobResult, Outcome, Start, Trigger, TriggerKind,
    WorkflowRef,
};
use afu9_schemas::{
    DefinitionHash, ErrorClass, ExecutionId, RequestId, StepError, Timestamp, WorkerId, WorkflowId,
};
use serde_json::Value;
use uuid::Uuid;

/// Who starts executions in tests, unless they say otherwise.
pub(crate) const STARTER: &str = "starter";

/// A definition, compiled, with the reference by which submissions name it.
pub(crate) fn compiled(source: &str) -> (WorkflowRef, Arc<Workflow>) {
    let compiled = afu9_engine::workflow::compile(source, ReadOptions::default())
        .unwrap_or_else(|mistakes| panic!("{mistakes:#?}\n{source}"));
    let reference = WorkflowRef {
        id: WorkflowId::from_uuid(Uuid::from_u128(1)),
        name: compiled.workflow.definition.name.clone(),
        version: 1,
        hash: DefinitionHash::of(source.as_bytes()),
    };
    (reference, Arc::new(compiled.workflow))
}

/// An id as submissions without a key get one: drawn (version 7), not derived.
pub(crate) fn drawn(number: u64) -> ExecutionId {
    ExecutionId::from_uuid(Uuid::from_u128(7 << 76 | u128::from(number)))
}

/// A submission, with what the definition says about it filled in.
pub(crate) fn submission(workflow: &Workflow, reference: &WorkflowRef, input: Value) -> Start {
    let mut start = Start::new(
        reference.clone(),
        input,
        Trigger {
            kind: TriggerKind::Manual,
            by: STARTER.to_owned(),
            delivery: None,
            depth: 0,
            initiator: None,
        },
    );
    // One that does not fit is submitted as it is: the engine must refuse it too.
    let mut prepared = start.clone();
    if afu9_engine::submit::prepare(workflow, &mut prepared).is_ok() {
        start = prepared;
    }
    start
}

/// A wish of somebody who may do everything.
pub(crate) fn control(request: u64, action: ControlAction) -> Control {
    Control {
        request: RequestId::from_uuid(Uuid::from_u128(u128::from(request))),
        by: "operator".to_owned(),
        scopes: vec!["admin".to_owned()],
        reason: None,
        reply_to: Some(format!("reply.{request}")),
        content: None,
        action,
    }
}

/// A worker's answer.
pub(crate) fn answer(job: &Job, outcome: Outcome) -> Input {
    Input {
        execution: job.id.execution,
        kind: InputKind::JobResult(Box::new(JobResult {
            step: job.id.step,
            item: job.id.item,
            attempt: job.id.attempt,
            worker: WorkerId::new("worker").expect("a valid id"),
            started_at: job.dispatched_at,
            ended_at: job.dispatched_at,
            outcome,
        })),
    }
}

/// A failure of `class`.
pub(crate) fn failure(class: ErrorClass) -> Outcome {
    Outcome::Failed {
        error: StepError::new(class, "test.told", "told to fail"),
        retry_after_ms: None,
    }
}

/// A wake for an instant.
pub(crate) const fn wake(execution: ExecutionId, due: Timestamp) -> Input {
    Input {
        execution,
        kind: InputKind::Wake { due },
    }
}
