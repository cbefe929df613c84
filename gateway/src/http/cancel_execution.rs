//! `POST /api/executions/{id}/cancel {reason?}`: ends an execution.

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
    let reason = wish::reason(request.reason)?;
    wish::carry_out(
        &app,
        &caller,
        &id,
        &headers,
        reason,
        &Value::Null,
        ControlAction::Cancel,
    )
    .await
}
