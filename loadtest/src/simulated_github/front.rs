//! The front door: what happens to every request before and after its route.
//!
//! Order: read the body → decide the faults → identify the caller → charge the limits → run the
//! route → entity tag, headers → lose the answer if a fault says so. The routes themselves never
//! wait, so an effect is complete or absent even if the client goes away.

use std::sync::{Arc, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use super::auth::{Caller, Credential, credential};
use super::config::Anonymous;
use super::connection::Connection;
use super::failure::Failure;
use super::fault::{FaultKind, Moment};
use super::jwt;
use super::rate_limit::{ANONYMOUS_LIMIT, Standing};
use super::simulation::{Simulation, locked};
use super::target::Context;

/// A blob of this size still fits; GitHub's own limits are of this order.
const BODY_LIMIT: usize = 32 * 1024 * 1024;
/// Answered without a token, too.
const OPEN_PATHS: [&str; 4] = ["/", "/zen", "/meta", "/rate_limit"];

/// The layer around all routes of the API.
pub(crate) async fn front(
    State(simulation): State<Arc<Simulation>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let template = parts
        .extensions
        .get::<MatchedPath>()
        .map_or("(unknown)", MatchedPath::as_str);
    let route = format!("{} {template}", parts.method);
    let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
    let body = axum::body::to_bytes(body, BODY_LIMIT).await;
    let plan = locked(&simulation.faults).plan(method.as_str(), &path);
    simulation.pause(plan.latency_ms).await;
    let request_id = simulation.request_id();
    let outcome = match (before_effect(&plan.kind, &request_id), body) {
        (Some(outcome), _) => outcome,
        (None, Err(_)) => {
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            Outcome::Answer(Failure::new(status, "Request body is too large").into_response())
        }
        (None, Ok(body)) => {
            let response_lost = is_lost_after_effect(&plan.kind);
            let arrival = Arrival {
                simulation: &simulation,
                request_id: &request_id,
                response_lost,
            };
            let response = Box::pin(arrival.answer(parts, body, next)).await;
            after_effect(&simulation, plan.kind, response)
        }
    };
    let mut counters = locked(&simulation.counters);
    match outcome {
        Outcome::Cut => {
            counters.connections_dropped += 1;
            connection.cut();
            // Never reaches the client: the connection refuses to be written.
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Outcome::Answer(mut response) => {
            counters.count(route, response.status().as_u16());
            set(response.headers_mut(), "x-github-request-id", &request_id);
            response
        }
    }
}

enum Outcome {
    Answer(Response),
    Cut,
}

/// The faults that leave the request without effect.
fn before_effect(kind: &Option<FaultKind>, request_id: &str) -> Option<Outcome> {
    let response = match kind.as_ref()? {
        FaultKind::DropBeforeEffect => return Some(Outcome::Cut),
        FaultKind::Status {
            status,
            body,
            moment: Moment::BeforeEffect,
        } => error_answer(*status, body.clone()),
        FaultKind::SecondaryLimit {
            retry_after_s,
            status,
        } => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::FORBIDDEN);
            Failure::secondary_limit(status, *retry_after_s, request_id).into_response()
        }
        FaultKind::PrimaryLimit { reset_after_s } => {
            let after_s = i64::try_from(*reset_after_s).unwrap_or(i64::MAX / 2);
            let reset_s = Utc::now().timestamp().saturating_add(after_s);
            let standing = Standing {
                limit: 5_000,
                used: 5_000,
                reset_s,
            };
            let mut response = Failure::primary_limit("user ID 1", request_id).into_response();
            limit_headers(response.headers_mut(), &standing);
            response
        }
        FaultKind::Latency { .. }
        | FaultKind::Status { .. }
        | FaultKind::DropAfterEffect
        | FaultKind::SlowBody { .. } => return None,
    };
    Some(Outcome::Answer(response))
}

fn is_lost_after_effect(kind: &Option<FaultKind>) -> bool {
    matches!(
        kind,
        Some(
            FaultKind::DropAfterEffect
                | FaultKind::Status {
                    moment: Moment::AfterEffect,
                    ..
                }
        )
    )
}

fn after_effect(
    simulation: &Arc<Simulation>,
    kind: Option<FaultKind>,
    response: Response,
) -> Outcome {
    match kind {
        Some(FaultKind::DropAfterEffect) => Outcome::Cut,
        Some(FaultKind::Status { status, body, .. }) => Outcome::Answer(error_answer(status, body)),
        Some(FaultKind::SlowBody {
            chunk_bytes,
            pause_ms,
        }) => Outcome::Answer(slow(
            Arc::clone(simulation),
            response,
            chunk_bytes,
            pause_ms,
        )),
        _ => Outcome::Answer(response),
    }
}

fn error_answer(status: u16, body: Option<String>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match body {
        Some(body) => (status, body).into_response(),
        None => Failure::new(status, status.canonical_reason().unwrap_or("Error")).into_response(),
    }
}

/// Sends the body in pieces. The length stays in the header, as GitHub's does.
fn slow(
    simulation: Arc<Simulation>,
    response: Response,
    chunk_bytes: usize,
    pause_ms: u64,
) -> Response {
    let (parts, body) = response.into_parts();
    let pieces = futures::stream::once(axum::body::to_bytes(body, usize::MAX));
    let stream = futures::StreamExt::flat_map(pieces, move |whole| {
        let whole = whole.unwrap_or_default();
        let simulation = Arc::clone(&simulation);
        futures::stream::unfold(
            (whole, simulation),
            move |(mut rest, simulation)| async move {
                if rest.is_empty() {
                    return None;
                }
                simulation.pause(pause_ms).await;
                let piece = rest.split_to(chunk_bytes.min(rest.len()));
                Some((Ok::<Bytes, axum::Error>(piece), (rest, simulation)))
            },
        )
    });
    Response::from_parts(parts, Body::from_stream(stream))
}

/// A request whose answer no fault has taken yet.
struct Arrival<'a> {
    simulation: &'a Arc<Simulation>,
    request_id: &'a str,
    response_lost: bool,
}

impl Arrival<'_> {
    async fn answer(&self, parts: Parts, body: Bytes, next: Next) -> Response {
        let now = Utc::now();
        let is_read = parts.method == Method::GET || parts.method == Method::HEAD;
        let caller = match self.identify(&parts, now) {
            Ok(caller) => caller,
            Err(failure) => return self.refuse(&Caller::Anonymous, failure, now),
        };
        let name = caller.name();
        let limit = self.primary_limit(&caller);
        // Asking for the limit is free.
        let is_free = parts.uri.path() == "/rate_limit";
        let standing = if is_free {
            Ok(locked(&self.simulation.limits).standing(&name, limit, now))
        } else {
            locked(&self.simulation.limits).charge(&name, limit, now)
        };
        let Ok(mut standing) = standing else {
            let failure = Failure::primary_limit(&caller.limit_subject(), self.request_id);
            return self.refuse(&caller, failure, now);
        };
        if !is_read && let Some(writes) = self.simulation.config.secondary_writes_per_minute {
            let charged = locked(&self.simulation.limits).charge_write(&name, writes, now);
            if let Err(wait_s) = charged {
                let status = StatusCode::FORBIDDEN;
                let failure = Failure::secondary_limit(status, wait_s, self.request_id);
                return self.refuse(&caller, failure, now);
            }
        }
        let is_get = parts.method == Method::GET;
        let wanted_tag = parts.headers.get(header::IF_NONE_MATCH).cloned();
        let context = Context {
            request_id: self.request_id.to_owned(),
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            body_digest: digest(&body),
            response_lost: self.response_lost,
            caller,
        };
        let mut request = Request::from_parts(parts, Body::from(body));
        request.extensions_mut().insert(Arc::new(context));
        let mut response = next.run(request).await;
        if is_get && response.status() == StatusCode::OK {
            response = tagged(response, wanted_tag).await;
            if response.status() == StatusCode::NOT_MODIFIED && !is_free {
                locked(&self.simulation.limits).refund(&name);
                standing.used = standing.used.saturating_sub(1);
            }
        }
        common_headers(response.headers_mut(), &standing);
        response
    }

    fn identify(&self, parts: &Parts, now: DateTime<Utc>) -> Result<Caller, Failure> {
        if !parts.headers.contains_key(header::USER_AGENT) {
            return Err(Failure::forbidden(
                "Request forbidden by administrative rules. Please make sure your request has a \
                 User-Agent header (https://docs.github.com/en/rest/overview/\
                 resources-in-the-rest-api#user-agent-required).",
            ));
        }
        let tokens = || {
            self.simulation
                .tokens
                .read()
                .unwrap_or_else(PoisonError::into_inner)
        };
        match credential(parts.headers.get(header::AUTHORIZATION)) {
            Credential::Absent => {
                let is_open = OPEN_PATHS.contains(&parts.uri.path());
                if is_open || self.simulation.config.anonymous == Anonymous::MayRead {
                    Ok(Caller::Anonymous)
                } else {
                    Err(Failure::unauthorized("Requires authentication"))
                }
            }
            Credential::Token(value) => tokens().caller(value, now),
            Credential::Jwt(value) => {
                let apps = &self.simulation.config.apps;
                jwt::verify(value, apps, now.timestamp()).map(Caller::App)
            }
            Credential::Unreadable => Err(Failure::unauthorized("Bad credentials")),
        }
    }

    fn primary_limit(&self, caller: &Caller) -> u32 {
        match caller {
            Caller::Anonymous => ANONYMOUS_LIMIT,
            Caller::Token(token) => token
                .primary_limit
                .unwrap_or(self.simulation.config.primary_limit),
            Caller::App(_) => self.simulation.config.primary_limit,
        }
    }

    fn refuse(&self, caller: &Caller, failure: Failure, now: DateTime<Utc>) -> Response {
        let limit = self.primary_limit(caller);
        let standing = locked(&self.simulation.limits).standing(&caller.name(), limit, now);
        let mut response = failure.into_response();
        common_headers(response.headers_mut(), &standing);
        response
    }
}

/// Adds the entity tag, or answers 304 if the client has this very content.
async fn tagged(response: Response, wanted: Option<HeaderValue>) -> Response {
    let (mut parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX)
        .await
        .unwrap_or_default();
    let tag = hex::encode(Sha256::digest(&bytes));
    let is_known = wanted
        .as_ref()
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            value.split(',').any(|one| {
                let one = one.trim();
                one == "*" || one.trim_start_matches("W/").trim_matches('"') == tag
            })
        });
    set(&mut parts.headers, "etag", &format!("W/\"{tag}\""));
    if is_known {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_TYPE);
        parts.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}

fn digest(body: &[u8]) -> String {
    if body.is_empty() {
        String::new()
    } else {
        hex::encode(&Sha256::digest(body)[..8])
    }
}

fn common_headers(headers: &mut HeaderMap, standing: &Standing) {
    limit_headers(headers, standing);
    set(headers, "x-github-media-type", "github.v3; format=json");
    set(headers, "x-github-api-version-selected", "2022-11-28");
    set(headers, "server", "github.com");
    let json = HeaderValue::from_static("application/json");
    if headers.get(header::CONTENT_TYPE) == Some(&json) {
        set(headers, "content-type", "application/json; charset=utf-8");
    }
}

fn limit_headers(headers: &mut HeaderMap, standing: &Standing) {
    let numbers = [
        ("x-ratelimit-limit", i64::from(standing.limit)),
        ("x-ratelimit-remaining", i64::from(standing.remaining())),
        ("x-ratelimit-reset", standing.reset_s),
        ("x-ratelimit-used", i64::from(standing.used)),
    ];
    for (name, number) in numbers {
        headers.insert(HeaderName::from_static(name), HeaderValue::from(number));
    }
    set(headers, "x-ratelimit-resource", "core");
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}
