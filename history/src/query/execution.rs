//! Everything about one execution.

use afu9_schemas::message::AttemptRecord;
use afu9_schemas::view::{ExecutionSummary, ExecutionView, StepView};
use afu9_schemas::{ExecutionId, StepError, Timestamp};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::Json;

use crate::Store;
use crate::query::{QueryError, SummaryRow, step_status, unsigned};

/// How far a step may lie outside its execution by the log's clock. The clock of a broker that took
/// over may differ; a day costs at most a look into one more partition.
const CLOCK_SLACK: TimeDelta = TimeDelta::days(1);

#[derive(FromRow)]
struct ExecutionRow {
    #[sqlx(flatten)]
    summary: SummaryRow,
    input: Option<Json<Value>>,
    output: Option<Json<Value>>,
    error_detail: Option<Json<StepError>>,
    repository: Option<String>,
}

#[derive(FromRow)]
struct StepRow {
    step_index: i32,
    step_name: String,
    tool: Option<String>,
    status: String,
    input: Option<Json<Value>>,
    output: Option<Json<Value>>,
    error_detail: Option<Json<StepError>>,
    started_at: DateTime<Utc>,
    completed_at: Option<DateTime<Utc>>,
    attempts: Option<Json<Vec<AttemptRecord>>>,
}

impl TryFrom<StepRow> for StepView {
    type Error = QueryError;

    fn try_from(row: StepRow) -> Result<Self, QueryError> {
        let tool = row.tool.map(|tool| {
            tool.parse().map_err(|_| QueryError::Unknown {
                column: "workflow_steps.tool",
                value: tool,
            })
        });
        Ok(Self {
            index: unsigned(row.step_index),
            name: row.step_name,
            tool: tool.transpose()?,
            status: step_status(&row.status)?,
            input: row.input.map(|Json(input)| input),
            output: row.output.map(|Json(output)| output),
            error: row.error_detail.map(|Json(error)| error),
            started_at: Some(Timestamp::from(row.started_at)),
            completed_at: row.completed_at.map(Timestamp::from),
            attempts: row
                .attempts
                .map(|Json(attempts)| attempts)
                .unwrap_or_default(),
            waiting_until: None,
        })
    }
}

impl Store {
    /// Everything known about `id` with every step that has ended; none if history has no such
    /// execution (it may still be live, or its start may not be written yet).
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
        let steps = self
            .step_rows(id, row.summary.started_at, row.summary.completed_at)
            .await?;
        Ok(Some(ExecutionView {
            summary: ExecutionSummary::try_from(row.summary)?,
            input: row.input.map(|Json(input)| input).unwrap_or_default(),
            output: row.output.map(|Json(output)| output),
            error: row.error_detail.map(|Json(error)| error),
            repository: row.repository,
            steps: steps
                .into_iter()
                .map(StepView::try_from)
                .collect::<Result<_, _>>()?,
            truncated: false,
        }))
    }

    async fn execution_row(&self, id: ExecutionId) -> Result<Option<ExecutionRow>, sqlx::Error> {
        sqlx::query_as(
            "SELECT e.id, e.workflow_id, e.workflow_name, e.workflow_version, e.status,
                    e.triggered_by, e.started_at, e.completed_at, e.input, e.output, e.error_detail,
                    r.full_name AS repository
             FROM workflow_executions e LEFT JOIN repositories r ON r.id = e.repository_id
             WHERE e.id = $1",
        )
        .bind(id.as_uuid())
        .fetch_optional(self.pool())
        .await
    }

    /// The instants only spare Postgres a look into the other months.
    async fn step_rows(
        &self,
        id: ExecutionId,
        started_at: DateTime<Utc>,
        completed_at: Option<DateTime<Utc>>,
    ) -> Result<Vec<StepRow>, sqlx::Error> {
        sqlx::query_as(
            "SELECT step_index, step_name, tool, status, input, output, error_detail, started_at,
                    completed_at, attempts
             FROM workflow_steps
             WHERE execution_id = $1 AND started_at >= $2 AND started_at <= coalesce($3, 'infinity')
             ORDER BY step_index, started_at",
        )
        .bind(id.as_uuid())
        .bind(started_at - CLOCK_SLACK)
        .bind(completed_at.map(|completed_at| completed_at + CLOCK_SLACK))
        .fetch_all(self.pool())
        .await
    }
}
