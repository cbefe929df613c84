//! `GET /api/v1/schedules?workflow=`: every schedule of the newest definitions, when it starts something
//! next, when it last did, and who has paused it.
//!
//! `next` is null while it is paused or its workflow disabled, and until an orchestrator has seen it.

use std::sync::Arc;

use afu9_schemas::definition::MissedRuns;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::auth::{Allowed, Read};
use super::malformed;
use super::start::unknown_workflow;
use crate::app::App;
use crate::definitions::is_workflow_name;
use crate::problem::Problem;
use crate::schedules::Known;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    workflow: Option<String>,
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    _caller: Allowed<Read>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(wanted) = wanted.map_err(|_| malformed("the query may have `workflow`, once"))?;
    let workflow = wanted.workflow.as_deref();
    if let Some(name) = workflow.filter(|name| !is_workflow_name(name)) {
        return Err(unknown_workflow(name));
    }
    let found = app.list_schedules(workflow).await?;
    let schedules: Vec<Value> = found.iter().map(schedule_json).collect();
    Ok(Json(
        json!({"total": schedules.len(), "schedules": schedules}),
    ))
}

pub(super) fn schedule_json(known: &Known) -> Value {
    let Known { rule, state, .. } = known;
    let mut paused_by = Vec::new();
    if known.paused_by_definition() {
        paused_by.push(json!({"kind": "definition"}));
    }
    if let Some(pause) = known.paused_by() {
        paused_by.push(json!({
            "kind": "operator",
            "by": pause.last.by,
            "reason": pause.last.reason,
            "since": pause.last.at.to_string(),
        }));
    }
    let said = |of_rule: Option<&String>, of_state: Option<&String>| json!(of_rule.or(of_state));
    let paused = !paused_by.is_empty();
    let next = state.as_ref().and_then(|state| state.next);
    json!({
        "workflow": known.of.workflow,
        "schedule": known.of.schedule,
        "cron": said(
            rule.as_ref().map(|rule| &rule.cron),
            state.as_ref().map(|state| &state.cron),
        ),
        "timezone": said(
            rule.as_ref().map(|rule| &rule.timezone),
            state.as_ref().map(|state| &state.timezone),
        ),
        "missed": rule.as_ref().map(|rule| missed(rule.missed)),
        "jitterMs": rule.as_ref().map(|rule| rule.jitter.as_millis()),
        "enabled": known.enabled,
        "paused": paused,
        "pausedBy": paused_by,
        // A pause counts from when it is answered, an instant before the orchestrator hears of it.
        "next": next.filter(|_| !paused).map(|next| next.to_string()),
        "lastFired": state.as_ref().and_then(|state| state.fired).map(|at| at.to_string()),
    })
}

const fn missed(policy: MissedRuns) -> &'static str {
    match policy {
        MissedRuns::Skip => "skip",
        MissedRuns::One => "one",
        MissedRuns::All => "all",
    }
}
