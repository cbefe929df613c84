//! `POST /api/executions/{id}/retry {step?, params?, reason?}`: runs the failed steps of a failed
//! execution again, or only `step`, which may be given other parameters.

use std::sync::Arc;

use afu9_schemas::message::ControlAction;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::auth::{Allowed, Operate};
use super::{body, wish};
use crate::app::App;
use crate::problem::Problem;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    #[serde(default)]
    step: Option<String>,
    #[serde(default)]
    params: Option<Value>,
    #[serde(default)]
    reason: Option<String>,
}

pub(super) async fn retry(
    State(app): State<Arc<App>>,
    caller: Allowed<Operate>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let request: Request = body::json(&app, &headers, body).await?;
    if let Some(step) = &request.step {
        wish::text("step", step)?;
    }
    let reason = wish::reason(request.reason)?;
    let content = json!({"step": request.step, "params": request.params});
    let action = ControlAction::Retry {
        step: request.step,
        params: request.params,
        failed: None,
    };
    wish::carry_out(&app, &caller, &id, &headers, reason, &content, action).await
}
