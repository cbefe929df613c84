//! Everything about one execution.

use afu9_schemas::message::Parent;
use afu9_schemas::view::{ExecutionSummary, ExecutionView, PauseView};
use afu9_schemas::{ExecutionId, Lane, StepError, Timestamp};
use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

use crate::Store;
use crate::query::steps::Span;
use crate::query::{QueryError, SummaryRow, named, unsigned};
use crate::rows::execution::Pause;

#[derive(FromRow)]
struct ExecutionRow {
    #[sqlx(flatten)]
    summary: SummaryRow,
    #[sqlx(flatten)]
    parent: ParentRow,
    input: Option<Json<Value>>,
    output: Option<Json<Value>>,
    error_detail: Option<Json<StepError>>,
    repository: Option<String>,
    pause_metadata: Option<Json<Pause>>,
    concurrency_key: Option<String>,
    rerun_of: Option<Uuid>,
    rerun_reason: Option<String>,
    default_branch: Option<String>,
    lane: Option<String>,
    priority: Option<i32>,
}

/// All null, but for the item, or none.
#[derive(FromRow)]
struct ParentRow {
    parent_execution_id: Option<Uuid>,
    parent_step_index: Option<i32>,
    parent_item_index: Option<i32>,
    parent_attempt: Option<i32>,
    parent_waits: Option<bool>,
    parent_depth: Option<i32>,
}

impl ParentRow {
    fn parent(self) -> Option<Parent> {
        Some(Parent {
            execution: ExecutionId::from_uuid(self.parent_execution_id?),
            step: unsigned(self.parent_step_index?),
            item: self.parent_item_index.map(unsigned),
            attempt: unsigned(self.parent_attempt?),
            waits: self.parent_waits?,
            depth: unsigned(self.parent_depth?),
        })
    }
}

impl Store {
    /// Everything known about `id` with every step that has ended, their items only counted; none if
    /// history has no such execution (it may still be live, or its start may not be written yet).
    ///
    /// # Errors
    /// [`QueryError::is_retryable`] says whether to ask again.
    pub async fn show_execution(
        &self,
        id: ExecutionId,
    ) -> Result<Option<ExecutionView>, QueryError> {
        let Some(row) = self.execution_row(id).await? else {
            return Ok(None);
        };
        let span = Span::new(row.summary.started_at, row.summary.completed_at);
        let steps = self.steps(id, span).await?;
        Ok(Some(ExecutionView {
            summary: ExecutionSummary::try_from(row.summary)?,
            input: row.input.map(|Json(input)| input).unwrap_or_default(),
            output: row.output.map(|Json(output)| output),
            error: row.error_detail.map(|Json(error)| error),
            repository: row.repository,
            default_branch: row.default_branch,
            lane: match row.lane {
                Some(lane) => named("workflow_executions.lane", &lane)?,
                None => Lane::default(),
            },
            priority: row.priority.unwrap_or_default(),
            steps,
            paused: row.pause_metadata.map(|Json(pause)| PauseView {
                by: pause.paused_by,
                reason: pause.reason,
                at: Timestamp::from(pause.paused_at),
            }),
            key: row.concurrency_key,
            parent: row.parent.parent(),
            rerun_of: row.rerun_of.map(ExecutionId::from_uuid),
            rerun_reason: row.rerun_reason,
            signals: 0,
            truncated: false,
        }))
    }

    async fn execution_row(&self, id: ExecutionId) -> Result<Option<ExecutionRow>, sqlx::Error> {
        sqlx::query_as(
            "SELECT e.id, e.workflow_id, e.workflow_name, e.workflow_version, e.status,
                    e.triggered_by, e.started_at, e.completed_at, e.input, e.output, e.error_detail,
                    e.pause_metadata, e.concurrency_key, e.parent_execution_id, e.parent_step_index,
                    e.parent_item_index, e.parent_attempt, e.parent_waits, e.parent_depth, e.rerun_of,
                    e.rerun_reason, e.default_branch, e.lane, e.priority, r.full_name AS repository
             FROM workflow_executions e LEFT JOIN repositories r ON r.id = e.repository_id
             WHERE e.id = $1",
        )
        .bind(id.as_uuid())
        .fetch_optional(self.pool())
        .await
    }
}
