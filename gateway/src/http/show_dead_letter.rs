//! `GET /api/v1/dead-letters/{id}`: one dead letter, complete: what was to be done, every attempt, the
//! error with its causes, and the bytes of what could not be read. `replay` says what a replay would do,
//! or why none can be.

use std::sync::Arc;

use afu9_schemas::DeadLetterId;
use afu9_schemas::artifact::MAX_INLINE_BYTES;
use afu9_schemas::codec;
use afu9_schemas::message::{DeadLetter, DeadLetterReason, InboxBody, InboxDelivery, Job};
use axum::Json;
use axum::extract::{Path, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::auth::{Allowed, Read};
use super::list_dead_letters::entry_json;
use super::replay_dead_letter::{How, Never};
use super::{no_database, shown, stored_problem};
use crate::app::App;
use crate::executions::{attempt_json, error_json};
use crate::problem::{Kind, Problem};
use crate::stored::LetterEntry;

pub(super) async fn show(
    State(app): State<Arc<App>>,
    _caller: Allowed<Read>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let entry = find(&app, &id).await?;
    let raw = message(&app, &entry).await?;
    let letter: Option<DeadLetter> = raw.as_deref().and_then(|raw| codec::decode(raw).ok());
    let mut body = entry_json(&entry);
    body["replay"] = match How::of(&entry, letter.as_ref()) {
        Ok(how) => json!({ "possible": true, "how": how.as_str() }),
        Err(Never { why, next }) => json!({ "possible": false, "why": why, "nextAction": next }),
    };
    body["links"] = json!({
        "self": format!("/api/v1/dead-letters/{}", entry.id),
        "execution": entry.execution.map(|id| format!("/api/executions/{id}")),
    });
    match (&letter, &raw) {
        (Some(letter), _) => whole(letter, &mut body),
        // Only the bytes of the dead letter itself are left to show.
        (None, Some(raw)) => body["raw"] = raw_json(raw),
        (None, None) => body["gone"] = json!(true),
    }
    Ok(Json(body))
}

/// The dead letter a path names.
pub(super) async fn find(app: &App, id: &str) -> Result<LetterEntry, Problem> {
    let parsed: DeadLetterId = id.parse().map_err(|_| unknown(id))?;
    let found = app.stored.letter(parsed).await.map_err(stored_problem)?;
    found
        .ok_or_else(|| no_database("dead letters come"))?
        .ok_or_else(|| unknown(id))
}

fn unknown(id: &str) -> Problem {
    Problem::new(
        Kind::UnknownDeadLetter,
        format!("there is no dead letter `{}`", shown(id)),
        "GET /api/v1/dead-letters lists them; they are kept for 90 days",
    )
}

/// The message of a dead letter: from its row, or from the stream where that is too small for it.
/// `None` if neither has it.
pub(super) async fn message(app: &App, entry: &LetterEntry) -> Result<Option<Vec<u8>>, Problem> {
    let stored = app.stored.letter_bytes(entry.id).await;
    if let Some(bytes) = stored.map_err(stored_problem)? {
        return Ok(Some(bytes));
    }
    let found = app.broker.dead_letter_at(entry.stream_sequence).await;
    let found = found.map_err(|error| Problem::broker(&error))?;
    // Another one is there if the stream was made anew.
    let is_it =
        |bytes: &bytes::Bytes| u64::try_from(bytes.len()).is_ok_and(|len| len == entry.bytes);
    Ok(found.filter(is_it).map(|bytes| bytes.to_vec()))
}

fn whole(letter: &DeadLetter, body: &mut Value) {
    body["error"] = error_json(&letter.error);
    body["attempts"] = letter.attempts.iter().map(attempt_json).collect();
    body["job"] = letter.job.as_ref().map(job_json).into();
    let Some(raw) = &letter.raw else { return };
    body["raw"] = raw_json(raw);
    if letter.kind.is_some() {
        return;
    }
    match codec::decode::<InboxDelivery>(raw) {
        Ok(delivery) => body["deliveryContent"] = delivery_json(&delivery),
        Err(_) if letter.reason == DeadLetterReason::Unstarted => {
            body["trigger"] = serde_json::from_slice(raw).unwrap_or_default();
        }
        Err(_) => {}
    }
}

fn job_json(job: &Job) -> Value {
    json!({
        "id": job.id.to_string(),
        "idempotencyKey": job.id.idempotency_key(),
        "partition": job.partition.get(),
        "tool": job.tool,
        "params": job.params,
        "lane": job.lane.as_str(),
        "dispatchedAt": job.dispatched_at.to_string(),
        "deadline": job.deadline.map(|at| at.to_string()),
        "traceparent": job.traceparent,
    })
}

fn delivery_json(delivery: &InboxDelivery) -> Value {
    let (text, artifact) = match &delivery.body {
        InboxBody::Inline(bytes) => (std::str::from_utf8(bytes).ok(), None),
        InboxBody::Artifact(artifact) => (None, Some(artifact.to_value())),
    };
    json!({
        "id": delivery.id,
        "source": delivery.source,
        "event": delivery.event,
        "action": delivery.action,
        "headers": delivery.headers,
        "body": text,
        "artifact": artifact,
        "receivedAt": delivery.received_at.to_string(),
        "traceparent": delivery.traceparent,
    })
}

/// Bytes as they are, and as text where they are one.
fn raw_json(raw: &[u8]) -> Value {
    let text = std::str::from_utf8(raw)
        .ok()
        .filter(|text| text.len() <= MAX_INLINE_BYTES && !text.contains('\0'));
    json!({ "bytes": raw.len(), "base64": BASE64.encode(raw), "text": text })
}
