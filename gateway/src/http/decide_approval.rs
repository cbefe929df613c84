//! `POST /api/executions/{id}/approve {step?, reason?}` and `…/reject`: decides an approval. `step`
//! can be left out where exactly one waits.

use std::sync::Arc;

use afu9_schemas::definition::Decision;
use afu9_schemas::message::ControlAction;
use afu9_schemas::view::{StepAction, StepStatus};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::json;

use super::auth::{Allowed, Approve, Caller};
use super::{body, show_execution, wish};
use crate::app::App;
use crate::executions::Source;
use crate::problem::{Kind, Problem};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    #[serde(default)]
    step: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

pub(super) async fn approve(
    State(app): State<Arc<App>>,
    caller: Allowed<Approve>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    decide(&app, &caller, &id, &headers, body, Decision::Approve).await
}

pub(super) async fn reject(
    State(app): State<Arc<App>>,
    caller: Allowed<Approve>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    decide(&app, &caller, &id, &headers, body, Decision::Reject).await
}

async fn decide(
    app: &App,
    caller: &Caller,
    id: &str,
    headers: &HeaderMap,
    body: Body,
    decision: Decision,
) -> Result<Response, Problem> {
    let request: Request = body::json(app, headers, body).await?;
    let reason = wish::reason(request.reason)?;
    let content = json!({"step": request.step});
    let step = match request.step {
        Some(step) => {
            wish::text("step", &step)?;
            step
        }
        None => the_waiting_one(app, id).await?,
    };
    let action = ControlAction::Decide { step, decision };
    wish::carry_out(app, caller, id, headers, reason, &content, action).await
}

/// The one step that waits for an approval.
async fn the_waiting_one(app: &App, id: &str) -> Result<String, Problem> {
    let (view, source) = show_execution::find(app, id).await?;
    if source != Source::Live && !view.summary.status.is_terminal() {
        return Err(Problem::new(
            Kind::ExecutionUnreachable,
            "which approval waits is not known: the execution's orchestrator is being replaced",
            "try again, or name the `step`",
        ));
    }
    let mut waiting: Vec<String> = view
        .steps
        .iter()
        .filter(|step| step.action == StepAction::Approval && step.status == StepStatus::Waiting)
        .map(|step| step.name.clone())
        .collect();
    match waiting.len() {
        1 => Ok(waiting.remove(0)),
        0 => Err(wish::refusal(
            "approval.not_waiting",
            "no step of the execution waits for an approval now",
        )),
        _ => Err(Problem::new(
            Kind::Refused,
            "several steps wait for an approval",
            "name one of them as `step`",
        )
        .coded("approval.ambiguous")
        .with("steps", json!(waiting))),
    }
}
