//! What is not about a repository's content: health, limits, the caller, the repository itself.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use chrono::Utc;
use serde_json::json;

use super::super::auth::{Area, Caller};
use super::super::config::TokenKind;
use super::super::failure::Failure;
use super::super::rate_limit::ANONYMOUS_LIMIT;
use super::super::simulation::{Simulation, locked};
use super::super::target::{Context, Target};
use super::super::view;
use super::{Answer, Routes, ok};

pub(super) fn routes() -> Routes {
    Routes::new()
        .route("/", get(root))
        .route("/zen", get(zen))
        .route("/meta", get(meta))
        .route("/rate_limit", get(rate_limit))
        .route("/user", get(user))
        .route("/repos/{owner}/{repo}", get(repository))
}

async fn root(State(simulation): State<Arc<Simulation>>) -> Answer {
    let base_url = &simulation.base_url;
    ok(json!({
        "current_user_url": format!("{base_url}/user"),
        "rate_limit_url": format!("{base_url}/rate_limit"),
        "repository_url": format!("{base_url}/repos/{{owner}}/{{repo}}"),
    }))
}

async fn zen() -> Response {
    "Keep it logically awesome.".into_response()
}

async fn meta() -> Answer {
    ok(json!({
        "verifiable_password_authentication": false,
        "hooks": ["127.0.0.0/8"],
        "api": ["127.0.0.0/8"],
    }))
}

async fn rate_limit(
    State(simulation): State<Arc<Simulation>>,
    Extension(context): Extension<Arc<Context>>,
) -> Answer {
    let limit = match &context.caller {
        Caller::Anonymous => ANONYMOUS_LIMIT,
        Caller::Token(token) => token
            .primary_limit
            .unwrap_or(simulation.config.primary_limit),
        Caller::App(_) => simulation.config.primary_limit,
    };
    let name = context.caller.name();
    let standing = locked(&simulation.limits).standing(&name, limit, Utc::now());
    let core = json!({
        "limit": standing.limit,
        "used": standing.used,
        "remaining": standing.remaining(),
        "reset": standing.reset_s,
        "resource": "core",
    });
    ok(json!({"resources": {"core": core}, "rate": core}))
}

async fn user(
    State(simulation): State<Arc<Simulation>>,
    Extension(context): Extension<Arc<Context>>,
) -> Answer {
    match &context.caller {
        Caller::Token(token) if token.kind == TokenKind::Personal => {
            ok(view::user(&simulation.base_url, &token.login))
        }
        Caller::Anonymous => Err(Failure::unauthorized("Requires authentication")),
        _ => Err(Failure::forbidden("Resource not accessible by integration")),
    }
}

async fn repository(target: Target) -> Answer {
    let repository = target.reading(Area::Metadata)?;
    let place = &repository.place;
    let access = target.context.caller.access(&place.full_name());
    ok(view::repository(place, repository.pushed_at, access))
}
