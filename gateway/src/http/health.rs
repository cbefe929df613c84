//! `GET /api/health`: the process runs. Never asks anybody, so that a lost dependency does not make
//! a supervisor restart what works.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::SERVICE;
use crate::app::{App, now};

pub(super) async fn health(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({
        "status": "ok",
        "service": SERVICE,
        "version": app.config.version,
        "timestamp": now().to_string(),
    }))
}
