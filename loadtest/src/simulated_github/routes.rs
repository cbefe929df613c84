//! The routes, one module per area of GitHub's API, and what their answers have in common.

mod admin;
mod app;
mod commit;
mod contents;
mod git_data;
mod issue;
mod meta;
mod pull;
mod refs;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::failure::Failure;
use super::front::front;
use super::simulation::Simulation;

type Answer = Result<Response, Failure>;
type Routes = Router<Arc<Simulation>>;

/// Everything that the simulation answers: the API behind the front door, and `/_sim` beside it.
pub(crate) fn router(simulation: Arc<Simulation>) -> Router {
    let api = Router::new()
        .merge(meta::routes())
        .merge(issue::routes())
        .merge(refs::routes())
        .merge(git_data::routes())
        .merge(contents::routes())
        .merge(commit::routes())
        .merge(pull::routes())
        .merge(app::routes())
        .fallback(|| async { Failure::not_found() })
        .method_not_allowed_fallback(|| async { Failure::not_found() })
        .layer(middleware::from_fn_with_state(
            Arc::clone(&simulation),
            front,
        ));
    admin::routes().merge(api).with_state(simulation)
}

fn ok(body: Value) -> Answer {
    Ok(axum::Json(body).into_response())
}

fn created(body: Value) -> Answer {
    let location = body["url"].as_str().unwrap_or_default().to_owned();
    Ok((
        StatusCode::CREATED,
        [("location", location)],
        axum::Json(body),
    )
        .into_response())
}
