//! HTTP: which path leads to which handler, one handler per file.

mod auth;
mod body;
mod bulk_dead_letters;
mod bulk_executions;
mod bulk_report;
mod cancel_execution;
mod change_hold;
mod decide_approval;
mod diff_workflow;
mod discard_dead_letter;
mod events;
mod explain_execution;
mod get_workflow;
mod health;
mod idempotency;
mod list_audit;
mod list_dead_letters;
mod list_executions;
mod list_holds;
mod list_items;
mod list_schedules;
mod list_workflows;
mod metrics;
mod move_execution;
mod pause_execution;
mod put_workflow;
mod ready;
mod replay_dead_letter;
mod rerun_execution;
mod resume_execution;
mod retry_execution;
mod shell;
mod show_dead_letter;
mod show_execution;
mod signal_execution;
mod start;
mod start_unstarted;
mod switch;
mod trigger;
mod validate_workflow;
mod webhook;
mod wish;
mod workflow_versions;

use std::sync::Arc;

use afu9_schemas::Timestamp;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

use crate::app::App;
use crate::problem::{Kind, Problem};
use crate::stored::StoredError;

/// The name of this service in health and readiness.
pub(crate) const SERVICE: &str = "control-plane";

/// Longest name, reason's author and other short text a caller sends, in bytes: the columns of the
/// database are as wide.
const MAX_TEXT_BYTES: usize = 255;

/// As much of a caller's text is repeated to it.
const SHOWN_CHARS: usize = 64;

/// Every path of the API.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/api/health", get(health::health))
        .route("/api/ready", get(ready::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/api/webhooks/github", post(webhook::github))
        .route("/api/events", get(events::follow))
        .route("/api/audit", get(list_audit::list))
        .route("/api/holds", get(list_holds::list).post(change_hold::hold))
        .route("/api/holds/release", post(change_hold::release))
        .merge(schedules())
        .merge(dead_letters())
        .merge(workflows())
        .merge(executions())
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

fn schedules() -> Router<Arc<App>> {
    let of_one = |path: &str| format!("/api/v1/schedules/{{workflow}}/{{schedule}}{path}");
    Router::new()
        .route("/api/v1/schedules", get(list_schedules::list))
        .route(&of_one("/pause"), post(switch::pause_schedule))
        .route(&of_one("/resume"), post(switch::resume_schedule))
}

fn dead_letters() -> Router<Arc<App>> {
    let of_one = |path: &str| format!("/api/v1/dead-letters/{{id}}{path}");
    Router::new()
        .route("/api/v1/dead-letters", get(list_dead_letters::list))
        .route("/api/v1/dead-letters/bulk", post(bulk_dead_letters::bulk))
        .route(&of_one(""), get(show_dead_letter::show))
        .route(&of_one("/replay"), post(replay_dead_letter::replay))
        .route(&of_one("/discard"), post(discard_dead_letter::discard))
}

fn workflows() -> Router<Arc<App>> {
    let of_one = |path: &str| format!("/api/workflows/{{name}}{path}");
    Router::new()
        .route("/api/workflows", get(list_workflows::list))
        .route("/api/workflows/validate", post(validate_workflow::validate))
        .route(&of_one(""), get(get_workflow::get).put(put_workflow::put))
        .route(&of_one("/trigger"), post(trigger::trigger))
        .route(&of_one("/versions"), get(workflow_versions::list))
        .route(&of_one("/versions/{version}"), get(workflow_versions::show))
        .route(&of_one("/diff"), get(diff_workflow::compare))
        .route(&of_one("/disable"), post(switch::disable))
        .route(&of_one("/enable"), post(switch::enable))
        .route(&of_one("/pause"), post(change_hold::pause_workflow))
        .route(&of_one("/resume"), post(change_hold::resume_workflow))
}

fn executions() -> Router<Arc<App>> {
    let of_one = |path: &str| format!("/api/executions/{{id}}{path}");
    Router::new()
        .route("/api/executions", get(list_executions::list))
        .route("/api/executions/bulk", post(bulk_executions::bulk))
        .route(&of_one(""), get(show_execution::show))
        .route(&of_one("/explain"), get(explain_execution::explain))
        .route(&of_one("/events"), get(events::follow_one))
        .route(&of_one("/steps/{step}/items"), get(list_items::list))
        .route(&of_one("/cancel"), post(cancel_execution::cancel))
        .route(&of_one("/pause"), post(pause_execution::pause))
        .route(&of_one("/resume"), post(resume_execution::resume))
        .route(&of_one("/retry"), post(retry_execution::retry))
        .route(&of_one("/rerun"), post(rerun_execution::rerun))
        .route(&of_one("/signal/{name}"), post(signal_execution::signal))
        .route(&of_one("/signals/{name}"), post(signal_execution::signal))
        .route(&of_one("/approve"), post(decide_approval::approve))
        .route(&of_one("/reject"), post(decide_approval::reject))
        .route(&of_one("/move"), post(move_execution::go_on_with))
}

/// The request itself is wrong.
fn malformed(detail: impl Into<String>) -> Problem {
    Problem::new(Kind::Malformed, detail, "send the request as documented")
}

/// The length of a page as a query gives it.
fn page_limit(text: Option<&str>, usual: u32, most: u32) -> Result<u32, Problem> {
    match text {
        None => Ok(usual),
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=most).contains(limit))
            .ok_or_else(|| malformed(format!("`limit` must be a number from 1 to {most}"))),
    }
}

/// An instant as a query or a body gives it.
fn instant(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    match text {
        None => Ok(None),
        Some(text) => Timestamp::parse(text)
            .map(Some)
            .ok_or_else(|| malformed(format!("`{name}` must be an instant of RFC 3339"))),
    }
}

/// The database did not answer a question that only it can answer.
fn stored_problem(error: StoredError) -> Problem {
    match error {
        StoredError::Away(error) => Problem::new(
            Kind::DatabaseUnavailable,
            "the database does not answer",
            "try again; if it stays, see `database` in /api/ready",
        )
        .caused_by(&error),
        error @ StoredError::Unusable(_) => Problem::internal(&error),
    }
}

/// There is no database, which alone knows what was asked for.
fn no_database(what: &str) -> Problem {
    Problem::new(
        Kind::DatabaseNotConfigured,
        format!("{what} from the database, and this gateway has none"),
        "configure a database, and a projector that fills it",
    )
}

/// A caller's text, short enough to be repeated.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
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
