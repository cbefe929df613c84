//! Rows of `workflow_executions`.

use afu9_schemas::ExecutionId;
use afu9_schemas::message::{
    ExecutionEnded, ExecutionStarted, HistoryEvent, Parent, StatusChanged, TriggerKind, WorkflowRef,
};
use afu9_schemas::view::ExecutionStatus;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::rows::{int, size};
use crate::{identity, text};

/// What one or more events say about an execution.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ExecutionRow {
    pub(crate) id: Uuid,
    pub(crate) started_at: DateTime<Utc>,
    /// What only the start says; none if it was not seen.
    pub(crate) start: Option<Start>,
    /// What every event says.
    pub(crate) state: Newest<State>,
    /// What the start and moves say.
    pub(crate) version: Newest<Option<Version>>,
    /// What all but moves of a paused execution say: the JSON of a [`Pause`], while there is one.
    pub(crate) pause: Newest<Option<String>>,
}

/// What the newest of the events says that say anything about it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Newest<T> {
    /// The number of that event; 0 if there was none.
    pub(crate) event: i32,
    pub(crate) value: T,
}

/// What only the start of an execution says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Start {
    pub(crate) workflow_id: Uuid,
    pub(crate) workflow_name: String,
    pub(crate) repository_id: Option<Uuid>,
    pub(crate) input: String,
    pub(crate) triggered_by: String,
    pub(crate) trigger_kind: &'static str,
    pub(crate) trigger_delivery: Option<String>,
    pub(crate) traceparent: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) parent: Option<Parent>,
    pub(crate) rerun_of: Option<Uuid>,
    pub(crate) rerun_reason: Option<String>,
    pub(crate) default_branch: Option<String>,
    pub(crate) lane: &'static str,
    pub(crate) priority: i32,
}

/// The version an execution runs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Version {
    pub(crate) number: i32,
    pub(crate) definition_hash: String,
}

/// What every event says about an execution; what its kind cannot know is none or 0.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct State {
    pub(crate) status: &'static str,
    pub(crate) output: Option<String>,
    pub(crate) completed_at: Option<DateTime<Utc>>,
    pub(crate) error: Option<String>,
    pub(crate) error_detail: Option<String>,
    pub(crate) steps_completed: i32,
    pub(crate) steps_failed: i32,
    pub(crate) steps_skipped: i32,
    pub(crate) steps_compensated: i32,
    pub(crate) stale_results: i32,
}

/// The column `pause_metadata`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pause {
    pub(crate) paused_at: DateTime<Utc>,
    pub(crate) paused_by: String,
    pub(crate) reason: Option<String>,
}

impl ExecutionRow {
    pub(crate) fn started(
        id: ExecutionId,
        event: &HistoryEvent,
        started: &ExecutionStarted,
    ) -> Self {
        let repository_id = started.repository.as_ref().map(|repository| {
            identity::repository(
                &text::name(&repository.owner),
                &text::name(&repository.name),
            )
        });
        let start = Start {
            workflow_id: started.workflow.id.as_uuid(),
            workflow_name: text::name(&started.workflow.name),
            repository_id,
            input: text::json(&started.input),
            triggered_by: text::clean(&started.trigger.by),
            trigger_kind: trigger_kind(started.trigger.kind),
            trigger_delivery: started.trigger.delivery.as_deref().map(text::clean),
            traceparent: started.traceparent.as_deref().map(text::clean),
            key: started.key.as_deref().map(text::name),
            parent: started.parent,
            rerun_of: started.rerun_of.map(ExecutionId::as_uuid),
            rerun_reason: started.rerun_reason.as_deref().map(text::clean),
            default_branch: started
                .repository
                .as_ref()
                .and_then(|repository| repository.default_branch.as_deref())
                .map(text::clean),
            lane: started.lane.as_str(),
            priority: started.priority,
        };
        Self {
            started_at: event.at.to_datetime(),
            start: Some(start),
            version: Version::at(event, Some(&started.workflow)),
            ..Self::in_progress(id, event, started.status)
        }
    }

    pub(crate) fn changed(id: ExecutionId, event: &HistoryEvent, changed: &StatusChanged) -> Self {
        let row = Self {
            version: Version::at(event, changed.workflow.as_ref()),
            ..Self::in_progress(id, event, changed.status)
        };
        if changed.status != ExecutionStatus::Paused {
            return row;
        }
        let pause = if changed.workflow.is_some() {
            // Whoever moves a paused execution has not paused it.
            Newest::never()
        } else {
            let pause = Pause {
                paused_at: event.at.to_datetime(),
                paused_by: changed.by.clone().unwrap_or_default(),
                reason: changed.reason.clone(),
            };
            Newest::at(event, Some(text::json(&pause)))
        };
        Self { pause, ..row }
    }

    pub(crate) fn ended(id: ExecutionId, event: &HistoryEvent, ended: &ExecutionEnded) -> Self {
        let error = ended.error.as_ref();
        let state = State {
            status: ended.status.as_str(),
            output: ended.output.as_ref().map(text::json),
            completed_at: Some(event.at.to_datetime()),
            error: error.map(|error| text::clean(&error.message)),
            error_detail: error.map(text::json),
            steps_completed: int(ended.steps_completed),
            steps_failed: int(ended.steps_failed),
            steps_skipped: int(ended.steps_skipped),
            steps_compensated: int(ended.steps_compensated),
            stale_results: int(ended.stale_results),
        };
        Self {
            started_at: ended.started_at.to_datetime(),
            state: Newest::at(event, state),
            ..Self::in_progress(id, event, ended.status)
        }
    }

    /// What an event says that only tells the status of an execution that has not ended.
    fn in_progress(id: ExecutionId, event: &HistoryEvent, status: ExecutionStatus) -> Self {
        let state = State {
            status: status.as_str(),
            output: None,
            completed_at: None,
            error: None,
            error_detail: None,
            steps_completed: 0,
            steps_failed: 0,
            steps_skipped: 0,
            steps_compensated: 0,
            stale_results: 0,
        };
        Self {
            id: id.as_uuid(),
            started_at: event.at.to_datetime(),
            start: None,
            state: Newest::at(event, state),
            version: Newest::never(),
            pause: Newest::at(event, None),
        }
    }

    /// What both rows say together. The upsert of `workflow_executions` follows the same rule.
    pub(crate) fn merged(self, other: Self) -> Self {
        let (start, started_at) = match (self.start, other.start) {
            (Some(start), _) => (Some(start), self.started_at),
            (None, Some(start)) => (Some(start), other.started_at),
            (None, None) => (None, self.started_at.min(other.started_at)),
        };
        Self {
            id: self.id,
            started_at,
            start,
            state: self.state.merged(other.state),
            version: self.version.merged(other.version),
            pause: self.pause.merged(other.pause),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        let start = self.start.as_ref().map_or(0, |start| start.input.len());
        size_of::<Self>() + start + size(self.state.value.output.as_ref())
    }
}

impl<T> Newest<T> {
    fn at(event: &HistoryEvent, value: T) -> Self {
        Self {
            event: int(event.number),
            value,
        }
    }

    fn merged(self, other: Self) -> Self {
        if other.event > self.event {
            other
        } else {
            self
        }
    }
}

impl<T> Newest<Option<T>> {
    /// Nothing was said about it.
    const fn never() -> Self {
        Self {
            event: 0,
            value: None,
        }
    }
}

impl Version {
    fn at(event: &HistoryEvent, workflow: Option<&WorkflowRef>) -> Newest<Option<Self>> {
        let Some(workflow) = workflow else {
            return Newest::never();
        };
        let version = Self {
            number: int(workflow.version),
            definition_hash: workflow.hash.to_string(),
        };
        Newest::at(event, Some(version))
    }
}

/// The name in the API and in Postgres.
const fn trigger_kind(kind: TriggerKind) -> &'static str {
    match kind {
        TriggerKind::Manual => "manual",
        TriggerKind::Webhook => "webhook",
        TriggerKind::Schedule => "schedule",
        TriggerKind::Child => "child",
        TriggerKind::Workflow => "workflow",
        TriggerKind::Rerun => "rerun",
        TriggerKind::Mcp => "mcp",
    }
}
