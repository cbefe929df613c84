//! The operator commands' view of a gateway: its HTTP API.

use std::time::Duration;

use anyhow::Context;
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret;
use serde_json::Value;
use thiserror::Error;

use crate::arguments::Key;
use crate::settings::ApiSettings;

/// A request takes milliseconds; the longest wait is a gateway that waits for a partition to move.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The longest page of any list of the gateway's.
const MAX_PAGE: usize = 200;

/// The gateway refused a request, with its reasons.
#[derive(Debug, Error)]
#[error("{title}{}{}", detail.as_ref().map(|d| format!(": {d}")).unwrap_or_default(),
    next.as_ref().map(|n| format!(" ({n})")).unwrap_or_default())]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) title: String,
    pub(crate) detail: Option<String>,
    pub(crate) next: Option<String>,
    /// The whole problem document.
    pub(crate) problem: Value,
}

/// There is no gateway, or it does not answer.
#[derive(Debug, Error)]
#[error("cannot reach AFU-9 at {url}; is it running, and is api.url (AFU9_API__URL) right?")]
pub(crate) struct Unreachable {
    url: String,
    #[source]
    source: reqwest::Error,
}

/// A gateway.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    token: Option<String>,
}

impl Client {
    pub(crate) fn new(settings: &ApiSettings) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .user_agent(concat!("afu9/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("cannot build the HTTP client")?;
        Ok(Self {
            http,
            url: settings.url.clone(),
            token: settings
                .token
                .as_ref()
                .map(|token| token.expose_secret().to_owned()),
        })
    }

    /// The gateway's address.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn get_with(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> anyhow::Result<Value> {
        self.send(self.request(Method::GET, path).query(query))
            .await
    }

    /// Pages of a list until `limit` of its entries are there: `list` names them, `next` what the
    /// answer says of the next page, `after` the parameter that asks for it.
    pub(crate) async fn pages(
        &self,
        path: &str,
        query: &[(&str, String)],
        (list, next, after): (&str, &str, &str),
        limit: usize,
        from: Option<String>,
    ) -> anyhow::Result<(Vec<Value>, Value)> {
        let mut found = Vec::new();
        let mut place = from.map_or(Value::Null, Value::String);
        while found.len() < limit {
            let mut query = query.to_vec();
            let page = (limit - found.len()).min(MAX_PAGE);
            query.push(("limit", page.to_string()));
            match &place {
                Value::Null => {}
                Value::String(text) => query.push((after, text.clone())),
                other => query.push((after, other.to_string())),
            }
            let mut answer = self.get_with(path, &query).await?;
            if let Value::Array(entries) = answer[list].take() {
                found.extend(entries);
            }
            place = answer[next].take();
            if place.is_null() {
                break;
            }
        }
        Ok((found, place))
    }

    /// Changes something. Under the same key, a second time changes nothing.
    pub(crate) async fn post(&self, path: &str, body: &Value, key: &Key) -> anyhow::Result<Value> {
        let request = self.request(Method::POST, path).json(body);
        let request = match &key.idempotency_key {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        };
        self.send(request).await
    }

    /// Opens a stream of events, which goes on for as long as its reader wants.
    pub(crate) async fn events(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> anyhow::Result<reqwest::Response> {
        let request = self
            .request(Method::GET, path)
            .query(query)
            .timeout(Duration::MAX);
        let answered = tokio::time::timeout(TIMEOUT, request.send()).await;
        let response = answered
            .context("the gateway did not open the stream of events in time")?
            .map_err(|source| self.unreachable(source))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refused(response).await?.into())
    }

    fn unreachable(&self, source: reqwest::Error) -> Unreachable {
        Unreachable {
            url: self.url.clone(),
            source,
        }
    }

    async fn refused(&self, response: reqwest::Response) -> Result<Refused, Unreachable> {
        let status = response.status();
        let body = response.bytes().await;
        let body = body.map_err(|source| self.unreachable(source))?;
        let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = |key: &str| problem[key].as_str().map(str::to_owned);
        Ok(Refused {
            status,
            title: text("title").unwrap_or_else(|| format!("the gateway answered {status}")),
            detail: text("detail"),
            next: text("nextAction"),
            problem,
        })
    }

    /// Stores a definition as it is written, so that mistakes have their line and column.
    pub(crate) async fn put_definition(&self, name: &str, source: String) -> anyhow::Result<Value> {
        let path = format!("/api/workflows/{name}");
        let request = self
            .request(Method::PUT, &path)
            .header("content-type", "application/yaml")
            .body(source);
        self.send(request).await
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        let response = request.send().await;
        let response = response.map_err(|source| self.unreachable(source))?;
        if !response.status().is_success() {
            return Err(self.refused(response).await?.into());
        }
        let body = response.bytes().await;
        let body = body.map_err(|source| self.unreachable(source))?;
        Ok(serde_json::from_slice(&body).unwrap_or_default())
    }
}
