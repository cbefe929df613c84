//! `POST /api/executions/{id}/move {version, reason?}`: an execution goes on with another version of
//! its workflow, `latest` or a number.

use std::sync::Arc;

use afu9_schemas::message::ControlAction;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;

use super::auth::{Allowed, Operate};
use super::workflow_versions::Wanted;
use super::{body, show_execution, wish, workflow_versions};
use crate::app::App;
use crate::problem::Problem;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    version: Wanted,
    #[serde(default)]
    reason: Option<String>,
}

pub(super) async fn go_on_with(
    State(app): State<Arc<App>>,
    caller: Allowed<Operate>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let request: Request = body::json(&app, &headers, body).await?;
    let reason = wish::reason(request.reason)?;
    let (view, _) = show_execution::find(&app, &id).await?;
    let record = workflow_versions::find(&app, &view.summary.workflow, request.version).await?;
    let content = request.version.content();
    let action = ControlAction::Move {
        to: record.workflow,
    };
    wish::carry_out(&app, &caller, &id, &headers, reason, &content, action).await
}
