//! `POST /api/executions/{id}/cancel`: the wish to end an execution; answered once it is stored.

use std::sync::Arc;

use afu9_schemas::message::{Cancel, Input, InputKind};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::auth::{Allowed, Operate};
use super::{body, show_execution};
use crate::app::App;
use crate::problem::{Kind, Problem};

/// Longest reason, in bytes.
const MAX_REASON_BYTES: usize = 4096;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    #[serde(default)]
    reason: Option<String>,
}

pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    caller: Allowed<Operate>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let request: Request = body::json(&app, &headers, body).await?;
    if request
        .reason
        .as_ref()
        .is_some_and(|reason| reason.len() > MAX_REASON_BYTES)
    {
        return Err(Problem::new(
            Kind::Malformed,
            format!("`reason` is longer than {MAX_REASON_BYTES} bytes"),
            "send a shorter reason",
        ));
    }
    let (view, _) = show_execution::find(&app, &id).await?;
    let (execution, status) = (view.summary.id, view.summary.status);
    if status.is_terminal() {
        return Err(Problem::new(
            Kind::ExecutionEnded,
            format!("the execution has ended: it is {}", status.as_str()),
            "nothing is left to cancel",
        )
        .with("executionStatus", json!(status.as_str())));
    }
    let kind = InputKind::Cancel(Cancel {
        by: caller.name,
        reason: request.reason,
    });
    let stored = app.log.submit(Input { execution, kind }).await;
    stored.map_err(|error| Problem::publish(&error))?;
    let body = json!({
        "executionId": execution,
        "status": status.as_str(),
        "cancelRequested": true,
        "links": {"self": format!("/api/executions/{execution}")},
    });
    Ok((StatusCode::ACCEPTED, Json(body)).into_response())
}
