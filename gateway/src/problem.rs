//! Every error an HTTP caller sees: problem details of RFC 9457, one table of kinds.
//!
//! A handler returns a [`Problem`]; the outermost layer ([`crate::http`]) adds the request's id,
//! writes the body and logs the cause, once. A detail says what the caller can use; what a library
//! said goes to the log only.

mod kind;

use std::time::Duration;

use afu9_broker::{PublishError, RequestError};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{self, HeaderValue};
use serde_json::{Map, Value, json};

pub(crate) use kind::Kind;

/// An error as the caller sees it, and its cause as the log sees it.
#[derive(Debug, Clone)]
pub(crate) struct Problem(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    kind: Kind,
    /// In place of the kind's own.
    code: Option<String>,
    detail: String,
    next_action: String,
    retry_after: Option<Duration>,
    members: Map<String, Value>,
    cause: Option<String>,
}

/// How long a caller waits before it tries again, where nothing better is known.
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl Problem {
    /// A problem with what is wrong and what to do about it.
    pub(crate) fn new(
        kind: Kind,
        detail: impl Into<String>,
        next_action: impl Into<String>,
    ) -> Self {
        let retry_after =
            (kind.facts().status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER);
        Self(Box::new(Inner {
            kind,
            code: None,
            detail: detail.into(),
            next_action: next_action.into(),
            retry_after,
            members: Map::new(),
            cause: None,
        }))
    }

    /// Our own mistake; only the log learns which.
    pub(crate) fn internal(cause: &dyn std::error::Error) -> Self {
        Self::new(
            Kind::Internal,
            "the gateway could not carry out the request",
            "report this with the requestId; the log has the cause",
        )
        .caused_by(cause)
    }

    /// The broker did not answer a question.
    pub(crate) fn broker(cause: &dyn std::error::Error) -> Self {
        Self::new(
            Kind::BrokerUnavailable,
            "the message broker did not answer",
            "try again; if it stays, see `nats` in /api/ready",
        )
        .caused_by(cause)
    }

    /// The broker did not do what was asked of it, perhaps for want of room.
    pub(crate) fn request(cause: &RequestError) -> Self {
        if cause.is_full() {
            return Self::new(
                Kind::StreamFull,
                "nothing was stored: the bucket for it is full and refuses what is new",
                "try again later; an operator should look at the bounds in docs/configuration.md",
            )
            .caused_by(cause);
        }
        Self::broker(cause)
    }

    /// The broker did not store a message.
    pub(crate) fn publish(error: &PublishError) -> Self {
        match error {
            PublishError::Full { .. } => Self::new(
                Kind::StreamFull,
                "nothing was stored: a stream is full, or as many executions are live as may be",
                "try again later; an operator should check that orchestrators and workers are running",
            ),
            PublishError::Unacknowledged { .. } | PublishError::Closed => Self::new(
                Kind::BrokerUnavailable,
                "the broker did not confirm that the request was stored; it may have been",
                "try again with the same Idempotency-Key or delivery id, which does nothing twice",
            ),
            PublishError::Conflict { .. }
            | PublishError::Refused { .. }
            | PublishError::Encode { .. } => Self::internal(error),
        }
        .caused_by(error)
    }

    /// Adds what the log, and nobody else, shall know.
    pub(crate) fn caused_by(mut self, cause: &dyn std::error::Error) -> Self {
        self.0.cause = Some(afu9_broker::error::chain(cause));
        self
    }

    /// Puts a more exact code in place of the kind's.
    pub(crate) fn coded(mut self, code: impl Into<String>) -> Self {
        self.0.code = Some(code.into());
        self
    }

    /// Adds a member to the body.
    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.0.members.insert(name.to_owned(), value);
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.0.kind.facts().status
    }

    pub(crate) fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    pub(crate) fn code(&self) -> &str {
        self.0.code.as_deref().unwrap_or(self.0.kind.facts().code)
    }

    /// The body for the request called `request_id`.
    pub(crate) fn body(&self, request_id: &str) -> Value {
        let facts = self.0.kind.facts();
        let mut body = json!({
            "type": format!("urn:afu9:problem:{}", self.code()),
            "title": facts.title,
            "status": facts.status.as_u16(),
            "detail": self.0.detail,
            "code": self.code(),
            "requestId": request_id,
            "blockedBy": facts.blocked_by.as_str(),
            "nextAction": self.0.next_action,
        });
        if let Some(body) = body.as_object_mut() {
            body.extend(self.0.members.clone());
        }
        body
    }

    /// The whole answer for the request called `request_id`.
    pub(crate) fn render(&self, request_id: &str) -> Response {
        let mut response = (self.status(), self.body(request_id).to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = self.0.retry_after {
            headers.insert(
                header::RETRY_AFTER,
                HeaderValue::from(after.as_secs().max(1)),
            );
        }
        if self.0.kind == Kind::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl IntoResponse for Problem {
    /// Only a note for the outermost layer, which knows the request's id.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_every_member_and_no_cause() {
        let cause = std::io::Error::other("password=hunter2");
        let problem = Problem::internal(&cause).with("errors", json!([1]));
        let body = problem.body("r-1");
        for (name, value) in [
            ("type", json!("urn:afu9:problem:gateway.internal")),
            ("title", json!("Internal error")),
            ("status", json!(500)),
            ("code", json!("gateway.internal")),
            ("requestId", json!("r-1")),
            ("blockedBy", json!("INTERNAL")),
            ("errors", json!([1])),
        ] {
            assert_eq!(body[name], value, "{name}");
        }
        assert!(body["detail"].is_string() && body["nextAction"].is_string());
        assert!(!body.to_string().contains("hunter2"), "causes stay inside");
        assert!(
            problem
                .cause()
                .is_some_and(|cause| cause.contains("hunter2"))
        );
    }

    #[test]
    fn whoever_shall_try_again_is_told_when() {
        let full = Problem::publish(&PublishError::Full {
            subject: "s".to_owned(),
        });
        let response = full.render("r");
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key(header::RETRY_AFTER));
        let unknown = Problem::new(Kind::UnknownExecution, "d", "n").render("r");
        assert!(!unknown.headers().contains_key(header::RETRY_AFTER));
        assert_eq!(
            unknown.headers()[header::CONTENT_TYPE],
            "application/problem+json"
        );
    }
}
