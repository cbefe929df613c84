//! `GET /api/audit?execution=&action=&by=&outcome=&from=&to=&limit=&after=`: who wished what, and what
//! came of it, newest first. `from` counts, `to` does not. Without a database: what the history stream
//! still holds.

use std::sync::Arc;

use afu9_schemas::message::ControlOutcome;
use afu9_schemas::{RequestId, Timestamp};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::auth::{Allowed, Read};
use super::{instant, malformed, page_limit, stored_problem};
use crate::app::App;
use crate::problem::Problem;
use crate::stored::{AuditCursor, AuditEntry, AuditFilter};

/// The usual page.
const DEFAULT_LIMIT: u32 = 50;

/// The actions there are, by their names.
const ACTIONS: [&str; 18] = [
    "cancel",
    "pause",
    "resume",
    "retry",
    "rerun",
    "signal",
    "approve",
    "reject",
    "move",
    "hold",
    "release",
    "disable",
    "enable",
    "pause_schedule",
    "resume_schedule",
    "apply",
    "replay",
    "discard",
];

/// What can come of them.
const OUTCOMES: [&str; 3] = ["applied", "unchanged", "refused"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    execution: Option<String>,
    action: Option<String>,
    by: Option<String>,
    outcome: Option<String>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<String>,
    after: Option<String>,
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    _caller: Allowed<Read>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(wanted) = wanted.map_err(|_| {
        malformed(
            "the query may have `execution`, `action`, `by`, `outcome`, `from`, `to`, `limit` and \
             `after`, each once",
        )
    })?;
    let limit = page_limit(
        wanted.limit.as_deref(),
        DEFAULT_LIMIT,
        AuditFilter::MAX_LIMIT,
    )?;
    let filter = filter(wanted, limit)?;
    let entries = app.stored.audit(&filter).await.map_err(stored_problem)?;
    let entries = entries.unwrap_or_else(|| app.observed.audit(&filter));
    let full = entries.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let next = entries.last().filter(|_| full).map(cursor_text);
    Ok(Json(json!({
        "entries": entries.iter().map(entry_json).collect::<Vec<_>>(),
        "nextAfter": next,
    })))
}

fn filter(wanted: Wanted, limit: u32) -> Result<AuditFilter, Problem> {
    let execution = wanted.execution.as_deref().map(|id| {
        id.parse()
            .map_err(|_| malformed("`execution` must be the id of an execution"))
    });
    one_of("action", wanted.action.as_deref(), &ACTIONS)?;
    one_of("outcome", wanted.outcome.as_deref(), &OUTCOMES)?;
    let before = wanted.after.as_deref().map(|text| {
        cursor(text).ok_or_else(|| malformed("`after` must be the `nextAfter` of another page"))
    });
    Ok(AuditFilter {
        execution: execution.transpose()?,
        action: wanted.action,
        by: wanted.by,
        outcome: wanted.outcome,
        from: instant("from", wanted.from.as_deref())?,
        to: instant("to", wanted.to.as_deref())?,
        limit: Some(limit),
        before: before.transpose()?,
    })
}

fn one_of(name: &str, given: Option<&str>, known: &[&str]) -> Result<(), Problem> {
    match given {
        Some(given) if !known.contains(&given) => {
            let known = known.join(", ");
            Err(malformed(format!("`{name}` must be one of {known}")))
        }
        _ => Ok(()),
    }
}

fn cursor_text(entry: &AuditEntry) -> String {
    format!("{}.{}", entry.at.as_micros(), entry.request)
}

fn cursor(text: &str) -> Option<AuditCursor> {
    let (micros, request) = text.split_once('.')?;
    Some(AuditCursor {
        at: Timestamp::from_micros(micros.parse().ok()?),
        request: request.parse::<RequestId>().ok()?,
    })
}

fn entry_json(entry: &AuditEntry) -> Value {
    let refusal = match &entry.outcome {
        ControlOutcome::Refused { code, message } => {
            Some(json!({"code": code, "message": message}))
        }
        ControlOutcome::Applied | ControlOutcome::Unchanged => None,
    };
    json!({
        "request": entry.request,
        "at": entry.at.to_string(),
        "executionId": entry.execution,
        "action": entry.action,
        "by": entry.by,
        "scopes": entry.scopes,
        "reason": entry.reason,
        "details": entry.details,
        "outcome": entry.outcome.as_str(),
        "refusal": refusal,
    })
}
