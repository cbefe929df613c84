//! One event of history as it is told: its kind, the execution it is about, and its text as a
//! server-sent event, which is the same for everybody.

use afu9_schemas::ExecutionId;
use afu9_schemas::message::{ControlAction, ControlOutcome, ControlRecord};
use serde_json::{Value, json};

use super::outline::{EventOutline, KindOutline};

/// The kinds of events that are told.
pub(crate) const KINDS: [&str; 6] = [
    "execution_started",
    "status_changed",
    "step_progressed",
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
    pub(super) fn new(event: &EventOutline) -> Option<Self> {
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
fn subject_of(event: &EventOutline) -> Option<ExecutionId> {
    match &event.kind {
        KindOutline::Controlled(record) => record.execution,
        _ => event.execution,
    }
}

pub(super) fn kind_of(kind: &KindOutline) -> Option<&'static str> {
    Some(match kind {
        KindOutline::ExecutionStarted(_) => "execution_started",
        KindOutline::StepProgressed(_) => "step_progressed",
        KindOutline::StepEnded(_) => "step_ended",
        KindOutline::ExecutionEnded(_) => ENDED,
        KindOutline::StatusChanged(_) => "status_changed",
        KindOutline::Controlled(_) => "controlled",
        KindOutline::DefinitionApplied(_) => return None,
    })
}

fn data_of(event: &EventOutline) -> Value {
    let mut data = json!({
        "executionId": subject_of(event),
        "number": event.number,
        "at": event.at.to_string(),
    });
    match &event.kind {
        KindOutline::ExecutionStarted(started) => {
            data["workflow"] = json!(started.workflow.name);
            data["version"] = json!(started.workflow.version);
            data["triggeredBy"] = json!(started.trigger.by);
            data["status"] = json!(started.status);
            data["key"] = json!(started.key);
            data["parent"] = json!(started.parent.map(|parent| parent.execution));
            data["rerunOf"] = json!(started.rerun_of);
            data["rerunReason"] = json!(started.rerun_reason);
        }
        KindOutline::StepEnded(step) => {
            data["step"] = json!(step.name);
            data["index"] = json!(step.index);
            if let Some(item) = step.item {
                data["item"] = json!(item);
            }
            data["role"] = json!(step.role.as_str());
            data["status"] = json!(step.status);
            data["attempts"] = json!(step.attempts.len());
        }
        KindOutline::StepProgressed(progressed) => {
            data["step"] = json!(progressed.name);
            data["index"] = json!(progressed.index);
            if let Some(item) = progressed.item {
                data["item"] = json!(item);
            }
            data["progress"] = json!(progressed.progress);
            data["next"] = json!(progressed.next.to_string());
        }
        KindOutline::ExecutionEnded(ended) => {
            data["status"] = json!(ended.status);
            data["error"] = json!(ended.error);
        }
        KindOutline::StatusChanged(changed) => {
            data["status"] = json!(changed.status);
            data["by"] = json!(changed.by);
            data["reason"] = json!(changed.reason);
            if let Some(workflow) = &changed.workflow {
                data["version"] = json!(workflow.version);
            }
        }
        KindOutline::Controlled(record) => controlled(record, &mut data),
        KindOutline::DefinitionApplied(_) => {}
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

#[cfg(test)]
mod tests {
    use afu9_schemas::message::{
        AttemptRecord, HistoryBatch, HistoryEvent, HistoryKind, StepEnded,
    };
    use afu9_schemas::view::{StepAction, StepRole, StepStatus};
    use afu9_schemas::{Timestamp, codec};

    use super::super::outline::BatchOutline;
    use super::*;

    #[test]
    fn an_event_is_told_as_it_was_published_without_what_is_large() {
        let attempt = AttemptRecord {
            deferrals: 0,
            attempt: 1,
            dispatched_at: Timestamp::from_micros(1),
            worker: None,
            started_at: None,
            ended_at: None,
            error: None,
        };
        let step = StepEnded {
            index: 2,
            item: Some(7),
            role: StepRole::Main,
            action: StepAction::Tool,
            name: "build".to_owned(),
            tool: None,
            status: StepStatus::Completed,
            input: Some(json!({"a": [1, 2]})),
            output: Some(json!({"b": "c"})),
            error: None,
            started_at: Timestamp::from_micros(1),
            attempts: vec![attempt.clone(), attempt],
        };
        let execution = ExecutionId::new();
        let batch = HistoryBatch {
            partition: None,
            events: vec![HistoryEvent {
                execution: Some(execution),
                number: 3,
                at: Timestamp::from_micros(5),
                kind: HistoryKind::StepEnded(Box::new(step)),
            }],
        };
        let bytes = codec::encode(&batch).expect("encodes");
        let outline: BatchOutline = codec::decode(&bytes).expect("decodes");
        let told = Told::new(&outline.events[0]).expect("told");
        assert_eq!((told.execution, told.kind), (Some(execution), "step_ended"));
        let data = told
            .text
            .strip_prefix("event: step_ended\ndata: ")
            .expect("an event");
        let data: Value = serde_json::from_str(data.trim()).expect("JSON");
        let told = json!({
            "executionId": execution, "number": 3, "at": "1970-01-01T00:00:00.000Z",
            "step": "build", "index": 2, "item": 7, "role": "main", "status": "completed", "attempts": 2,
        });
        assert_eq!(data, told);
    }
}
