//! `POST /api/executions/{id}/resume {reason?}`: a paused execution goes on.

use std::sync::Arc;

use afu9_schemas::message::ControlAction;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use super::auth::{Allowed, Operate};
use super::{body, wish};
use crate::app::App;
use crate::problem::Problem;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Request {
    #[serde(default)]
    reason: Option<String>,
    /// The predecessor's field. The audit log names whoever holds the token, whatever is said here.
    #[serde(default)]
    resumed_by: Option<String>,
}

pub(super) async fn resume(
    State(app): State<Arc<App>>,
    caller: Allowed<Operate>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let request: Request = body::json(&app, &headers, body).await?;
    if let Some(by) = &request.resumed_by {
        wish::text("resumedBy", by)?;
    }
    let reason = wish::reason(request.reason)?;
    wish::carry_out(
        &app,
        &caller,
        &id,
        &headers,
        reason,
        &Value::Null,
        ControlAction::Resume,
    )
    .await
}
