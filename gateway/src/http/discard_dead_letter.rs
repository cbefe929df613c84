//! `POST /api/v1/dead-letters/{id}/discard {note}`: nothing shall be done about it. The note says why, and
//! stays with it.

use std::sync::Arc;

use afu9_schemas::message::ControlAction;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use super::auth::{Allowed, Operate};
use super::replay_dead_letter::{Wish, already, answer, settle, tell};
use super::{body, malformed, show_dead_letter, wish};
use crate::app::App;
use crate::control::Carried;
use crate::problem::Problem;
use crate::stored::{LetterEntry, LetterState};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    note: String,
}

pub(super) async fn discard(
    State(app): State<Arc<App>>,
    caller: Allowed<Operate>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let sent: Request = body::json(&app, &headers, body).await?;
    let note = note(Some(sent.note))?;
    let entry = show_dead_letter::find(&app, &id).await?;
    let path = format!("/api/v1/dead-letters/{}/discard", entry.id);
    // A note is no part of what is wished.
    let wish = Wish::new(&caller, &path, &headers, &Value::Null, note)?;
    let carried = carry_out(&app, &entry, &wish).await?;
    Ok(answer(
        &entry,
        "discard",
        LetterState::Discarded,
        &carried,
        &wish,
    ))
}

/// Why a dead letter is discarded, which must be said.
pub(super) fn note(note: Option<String>) -> Result<Option<String>, Problem> {
    match wish::reason(note)? {
        Some(note) if !note.trim().is_empty() => Ok(Some(note)),
        _ => Err(malformed("`note` must say why nothing shall be done")),
    }
}

/// Discards a dead letter. Settled first and told then: whoever hears of a failure in between repeats the
/// request, which is told again.
pub(super) async fn carry_out(
    app: &App,
    entry: &LetterEntry,
    wish: &Wish,
) -> Result<Carried, Problem> {
    let carried = match &entry.settled {
        Some(settled) => already(settled, LetterState::Discarded, wish)?,
        None => settle(app, entry, LetterState::Discarded, wish).await?,
    };
    tell(app, wish, ControlAction::Discard(entry.id)).await?;
    Ok(carried)
}
