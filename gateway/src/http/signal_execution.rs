//! `POST /api/executions/{id}/signal/{name}`: tells an execution something it may wait for. The body
//! is the payload, any JSON; none is `null`.

use std::sync::Arc;

use afu9_schemas::artifact::MAX_INLINE_BYTES;
use afu9_schemas::message::ControlAction;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use http::HeaderMap;
use serde_json::Value;

use super::auth::{Allowed, Operate};
use super::{body, malformed, wish};
use crate::app::App;
use crate::problem::Problem;

/// Largest payload: it travels in one message, and the execution keeps it.
const MAX_PAYLOAD_BYTES: usize = MAX_INLINE_BYTES;

pub(super) async fn signal(
    State(app): State<Arc<App>>,
    caller: Allowed<Operate>,
    Path((id, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    wish::text("name", &name)?;
    let limit = MAX_PAYLOAD_BYTES.min(app.config.limits.request_bytes);
    let read = body::read(&app, &headers, body, limit).await?;
    let payload = if read.bytes.trim_ascii().is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&read.bytes)
            .map_err(|error| malformed(format!("the payload is not JSON: {error}")))?
    };
    let content = payload.clone();
    let action = ControlAction::Signal { name, payload };
    wish::carry_out(&app, &caller, &id, &headers, None, &content, action).await
}
