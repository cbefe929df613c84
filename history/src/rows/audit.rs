//! Rows of `audit_log`: one for each wish to change something.

use afu9_schemas::Timestamp;
use afu9_schemas::message::{ControlOutcome, ControlRecord};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::rows::size;
use crate::text;

/// A wish and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AuditRow {
    pub(crate) request_id: Uuid,
    pub(crate) at: DateTime<Utc>,
    pub(crate) execution_id: Option<Uuid>,
    pub(crate) action: &'static str,
    pub(crate) by: String,
    /// A JSON array: the database takes no array of arrays of different lengths.
    pub(crate) scopes: String,
    pub(crate) reason: Option<String>,
    pub(crate) details: Option<String>,
    pub(crate) outcome: &'static str,
    pub(crate) code: Option<String>,
    pub(crate) message: Option<String>,
}

impl AuditRow {
    /// The row of `record`, which was decided at `at`.
    pub(crate) fn new(at: Timestamp, record: &ControlRecord) -> Self {
        let control = &record.control;
        let refusal = match &record.outcome {
            ControlOutcome::Refused { code, message } => Some((code, message)),
            ControlOutcome::Applied | ControlOutcome::Unchanged => None,
        };
        Self {
            request_id: control.request.as_uuid(),
            at: at.to_datetime(),
            execution_id: record.execution.map(|execution| execution.as_uuid()),
            action: control.action.as_str(),
            by: text::clean(&control.by),
            scopes: text::json(&control.scopes),
            reason: control.reason.as_deref().map(text::clean),
            details: control.action.details().map(|details| text::json(&details)),
            outcome: record.outcome.as_str(),
            code: refusal.map(|(code, _)| text::clean(code)),
            message: refusal.map(|(_, message)| text::clean(message)),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + size(self.details.as_ref()) + size(self.message.as_ref())
    }
}

/// The values of the column `outcome`.
pub(crate) const APPLIED: &str = "applied";
pub(crate) const UNCHANGED: &str = "unchanged";
pub(crate) const REFUSED: &str = "refused";
