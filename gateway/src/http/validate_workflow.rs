//! `POST /api/workflows/validate`: every mistake of a definition, before anything runs.

use std::sync::Arc;

use afu9_engine::workflow;
use afu9_schemas::definition::{Diagnostic, ReadOptions};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use http::HeaderMap;
use serde_json::{Value, json};

use super::auth::{Allowed, Read};
use super::{body, computed};
use crate::app::App;
use crate::problem::Problem;

pub(super) async fn validate(
    State(app): State<Arc<App>>,
    _caller: Allowed<Read>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let source = body::definition(&app, &headers, body).await?;
    let compiled = computed(move || workflow::compile(&source, ReadOptions::default()).err());
    let mistakes = compiled.await?.unwrap_or_default();
    Ok(Json(
        json!({"valid": mistakes.is_empty(), "errors": mistakes_json(&mistakes)}),
    ))
}

/// Mistakes as the API shows them.
pub(super) fn mistakes_json(mistakes: &[Diagnostic]) -> Value {
    mistakes
        .iter()
        .map(|mistake| {
            json!({
                "line": mistake.position.line,
                "column": mistake.position.column,
                "path": mistake.path,
                "message": mistake.message,
            })
        })
        .collect()
}
