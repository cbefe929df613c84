//! `POST /api/holds {scope, reason?}`: nothing new begins in a scope; `POST /api/holds/release` with
//! the same body: it goes on. A scope is `"all"`, `{"workflow": name}` or `{"kind": name}`; for a
//! workflow there are also `POST /api/workflows/{name}/pause` and `…/resume`.
//!
//! `200 {action, scope, outcome: "applied" | "unchanged", partitions}`: applied if it changed anything
//! anywhere. 202 with `pending` if some partitions have stored it and not decided it yet. 503 if some
//! may not have it: repeating the request changes nothing in the others.

use std::sync::Arc;

use afu9_schemas::message::{Control, ControlAction, HoldScope};
use afu9_schemas::tool::kind_profile;
use afu9_schemas::{RequestId, WorkerKind};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::auth::{Allowed, Caller, Operate};
use super::start::unknown_workflow;
use super::{body, idempotency, malformed, shown, wish};
use crate::app::App;
use crate::control::Carried;
use crate::definitions::is_workflow_name;
use crate::problem::Problem;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    scope: Scope,
    #[serde(default)]
    reason: Option<String>,
}

/// A scope as it was sent: the kind is any text yet.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Scope {
    All,
    Workflow(String),
    Kind(String),
}

/// The body of the paths of a workflow: the scope is in the path.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct OfWorkflow {
    #[serde(default)]
    reason: Option<String>,
    /// The predecessor's fields. The audit log names whoever holds the token.
    #[serde(default, alias = "resumedBy")]
    paused_by: Option<String>,
}

/// What to do with a scope.
#[derive(Debug, Clone, Copy)]
enum Change {
    Hold,
    Release,
}

pub(super) async fn hold(
    State(app): State<Arc<App>>,
    caller: Allowed<Operate>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    by_scope(&app, &caller, &headers, body, Change::Hold).await
}

pub(super) async fn release(
    State(app): State<Arc<App>>,
    caller: Allowed<Operate>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    by_scope(&app, &caller, &headers, body, Change::Release).await
}

pub(super) async fn pause_workflow(
    State(app): State<Arc<App>>,
    caller: Allowed<Operate>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    by_workflow(&app, &caller, name, &headers, body, Change::Hold).await
}

pub(super) async fn resume_workflow(
    State(app): State<Arc<App>>,
    caller: Allowed<Operate>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    by_workflow(&app, &caller, name, &headers, body, Change::Release).await
}

async fn by_scope(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    body: Body,
    change: Change,
) -> Result<Response, Problem> {
    let request: Request = body::json(app, headers, body).await?;
    let path = match change {
        Change::Hold => "/api/holds",
        Change::Release => "/api/holds/release",
    };
    let content = json!(request.scope);
    let (id, content) = idempotency::request(&caller.name, path, headers, &content)?;
    let wish = (id, content, request.reason);
    change_hold(app, caller, request.scope, wish, change).await
}

async fn by_workflow(
    app: &App,
    caller: &Caller,
    name: String,
    headers: &HeaderMap,
    body: Body,
    change: Change,
) -> Result<Response, Problem> {
    let request: OfWorkflow = body::json(app, headers, body).await?;
    if let Some(by) = &request.paused_by {
        wish::text("pausedBy", by)?;
    }
    let path = match change {
        Change::Hold => format!("/api/workflows/{name}/pause"),
        Change::Release => format!("/api/workflows/{name}/resume"),
    };
    let (id, content) = idempotency::request(&caller.name, &path, headers, &Value::Null)?;
    let wish = (id, content, request.reason);
    change_hold(app, caller, Scope::Workflow(name), wish, change).await
}

async fn change_hold(
    app: &App,
    caller: &Caller,
    scope: Scope,
    (request, content, reason): (RequestId, Option<u64>, Option<String>),
    change: Change,
) -> Result<Response, Problem> {
    let reason = wish::reason(reason)?;
    let scope = checked(app, scope, change).await?;
    let action = match change {
        Change::Hold => ControlAction::Hold(scope.clone()),
        Change::Release => ControlAction::Release(scope.clone()),
    };
    let name = action.as_str();
    let control = Control {
        request,
        by: caller.name.clone(),
        scopes: caller.scopes(),
        reason,
        reply_to: None,
        content,
        action,
    };
    let everywhere = app.control_everywhere(&control).await;
    if let Some((failed, error)) = everywhere.failed {
        let numbers: Vec<u16> = failed
            .into_iter()
            .map(|partition| partition.get())
            .collect();
        return Err(error.problem().with("partitions", json!(numbers)));
    }
    if let Carried::Refused { code, message } = &everywhere.carried {
        return Err(wish::refusal(code, message.as_str()));
    }
    let (status, outcome) = if everywhere.pending > 0 {
        (StatusCode::ACCEPTED, Carried::Pending)
    } else {
        (StatusCode::OK, everywhere.carried)
    };
    let body = json!({
        "action": name,
        "scope": scope,
        "outcome": outcome.as_str(),
        "request": control.request,
        "partitions": {"decided": everywhere.decided, "pending": everywhere.pending},
        "links": {"holds": "/api/holds"},
    });
    Ok((status, Json(body)).into_response())
}

/// A scope that can be held: a misspelt one would hold nothing, and nobody would notice.
async fn checked(app: &App, scope: Scope, change: Change) -> Result<HoldScope, Problem> {
    match scope {
        Scope::All => Ok(HoldScope::All),
        Scope::Kind(name) => {
            let kind = WorkerKind::new(name.as_str()).ok();
            kind.filter(|kind| kind_profile(kind).is_some())
                .map(HoldScope::Kind)
                .ok_or_else(|| malformed(format!("there is no worker kind `{}`", shown(&name))))
        }
        Scope::Workflow(name) => {
            let exists = match change {
                Change::Hold => {
                    let newest = app.definitions.newest(&name).await;
                    newest.map_err(|error| Problem::broker(&error))?.is_some()
                }
                // What was held must be released also when the workflow is gone.
                Change::Release => is_workflow_name(&name),
            };
            if exists {
                Ok(HoldScope::Workflow(name))
            } else {
                Err(unknown_workflow(&name))
            }
        }
    }
}
