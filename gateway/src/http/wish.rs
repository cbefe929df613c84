//! What every wish about one execution has in common: who wishes it, how it is named, and how what
//! came of it is answered.
//!
//! `200 {executionId, action, outcome: "applied" | "unchanged"}`, `202 {…, outcome: "pending"}` where
//! nobody said in time what came of it, or the engine's refusal as a problem, with its code.

use afu9_schemas::ExecutionId;
use afu9_schemas::message::{Control, ControlAction};
use afu9_schemas::view::{ExecutionStatus, ExecutionView};
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::auth::Caller;
use super::{MAX_TEXT_BYTES, idempotency, malformed, show_execution};
use crate::app::App;
use crate::control::{CONTROL_PATIENCE, Carried};
use crate::executions::Found;
use crate::problem::{Kind, Problem};

/// Longest reason, in bytes.
const MAX_REASON_BYTES: usize = 4096;

/// Stores the wish of `caller` about the execution `id`, and answers with what comes of it. `content`
/// is what they sent beside a reason: the same `Idempotency-Key` with another content is a mistake.
pub(super) async fn carry_out(
    app: &App,
    caller: &Caller,
    id: &str,
    headers: &HeaderMap,
    reason: Option<String>,
    content: &Value,
    action: ControlAction,
) -> Result<Response, Problem> {
    let execution = show_execution::id(id)?;
    let name = path(&action);
    let path = format!("/api/executions/{execution}/{name}");
    let (request, content) = idempotency::request(&caller.name, &path, headers, content)?;
    let control = Control {
        request,
        by: caller.name.clone(),
        scopes: caller.scopes(),
        reason,
        reply_to: None,
        content,
        action: action.clone(),
    };
    let carried = app.control(execution, control, CONTROL_PATIENCE).await;
    let carried = match carried.map_err(|error| error.problem())? {
        Carried::Refused { code, message } => {
            explain_refusal(app, execution, &action, &code, message).await?
        }
        carried => carried,
    };
    let status = match carried {
        Carried::Pending => StatusCode::ACCEPTED,
        _ => StatusCode::OK,
    };
    let body = json!({
        "executionId": execution,
        "action": action.as_str(),
        "outcome": carried.as_str(),
        "request": request,
        "links": {"self": format!("/api/executions/{execution}")},
    });
    Ok((status, Json(body)).into_response())
}

/// What a wish is called in the path, so that an alias of a path means the same wish.
fn path(action: &ControlAction) -> String {
    match action {
        ControlAction::Signal { name, .. } => format!("signal/{name}"),
        other => other.as_str().to_owned(),
    }
}

/// A reason as a caller gave it.
pub(super) fn reason(reason: Option<String>) -> Result<Option<String>, Problem> {
    match &reason {
        Some(text) if text.len() > MAX_REASON_BYTES => Err(malformed(format!(
            "`reason` is longer than {MAX_REASON_BYTES} bytes"
        ))),
        _ => Ok(reason),
    }
}

/// A short text of a caller's, which must not be empty.
pub(super) fn text(name: &str, text: &str) -> Result<(), Problem> {
    if (1..=MAX_TEXT_BYTES).contains(&text.len()) {
        return Ok(());
    }
    Err(malformed(format!(
        "`{name}` must be 1 to {MAX_TEXT_BYTES} bytes"
    )))
}

/// The engine knows live executions and failed ones that can be retried. Of others the past tells
/// whether they ended, and how, or never were.
pub(super) async fn explain_refusal(
    app: &App,
    execution: ExecutionId,
    action: &ControlAction,
    code: &str,
    message: String,
) -> Result<Carried, Problem> {
    if !matches!(code, "execution.ended" | "execution.not_live") {
        return Err(refusal(code, message));
    }
    let found = app.find(execution).await;
    match found.map_err(|error| Problem::internal(&error))? {
        Found::Known(view, _) if view.summary.status.is_terminal() => ended(&view, action),
        Found::Unknown => Err(show_execution::unknown(&execution.to_string())),
        Found::Known(..) | Found::OwnerAway | Found::PastAway => Err(refusal(code, message)),
    }
}

fn ended(view: &ExecutionView, action: &ControlAction) -> Result<Carried, Problem> {
    let status = view.summary.status;
    let (detail, next) = match action {
        ControlAction::Cancel if status == ExecutionStatus::Cancelled => {
            return Ok(Carried::Unchanged);
        }
        ControlAction::Cancel => (String::new(), "nothing is left to cancel"),
        ControlAction::Retry { .. } => (
            ", and its orchestrator keeps it no more".to_owned(),
            "start it anew: POST /api/executions/{id}/rerun, with `fromStep` to keep what is done",
        ),
        _ => (
            String::new(),
            "nothing happens in it any more; POST /api/executions/{id}/rerun starts it anew",
        ),
    };
    Err(Problem::new(
        Kind::ExecutionEnded,
        format!("the execution has ended: it is {}{detail}", status.as_str()),
        next,
    )
    .with("executionStatus", json!(status.as_str())))
}

/// A refusal of the engine's.
pub(super) fn refusal(code: &str, message: impl Into<String>) -> Problem {
    let kind = match code {
        "idempotency.conflict" => Kind::IdempotencyConflict,
        "approval.scope" | "approval.not_approver" | "approval.self" => Kind::Forbidden,
        _ => Kind::Refused,
    };
    Problem::new(kind, message, next_action(code)).coded(code)
}

fn next_action(code: &str) -> &'static str {
    match code {
        "approval.scope" => "use a token with the scope that the step asks for",
        "approval.not_approver" | "approval.self" => "let somebody decide who may",
        "approval.not_waiting" => "GET /api/executions/{id} shows which steps wait",
        "approval.decided" => "a decision cannot be taken back; cancel the execution instead",
        "control.repeated" | "idempotency.conflict" => {
            "use a new Idempotency-Key, or none, for a new request"
        }
        "execution.ending" => "wait until it has ended",
        "execution.not_paused" => "nothing has to be resumed",
        "execution.not_failed" | "execution.undone" => {
            "start it anew: POST /api/executions/{id}/rerun"
        }
        "retry.several_failed" => "leave `step` out",
        "retry.superseded" => "GET /api/executions/{id} shows the attempts since",
        "retry.not_failed" => "GET /api/executions/{id} shows which steps failed",
        "retry.params" => "leave `params` out, or name the one step they are for",
        "retry.key_taken" => "try again when the execution that has the key has ended",
        "signal.too_many" => "wait until a step takes one",
        "version.misfit" => {
            "let it end with its version, or cancel it and rerun it with the new one"
        }
        "definition.missing" => "apply the version again",
        _ => "GET /api/executions/{id}/explain says what it waits for",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_is_told_apart_from_what_cannot_be() {
        for (code, status, blocked_by) in [
            ("approval.self", 403, "POLICY"),
            ("approval.scope", 403, "POLICY"),
            ("execution.not_paused", 409, "STATE"),
            ("control.repeated", 409, "STATE"),
            ("idempotency.conflict", 422, "STATE"),
            ("a.code_of_tomorrow", 409, "STATE"),
        ] {
            let body = refusal(code, "why").body("r");
            assert_eq!(body["status"], status, "{code}");
            assert_eq!(body["blockedBy"], blocked_by, "{code}");
            assert_eq!(body["code"], code);
            assert_eq!(body["type"], format!("urn:afu9:problem:{code}"));
        }
    }
}
