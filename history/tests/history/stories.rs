//! Histories to write: workflows that ran, told as the events their owner would publish.

use afu9_schemas::id::RequestId;
use afu9_schemas::message::{
    AttemptRecord, Control, ControlAction, ControlOutcome, ControlRecord, DefinitionRecord,
    ExecutionEnded, ExecutionStarted, HistoryBatch, HistoryEvent, HistoryKind, Parent, Repository,
    StatusChanged, StepEnded, Trigger, TriggerKind, WorkflowRef,
};
use afu9_schemas::view::{ExecutionStatus, StepAction, StepRole, StepStatus};
use afu9_schemas::{
    DefinitionHash, ErrorClass, ExecutionId, Lane, StepError, Timestamp, WorkerId, WorkflowId,
};
use serde_json::{Value, json};
use uuid::Uuid;

/// 2026-03-01T12:00:00Z: a month that is never the present one, so tests know where rows go.
pub(crate) const NOON: Timestamp = Timestamp::from_micros(1_772_366_400_000_000);

pub(crate) fn after(start: Timestamp, seconds: u64) -> Timestamp {
    start.plus(std::time::Duration::from_secs(seconds))
}

pub(crate) fn batch(events: impl IntoIterator<Item = HistoryEvent>) -> HistoryBatch {
    HistoryBatch {
        partition: None,
        events: events.into_iter().collect(),
    }
}

pub(crate) fn workflow(name: &str) -> WorkflowRef {
    WorkflowRef {
        id: WorkflowId::from_uuid(Uuid::new_v5(&Uuid::NAMESPACE_DNS, name.as_bytes())),
        name: name.to_owned(),
        version: 1,
        hash: DefinitionHash::of(name.as_bytes()),
    }
}

pub(crate) fn definition(workflow: WorkflowRef, at: Timestamp, enabled: bool) -> HistoryEvent {
    let record = DefinitionRecord {
        definition: json!({ "name": workflow.name, "description": "What it is for", "steps": [] }),
        workflow,
        enabled,
        applied_at: NOON,
        applied_by: "ada".to_owned(),
        switched: None,
    };
    HistoryEvent {
        execution: None,
        number: 0,
        at,
        kind: HistoryKind::DefinitionApplied(Box::new(record)),
    }
}

/// One execution, and how it went.
#[derive(Debug, Clone)]
pub(crate) struct Story {
    pub(crate) execution: ExecutionId,
    pub(crate) workflow: WorkflowRef,
    pub(crate) repository: &'static str,
    pub(crate) start: Timestamp,
    pub(crate) tool: &'static str,
    pub(crate) steps: u32,
    /// Whether the last step fails after a second attempt.
    pub(crate) fails: bool,
    pub(crate) input: Value,
    pub(crate) key: Option<String>,
    pub(crate) parent: Option<Parent>,
    pub(crate) rerun_of: Option<ExecutionId>,
    /// Its status at first.
    pub(crate) status: ExecutionStatus,
}

impl Story {
    pub(crate) fn new(workflow: WorkflowRef) -> Self {
        Self {
            execution: ExecutionId::new(),
            workflow,
            repository: "shop",
            start: NOON,
            tool: "github.createIssue",
            steps: 5,
            fails: false,
            input: json!({ "issue": 7 }),
            key: None,
            parent: None,
            rerun_of: None,
            status: ExecutionStatus::Running,
        }
    }

    pub(crate) fn at(mut self, start: Timestamp) -> Self {
        self.start = start;
        self
    }

    pub(crate) fn failing(mut self) -> Self {
        self.fails = true;
        self
    }

    /// Every event, in order.
    pub(crate) fn events(&self) -> Vec<HistoryEvent> {
        let mut events = vec![self.started()];
        events.extend((0..self.steps).map(|index| self.step(index)));
        events.push(self.ended());
        events
    }

    /// An event a second after the one before it.
    pub(crate) fn event(&self, number: u32, kind: HistoryKind) -> HistoryEvent {
        let at = after(self.start, u64::from(number - 1));
        HistoryEvent {
            execution: Some(self.execution),
            number,
            at,
            kind,
        }
    }

    pub(crate) fn started(&self) -> HistoryEvent {
        let started = ExecutionStarted {
            workflow: self.workflow.clone(),
            input: self.input.clone(),
            repository: Some(Repository {
                owner: "acme".to_owned(),
                name: self.repository.to_owned(),
                default_branch: Some(format!("branch-{}", self.start.as_micros())),
            }),
            trigger: Trigger {
                kind: TriggerKind::Webhook,
                by: "issues.opened".to_owned(),
                delivery: Some("d-1".to_owned()),
                depth: 0,
                initiator: None,
            },
            traceparent: None,
            key: self.key.clone(),
            parent: self.parent,
            rerun_of: self.rerun_of,
            rerun_reason: self.rerun_of.map(|_| "once more".to_owned()),
            lane: Lane::Interactive,
            priority: -3,
            status: self.status,
        };
        self.event(1, HistoryKind::ExecutionStarted(Box::new(started)))
    }

    pub(crate) fn step(&self, index: u32) -> HistoryEvent {
        let fails = self.fails && index + 1 == self.steps;
        let started_at = after(self.start, u64::from(index));
        let attempt = |attempt: u32| AttemptRecord {
            deferrals: 0,
            attempt,
            dispatched_at: started_at,
            worker: Some(WorkerId::new("worker-1").expect("a token")),
            started_at: Some(started_at),
            ended_at: Some(after(started_at, 1)),
            error: fails.then(refused),
        };
        let step = StepEnded {
            index,
            item: None,
            role: StepRole::Main,
            action: StepAction::Tool,
            name: format!("step-{index}"),
            tool: Some(self.tool.parse().expect("a tool")),
            status: if fails {
                StepStatus::Failed
            } else {
                StepStatus::Completed
            },
            input: Some(json!({ "title": format!("issue {index}") })),
            output: (!fails).then(|| json!({ "number": index })),
            error: fails.then(refused),
            started_at,
            attempts: if fails {
                vec![attempt(1), attempt(2)]
            } else {
                vec![attempt(1)]
            },
        };
        self.event(index + 2, HistoryKind::StepEnded(Box::new(step)))
    }

    pub(crate) fn ended(&self) -> HistoryEvent {
        let ended = ExecutionEnded {
            status: if self.fails {
                ExecutionStatus::Failed
            } else {
                ExecutionStatus::Completed
            },
            output: (!self.fails).then(|| json!({ "last": self.steps })),
            error: self.fails.then(refused),
            started_at: self.start,
            steps_completed: self.steps - u32::from(self.fails),
            steps_failed: u32::from(self.fails),
            steps_skipped: 0,
            steps_compensated: 0,
            stale_results: 0,
        };
        self.event(self.steps + 2, HistoryKind::ExecutionEnded(Box::new(ended)))
    }
}

impl Story {
    /// The execution goes on as something else.
    pub(crate) fn changed(&self, number: u32, status: ExecutionStatus) -> HistoryEvent {
        let changed = StatusChanged {
            status,
            by: Some(format!("user-{number}")),
            reason: Some("to have a look".to_owned()),
            workflow: None,
        };
        self.event(number, HistoryKind::StatusChanged(Box::new(changed)))
    }

    /// The execution goes on with another version, and otherwise as it was.
    pub(crate) fn moved(&self, number: u32, status: ExecutionStatus, version: u32) -> HistoryEvent {
        let mut event = self.changed(number, status);
        if let HistoryKind::StatusChanged(changed) = &mut event.kind {
            changed.workflow = Some(WorkflowRef {
                version,
                ..self.workflow.clone()
            });
        }
        event
    }

    /// Step `index` ends as event `number`, with a change to what is told of it.
    pub(crate) fn step_as(
        &self,
        number: u32,
        index: u32,
        change: impl FnOnce(&mut StepEnded),
    ) -> HistoryEvent {
        let HistoryKind::StepEnded(mut step) = self.step(index).kind else {
            panic!("a step's end is told otherwise")
        };
        change(&mut step);
        self.event(number, HistoryKind::StepEnded(step))
    }

    /// Step `index` ends again, after it was retried by hand, with other parameters, a second before.
    pub(crate) fn retried(&self, number: u32, index: u32) -> HistoryEvent {
        self.step_as(number, index, |step| {
            let begun = after(self.start, u64::from(number - 2));
            (step.started_at, step.status) = (begun, StepStatus::Completed);
            (step.error, step.output) = (None, Some(json!({ "again": number })));
            step.input = Some(json!({ "title": "corrected" }));
            let earlier = step.attempts.last().expect("it was attempted");
            step.attempts.push(AttemptRecord {
                deferrals: 0,
                attempt: earlier.attempt + 1,
                dispatched_at: begun,
                started_at: Some(begun),
                ended_at: Some(after(begun, 1)),
                error: None,
                ..earlier.clone()
            });
        })
    }

    /// Item `item` of step `index` ends.
    pub(crate) fn item(&self, number: u32, index: u32, item: u32) -> HistoryEvent {
        self.step_as(number, index, |step| {
            step.item = Some(item);
            step.output = Some(json!({ "item": item }));
        })
    }

    /// The execution ends as event `number`.
    pub(crate) fn ended_as(&self, number: u32) -> HistoryEvent {
        self.event(number, self.ended().kind)
    }
}

/// Somebody wished something about an execution, or about everything.
pub(crate) fn controlled(
    execution: Option<ExecutionId>,
    at: Timestamp,
    action: ControlAction,
    outcome: ControlOutcome,
) -> HistoryEvent {
    let record = ControlRecord {
        execution,
        control: Control {
            request: RequestId::new(),
            by: "ada".to_owned(),
            scopes: vec!["operate".to_owned(), "read".to_owned()],
            reason: Some("to have a look".to_owned()),
            reply_to: None,
            content: None,
            action,
        },
        outcome,
    };
    HistoryEvent {
        execution: None,
        number: 0,
        at,
        kind: HistoryKind::Controlled(Box::new(record)),
    }
}

pub(crate) fn refused() -> StepError {
    StepError::new(
        ErrorClass::Permanent,
        "github.forbidden",
        "GitHub refused: no permission",
    )
}
