//! `/_sim`: reading and steering the simulation by HTTP, without credentials.
//!
//! Invariant: only callers on the loopback interface get in. Nothing here passes the front door, so
//! it is neither limited, nor counted, nor struck by faults.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use serde::Deserialize;
use serde_json::json;

use super::super::config::{IssueSeed, RepositorySeed, TokenSeed};
use super::super::connection::Connection;
use super::super::delivery::Delivery;
use super::super::effect::{Effect, EffectKind};
use super::super::failure::Failure;
use super::super::fault::Fault;
use super::super::handle::{self, Handle};
use super::super::simulation::{Simulation, locked};
use super::super::target::payload;
use super::{Answer, Routes, ok};

/// Seed files of a repository may be large.
const BODY_LIMIT: usize = 32 * 1024 * 1024;
/// Issues per request; a load test that needs more asks again.
const MOST_NEW_ISSUES: u64 = 1_000_000;

pub(super) fn routes() -> Routes {
    Router::new()
        .route("/_sim/effects", get(effects))
        .route("/_sim/state/{owner}/{repo}", get(state))
        .route("/_sim/reset", post(reset))
        .route(
            "/_sim/faults",
            get(faults).post(add_fault).delete(clear_faults),
        )
        .route("/_sim/faults/{id}", delete(remove_fault))
        .route("/_sim/stats", get(stats))
        .route("/_sim/repos", post(add_repository))
        .route("/_sim/issues/{owner}/{repo}", post(add_issues))
        .route("/_sim/tokens", post(add_token))
        .route("/_sim/tokens/{name}", delete(revoke_token))
        .route("/_sim/webhook", post(webhook))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn(loopback_only))
}

async fn loopback_only(
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request,
    next: Next,
) -> Response {
    if connection.peer().ip().to_canonical().is_loopback() {
        next.run(request).await
    } else {
        Failure::forbidden("only the loopback interface may steer the simulation").into_response()
    }
}

type Shared = State<Arc<Simulation>>;

#[derive(Debug, Deserialize)]
struct EffectFilter {
    kind: Option<EffectKind>,
    #[serde(default)]
    since: u64,
}

async fn effects(State(simulation): Shared, Query(filter): Query<EffectFilter>) -> Answer {
    let (mut effects, recorded, forgotten) = {
        let log = locked(&simulation.effects);
        (log.since(filter.since), log.recorded(), log.forgotten())
    };
    if let Some(kind) = filter.kind {
        effects.retain(|effect: &Effect| effect.kind == kind);
    }
    ok(json!({"effects": effects, "recorded": recorded, "forgotten": forgotten}))
}

async fn state(State(simulation): Shared, Path((owner, repo)): Path<(String, String)>) -> Answer {
    let repository = simulation.repository(&format!("{owner}/{repo}"))?;
    let state = handle::state_of(&locked(&repository));
    Ok(Json(state).into_response())
}

async fn reset(State(simulation): Shared) -> Answer {
    simulation
        .reset()
        .map_err(|error| Failure::unprocessable(format!("{error:#}")))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn faults(State(simulation): Shared) -> Answer {
    Ok(Json(locked(&simulation.faults).list()).into_response())
}

async fn add_fault(State(simulation): Shared, body: Bytes) -> Answer {
    let fault: Fault = payload(&body)?;
    let id = Handle::new(simulation)
        .add_fault(fault)
        .map_err(|error| Failure::unprocessable(format!("{error:#}")))?;
    Ok((StatusCode::CREATED, Json(json!({"id": id}))).into_response())
}

async fn clear_faults(State(simulation): Shared) -> Answer {
    locked(&simulation.faults).clear();
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn remove_fault(State(simulation): Shared, Path(id): Path<u64>) -> Answer {
    if locked(&simulation.faults).remove(id) {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(Failure::not_found())
    }
}

async fn stats(State(simulation): Shared) -> Answer {
    Ok(Json(simulation.stats()).into_response())
}

async fn add_repository(State(simulation): Shared, body: Bytes) -> Answer {
    let seed: RepositorySeed = payload(&body)?;
    simulation
        .add_repository(&seed)
        .map_err(|error| Failure::unprocessable(format!("{error:#}")))?;
    Ok((
        StatusCode::CREATED,
        Json(json!({"full_name": seed.full_name})),
    )
        .into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AddIssues {
    count: u64,
    /// The number of each issue is appended.
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    labels: Vec<String>,
}

async fn add_issues(
    State(simulation): Shared,
    Path((owner, repo)): Path<(String, String)>,
    body: Bytes,
) -> Answer {
    let request: AddIssues = payload(&body)?;
    if !(1..=MOST_NEW_ISSUES).contains(&request.count) {
        let message = format!("count is not in 1..={MOST_NEW_ISSUES}");
        return Err(Failure::unprocessable(message));
    }
    let repository = simulation.repository(&format!("{owner}/{repo}"))?;
    let title = request
        .title
        .unwrap_or_else(|| "Simulated issue".to_owned());
    let mut repository = locked(&repository);
    let first = repository
        .issues
        .last_key_value()
        .map_or(1, |(last, _)| last + 1);
    let mut last = first;
    for number in first..first + request.count {
        let issue = IssueSeed {
            title: format!("{title} {number}"),
            body: request.body.clone(),
            labels: request.labels.clone(),
        };
        last = handle::open_issue(&mut repository, issue);
    }
    let body = json!({"first": first, "last": last, "count": request.count});
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

async fn add_token(State(simulation): Shared, body: Bytes) -> Answer {
    let token: TokenSeed = payload(&body)?;
    let name = token.name.clone();
    Handle::new(simulation).add_token(token);
    Ok((StatusCode::CREATED, Json(json!({"name": name}))).into_response())
}

async fn revoke_token(State(simulation): Shared, Path(name): Path<String>) -> Answer {
    if Handle::new(simulation).revoke_token(&name) {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(Failure::not_found())
    }
}

async fn webhook(State(simulation): Shared, body: Bytes) -> Answer {
    let delivery: Delivery = payload(&body)?;
    let delivered = Handle::new(simulation)
        .deliver(&delivery)
        .await
        .map_err(|error| Failure::new(StatusCode::BAD_GATEWAY, format!("{error:#}")))?;
    Ok(Json(delivered).into_response())
}
