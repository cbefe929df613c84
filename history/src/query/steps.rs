//! The steps of an execution, and the items of one step.
//!
//! A step that was retried by hand has a row for each run. The one whose end was told last is shown.

use std::collections::HashMap;

use afu9_schemas::message::AttemptRecord;
use afu9_schemas::view::{ItemsView, StepStatus, StepView};
use afu9_schemas::{ExecutionId, StepError, Timestamp};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{FromRow, Postgres, QueryBuilder};
use uuid::Uuid;

use crate::Store;
use crate::query::{QueryError, named, step_status, unsigned};
use crate::rows::int;
use crate::rows::step::WHOLE_STEP;

/// Which items to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemFilter {
    /// Their execution.
    pub execution: ExecutionId,
    /// Position of their step.
    pub step: u32,
    /// Only those that ended so.
    pub status: Option<StepStatus>,
    /// How many at most; none, and more than [`Self::MAX_LIMIT`], mean that many.
    pub limit: Option<u32>,
    /// Only those behind this one, which was the last of the page before.
    pub after: Option<u32>,
}

impl ItemFilter {
    /// The longest page: enough for a screen, and a bound on what one request can cost.
    pub const MAX_LIMIT: u32 = 200;
}

#[derive(FromRow)]
struct StepRow {
    step_index: i32,
    item_index: i32,
    step_name: String,
    role: String,
    action: String,
    tool: Option<String>,
    status: String,
    input: Option<Json<Value>>,
    output: Option<Json<Value>>,
    error_detail: Option<Json<StepError>>,
    started_at: DateTime<Utc>,
    completed_at: Option<DateTime<Utc>>,
    attempts: Option<Json<Vec<AttemptRecord>>>,
    child: Option<Uuid>,
}

impl TryFrom<StepRow> for StepView {
    type Error = QueryError;

    fn try_from(row: StepRow) -> Result<Self, QueryError> {
        let tool = row.tool.map(|tool| {
            tool.parse()
                .map_err(|_| QueryError::unknown("workflow_steps.tool", &tool))
        });
        Ok(Self {
            index: unsigned(row.step_index),
            item: u32::try_from(row.item_index).ok(),
            role: named("workflow_steps.role", &row.role)?,
            action: named("workflow_steps.action", &row.action)?,
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
            child: row.child.map(ExecutionId::from_uuid),
            items: None,
            waiting_until: None,
            progress: None,
            decisions: Vec::new(),
            message: None,
        })
    }
}

/// The instants between which the steps of an execution lie. They only spare Postgres a look into the
/// other months.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    from: DateTime<Utc>,
    to: Option<DateTime<Utc>>,
}

impl Span {
    /// How far a step may lie outside its execution by the log's clock. The clock of a broker that
    /// took over may differ; a day costs at most a look into one more partition.
    const SLACK: TimeDelta = TimeDelta::days(1);

    /// The span of an execution that began and ended then.
    pub(super) fn new(started_at: DateTime<Utc>, completed_at: Option<DateTime<Utc>>) -> Self {
        Self {
            from: started_at - Self::SLACK,
            to: completed_at.map(|completed_at| completed_at + Self::SLACK),
        }
    }
}

impl Store {
    /// The items of one step that have ended, in their order; none if history does not know the
    /// execution.
    ///
    /// # Errors
    /// [`QueryError::is_retryable`] says whether to ask again.
    pub async fn list_items(&self, filter: &ItemFilter) -> Result<Vec<StepView>, QueryError> {
        let Some(span) = self.span(filter.execution).await? else {
            return Ok(Vec::new());
        };
        let rows = self.item_rows(filter, span).await?;
        rows.into_iter().map(StepView::try_from).collect()
    }

    /// Every step of `execution` that has ended, in their order. Items are only counted.
    pub(super) async fn steps(
        &self,
        execution: ExecutionId,
        span: Span,
    ) -> Result<Vec<StepView>, QueryError> {
        let rows = self.step_rows(execution, span).await?;
        let mut counts = self.item_counts(execution, span).await?;
        let with_items = |row: StepRow| {
            let items = counts.remove(&row.step_index);
            Ok(StepView {
                items,
                ..StepView::try_from(row)?
            })
        };
        rows.into_iter().map(with_items).collect()
    }

    async fn span(&self, execution: ExecutionId) -> Result<Option<Span>, sqlx::Error> {
        let instants: Option<(DateTime<Utc>, Option<DateTime<Utc>>)> = sqlx::query_as(
            "SELECT started_at, completed_at FROM workflow_executions WHERE id = $1",
        )
        .bind(execution.as_uuid())
        .fetch_optional(self.pool())
        .await?;
        Ok(instants.map(|(started_at, completed_at)| Span::new(started_at, completed_at)))
    }

    /// Steps as a whole: see [`WHOLE_STEP`].
    async fn step_rows(
        &self,
        execution: ExecutionId,
        span: Span,
    ) -> Result<Vec<StepRow>, sqlx::Error> {
        sqlx::query_as(
            "SELECT s.*, child.id AS child
             FROM (
                 SELECT DISTINCT ON (step_index)
                        step_index, item_index, step_name, role, action, tool, status, input, output,
                        error_detail, started_at, completed_at, attempts
                 FROM workflow_steps
                 WHERE execution_id = $1 AND item_index = -1
                   AND started_at >= $2 AND started_at <= coalesce($3, 'infinity')
                 ORDER BY step_index, event_number DESC, started_at DESC
             ) s
             LEFT JOIN LATERAL (
                 SELECT id FROM workflow_executions
                 WHERE s.action = 'workflow' AND parent_execution_id = $1
                   AND parent_step_index = s.step_index AND parent_item_index IS NULL
                 ORDER BY parent_attempt DESC, started_at DESC LIMIT 1
             ) child ON true
             ORDER BY s.step_index",
        )
        .bind(execution.as_uuid())
        .bind(span.from)
        .bind(span.to)
        .fetch_all(self.pool())
        .await
    }

    async fn item_rows(
        &self,
        filter: &ItemFilter,
        span: Span,
    ) -> Result<Vec<StepRow>, sqlx::Error> {
        // Built for the same reason as the list of executions.
        let mut query = QueryBuilder::<Postgres>::new(
            "SELECT s.*, child.id AS child
             FROM (
                 SELECT DISTINCT ON (item_index)
                        execution_id, step_index, item_index, step_name, role, action, tool, status,
                        input, output, error_detail, started_at, completed_at, attempts
                 FROM workflow_steps one
                 WHERE item_index >= 0 AND execution_id = ",
        );
        query
            .push_bind(filter.execution.as_uuid())
            .push(" AND step_index = ")
            .push_bind(int(filter.step))
            // Every item is behind the step as a whole.
            .push(" AND item_index > ")
            .push_bind(filter.after.map_or(WHOLE_STEP, int))
            .push(" AND started_at >= ")
            .push_bind(span.from)
            .push(" AND started_at <= coalesce(")
            .push_bind(span.to)
            .push(", 'infinity')");
        if let Some(status) = filter.status {
            query.push(" AND status = ").push_bind(status.as_str());
            // Says what the value already implies, for the planner's choice of the partial index.
            if status != StepStatus::Completed {
                query.push(" AND status <> 'completed'");
            }
            // An item that was retried by hand has ended as its last row says.
            query
                .push(
                    " AND NOT EXISTS (
                          SELECT FROM workflow_steps later
                          WHERE later.execution_id = one.execution_id
                            AND later.step_index = one.step_index
                            AND later.item_index = one.item_index
                            AND (later.event_number, later.started_at)
                                > (one.event_number, one.started_at)
                            AND later.started_at >= ",
                )
                .push_bind(span.from)
                .push(")");
        }
        let limit = filter.limit.unwrap_or(ItemFilter::MAX_LIMIT);
        query
            .push(" ORDER BY item_index, event_number DESC, started_at DESC LIMIT ")
            .push_bind(i64::from(limit.min(ItemFilter::MAX_LIMIT)))
            .push(
                ") s
             LEFT JOIN LATERAL (
                 SELECT id FROM workflow_executions
                 WHERE s.action = 'workflow' AND parent_execution_id = s.execution_id
                   AND parent_step_index = s.step_index AND parent_item_index = s.item_index
                 ORDER BY parent_attempt DESC, started_at DESC LIMIT 1
             ) child ON true
             ORDER BY s.item_index",
            );
        query.build_query_as().fetch_all(self.pool()).await
    }

    /// How many items each step has that has any, by the step's position.
    async fn item_counts(
        &self,
        execution: ExecutionId,
        span: Span,
    ) -> Result<HashMap<i32, ItemsView>, sqlx::Error> {
        let counts: Vec<(i32, i64, i64, i64)> = sqlx::query_as(
            "SELECT step_index, count(*), count(*) FILTER (WHERE status = 'completed'),
                    count(*) FILTER (WHERE status = 'failed')
             FROM (
                 SELECT DISTINCT ON (step_index, item_index) step_index, status
                 FROM workflow_steps
                 WHERE execution_id = $1 AND item_index >= 0
                   AND started_at >= $2 AND started_at <= coalesce($3, 'infinity')
                 ORDER BY step_index, item_index, event_number DESC, started_at DESC
             ) s
             GROUP BY step_index",
        )
        .bind(execution.as_uuid())
        .bind(span.from)
        .bind(span.to)
        .fetch_all(self.pool())
        .await?;
        let count = |count| u32::try_from(count).unwrap_or(u32::MAX);
        let view = |(step, total, completed, failed)| {
            let items = ItemsView {
                total: count(total),
                completed: count(completed),
                failed: count(failed),
                in_progress: 0,
            };
            (step, items)
        };
        Ok(counts.into_iter().map(view).collect())
    }
}
