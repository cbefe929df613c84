//! Rows of `workflow_executions`.

use afu9_schemas::ExecutionId;
use afu9_schemas::message::{ExecutionEnded, ExecutionStarted, HistoryEvent, TriggerKind};
use afu9_schemas::view::ExecutionStatus;
use chrono::{DateTime, Utc};
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
    /// What the newest event says.
    pub(crate) state: State,
}

/// What only the start of an execution says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Start {
    pub(crate) workflow_id: Uuid,
    pub(crate) workflow_name: String,
    pub(crate) workflow_version: i32,
    pub(crate) definition_hash: String,
    pub(crate) repository_id: Option<Uuid>,
    pub(crate) input: String,
    pub(crate) triggered_by: String,
    pub(crate) trigger_kind: &'static str,
    pub(crate) trigger_delivery: Option<String>,
    pub(crate) traceparent: Option<String>,
}

/// What the newest event says about an execution.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct State {
    pub(crate) event_number: i32,
    pub(crate) status: &'static str,
    pub(crate) output: Option<String>,
    pub(crate) completed_at: Option<DateTime<Utc>>,
    pub(crate) error: Option<String>,
    pub(crate) error_detail: Option<String>,
    pub(crate) steps_completed: i32,
    pub(crate) steps_failed: i32,
    pub(crate) steps_skipped: i32,
    pub(crate) stale_results: i32,
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
        Self {
            id: id.as_uuid(),
            started_at: event.at.to_datetime(),
            start: Some(Start {
                workflow_id: started.workflow.id.as_uuid(),
                workflow_name: text::name(&started.workflow.name),
                workflow_version: int(started.workflow.version),
                definition_hash: started.workflow.hash.to_string(),
                repository_id,
                input: text::json(&started.input),
                triggered_by: text::clean(&started.trigger.by),
                trigger_kind: trigger_kind(started.trigger.kind),
                trigger_delivery: started.trigger.delivery.as_deref().map(text::clean),
                traceparent: started.traceparent.as_deref().map(text::clean),
            }),
            state: State {
                event_number: int(event.number),
                status: ExecutionStatus::Running.as_str(),
                output: None,
                completed_at: None,
                error: None,
                error_detail: None,
                steps_completed: 0,
                steps_failed: 0,
                steps_skipped: 0,
                stale_results: 0,
            },
        }
    }

    pub(crate) fn ended(id: ExecutionId, event: &HistoryEvent, ended: &ExecutionEnded) -> Self {
        Self {
            id: id.as_uuid(),
            started_at: ended.started_at.to_datetime(),
            start: None,
            state: State {
                event_number: int(event.number),
                status: ended.status.as_str(),
                output: ended.output.as_ref().map(text::json),
                completed_at: Some(event.at.to_datetime()),
                error: ended
                    .error
                    .as_ref()
                    .map(|error| text::clean(&error.message)),
                error_detail: ended.error.as_ref().map(text::json),
                steps_completed: int(ended.steps_completed),
                steps_failed: int(ended.steps_failed),
                steps_skipped: int(ended.steps_skipped),
                stale_results: int(ended.stale_results),
            },
        }
    }

    /// What both rows say together. The upsert of `workflow_executions` follows the same rule.
    pub(crate) fn merged(self, other: Self) -> Self {
        let (start, started_at) = match (self.start, other.start) {
            (Some(start), _) => (Some(start), self.started_at),
            (None, start) => (start, other.started_at),
        };
        let state = if other.state.event_number > self.state.event_number {
            other.state
        } else {
            self.state
        };
        Self {
            id: self.id,
            started_at,
            start,
            state,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        let start = self.start.as_ref().map_or(0, |start| start.input.len());
        size_of::<Self>() + start + size(self.state.output.as_ref())
    }
}

/// The name in the API and in Postgres.
const fn trigger_kind(kind: TriggerKind) -> &'static str {
    match kind {
        TriggerKind::Manual => "manual",
        TriggerKind::Webhook => "webhook",
        TriggerKind::Schedule => "schedule",
        TriggerKind::Child => "child",
        TriggerKind::Mcp => "mcp",
    }
}
