//! `GET /api/holds`: what is held, and by whom.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::auth::{Allowed, Read};
use crate::app::App;
use crate::problem::{Kind, Problem};

pub(super) async fn list(
    State(app): State<Arc<App>>,
    _caller: Allowed<Read>,
) -> Result<Json<Value>, Problem> {
    let held = app.held().await;
    if held.answered == 0 {
        return Err(Problem::new(
            Kind::ExecutionUnreachable,
            "no orchestrator answers, so what is held is not known",
            "try again; if it stays, check that an orchestrator is running",
        ));
    }
    let holds: Vec<Value> = held
        .scopes
        .iter()
        .map(|(scope, (pause, partitions))| {
            json!({
                "scope": scope,
                "by": pause.by,
                "reason": pause.reason,
                "since": pause.at.to_string(),
                // False after a hold or release that did not reach every partition: repeat it.
                "everywhere": *partitions == held.answered,
            })
        })
        .collect();
    Ok(Json(json!({
        "holds": holds,
        "incomplete": held.answered < held.partitions,
    })))
}
