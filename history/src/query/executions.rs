//! The list of executions, newest first, a page at a time.

use afu9_schemas::view::{ExecutionStatus, ExecutionSummary};
use afu9_schemas::{ExecutionId, Timestamp};
use sqlx::{Postgres, QueryBuilder};

use crate::Store;
use crate::query::{QueryError, SummaryRow};

/// Where a page ended: the next one begins right after this execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Its start.
    pub started_at: Timestamp,
    /// Its id, which orders executions that started in the same microsecond.
    pub id: ExecutionId,
}

impl From<&ExecutionSummary> for Cursor {
    fn from(last: &ExecutionSummary) -> Self {
        Self {
            started_at: last.started_at,
            id: last.id,
        }
    }
}

/// Which executions to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecutionFilter {
    /// Only those with any of these statuses; none means all.
    pub statuses: Vec<ExecutionStatus>,
    /// Only those of the workflow of this name.
    pub workflow: Option<String>,
    /// Only those that this started.
    pub triggered_by: Option<String>,
    /// Only those that started at this instant or later.
    pub started_after: Option<Timestamp>,
    /// How many at most; none, and more than [`Self::MAX_LIMIT`], mean that many.
    pub limit: Option<u32>,
    /// Only those after the page that ended here.
    pub before: Option<Cursor>,
}

impl ExecutionFilter {
    /// The longest page: enough for a screen, few for whoever goes through all, and a bound on what one
    /// request can cost.
    pub const MAX_LIMIT: u32 = 500;
}

/// What executions may have in common beside their workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relation {
    /// They contend for this key.
    Key(String),
    /// Steps of this execution run them.
    Parent(ExecutionId),
    /// They repeat this execution.
    RerunOf(ExecutionId),
}

impl Store {
    /// The newest executions that pass `filter`, newest first.
    ///
    /// # Errors
    /// [`QueryError::is_retryable`] says whether to ask again.
    pub async fn list_executions(
        &self,
        filter: &ExecutionFilter,
    ) -> Result<Vec<ExecutionSummary>, QueryError> {
        self.executions(filter, None).await
    }

    /// Like [`Self::list_executions`], only those that have `relation`.
    ///
    /// # Errors
    /// [`QueryError::is_retryable`] says whether to ask again.
    pub async fn list_related_executions(
        &self,
        relation: &Relation,
        filter: &ExecutionFilter,
    ) -> Result<Vec<ExecutionSummary>, QueryError> {
        self.executions(filter, Some(relation)).await
    }

    async fn executions(
        &self,
        filter: &ExecutionFilter,
        relation: Option<&Relation>,
    ) -> Result<Vec<ExecutionSummary>, QueryError> {
        // Built, because a condition that is absent must be absent from the text too: only then can
        // each combination use the index made for it.
        let mut query = QueryBuilder::<Postgres>::new("");
        match filter.statuses.as_slice() {
            [] => select(&mut query, filter, relation, None),
            [status] => select(&mut query, filter, relation, Some(*status)),
            // Each status has its own part of an index, which is in the order of the page.
            several => {
                query.push("SELECT * FROM (");
                for (number, status) in several.iter().enumerate() {
                    query.push(if number == 0 { "(" } else { " UNION ALL (" });
                    select(&mut query, filter, relation, Some(*status));
                    query.push(")");
                }
                query.push(") AS found");
                order(&mut query, filter);
            }
        }
        let rows: Vec<SummaryRow> = query.build_query_as().fetch_all(self.pool()).await?;
        rows.into_iter().map(ExecutionSummary::try_from).collect()
    }
}

/// A page of the executions that pass `filter`; its statuses are the caller's to ask for.
fn select(
    query: &mut QueryBuilder<Postgres>,
    filter: &ExecutionFilter,
    relation: Option<&Relation>,
    status: Option<ExecutionStatus>,
) {
    query.push(
        "SELECT id, workflow_id, workflow_name, workflow_version, status, triggered_by,
                started_at, completed_at
         FROM workflow_executions WHERE true",
    );
    if let Some(status) = status {
        query.push(" AND status = ").push_bind(status.as_str());
        // Says what the value already implies, for the planner's choice of the partial index.
        if status != ExecutionStatus::Completed {
            query.push(" AND status <> 'completed'");
        }
    }
    if let Some(workflow) = &filter.workflow {
        query
            .push(" AND workflow_name = ")
            .push_bind(crate::text::name(workflow));
    }
    if let Some(by) = &filter.triggered_by {
        query
            .push(" AND triggered_by = ")
            .push_bind(crate::text::clean(by));
    }
    match relation {
        None => {}
        Some(Relation::Key(key)) => {
            query
                .push(" AND concurrency_key = ")
                .push_bind(crate::text::name(key));
        }
        Some(Relation::Parent(parent)) => {
            query
                .push(" AND parent_execution_id = ")
                .push_bind(parent.as_uuid());
        }
        Some(Relation::RerunOf(earlier)) => {
            query.push(" AND rerun_of = ").push_bind(earlier.as_uuid());
        }
    }
    if let Some(after) = filter.started_after {
        query
            .push(" AND started_at >= ")
            .push_bind(after.to_datetime());
    }
    if let Some(before) = filter.before {
        query
            .push(" AND (started_at, id) < (")
            .push_bind(before.started_at.to_datetime())
            .push(", ")
            .push_bind(before.id.as_uuid())
            .push(")");
    }
    order(query, filter);
}

fn order(query: &mut QueryBuilder<Postgres>, filter: &ExecutionFilter) {
    let limit = filter.limit.unwrap_or(ExecutionFilter::MAX_LIMIT);
    query
        .push(" ORDER BY started_at DESC, id DESC LIMIT ")
        .push_bind(i64::from(limit.min(ExecutionFilter::MAX_LIMIT)));
}
