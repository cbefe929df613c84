//! Executions as the API shows them: camel case, RFC 3339 with milliseconds.

use afu9_schemas::message::{AttemptRecord, Parent};
use afu9_schemas::view::{
    DecisionView, ExecutionSummary, ExecutionView, ItemsView, PauseView, StepStatus, StepView,
};
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

/// Everything about one execution. The items of its steps are only counted.
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
            "error": view.error.as_ref().map(error_json),
            "triggeredBy": summary.triggered_by,
            "repository": view.repository,
            "defaultBranch": view.default_branch,
            "lane": view.lane.as_str(),
            "priority": view.priority,
            "paused": view.paused.as_ref().map(pause),
            "key": view.key,
            "parent": view.parent.as_ref().map(parent),
            "rerunOf": view.rerun_of,
            "rerunReason": view.rerun_reason,
            "signals": view.signals,
            "githubRunId": null,
        },
        "steps": view.steps.iter().map(step).collect::<Vec<_>>(),
        "metadata": {
            "totalSteps": view.steps.len(),
            "completedSteps": count(StepStatus::Completed),
            "failedSteps": count(StepStatus::Failed),
            "skippedSteps": count(StepStatus::Skipped),
            "compensatedSteps": count(StepStatus::Compensated),
            "source": source.as_str(),
            "truncated": view.truncated,
        },
    })
}

fn step(step: &StepView) -> Value {
    let mut shown = ended(step);
    shown["index"] = json!(step.index);
    shown["role"] = json!(step.role.as_str());
    shown["action"] = json!(step.action.as_str());
    shown["items"] = json!(step.items.map(counts_json));
    shown["decisions"] = step.decisions.iter().map(decision).collect();
    shown["message"] = json!(step.message);
    shown
}

/// One item of a step.
pub(crate) fn item_json(item: &StepView) -> Value {
    let mut shown = ended(item);
    shown["item"] = json!(item.item);
    shown
}

/// What steps and items have in common.
fn ended(step: &StepView) -> Value {
    json!({
        "name": step.name,
        "tool": step.tool,
        "status": step.status.as_str(),
        "input": step.input,
        "output": step.output,
        "startedAt": instant(step.started_at),
        "completedAt": instant(step.completed_at),
        "durationMs": duration_ms(step.started_at, step.completed_at),
        "error": step.error.as_ref().map(error_json),
        "retryCount": step.attempts.len().saturating_sub(1),
        "waitingUntil": instant(step.waiting_until),
        "child": step.child,
        "attempts": step.attempts.iter().map(attempt_json).collect::<Vec<_>>(),
    })
}

/// One attempt.
pub(crate) fn attempt_json(attempt: &AttemptRecord) -> Value {
    json!({
        "attempt": attempt.attempt,
        "worker": attempt.worker,
        "dispatchedAt": instant(Some(attempt.dispatched_at)),
        "startedAt": instant(attempt.started_at),
        "endedAt": instant(attempt.ended_at),
        "error": attempt.error.as_ref().map(error_json),
    })
}

/// The items of a step in numbers.
pub(crate) fn counts_json(items: ItemsView) -> Value {
    json!({
        "total": items.total,
        "completed": items.completed,
        "failed": items.failed,
        "inProgress": items.in_progress,
    })
}

fn decision(view: &DecisionView) -> Value {
    json!({
        "by": view.by,
        "decision": view.decision,
        "reason": view.reason,
        "at": view.at.to_string(),
    })
}

fn pause(pause: &PauseView) -> Value {
    json!({"by": pause.by, "reason": pause.reason, "at": pause.at.to_string()})
}

fn parent(parent: &Parent) -> Value {
    json!({
        "execution": parent.execution,
        "stepIndex": parent.step,
        "item": parent.item,
        "attempt": parent.attempt,
        "waits": parent.waits,
        "depth": parent.depth,
    })
}

/// Why something failed.
pub(crate) fn error_json(error: &StepError) -> Value {
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
