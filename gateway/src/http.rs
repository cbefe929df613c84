//! HTTP: which path leads to which handler, one handler per file.

mod auth;
mod body;
mod cancel_execution;
mod events;
mod get_workflow;
mod health;
mod list_executions;
mod list_workflows;
mod metrics;
mod put_workflow;
mod ready;
mod shell;
mod show_execution;
mod trigger;
mod validate_workflow;
mod webhook;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

use crate::app::App;
use crate::problem::{Kind, Problem};

/// The name of this service in health and readiness.
pub(crate) const SERVICE: &str = "control-plane";

/// Every path of the API.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/api/health", get(health::health))
        .route("/api/ready", get(ready::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/api/webhooks/github", post(webhook::github))
        .route("/api/workflows", get(list_workflows::list))
        .route("/api/workflows/validate", post(validate_workflow::validate))
        .route(
            "/api/workflows/{name}",
            get(get_workflow::get).put(put_workflow::put),
        )
        .route("/api/workflows/{name}/trigger", post(trigger::trigger))
        .route("/api/events", get(events::follow))
        .route("/api/executions", get(list_executions::list))
        .route("/api/executions/{id}", get(show_execution::show))
        .route(
            "/api/executions/{id}/cancel",
            post(cancel_execution::cancel),
        )
        .fallback(no_such_resource)
        .method_not_allowed_fallback(method_not_allowed)
        // Each handler reads its body through `body`, with a limit of its own.
        .layer(DefaultBodyLimit::disable())
        .layer(axum::middleware::from_fn_with_state(
            Arc::clone(&app),
            shell::shell,
        ))
        .with_state(app)
}

async fn no_such_resource() -> Problem {
    Problem::new(
        Kind::NoSuchResource,
        "there is nothing at this path",
        "check the path; the API is below /api",
    )
}

async fn method_not_allowed() -> Problem {
    Problem::new(
        Kind::MethodNotAllowed,
        "this path does not take this method",
        "use a method of the `Allow` header",
    )
}

/// Runs what takes long to compute where it holds up no other request.
async fn computed<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Problem::internal(&error))
}
