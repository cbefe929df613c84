//! `GET /api/v1/dead-letters?state=&reason=&kind=&tool=&workflow=&execution=&since=&until=&limit=&cursor=`:
//! what nobody could finish, newest first. `since` counts, `until` does not.

use std::sync::Arc;

use afu9_schemas::message::DeadLetterReason;
use afu9_schemas::{DeadLetterId, Timestamp};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::auth::{Allowed, Read};
use super::{instant, malformed, no_database, page_limit, stored_problem};
use crate::app::App;
use crate::problem::Problem;
use crate::stored::{LetterCursor, LetterEntry, LetterFilter, LetterState, MAX_LETTERS};

/// The usual page.
const DEFAULT_LIMIT: u32 = 50;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    state: Option<String>,
    reason: Option<String>,
    kind: Option<String>,
    tool: Option<String>,
    workflow: Option<String>,
    execution: Option<String>,
    since: Option<String>,
    until: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// Which dead letters a caller means, in a list and in a wish about many.
#[derive(Debug, Default, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    #[serde(default)]
    pub(super) reason: Option<String>,
    #[serde(default)]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) tool: Option<String>,
    #[serde(default)]
    pub(super) workflow: Option<String>,
    #[serde(default)]
    pub(super) execution: Option<String>,
    #[serde(default)]
    pub(super) since: Option<String>,
    #[serde(default)]
    pub(super) until: Option<String>,
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    _caller: Allowed<Read>,
    wanted: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(asked) = wanted.map_err(|_| {
        malformed(
            "the query may have `state`, `reason`, `kind`, `tool`, `workflow`, `execution`, `since`, \
             `until`, `limit` and `cursor`, each once",
        )
    })?;
    let limit = page_limit(asked.limit.as_deref(), DEFAULT_LIMIT, MAX_LETTERS)?;
    let state = asked.state.as_deref().map(state).transpose()?;
    let wanted = Wanted {
        reason: asked.reason,
        kind: asked.kind,
        tool: asked.tool,
        workflow: asked.workflow,
        execution: asked.execution,
        since: asked.since,
        until: asked.until,
    };
    let filter = filter(&wanted, state, asked.cursor.as_deref())?;
    let listed = app.stored.letters(&filter, limit).await;
    let letters = listed
        .map_err(stored_problem)?
        .ok_or_else(|| no_database("dead letters come"))?;
    let full = letters.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let next = letters.last().filter(|_| full).map(LetterCursor::from);
    Ok(Json(json!({
        "deadLetters": letters.iter().map(entry_json).collect::<Vec<_>>(),
        "nextCursor": next.map(cursor_text),
    })))
}

/// What a caller asks for, understood.
pub(super) fn filter(
    wanted: &Wanted,
    state: Option<LetterState>,
    after: Option<&str>,
) -> Result<LetterFilter, Problem> {
    if let Some(reason) = &wanted.reason
        && !DeadLetterReason::ALL
            .iter()
            .any(|known| known.as_str() == reason)
    {
        let known: Vec<&str> = DeadLetterReason::ALL
            .iter()
            .map(|known| known.as_str())
            .collect();
        return Err(malformed(format!(
            "`reason` must be one of {}",
            known.join(", ")
        )));
    }
    let execution = wanted.execution.as_deref().map(|id| {
        id.parse()
            .map_err(|_| malformed("`execution` must be the id of an execution"))
    });
    let before = after.map(|text| {
        cursor(text)
            .ok_or_else(|| malformed("`cursor` must be the `nextCursor` of another request"))
    });
    Ok(LetterFilter {
        state,
        reason: wanted.reason.clone(),
        kind: wanted.kind.clone(),
        tool: wanted.tool.clone(),
        workflow: wanted.workflow.clone(),
        execution: execution.transpose()?,
        since: instant("since", wanted.since.as_deref())?,
        until: instant("until", wanted.until.as_deref())?,
        before: before.transpose()?,
    })
}

fn state(name: &str) -> Result<LetterState, Problem> {
    let known = LetterState::ALL
        .into_iter()
        .find(|state| state.as_str() == name);
    known.ok_or_else(|| malformed("`state` must be one of open, replayed, discarded"))
}

pub(super) fn cursor_text(cursor: LetterCursor) -> String {
    format!("{}.{}", cursor.at.as_micros(), cursor.id)
}

fn cursor(text: &str) -> Option<LetterCursor> {
    let (micros, id) = text.split_once('.')?;
    Some(LetterCursor {
        at: Timestamp::from_micros(micros.parse().ok()?),
        id: id.parse::<DeadLetterId>().ok()?,
    })
}

/// One line of a list.
pub(super) fn entry_json(letter: &LetterEntry) -> Value {
    let settled = letter.settled.as_ref().map(|settled| {
        json!({
            "by": settled.by,
            "at": settled.at.to_string(),
            "note": settled.note,
            "request": settled.request,
        })
    });
    json!({
        "id": letter.id,
        "state": letter.state().as_str(),
        "reason": letter.reason,
        "at": letter.at.to_string(),
        "kind": letter.kind,
        "tool": letter.tool,
        "workflow": letter.workflow,
        "executionId": letter.execution,
        "step": letter.step,
        "stepIndex": letter.step_index,
        "item": letter.item,
        "attempt": letter.attempt,
        "attemptCount": letter.attempts,
        "error": {
            "class": letter.error_class,
            "code": letter.error_code,
            "message": letter.error_message,
        },
        "traceId": letter.trace_id,
        "delivery": letter.delivery,
        "earlier": letter.earlier,
        "bytes": letter.bytes,
        "settled": settled,
    })
}
