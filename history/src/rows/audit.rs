//! Rows of `audit_log`: one for each wish to change something.

use afu9_schemas::Timestamp;
use afu9_schemas::artifact::json_size;
use afu9_schemas::message::{ControlAction, ControlOutcome, ControlRecord};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::rows::size;
use crate::text;

/// The largest payload or set of parameters kept, in bytes of JSON: enough to see what somebody sent,
/// and small enough that a page of the log is. Of a larger one only the size is kept.
const PAYLOAD_MAX_BYTES: usize = 16 * 1024;

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
        let (outcome, refusal) = match &record.outcome {
            ControlOutcome::Applied => (APPLIED, None),
            ControlOutcome::Unchanged => (UNCHANGED, None),
            ControlOutcome::Refused { code, message } => (REFUSED, Some((code, message))),
        };
        Self {
            request_id: control.request.as_uuid(),
            at: at.to_datetime(),
            execution_id: record.execution.map(|execution| execution.as_uuid()),
            action: control.action.as_str(),
            by: text::clean(&control.by),
            scopes: text::json(&control.scopes),
            reason: control.reason.as_deref().map(text::clean),
            details: details(&control.action).map(|details| text::json(&details)),
            outcome,
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

/// What an action says beyond its name.
fn details(action: &ControlAction) -> Option<Value> {
    match action {
        ControlAction::Cancel | ControlAction::Pause | ControlAction::Resume => None,
        ControlAction::Retry { step, params } => Some(json!({
            "step": step,
            "params": params.as_ref().map(bounded),
        })),
        ControlAction::Signal { name, payload } => Some(json!({
            "name": name,
            "payload": bounded(payload),
        })),
        ControlAction::Decide { step, decision } => Some(json!({
            "step": step,
            "decision": decision,
        })),
        ControlAction::Move { to } => Some(json!({ "to": to })),
        ControlAction::Disable(workflow) | ControlAction::Enable(workflow) => {
            Some(json!({ "workflow": workflow }))
        }
        ControlAction::PauseSchedule(schedule) | ControlAction::ResumeSchedule(schedule) => {
            Some(json!(schedule))
        }
        ControlAction::Rerun {
            execution,
            from_step,
            version,
        } => Some(json!({
            "executionId": execution,
            "fromStep": from_step,
            "version": version,
        })),
        ControlAction::Apply { to } => Some(json!({ "to": to })),
        ControlAction::Hold(scope) | ControlAction::Release(scope) => {
            Some(json!({ "scope": scope }))
        }
    }
}

/// `value`, or its size where it is too large.
fn bounded(value: &Value) -> Value {
    let bytes = json_size(value);
    if bytes <= PAYLOAD_MAX_BYTES {
        value.clone()
    } else {
        json!({ "$omitted": { "bytes": bytes } })
    }
}
