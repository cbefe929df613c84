//! The requests a load run makes.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

use super::Shape;

/// Longer than the gateway takes to give up on an unacknowledged submission.
const TIMEOUT: Duration = Duration::from_secs(40);

/// How often a submission that was refused for want of room is made again.
const TRIES: usize = 50;

/// A gateway. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Api {
    http: Client,
    url: String,
    token: Option<String>,
}

impl Api {
    pub(super) fn new(url: &str, token: Option<&str>) -> Result<Self> {
        let http = Client::builder()
            .user_agent(concat!("afu9-loadtest/", env!("CARGO_PKG_VERSION")))
            .pool_max_idle_per_host(4096)
            .tcp_nodelay(true)
            .build()
            .context("build the HTTP client")?;
        Ok(Self {
            http,
            url: url.trim_end_matches('/').to_owned(),
            token: token.map(str::to_owned),
        })
    }

    /// Stores the workflow that does this, and returns its name.
    pub(super) async fn store_workflow(&self, shape: Shape) -> Result<String> {
        let (name, steps) = match shape {
            Shape::Steps(steps) => (
                format!("load_noop_{steps}"),
                (1..=steps)
                    .map(|step| json!({ "name": format!("step_{step}"), "tool": "test.noop" }))
                    .collect(),
            ),
            Shape::Items { count, parallel } => (
                format!("load_items_{count}_{parallel}"),
                vec![json!({
                    "name": "each",
                    "forEach": format!("${{range({count})}}"),
                    "maxParallel": parallel,
                    "tool": "test.noop",
                })],
            ),
            Shape::Sleeping => (
                "load_sleeping".to_owned(),
                vec![json!({ "name": "nap", "sleep": "30d" })],
            ),
        };
        let steps: Vec<Value> = steps;
        let definition = json!({ "name": name, "steps": steps });
        let request = self
            .http
            .put(format!("{}/api/workflows/{name}", self.url))
            .header("content-type", "application/json")
            .timeout(TIMEOUT)
            .body(definition.to_string());
        let response = self
            .authorised(request)
            .send()
            .await
            .context("reach AFU-9")?;
        if !response.status().is_success() {
            bail!("the workflow was refused: {}", text(response).await);
        }
        Ok(name)
    }

    /// Starts an execution; `None` if AFU-9 had no room for it for a long time.
    pub(super) async fn trigger(&self, workflow: &str) -> Result<Option<String>> {
        for _ in 0..TRIES {
            let request = self
                .http
                .post(format!("{}/api/workflows/{workflow}/trigger", self.url))
                .header("content-type", "application/json")
                .timeout(TIMEOUT)
                .body("{}");
            let response = self.authorised(request).send().await.context("trigger")?;
            match response.status() {
                StatusCode::ACCEPTED => {
                    let body = response.bytes().await.context("read the acceptance")?;
                    let body: Value = serde_json::from_slice(&body).context("acceptance")?;
                    let id = body["executionId"].as_str().context("no execution id")?;
                    return Ok(Some(id.to_owned()));
                }
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                _ => bail!("a trigger was refused: {}", text(response).await),
            }
        }
        Ok(None)
    }

    /// Opens the stream of ended executions.
    pub(super) async fn ended_executions(&self) -> Result<Response> {
        let request = self
            .http
            .get(format!("{}/api/events?kinds=execution_ended", self.url));
        let response = self
            .authorised(request)
            .send()
            .await
            .context("open the event stream")?;
        if !response.status().is_success() {
            bail!("the event stream was refused: {}", text(response).await);
        }
        Ok(response)
    }

    fn authorised(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}

async fn text(response: Response) -> String {
    let status = response.status();
    let body = response.text().await.unwrap_or_default();
    format!("{status} {body}")
}
