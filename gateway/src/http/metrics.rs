//! `GET /metrics`: the gateway's counters for Prometheus. Without a token, like health: it holds
//! counts only, and is not part of the API.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;
use tokio::time::Instant;

use crate::app::App;

pub(super) async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let now = Instant::now();
    let live: Vec<(String, usize)> = app
        .broker
        .config()
        .kinds
        .iter()
        .map(|kind| (kind.to_string(), app.fleet.live(kind, now).len()))
        .collect();
    let (counted, letters) = tokio::join!(app.counted(), app.open_letters());
    let letters = letters.ok().flatten();
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        app.metrics
            .text(&live, &counted, letters.as_deref(), crate::app::now()),
    )
}
