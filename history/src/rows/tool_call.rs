//! Rows of `mcp_tool_calls`: one for each attempt at a step whose tool belongs to an MCP server.

use afu9_schemas::ExecutionId;
use afu9_schemas::message::{AttemptRecord, StepEnded};
use afu9_schemas::tool::kind_profile;
use afu9_schemas::view::StepStatus;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::rows::step::millis;
use crate::rows::{int, size};
use crate::{identity, text};

/// One attempt at a tool.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ToolCallRow {
    pub(crate) id: Uuid,
    pub(crate) execution_id: Uuid,
    pub(crate) server_name: String,
    pub(crate) tool_name: String,
    pub(crate) params: Option<String>,
    pub(crate) result: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) error_class: Option<&'static str>,
    pub(crate) duration_ms: Option<i64>,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) completed_at: Option<DateTime<Utc>>,
    pub(crate) step_index: i32,
    /// None where the step runs once.
    pub(crate) item_index: Option<i32>,
    pub(crate) attempt: i32,
    pub(crate) worker: Option<String>,
}

impl ToolCallRow {
    /// The rows of `step`: none for a step without a tool, or with a tool of a kind that is no MCP
    /// server (the test kind).
    ///
    /// Each call is told by the end that followed it and by no other, because a row that is there is
    /// not written again: not by the second end of a step that was compensated, and not by an end after
    /// a retry by hand, which has every attempt but perhaps other parameters than the earlier ones.
    pub(crate) fn of_step(execution: ExecutionId, step: &StepEnded) -> Vec<Self> {
        let Some(tool) = &step.tool else {
            return Vec::new();
        };
        let recorded = kind_profile(tool.kind()).is_some_and(|profile| profile.production);
        if !recorded || step.status == StepStatus::Compensated {
            return Vec::new();
        }
        let params = step.input.as_ref().map(text::json);
        let last = step.attempts.last().map(|attempt| attempt.attempt);
        let row = |(place, attempt): (usize, &AttemptRecord)| {
            // Only the last attempt can have succeeded, and the step's output is its result.
            let succeeded = attempt.error.is_none() && last == Some(attempt.attempt);
            let started_at = attempt.started_at.unwrap_or(attempt.dispatched_at);
            Self {
                id: identity::tool_call(
                    execution,
                    step.index,
                    step.item,
                    attempt.attempt,
                    attempt.dispatched_at,
                ),
                execution_id: execution.as_uuid(),
                server_name: tool.kind().to_string(),
                tool_name: tool.name().to_owned(),
                params: params.clone(),
                result: step.output.as_ref().filter(|_| succeeded).map(text::json),
                error: attempt
                    .error
                    .as_ref()
                    .map(|error| text::clean(&error.message)),
                error_class: attempt.error.as_ref().map(|error| error.class.as_str()),
                duration_ms: attempt.ended_at.map(|ended| millis(started_at, ended)),
                started_at: started_at.to_datetime(),
                completed_at: attempt.ended_at.map(|ended| ended.to_datetime()),
                step_index: int(step.index),
                item_index: step.item.map(int),
                // Its number counts its deferrals, too.
                attempt: i32::try_from(place + 1).unwrap_or(i32::MAX),
                worker: attempt.worker.as_ref().map(ToString::to_string),
            }
        };
        let of_this_run = |attempt: &&AttemptRecord| attempt.dispatched_at >= step.started_at;
        let attempts = step.attempts.iter().enumerate();
        attempts
            .filter(|(_, attempt)| of_this_run(attempt))
            .map(row)
            .collect()
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + size(self.params.as_ref()) + size(self.result.as_ref())
    }
}
