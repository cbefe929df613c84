//! Executions as the API shows them: camel case, RFC 3339 with milliseconds.

use afu9_schemas::message::AttemptRecord;
use afu9_schemas::view::{ExecutionSummary, ExecutionView, StepStatus, StepView};
use afu9_schemas::{StepError, Timestamp};
use serde_json::{Value, json};

use super::Source;

/// One line of a list.
pub(crate) fn summary_json(summary: &ExecutionSummary) -> Value {
    json!({
        "id": summary.id,
        "workflowId": summary.workflow_id,
        "workflow": summary.workflow,
        "version": summary.version,
        "status": summary.status.as_str(),
        "triggeredBy": summary.triggered_by,
        "startedAt": instant(Some(summary.started_at)),
        "completedAt": instant(summary.completed_at),
        "durationMs": duration_ms(Some(summary.started_at), summary.completed_at),
    })
}

/// Everything about one execution.
pub(crate) fn execution_json(view: &ExecutionView, source: Source) -> Value {
    let summary = &view.summary;
    let count = |status: StepStatus| view.steps.iter().filter(|s| s.status == status).count();
    json!({
        "execution": {
            "id": summary.id,
            "workflowId": summary.workflow_id,
            "workflow": summary.workflow,
            "version": summary.version,
            "status": summary.status.as_str(),
            "input": view.input,
            "output": view.output,
            "context": null,
            "startedAt": instant(Some(summary.started_at)),
            "completedAt": instant(summary.completed_at),
            "durationMs": duration_ms(Some(summary.started_at), summary.completed_at),
            "error": view.error.as_ref().map(error),
            "triggeredBy": summary.triggered_by,
            "repository": view.repository,
            "githubRunId": null,
        },
        "steps": view.steps.iter().map(step).collect::<Vec<_>>(),
        "metadata": {
            "totalSteps": view.steps.len(),
            "completedSteps": count(StepStatus::Completed),
            "failedSteps": count(StepStatus::Failed),
            "skippedSteps": count(StepStatus::Skipped),
            "source": source.as_str(),
            "truncated": view.truncated,
        },
    })
}

fn step(step: &StepView) -> Value {
    json!({
        "name": step.name,
        "index": step.index,
        "tool": step.tool,
        "status": step.status.as_str(),
        "input": step.input,
        "output": step.output,
        "startedAt": instant(step.started_at),
        "completedAt": instant(step.completed_at),
        "durationMs": duration_ms(step.started_at, step.completed_at),
        "error": step.error.as_ref().map(error),
        "retryCount": step.attempts.len().saturating_sub(1),
        "waitingUntil": instant(step.waiting_until),
        "attempts": step.attempts.iter().map(attempt).collect::<Vec<_>>(),
    })
}

fn attempt(attempt: &AttemptRecord) -> Value {
    json!({
        "attempt": attempt.attempt,
        "worker": attempt.worker,
        "dispatchedAt": instant(Some(attempt.dispatched_at)),
        "startedAt": instant(attempt.started_at),
        "endedAt": instant(attempt.ended_at),
        "error": attempt.error.as_ref().map(error),
    })
}

fn error(error: &StepError) -> Value {
    json!({
        "class": error.class.as_str(),
        "code": error.code,
        "message": error.message,
        "chain": error.chain,
    })
}

fn instant(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}

fn duration_ms(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<u64> {
    let duration = to?.since(from?);
    Some(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
