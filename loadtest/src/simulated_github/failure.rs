//! An error answer in GitHub's shape: `{message, documentation_url, errors?, status}`.

use axum::http::header::HeaderName;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

const DOCUMENTATION: &str = "https://docs.github.com/rest";
const SECONDARY_LIMITS: &str = "https://docs.github.com/free-pro-team@latest/rest/overview/\
     rate-limits-for-the-rest-api#about-secondary-rate-limits";
const PRIMARY_LIMITS: &str = "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api";

/// Why a request is refused.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    message: String,
    errors: Vec<Value>,
    documentation_url: &'static str,
    retry_after_s: Option<u64>,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            errors: Vec::new(),
            documentation_url: DOCUMENTATION,
            retry_after_s: None,
        }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not Found")
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    pub(crate) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// The body does not fit the schema of the route.
    pub(crate) fn invalid_request(detail: &str) -> Self {
        Self::unprocessable(format!("Invalid request.\n\n{detail}"))
    }

    /// `Validation Failed` about one field; `code` is GitHub's: `missing_field`, `invalid`, ….
    pub(crate) fn invalid_field(resource: &str, field: &str, code: &str) -> Self {
        let error = json!({"resource": resource, "field": field, "code": code});
        Self {
            errors: vec![error],
            ..Self::unprocessable("Validation Failed")
        }
    }

    /// `Validation Failed` with a sentence of its own.
    pub(crate) fn custom(resource: &str, message: impl Into<String>) -> Self {
        let error = json!({"resource": resource, "code": "custom", "message": message.into()});
        Self {
            errors: vec![error],
            ..Self::unprocessable("Validation Failed")
        }
    }

    pub(crate) fn primary_limit(who: &str, request_id: &str) -> Self {
        let message = format!(
            "API rate limit exceeded for {who}. If you reach out to GitHub Support for help, \
             please include the request ID {request_id}."
        );
        Self {
            documentation_url: PRIMARY_LIMITS,
            ..Self::forbidden(message)
        }
    }

    pub(crate) fn secondary_limit(
        status: StatusCode,
        retry_after_s: u64,
        request_id: &str,
    ) -> Self {
        let message = format!(
            "You have exceeded a secondary rate limit. Please wait a few minutes before you try \
             again. If you reach out to GitHub Support for help, please include the request ID \
             {request_id}."
        );
        Self {
            documentation_url: SECONDARY_LIMITS,
            retry_after_s: Some(retry_after_s),
            ..Self::new(status, message)
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut body = serde_json::Map::new();
        body.insert("message".to_owned(), self.message.into());
        if !self.errors.is_empty() {
            body.insert("errors".to_owned(), self.errors.into());
        }
        body.insert(
            "documentation_url".to_owned(),
            self.documentation_url.into(),
        );
        body.insert("status".to_owned(), self.status.as_str().into());
        let mut response = (self.status, axum::Json(body)).into_response();
        if let Some(seconds) = self.retry_after_s {
            let name = HeaderName::from_static("retry-after");
            response
                .headers_mut()
                .insert(name, HeaderValue::from(seconds));
        }
        response
    }
}
