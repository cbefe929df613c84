//! One request to GitHub and its answer: bounded in time and size, refused or decoded.
//!
//! Nothing is repeated here (the engine owns retries), with one exception: an App's request that
//! GitHub refuses with 401 is sent once more with a new token.

use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use octocrab::Octocrab;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::address::Repository;
use super::auth::{Authentication, Author};
use super::classify::{self, Refusal};
use super::{Config, Error};
use crate::ToolError;

/// GitHub's public API.
const DEFAULT_BASE_URL: &str = "https://api.github.com";

/// A host that does not take a connection by then is as good as down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// From sending to the last byte. GitHub gives up on a request after 10 seconds; the rest is for
/// the way there and back, and half of a tool's usual time is left for another request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// A page of 100 comments, each of GitHub's greatest length with four bytes a character, fits.
const RESPONSE_MAX_BYTES: usize = 32 << 20;

/// The version of GitHub's API that the requests are written for.
const API_VERSION: &str = "2022-11-28";
const API_VERSION_HEADER: HeaderName = HeaderName::from_static("x-github-api-version");

/// A request, relative to the base URL.
#[derive(Debug)]
pub(super) struct Request {
    method: Method,
    path: String,
    body: Option<serde_json::Result<Vec<u8>>>,
    subject: String,
}

impl Request {
    pub(super) fn get(path: String) -> Self {
        Self {
            method: Method::GET,
            path,
            body: None,
            subject: String::new(),
        }
    }

    pub(super) fn delete(path: String) -> Self {
        Self {
            method: Method::DELETE,
            path,
            body: None,
            subject: String::new(),
        }
    }

    pub(super) fn new(method: Method, path: String, body: &impl Serialize) -> Self {
        Self {
            method,
            path,
            body: Some(serde_json::to_vec(body)),
            subject: String::new(),
        }
    }

    pub(super) fn post(path: String, body: &impl Serialize) -> Self {
        Self::new(Method::POST, path, body)
    }

    pub(super) fn patch(path: String, body: &impl Serialize) -> Self {
        Self::new(Method::PATCH, path, body)
    }

    /// What the request is about, for the messages of errors.
    #[must_use]
    pub(super) fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = subject.into();
        self
    }
}

/// A complete answer, whatever its status.
#[derive(Debug)]
pub(super) struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    subject: String,
    credential: &'static str,
}

impl Response {
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Whether GitHub refused with `status` and `words` among its own, in any case.
    pub(super) fn is_refusal(&self, status: StatusCode, words: &str) -> bool {
        self.status == status
            && self
                .said()
                .to_ascii_lowercase()
                .contains(&words.to_ascii_lowercase())
    }

    /// GitHub's own words about a refusal.
    pub(super) fn said(&self) -> String {
        classify::said(&self.body)
    }

    /// The refusal as an error.
    pub(super) fn error(&self) -> ToolError {
        let refusal = Refusal {
            status: self.status,
            headers: &self.headers,
            body: &self.body,
            subject: &self.subject,
            credential: self.credential,
        };
        classify::classify(refusal, Utc::now())
    }

    /// Nothing, if the answer is a success.
    ///
    /// # Errors
    /// The refusal.
    pub(super) fn accepted(&self) -> Result<(), ToolError> {
        if self.status.is_success() {
            Ok(())
        } else {
            Err(self.error())
        }
    }

    /// The body of a success.
    ///
    /// # Errors
    /// The refusal, or a retryable `github.bad_response` if the body is not what GitHub documents:
    /// most likely a proxy's, or cut off.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, ToolError> {
        self.accepted()?;
        serde_json::from_slice(&self.body).map_err(|error| {
            let message = format!(
                "GitHub's answer about {} is not understood: {error}",
                self.subject
            );
            ToolError::retryable("github.bad_response", message)
        })
    }
}

/// The way to GitHub, without a credential.
#[derive(Debug, Clone)]
pub(super) struct Transport {
    octocrab: Octocrab,
    /// Without a slash at its end.
    base_url: String,
}

impl Transport {
    fn new(base_url: Option<&str>) -> Result<Self, Error> {
        let base_url = base_url
            .unwrap_or(DEFAULT_BASE_URL)
            .trim_end_matches('/')
            .to_owned();
        let uri: Uri = base_url.parse().map_err(|_| Error::BaseUrl)?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let is_plain = uri.query().is_none() && !base_url.contains('#');
        if !is_http || !is_plain || uri.authority().is_none_or(|a| a.as_str().contains('@')) {
            return Err(Error::BaseUrl);
        }
        // The credential goes with each request instead of into octocrab, and the feature `retry`
        // is off: one request here is at most one request there.
        let octocrab = Octocrab::builder()
            .base_uri(uri)
            .and_then(|builder| builder.set_connect_timeout(Some(CONNECT_TIMEOUT)).build())
            .map_err(Error::Client)?;
        Ok(Self { octocrab, base_url })
    }

    /// Sends `request` once and reads the whole answer.
    ///
    /// Dropping the future leaves open whether GitHub carried the request out.
    ///
    /// # Errors
    /// A retryable `github.network` when there is no complete answer: the effect may have happened.
    pub(super) async fn exchange(
        &self,
        request: &Request,
        credential: &HeaderValue,
        configuration_key: &'static str,
    ) -> Result<Response, ToolError> {
        let exchange = Box::pin(self.exchange_unbounded(request, credential, configuration_key));
        match tokio::time::timeout(REQUEST_TIMEOUT, exchange).await {
            Ok(result) => result,
            Err(_) => Err(ToolError::retryable(
                "github.network",
                format!(
                    "GitHub did not answer about {} within {} s",
                    request.subject,
                    REQUEST_TIMEOUT.as_secs()
                ),
            )),
        }
    }

    async fn exchange_unbounded(
        &self,
        request: &Request,
        credential: &HeaderValue,
        configuration_key: &'static str,
    ) -> Result<Response, ToolError> {
        let subject = &request.subject;
        let sent = self
            .octocrab
            .execute(self.http_request(request, credential)?)
            .await;
        let response = sent.map_err(|error| {
            let failed = ToolError::retryable(
                "github.network",
                format!("GitHub could not be reached about {subject}"),
            );
            ToolError {
                error: failed.error.with_causes_of(&error),
                ..failed
            }
        })?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, RESPONSE_MAX_BYTES).collect().await.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                return ToolError::permanent(
                    "github.response_too_large",
                    format!(
                        "GitHub's answer about {subject} is longer than {RESPONSE_MAX_BYTES} bytes"
                    ),
                );
            }
            let failed = ToolError::retryable(
                "github.network",
                format!("GitHub's answer about {subject} broke off"),
            );
            ToolError { error: failed.error.with_causes_of(error.as_ref()), ..failed }
        })?;
        tracing::debug!(
            method = %request.method,
            path = %request.path,
            status = parts.status.as_u16(),
            "github answered"
        );
        Ok(Response {
            status: parts.status,
            headers: parts.headers,
            body: body.to_bytes(),
            subject: subject.clone(),
            credential: configuration_key,
        })
    }

    fn http_request(
        &self,
        request: &Request,
        credential: &HeaderValue,
    ) -> Result<http::Request<String>, ToolError> {
        let unsendable = || {
            let message = format!("the request about {} cannot be written", request.subject);
            ToolError::permanent("params.invalid", message)
        };
        let body = match &request.body {
            None => String::new(),
            Some(Ok(json)) => String::from_utf8(json.clone()).map_err(|_| unsendable())?,
            Some(Err(_)) => return Err(unsendable()),
        };
        let mut builder = http::Request::builder()
            .method(&request.method)
            .uri(format!("{}{}", self.base_url, request.path))
            .header(ACCEPT, "application/vnd.github+json")
            .header(API_VERSION_HEADER, API_VERSION)
            .header(AUTHORIZATION, credential);
        if request.body.is_some() {
            builder = builder.header(CONTENT_TYPE, "application/json");
        }
        builder.body(body).map_err(|_| unsendable())
    }
}

/// GitHub, as the tools see it.
pub(super) struct Client {
    transport: Transport,
    authentication: Authentication,
}

impl Client {
    /// # Errors
    /// Names the configuration key that is wrong.
    pub(super) fn new(config: &Config) -> Result<Self, Error> {
        Ok(Self {
            transport: Transport::new(config.base_url.as_deref())?,
            authentication: Authentication::new(&config.auth)?,
        })
    }

    pub(super) fn transport(&self) -> &Transport {
        &self.transport
    }

    pub(super) fn authentication(&self) -> &Authentication {
        &self.authentication
    }

    /// Sends `request` with the credential for `repository`. Any complete answer is a result,
    /// refusals included.
    ///
    /// Dropping the future leaves open whether GitHub carried the request out.
    ///
    /// # Errors
    /// A retryable `github.network` when there is no complete answer, or what GitHub says when a
    /// token is fetched.
    pub(super) async fn send(
        &self,
        repository: &Repository,
        request: Request,
    ) -> Result<Response, ToolError> {
        let key = self.authentication.configuration_key();
        let header = self
            .authentication
            .header(&self.transport, repository)
            .await?;
        let response = self.transport.exchange(&request, &header, key).await?;
        if response.status != StatusCode::UNAUTHORIZED
            || !self.authentication.forget(repository, &header).await
        {
            return Ok(response);
        }
        let header = self
            .authentication
            .header(&self.transport, repository)
            .await?;
        self.transport.exchange(&request, &header, key).await
    }

    /// Whether `author` is who the requests are made by.
    ///
    /// # Errors
    /// When GitHub cannot be asked now.
    pub(super) async fn is_ours(&self, author: &Author) -> Result<bool, ToolError> {
        self.authentication.is(&self.transport, author).await
    }
}
