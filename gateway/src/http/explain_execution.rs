//! `GET /api/executions/{id}/explain`: why an execution is where it is.
//!
//! `{executionId, workflow, version, status, summary: [one sentence for each cause], causes: [{cause,
//! step?, item?, …}], more, error?}`; the causes are `running`, `worker`, `key`, `rate_limit`,
//! `debounce`, `timer`, `signal`, `approval`, `child`, `retry`, `paused` and `dead_lettered`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::Value;

use super::auth::{Allowed, Read};
use super::show_execution;
use crate::app::App;
use crate::explain::{Explained, told, told_of_known};
use crate::problem::{Kind, Problem};

pub(super) async fn explain(
    State(app): State<Arc<App>>,
    _caller: Allowed<Read>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let explained = Box::pin(app.explain(show_execution::id(&id)?)).await;
    match explained.map_err(|error| Problem::internal(&error))? {
        Explained::Live(view, facts) => Ok(Json(told(&view, &facts))),
        Explained::Known(view) => Ok(Json(told_of_known(&view))),
        Explained::Unknown => Err(show_execution::unknown(&id)),
        Explained::PastAway => Err(show_execution::past_away()),
        Explained::OwnerAway => Err(Problem::new(
            Kind::ExecutionUnreachable,
            "the execution cannot be explained just now: its orchestrator is being replaced",
            "try again; if it stays, check that an orchestrator is running",
        )),
    }
}
