//! The requests a load run makes.

use std::sync::Arc;
use std::time::Duration;

use afu9_schemas::Lane;
use anyhow::{Context, Result, bail, ensure};
use reqwest::{Client, Response, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shape;
use super::connection::Connections;

/// Longer than the gateway takes to store a definition.
const TIMEOUT: Duration = Duration::from_secs(40);

/// How often a submission that was refused for want of room is made again.
const TRIES: usize = 50;

/// A gateway. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Api {
    http: Client,
    url: String,
    token: Option<String>,
    connections: Arc<Connections>,
    /// Of the paths, and `host:port`, as they stand in a request.
    prefix: String,
    host: String,
}

/// The request that starts an execution, as it goes over the wire.
#[derive(Debug, Clone)]
pub(super) struct TriggerRequest(Arc<[u8]>);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Acceptance {
    execution_id: String,
}

impl Api {
    pub(super) fn new(url: &str, token: Option<&str>) -> Result<Self> {
        let http = Client::builder()
            .user_agent(concat!("afu9-loadtest/", env!("CARGO_PKG_VERSION")))
            .tcp_nodelay(true)
            .build()
            .context("build the HTTP client")?;
        let url = url.trim_end_matches('/').to_owned();
        let parsed = Url::parse(&url).with_context(|| format!("read the address {url}"))?;
        ensure!(
            parsed.scheme() == "http",
            "{url} is no address that begins with http://"
        );
        let name = parsed.host_str().context("the address has no host")?;
        let host = format!("{name}:{}", parsed.port_or_known_default().unwrap_or(80));
        Ok(Self {
            http,
            token: token.map(str::to_owned),
            connections: Arc::new(Connections::new(host.clone())),
            prefix: parsed.path().trim_end_matches('/').to_owned(),
            host,
            url,
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
            Shape::Items {
                count,
                parallel,
                ms,
            } => {
                let (tool, params) = match ms {
                    0 => ("test.noop", json!({})),
                    ms => ("test.sleep", json!({ "ms": ms })),
                };
                (
                    format!("load_items_{count}_{parallel}_{ms}"),
                    vec![json!({
                        "name": "each",
                        "forEach": format!("${{range({count})}}"),
                        "maxParallel": parallel,
                        "tool": tool,
                        "params": params,
                    })],
                )
            }
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

    /// What starts an execution of `workflow`.
    pub(super) fn trigger_request(&self, workflow: &str, lane: Lane) -> TriggerRequest {
        let body = match lane {
            Lane::Interactive => r#"{"lane":"interactive"}"#,
            Lane::Bulk => "{}",
        };
        let authorization = match &self.token {
            Some(token) => format!("authorization: Bearer {token}\r\n"),
            None => String::new(),
        };
        let text = format!(
            "POST {}/api/workflows/{workflow}/trigger HTTP/1.1\r\nhost: {}\r\n{authorization}\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.prefix,
            self.host,
            body.len()
        );
        TriggerRequest(text.into_bytes().into())
    }

    /// Starts an execution; `None` if AFU-9 had no room for it for a long time.
    pub(super) async fn trigger(&self, request: &TriggerRequest) -> Result<Option<String>> {
        for _ in 0..TRIES {
            let answer = self.connections.exchange(&request.0).await;
            let answer = answer.context("trigger")?;
            match answer.status {
                202 => {
                    let accepted: Acceptance = serde_json::from_slice(&answer.body)
                        .with_context(|| format!("read the acceptance {}", answer.text()))?;
                    return Ok(Some(accepted.execution_id));
                }
                503 | 429 => tokio::time::sleep(Duration::from_millis(200)).await,
                _ => bail!("a trigger was refused: {}", answer.text()),
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
