//! One event of history as it is told: its kind, the execution it is about, and its text as a
//! server-sent event, which is the same for everybody.

use afu9_schemas::ExecutionId;
use afu9_schemas::message::{
    ControlAction, ControlOutcome, ControlRecord, HistoryEvent, HistoryKind,
};
use serde_json::{Value, json};

/// The kinds of events that are told.
pub(crate) const KINDS: [&str; 5] = [
    "execution_started",
    "status_changed",
    "step_ended",
    ENDED,
    "controlled",
];

/// The kind of an execution's end.
pub(crate) const ENDED: &str = "execution_ended";

/// One event.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) execution: Option<ExecutionId>,
    /// One of [`KINDS`].
    pub(crate) kind: &'static str,
    pub(crate) text: String,
}

impl Told {
    /// `None` for what is not told.
    pub(super) fn new(event: &HistoryEvent) -> Option<Self> {
        let kind = kind_of(&event.kind)?;
        Some(Self {
            execution: subject_of(event),
            kind,
            text: event_text(kind, &data_of(event)),
        })
    }
}

/// A server-sent event.
pub(crate) fn event_text(kind: &str, data: &Value) -> String {
    format!("event: {kind}\ndata: {data}\n\n")
}

/// The execution an event is about.
fn subject_of(event: &HistoryEvent) -> Option<ExecutionId> {
    match &event.kind {
        HistoryKind::Controlled(record) => record.execution,
        _ => event.execution,
    }
}

fn kind_of(kind: &HistoryKind) -> Option<&'static str> {
    Some(match kind {
        HistoryKind::ExecutionStarted(_) => "execution_started",
        HistoryKind::StepEnded(_) => "step_ended",
        HistoryKind::ExecutionEnded(_) => ENDED,
        HistoryKind::StatusChanged(_) => "status_changed",
        HistoryKind::Controlled(_) => "controlled",
        HistoryKind::DefinitionApplied(_) => return None,
    })
}

fn data_of(event: &HistoryEvent) -> Value {
    let mut data = json!({
        "executionId": subject_of(event),
        "number": event.number,
        "at": event.at.to_string(),
    });
    match &event.kind {
        HistoryKind::ExecutionStarted(started) => {
            data["workflow"] = json!(started.workflow.name);
            data["version"] = json!(started.workflow.version);
            data["triggeredBy"] = json!(started.trigger.by);
            data["status"] = json!(started.status);
            data["key"] = json!(started.key);
            data["parent"] = json!(started.parent.map(|parent| parent.execution));
            data["rerunOf"] = json!(started.rerun_of);
            data["rerunReason"] = json!(started.rerun_reason);
        }
        HistoryKind::StepEnded(step) => {
            data["step"] = json!(step.name);
            data["index"] = json!(step.index);
            if let Some(item) = step.item {
                data["item"] = json!(item);
            }
            data["role"] = json!(step.role.as_str());
            data["status"] = json!(step.status);
            data["attempts"] = json!(step.attempts.len());
        }
        HistoryKind::ExecutionEnded(ended) => {
            data["status"] = json!(ended.status);
            data["error"] = json!(ended.error);
        }
        HistoryKind::StatusChanged(changed) => {
            data["status"] = json!(changed.status);
            data["by"] = json!(changed.by);
            data["reason"] = json!(changed.reason);
            if let Some(workflow) = &changed.workflow {
                data["version"] = json!(workflow.version);
            }
        }
        HistoryKind::Controlled(record) => controlled(record, &mut data),
        HistoryKind::DefinitionApplied(_) => {}
    }
    data
}

fn controlled(record: &ControlRecord, data: &mut Value) {
    let control = &record.control;
    data["action"] = json!(control.action.as_str());
    data["by"] = json!(control.by);
    data["reason"] = json!(control.reason);
    data["request"] = json!(control.request);
    if let ControlAction::Hold(scope) | ControlAction::Release(scope) = &control.action {
        data["scope"] = json!(scope);
    }
    match &control.action {
        ControlAction::Disable(name) | ControlAction::Enable(name) => {
            data["workflow"] = json!(name);
        }
        ControlAction::Replay(letter) | ControlAction::Discard(letter) => {
            data["deadLetter"] = json!(letter);
        }
        ControlAction::PauseSchedule(one) | ControlAction::ResumeSchedule(one) => {
            data["workflow"] = json!(one.workflow);
            data["schedule"] = json!(one.schedule);
        }
        _ => {}
    }
    let code = match &record.outcome {
        ControlOutcome::Refused { code, .. } => Some(code),
        ControlOutcome::Applied | ControlOutcome::Unchanged => None,
    };
    data["outcome"] = json!(record.outcome.as_str());
    data["code"] = json!(code);
}
