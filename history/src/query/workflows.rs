//! The workflows and how each ran last.

use std::collections::HashMap;

use afu9_schemas::view::ExecutionSummary;
use afu9_schemas::{Timestamp, WorkflowId};
use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use crate::Store;
use crate::query::{QueryError, SummaryRow, unsigned};

/// More workflows than a page or a person can take in; bounds what one request can cost.
const MAX_WORKFLOWS: i64 = 1000;

/// One workflow.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkflowSummary {
    /// Its id.
    pub id: WorkflowId,
    /// Its name.
    pub name: String,
    /// What it is for, as its definition says.
    pub description: Option<String>,
    /// The newest version; 0 while only its executions are known.
    pub version: u32,
    /// Whether triggers may start it.
    pub enabled: bool,
    /// When the newest version was accepted.
    pub applied_at: Option<Timestamp>,
    /// Its newest execution.
    pub last_run: Option<ExecutionSummary>,
}

#[derive(FromRow)]
struct WorkflowRow {
    id: Uuid,
    name: String,
    description: Option<String>,
    version: i32,
    enabled: bool,
    applied_at: Option<DateTime<Utc>>,
}

impl Store {
    /// Every workflow by name (at most 1000), each with its newest execution.
    ///
    /// # Errors
    /// [`QueryError::is_retryable`] says whether to ask again.
    pub async fn list_workflows(&self) -> Result<Vec<WorkflowSummary>, QueryError> {
        let workflows = self.workflow_rows().await?;
        let names: Vec<&str> = workflows.iter().map(|row| row.name.as_str()).collect();
        let mut last_runs = HashMap::new();
        for row in self.last_runs(&names).await? {
            let run = ExecutionSummary::try_from(row)?;
            last_runs.insert(run.workflow.clone(), run);
        }
        Ok(workflows
            .into_iter()
            .map(|row| WorkflowSummary {
                id: WorkflowId::from_uuid(row.id),
                last_run: last_runs.remove(&row.name),
                name: row.name,
                description: row.description,
                version: unsigned(row.version),
                enabled: row.enabled,
                applied_at: row.applied_at.map(Timestamp::from),
            })
            .collect())
    }

    async fn workflow_rows(&self) -> Result<Vec<WorkflowRow>, sqlx::Error> {
        sqlx::query_as(
            "SELECT id, name, description, version, enabled, applied_at
             FROM workflows ORDER BY name LIMIT $1",
        )
        .bind(MAX_WORKFLOWS)
        .fetch_all(self.pool())
        .await
    }

    /// The newest execution of each named workflow that has any: one look into the index for each.
    async fn last_runs(&self, names: &[&str]) -> Result<Vec<SummaryRow>, sqlx::Error> {
        sqlx::query_as(
            "SELECT last.* FROM unnest($1::text[]) AS w(name) CROSS JOIN LATERAL (
                 SELECT id, workflow_id, workflow_name, workflow_version, status, triggered_by,
                        started_at, completed_at
                 FROM workflow_executions e
                 WHERE e.workflow_name = w.name
                 ORDER BY e.started_at DESC, e.id DESC
                 LIMIT 1
             ) AS last",
        )
        .bind(names)
        .fetch_all(self.pool())
        .await
    }
}
