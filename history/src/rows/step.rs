//! Rows of `workflow_steps`: steps as a whole, and items of steps that run once for each.

use afu9_schemas::message::{HistoryEvent, StepEnded};
use afu9_schemas::{ExecutionId, Timestamp};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::rows::{int, size};
use crate::{identity, text};

/// The primary key of `workflow_steps`: execution, step, item, instant of the start.
pub(crate) type StepKey = (Uuid, i32, i32, DateTime<Utc>);

/// What `item_index` is in the row of a step as a whole: a column of the key cannot be null.
pub(crate) const WHOLE_STEP: i32 = -1;

/// A step, or an item of one, that has ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StepRow {
    pub(crate) id: Uuid,
    pub(crate) execution_id: Uuid,
    pub(crate) index: i32,
    pub(crate) item: i32,
    pub(crate) event_number: i32,
    pub(crate) name: String,
    pub(crate) role: &'static str,
    pub(crate) action: &'static str,
    pub(crate) status: &'static str,
    pub(crate) tool: Option<String>,
    pub(crate) input: Option<String>,
    pub(crate) output: Option<String>,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) completed_at: DateTime<Utc>,
    pub(crate) duration_ms: i64,
    pub(crate) error: Option<String>,
    pub(crate) error_class: Option<&'static str>,
    pub(crate) error_detail: Option<String>,
    pub(crate) retry_count: i32,
    pub(crate) attempts: Option<String>,
}

impl StepRow {
    /// The row of `step`, whose end `event` tells. A step that was compensated ended when it was
    /// undone.
    pub(crate) fn new(execution: ExecutionId, event: &HistoryEvent, step: &StepEnded) -> Self {
        let attempts = (!step.attempts.is_empty()).then(|| text::json(&step.attempts));
        let retries = u32::try_from(step.attempts.len().saturating_sub(1)).unwrap_or(u32::MAX);
        Self {
            id: identity::step(execution, step.index, step.item, step.started_at),
            execution_id: execution.as_uuid(),
            index: int(step.index),
            item: step.item.map_or(WHOLE_STEP, int),
            event_number: int(event.number),
            name: text::clean(&step.name),
            role: step.role.as_str(),
            action: step.action.as_str(),
            status: step.status.as_str(),
            tool: step.tool.as_ref().map(ToString::to_string),
            input: step.input.as_ref().map(text::json),
            output: step.output.as_ref().map(text::json),
            started_at: step.started_at.to_datetime(),
            completed_at: event.at.to_datetime(),
            duration_ms: millis(step.started_at, event.at),
            error: step.error.as_ref().map(|error| text::clean(&error.message)),
            error_class: step.error.as_ref().map(|error| error.class.as_str()),
            error_detail: step.error.as_ref().map(text::json),
            retry_count: int(retries),
            attempts,
        }
    }

    pub(crate) fn key(&self) -> StepKey {
        (self.execution_id, self.index, self.item, self.started_at)
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + size(self.input.as_ref())
            + size(self.output.as_ref())
            + size(self.attempts.as_ref())
    }
}

/// Whole milliseconds from `from` to `to`, never negative.
pub(crate) fn millis(from: Timestamp, to: Timestamp) -> i64 {
    i64::try_from(to.since(from).as_millis()).unwrap_or(i64::MAX)
}
