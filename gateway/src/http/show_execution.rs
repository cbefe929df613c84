//! `GET /api/executions/{id}`: one execution with its steps and attempts, live while it runs.

use std::sync::Arc;

use afu9_schemas::ExecutionId;
use afu9_schemas::view::ExecutionView;
use axum::Json;
use axum::extract::{Path, State};
use serde_json::Value;

use super::auth::{Allowed, Read};
use super::shown;
use crate::app::App;
use crate::executions::{Found, Source, execution_json};
use crate::problem::{Kind, Problem};
use crate::stored::StoredError;

pub(super) async fn show(
    State(app): State<Arc<App>>,
    _caller: Allowed<Read>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let (view, source) = find(&app, &id).await?;
    let view = whole(&app, view, source).await?;
    Ok(Json(execution_json(&view, source)))
}

/// The execution with everything that is known of it: its owner leaves out what does not fit into a
/// message, the database does not.
pub(super) async fn whole(
    app: &App,
    view: Box<ExecutionView>,
    source: Source,
) -> Result<Box<ExecutionView>, Problem> {
    let ended = view.summary.status.is_terminal();
    if source != Source::Live || !view.truncated || !ended {
        return Ok(view);
    }
    match app.stored.show(view.summary.id).await {
        // Written a moment after the owner knew it; an end that is not written yet is not all.
        Ok(Some(stored)) if stored.summary.status.is_terminal() => Ok(Box::new(stored)),
        Ok(_) | Err(StoredError::Away(_)) => Ok(view),
        Err(error @ StoredError::Unusable(_)) => Err(Problem::internal(&error)),
    }
}

/// The id in a path.
pub(super) fn id(text: &str) -> Result<ExecutionId, Problem> {
    let id: ExecutionId = text.parse().map_err(|_| unknown(text))?;
    // It stands for no execution.
    if id == ExecutionId::NONE {
        return Err(unknown(text));
    }
    Ok(id)
}

/// There is no such execution.
pub(super) fn unknown(id: &str) -> Problem {
    Problem::new(
        Kind::UnknownExecution,
        format!("there is no execution `{}`", shown(id)),
        "GET /api/executions lists the executions that are known",
    )
}

/// The execution a path names, or the answer why there is none.
pub(super) async fn find(app: &App, id: &str) -> Result<(Box<ExecutionView>, Source), Problem> {
    match app
        .find(self::id(id)?)
        .await
        .map_err(|error| Problem::internal(&error))?
    {
        Found::Known(view, source) => Ok((view, source)),
        Found::Unknown => Err(unknown(id)),
        Found::OwnerAway => Err(Problem::new(
            Kind::ExecutionUnreachable,
            "the orchestrator that may hold this execution does not answer",
            "try again; if it stays, check that an orchestrator is running",
        )),
        Found::PastAway => Err(past_away()),
    }
}

/// Only the database may know the execution, and it does not answer.
pub(super) fn past_away() -> Problem {
    Problem::new(
        Kind::DatabaseUnavailable,
        "the execution is not live, and the database that may know it is away",
        "try again; if it stays, see `database` in /api/ready",
    )
}
