//! What surrounds every handler: the request's id, the bound on requests at once, the deadline,
//! panics, the form of errors, and one log line.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures::FutureExt;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::time::{Instant, timeout};
use tracing::Instrument;

use crate::app::App;
use crate::problem::{Kind, Problem};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id taken over from a caller, in bytes.
const REQUEST_ID_MAX_BYTES: usize = 128;

/// Runs one request.
pub(super) async fn shell(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = request_id(request.headers());
    let method = request.method().clone();
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let span = tracing::info_span!("request", %method, path, request_id = id);
    let response = guarded(&app, request, next, &path)
        .instrument(span.clone())
        .await;
    let _entered = span.enter();
    let mut response = finish(response, &id);
    // An id that was checked, or one of ours.
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let status = response.status();
    let counter = if status.is_server_error() {
        &app.metrics.responses_server_error
    } else if status.is_client_error() {
        &app.metrics.responses_client_error
    } else {
        &app.metrics.responses_success
    };
    counter.add();
    tracing::debug!(
        status = status.as_u16(),
        ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        "request answered"
    );
    response
}

/// Runs the handler under the bounds.
async fn guarded(app: &App, request: Request, next: Next, path: &str) -> Response {
    use axum::response::IntoResponse;
    // Whoever watches over us must get an answer when everybody else has to wait.
    let is_probe = matches!(path, "/api/health" | "/api/ready" | "/metrics");
    let _permit = match app.requests.try_acquire() {
        Ok(permit) => Some(permit),
        Err(_) if is_probe => None,
        Err(_) => return overloaded().into_response(),
    };
    let limit = app.config.limits.request_timeout;
    let run = AssertUnwindSafe(timeout(limit, next.run(request))).catch_unwind();
    match run.await {
        Ok(Ok(response)) => response,
        Ok(Err(_elapsed)) => Problem::new(
            Kind::TimedOut,
            format!("the request was not answered within {} s", limit.as_secs()),
            "try again with the same Idempotency-Key or delivery id: it may have been stored",
        )
        .into_response(),
        Err(_panic) => {
            app.metrics.panics.add();
            Problem::new(
                Kind::Internal,
                "the gateway could not carry out the request",
                "report this with the requestId; the log has the cause",
            )
            .into_response()
        }
    }
}

/// Too much is going on at once.
pub(super) fn overloaded() -> Problem {
    Problem::new(
        Kind::Overloaded,
        "the gateway answers as many requests as it may",
        "try again after the time in the Retry-After header",
    )
}

/// Gives every error its body; logs those that are not the caller's.
fn finish(response: Response, id: &str) -> Response {
    let status = response.status();
    // Readiness says no in a form of its own.
    let is_answer = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|content_type| content_type == "application/json");
    let problem = match response.extensions().get::<Problem>() {
        Some(problem) => problem.clone(),
        // A rejection of the HTTP library's own.
        None if (status.is_client_error() || status.is_server_error()) && !is_answer => {
            Problem::new(
                match status {
                    StatusCode::INTERNAL_SERVER_ERROR => Kind::Internal,
                    StatusCode::BAD_REQUEST => Kind::Malformed,
                    other => Kind::Rejected(other),
                },
                "the request cannot be understood",
                "check the path, the query and the headers against the documentation",
            )
        }
        None => return response,
    };
    if problem.status().is_server_error() {
        tracing::warn!(
            code = problem.code(),
            cause = problem.cause().unwrap_or_default(),
            "request failed"
        );
    }
    let mut rendered = problem.render(id);
    if let Some(allow) = response.headers().get(ALLOW) {
        rendered.headers_mut().insert(ALLOW, allow.clone());
    }
    rendered
}

/// The caller's id for the request if it can be trusted in a log line, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let sane = |text: &&str| {
        (1..=REQUEST_ID_MAX_BYTES).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'))
    };
    headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(sane)
        .map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sane_request_ids_are_taken_over() {
        let with = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_str(text).expect("a header"));
            request_id(&headers)
        };
        assert_eq!(with("build-7:retry.2"), "build-7:retry.2");
        for bad in ["", "a b", "<script>", &"x".repeat(129)] {
            assert_ne!(with(bad), bad);
        }
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }
}
