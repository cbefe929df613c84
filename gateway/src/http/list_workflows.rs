//! `GET /api/workflows`: every workflow, with its newest version and how it ran last. The names of
//! the fields are the predecessor's.

use std::sync::Arc;

use afu9_broker::error::chain;
use afu9_schemas::view::ExecutionSummary;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::auth::{Allowed, Read};
use crate::app::App;
use crate::problem::Problem;
use crate::stored::StoredError;

pub(super) async fn list(
    State(app): State<Arc<App>>,
    _caller: Allowed<Read>,
) -> Result<Json<Value>, Problem> {
    let listed = async { app.definitions.store().await?.list().await };
    let (records, last_runs) = tokio::join!(listed, app.stored.last_runs());
    let records = records.map_err(|error| Problem::broker(&error))?;
    let last_runs = match last_runs {
        Ok(last_runs) => last_runs,
        // The workflows are known without the database; how they ran last is not.
        Err(StoredError::Away(error)) => {
            tracing::debug!(error = %chain(&error), "database is away");
            Default::default()
        }
        Err(error @ StoredError::Unusable(_)) => return Err(Problem::internal(&error)),
    };
    let workflows: Vec<Value> = records
        .iter()
        .map(|record| {
            json!({
                "id": record.workflow.id,
                "name": record.workflow.name,
                "description": record.definition.get("description"),
                "definition": record.definition,
                "version": record.workflow.version,
                "enabled": record.enabled,
                "updated_at": record.applied_at.to_string(),
                "last_run": last_runs.get(&record.workflow.name).map(last_run),
            })
        })
        .collect();
    Ok(Json(
        json!({"total": workflows.len(), "workflows": workflows}),
    ))
}

fn last_run(run: &ExecutionSummary) -> Value {
    json!({
        "id": run.id,
        "status": run.status.as_str(),
        "started_at": run.started_at.to_string(),
        "completed_at": run.completed_at.map(|at| at.to_string()),
        "triggered_by": run.triggered_by,
    })
}
