//! `GET /api/workflows/{name}`: the newest version of one workflow; its hash is the ETag.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::ETAG;
use serde_json::json;

use super::auth::{Allowed, Read};
use super::start::unknown_workflow;
use crate::app::App;
use crate::problem::Problem;

pub(super) async fn get(
    State(app): State<Arc<App>>,
    _caller: Allowed<Read>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let newest = app.definitions.newest(&name).await;
    let known = newest
        .map_err(|error| Problem::broker(&error))?
        .ok_or_else(|| unknown_workflow(&name))?;
    let record = &known.record;
    let body = json!({
        "id": record.workflow.id,
        "name": record.workflow.name,
        "description": record.definition.get("description"),
        "definition": record.definition,
        "version": record.workflow.version,
        "hash": record.workflow.hash,
        "enabled": record.enabled,
        "appliedAt": record.applied_at.to_string(),
        "appliedBy": record.applied_by,
        "switched": record.switched.as_ref().map(|last| json!({
            "by": last.by,
            "reason": last.reason,
            "at": last.at.to_string(),
        })),
    });
    let mut response = Json(body).into_response();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", record.workflow.hash)) {
        response.headers_mut().insert(ETAG, tag);
    }
    Ok(response)
}
