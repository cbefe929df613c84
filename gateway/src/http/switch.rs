//! What stays off until somebody turns it on again, and on record who did:
//!
//! - `POST /api/workflows/{name}/disable {reason?}`: nothing starts the workflow any more, whatever the
//!   trigger; its executions go on, and it stays so when new versions are applied. `…/enable` undoes it.
//! - `POST /api/v1/schedules/{workflow}/{schedule}/pause {reason?}`: the schedule starts nothing, whatever
//!   its definition says then; `…/resume` undoes it, and what would have come due is not made up.
//!
//! `200 {action, outcome: "applied" | "unchanged", request, …}`.

use std::sync::Arc;

use afu9_broker::RequestError;
use afu9_schemas::ScheduleId;
use afu9_schemas::message::{Control, ControlAction, ScheduleRef};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::auth::{Allowed, Caller, Operate};
use super::start::unknown_workflow;
use super::{body, idempotency, list_schedules, shown, wish};
use crate::app::App;
use crate::definitions::is_workflow_name;
use crate::problem::{Kind, Problem};
use crate::schedules::Known;
use crate::switches::SwitchError;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    #[serde(default)]
    reason: Option<String>,
}

/// Which way to turn it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Off,
    On,
}

pub(super) async fn disable(
    State(app): State<Arc<App>>,
    caller: Allowed<Operate>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    workflow(&app, &caller, &headers, body, name, Turn::Off).await
}

pub(super) async fn enable(
    State(app): State<Arc<App>>,
    caller: Allowed<Operate>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    workflow(&app, &caller, &headers, body, name, Turn::On).await
}

pub(super) async fn pause_schedule(
    State(app): State<Arc<App>>,
    caller: Allowed<Operate>,
    Path((workflow, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let of = named(&workflow, &id)?;
    schedule(&app, &caller, &headers, body, of, Turn::Off).await
}

pub(super) async fn resume_schedule(
    State(app): State<Arc<App>>,
    caller: Allowed<Operate>,
    Path((workflow, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let of = named(&workflow, &id)?;
    schedule(&app, &caller, &headers, body, of, Turn::On).await
}

async fn workflow(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    body: Body,
    name: String,
    turn: Turn,
) -> Result<Json<Value>, Problem> {
    if !is_workflow_name(&name) {
        return Err(unknown_workflow(&name));
    }
    let action = match turn {
        Turn::Off => ControlAction::Disable(name.clone()),
        Turn::On => ControlAction::Enable(name.clone()),
    };
    let path = format!("/api/workflows/{name}/{}", action.as_str());
    let control = control(app, caller, headers, body, &path, action).await?;
    let (request, action) = (control.request, control.action.as_str());
    let switched = app.switch_workflow(&name, turn == Turn::On, control).await;
    let (record, outcome) = switched
        .map_err(|error| problem(&error))?
        .ok_or_else(|| unknown_workflow(&name))?;
    Ok(Json(json!({
        "action": action,
        "outcome": outcome.as_str(),
        "request": request,
        "workflow": name,
        "version": record.workflow.version,
        "enabled": record.enabled,
    })))
}

async fn schedule(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    body: Body,
    of: ScheduleRef,
    turn: Turn,
) -> Result<Json<Value>, Problem> {
    let action = match turn {
        Turn::Off => ControlAction::PauseSchedule(of.clone()),
        Turn::On => ControlAction::ResumeSchedule(of.clone()),
    };
    let path = format!(
        "/schedules/{}/{}/{}",
        of.workflow,
        of.schedule,
        action.as_str()
    );
    let control = control(app, caller, headers, body, &path, action).await?;
    let known = exists(app, &of, turn).await?;
    let (request, action) = (control.request, control.action.as_str());
    let switched = app.switch_schedule(&of, turn == Turn::Off, control).await;
    let (pause, outcome) = switched.map_err(|error| problem(&error))?;
    let known = known.map(|known| Known { pause, ..known });
    Ok(Json(json!({
        "action": action,
        "outcome": outcome.as_str(),
        "request": request,
        "schedule": known.as_ref().map(list_schedules::schedule_json),
    })))
}

/// The schedule, which must be one of a definition: a pause of a misspelt one would stop nothing, and
/// nobody would notice. What was paused can be resumed also when no definition has it any more.
async fn exists(app: &App, of: &ScheduleRef, turn: Turn) -> Result<Option<Known>, Problem> {
    let schedules = app.list_schedules(Some(&of.workflow)).await?;
    let known = schedules.into_iter().find(|known| known.of == *of);
    let is_one = match (&known, turn) {
        (None, Turn::On) => {
            let was_paused = async { app.schedule_store().await?.pause_of(of).await };
            let was_paused: Result<_, RequestError> = was_paused.await;
            was_paused
                .map_err(|error| Problem::broker(&error))?
                .is_some()
        }
        (known, _) => known.is_some(),
    };
    if is_one {
        Ok(known)
    } else {
        Err(unknown_schedule(&of.workflow, of.schedule.as_str()))
    }
}

fn named(workflow: &str, id: &str) -> Result<ScheduleRef, Problem> {
    if !is_workflow_name(workflow) {
        return Err(unknown_workflow(workflow));
    }
    let schedule = ScheduleId::new(id).map_err(|_| unknown_schedule(workflow, id))?;
    Ok(ScheduleRef {
        workflow: workflow.to_owned(),
        schedule,
    })
}

fn unknown_schedule(workflow: &str, id: &str) -> Problem {
    Problem::new(
        Kind::UnknownSchedule,
        format!("the workflow `{workflow}` has no schedule `{}`", shown(id)),
        "GET /api/v1/schedules lists them",
    )
}

async fn control(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    body: Body,
    path: &str,
    action: ControlAction,
) -> Result<Control, Problem> {
    let sent: Request = body::json(app, headers, body).await?;
    // All of it is in the path.
    let (request, content) = idempotency::request(&caller.name, path, headers, &Value::Null)?;
    Ok(Control {
        request,
        by: caller.name.clone(),
        scopes: caller.scopes(),
        reason: wish::reason(sent.reason)?,
        reply_to: None,
        content,
        action,
    })
}

fn problem(error: &SwitchError) -> Problem {
    match error {
        SwitchError::Turn(error) => Problem::broker(error),
        SwitchError::Tell(error) => Problem::publish(error),
    }
}
