//! The audit log, newest first, a page at a time.

use afu9_schemas::id::RequestId;
use afu9_schemas::message::ControlOutcome;
use afu9_schemas::{ExecutionId, Timestamp};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{FromRow, Postgres, QueryBuilder};
use uuid::Uuid;

use crate::Store;
use crate::query::QueryError;
use crate::rows::audit::{APPLIED, REFUSED, UNCHANGED};

/// Where a page ended: the next one begins right after this entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditCursor {
    /// When it was decided.
    pub at: Timestamp,
    /// Its request, which orders what was decided in the same microsecond.
    pub request: RequestId,
}

impl From<&AuditEntry> for AuditCursor {
    fn from(last: &AuditEntry) -> Self {
        Self {
            at: last.at,
            request: last.request,
        }
    }
}

/// Which entries to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only those about this execution.
    pub execution: Option<ExecutionId>,
    /// Only those of this action, by its name in the API.
    pub action: Option<String>,
    /// Only those of this person or token.
    pub by: Option<String>,
    /// Only those that came to this, by its name in the API.
    pub outcome: Option<String>,
    /// Only those that were decided at this instant or later.
    pub from: Option<Timestamp>,
    /// Only those that were decided before this instant.
    pub to: Option<Timestamp>,
    /// How many at most; none, and more than [`Self::MAX_LIMIT`], mean that many.
    pub limit: Option<u32>,
    /// Only those after the page that ended here.
    pub before: Option<AuditCursor>,
}

impl AuditFilter {
    /// The longest page: enough for a screen, and a bound on what one request can cost.
    pub const MAX_LIMIT: u32 = 200;
}

/// Somebody's wish and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// Identifies the wish.
    pub request: RequestId,
    /// When it was decided, by the log's clock.
    pub at: Timestamp,
    /// The execution it was about; none where it was about a scope.
    pub execution: Option<ExecutionId>,
    /// What was wished, by its name in the API.
    pub action: String,
    /// Who wished it.
    pub by: String,
    /// What their token could do.
    pub scopes: Vec<String>,
    /// Why.
    pub reason: Option<String>,
    /// The action's own data. A payload that was too large is `{"$omitted": {"bytes": …}}`.
    pub details: Option<Value>,
    /// What came of it.
    pub outcome: ControlOutcome,
}

#[derive(FromRow)]
struct AuditRow {
    request_id: Uuid,
    at: DateTime<Utc>,
    execution_id: Option<Uuid>,
    action: String,
    by: String,
    scopes: Vec<String>,
    reason: Option<String>,
    details: Option<Json<Value>>,
    outcome: String,
    code: Option<String>,
    message: Option<String>,
}

impl TryFrom<AuditRow> for AuditEntry {
    type Error = QueryError;

    fn try_from(row: AuditRow) -> Result<Self, QueryError> {
        let outcome = match row.outcome.as_str() {
            APPLIED => ControlOutcome::Applied,
            UNCHANGED => ControlOutcome::Unchanged,
            REFUSED => ControlOutcome::Refused {
                code: row.code.unwrap_or_default(),
                message: row.message.unwrap_or_default(),
            },
            unknown => return Err(QueryError::unknown("audit_log.outcome", unknown)),
        };
        Ok(Self {
            request: RequestId::from_uuid(row.request_id),
            at: Timestamp::from(row.at),
            execution: row.execution_id.map(ExecutionId::from_uuid),
            action: row.action,
            by: row.by,
            scopes: row.scopes,
            reason: row.reason,
            details: row.details.map(|Json(details)| details),
            outcome,
        })
    }
}

impl Store {
    /// The newest entries of the audit log that pass `filter`, newest first.
    ///
    /// # Errors
    /// [`QueryError::is_retryable`] says whether to ask again.
    pub async fn list_audit(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>, QueryError> {
        // Built for the same reason as the list of executions.
        let mut query = QueryBuilder::<Postgres>::new(
            "SELECT request_id, at, execution_id, action, by, scopes, reason, details, outcome, code,
                    message
             FROM audit_log WHERE true",
        );
        if let Some(execution) = filter.execution {
            query
                .push(" AND execution_id = ")
                .push_bind(execution.as_uuid());
        }
        if let Some(action) = &filter.action {
            query.push(" AND action = ").push_bind(action);
        }
        if let Some(by) = &filter.by {
            query.push(" AND by = ").push_bind(crate::text::clean(by));
        }
        if let Some(outcome) = &filter.outcome {
            query.push(" AND outcome = ").push_bind(outcome);
            // Says what the value already implies, for the planner's choice of the partial index.
            if outcome != APPLIED {
                query.push(" AND outcome <> 'applied'");
            }
        }
        if let Some(from) = filter.from {
            query.push(" AND at >= ").push_bind(from.to_datetime());
        }
        if let Some(to) = filter.to {
            query.push(" AND at < ").push_bind(to.to_datetime());
        }
        if let Some(before) = filter.before {
            query
                .push(" AND (at, request_id) < (")
                .push_bind(before.at.to_datetime())
                .push(", ")
                .push_bind(before.request.as_uuid())
                .push(")");
        }
        let limit = filter.limit.unwrap_or(AuditFilter::MAX_LIMIT);
        query
            .push(" ORDER BY at DESC, request_id DESC LIMIT ")
            .push_bind(i64::from(limit.min(AuditFilter::MAX_LIMIT)));

        let rows: Vec<AuditRow> = query.build_query_as().fetch_all(self.pool()).await?;
        rows.into_iter().map(AuditEntry::try_from).collect()
    }
}
