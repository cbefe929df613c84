//! Looking back: the queries of the API, one file each. The gateway asks the partitions' owners about
//! live executions and this about all others.

use afu9_schemas::view::{ExecutionStatus, ExecutionSummary, StepStatus};
use afu9_schemas::{ExecutionId, Timestamp, WorkflowId};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as NameError, StrDeserializer};
use sqlx::FromRow;
use thiserror::Error;
use uuid::Uuid;

use crate::failure::{self, Failure};

mod audit;
mod dead_letters;
mod execution;
mod executions;
mod steps;
mod workflows;

pub use audit::{AuditCursor, AuditEntry, AuditFilter};
pub use dead_letters::{
    LetterCursor, LetterEntry, LetterFilter, LetterState, MAX_LETTERS, OpenLetters,
};
pub use executions::{Cursor, ExecutionFilter, Relation};
pub use steps::ItemFilter;
pub use workflows::WorkflowSummary;

/// Why a question was not answered.
#[derive(Debug, Error)]
pub enum QueryError {
    /// Postgres is away: answer 503 and let the client try again.
    #[error("the database is not available for queries")]
    Unavailable(#[source] sqlx::Error),
    /// Postgres refused the query or holds what we cannot read: a bug, or a foreign hand.
    #[error("the database's answer cannot be used")]
    Unusable(#[source] sqlx::Error),
    /// A row holds a value that only a newer AFU-9, or a foreign hand, can have written.
    #[error("`{value}` in column {column} is not known to this version")]
    Unknown {
        /// The column.
        column: &'static str,
        /// What it holds.
        value: String,
    },
}

impl QueryError {
    /// Whether the same question can be answered later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    fn unknown(column: &'static str, value: &str) -> Self {
        Self::Unknown {
            column,
            value: value.chars().take(80).collect(),
        }
    }
}

impl From<sqlx::Error> for QueryError {
    fn from(error: sqlx::Error) -> Self {
        match Failure::of(&error) {
            // The first projector has not made the tables yet; it makes them when it starts.
            _ if failure::is_not_migrated(&error) => Self::Unavailable(error),
            Failure::Away => Self::Unavailable(error),
            Failure::Data | Failure::Setup => Self::Unusable(error),
        }
    }
}

/// The columns of a summary.
#[derive(FromRow)]
struct SummaryRow {
    id: Uuid,
    workflow_id: Option<Uuid>,
    workflow_name: Option<String>,
    workflow_version: Option<i32>,
    status: String,
    triggered_by: Option<String>,
    started_at: DateTime<Utc>,
    completed_at: Option<DateTime<Utc>>,
}

impl TryFrom<SummaryRow> for ExecutionSummary {
    type Error = QueryError;

    /// An execution whose start has not been written yet has a nil workflow without a name.
    fn try_from(row: SummaryRow) -> Result<Self, QueryError> {
        Ok(Self {
            id: ExecutionId::from_uuid(row.id),
            workflow_id: WorkflowId::from_uuid(row.workflow_id.unwrap_or_default()),
            workflow: row.workflow_name.unwrap_or_default(),
            version: unsigned(row.workflow_version.unwrap_or_default()),
            status: status(&row.status)?,
            triggered_by: row.triggered_by.unwrap_or_default(),
            started_at: Timestamp::from(row.started_at),
            completed_at: row.completed_at.map(Timestamp::from),
        })
    }
}

fn status(name: &str) -> Result<ExecutionStatus, QueryError> {
    named("workflow_executions.status", name)
}

fn step_status(name: &str) -> Result<StepStatus, QueryError> {
    named("workflow_steps.status", name)
}

/// The variant of an enum that has `name` on the wire, which is its name in the database too.
fn named<'de, T: Deserialize<'de>>(column: &'static str, name: &'de str) -> Result<T, QueryError> {
    let name_of_variant: StrDeserializer<'de, NameError> = name.into_deserializer();
    T::deserialize(name_of_variant).map_err(|_| QueryError::unknown(column, name))
}

/// Positions and counts are never negative in rows of ours.
fn unsigned(value: i32) -> u32 {
    u32::try_from(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_read_as_it_is_written() {
        use ExecutionStatus as E;
        use StepStatus as S;

        for known in [
            E::Pending,
            E::Running,
            E::Paused,
            E::Completed,
            E::Failed,
            E::Cancelled,
        ] {
            assert_eq!(status(known.as_str()).expect("known"), known);
        }
        let steps = [
            S::Pending,
            S::Running,
            S::Waiting,
            S::Completed,
            S::Failed,
            S::Skipped,
            S::Compensated,
        ];
        for known in steps {
            assert_eq!(step_status(known.as_str()).expect("known"), known);
        }
        assert!(matches!(
            status("exploded"),
            Err(QueryError::Unknown { .. })
        ));
    }
}
