//! `GET /api/executions/{id}`: one execution with its steps and attempts, live while it runs.

use std::sync::Arc;

use afu9_schemas::ExecutionId;
use afu9_schemas::view::ExecutionView;
use axum::Json;
use axum::extract::{Path, State};
use serde_json::Value;

use super::auth::{Allowed, Read};
use crate::app::App;
use crate::executions::{Found, Source, execution_json};
use crate::problem::{Kind, Problem};

pub(super) async fn show(
    State(app): State<Arc<App>>,
    _caller: Allowed<Read>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let (view, source) = find(&app, &id).await?;
    Ok(Json(execution_json(&view, source)))
}

/// The execution a path names, or the answer why there is none.
pub(super) async fn find(app: &App, id: &str) -> Result<(Box<ExecutionView>, Source), Problem> {
    let unknown = || {
        let shown: String = id.chars().take(64).collect();
        Problem::new(
            Kind::UnknownExecution,
            format!("there is no execution `{shown}`"),
            "GET /api/executions lists the executions that are known",
        )
    };
    let id: ExecutionId = id.parse().map_err(|_| unknown())?;
    match app
        .find(id)
        .await
        .map_err(|error| Problem::internal(&error))?
    {
        Found::Known(view, source) => Ok((view, source)),
        Found::Unknown => Err(unknown()),
        Found::OwnerAway => Err(Problem::new(
            Kind::ExecutionUnreachable,
            "the orchestrator that may hold this execution does not answer",
            "try again; if it stays, check that an orchestrator is running",
        )),
        Found::PastAway => Err(Problem::new(
            Kind::DatabaseUnavailable,
            "the execution is not live, and the database that may know it is away",
            "try again; if it stays, see `database` in /api/ready",
        )),
    }
}
