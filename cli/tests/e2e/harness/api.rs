//! AFU-9's HTTP API as a client sees it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use super::github::REPOSITORY;
use super::{TOKEN, wait};

/// Longer than any answer of the gateway takes.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A gateway starts within this time.
const START_WITHIN: Duration = Duration::from_secs(20);

/// The API at a base URL.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    http: reqwest::Client,
    pub(crate) base: String,
    token: String,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
    /// Null if it is not JSON.
    pub(crate) json: Value,
}

impl Api {
    pub(super) fn new(base: String) -> Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(TIMEOUT)
            .build()?;
        Ok(Self {
            http,
            base,
            token: TOKEN.to_owned(),
        })
    }

    /// The same API with another token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self {
            token: token.to_owned(),
            ..self.clone()
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Answer> {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// Waits until the gateway answers.
    pub(crate) async fn wait_until_answering(&self) -> Result<()> {
        let answering = wait::until("the gateway to answer", START_WITHIN, async || {
            let health = self.get("/api/health").await.ok();
            Ok(health.filter(|health| health.status == 200))
        });
        answering.await.map(drop)
    }

    /// Starts a workflow with an `Idempotency-Key`.
    pub(crate) async fn post_once(&self, path: &str, body: &Value, key: &str) -> Result<Answer> {
        let request = self.request(Method::POST, path).json(body);
        self.send(request.header("idempotency-key", key)).await
    }

    /// Stores a definition.
    pub(crate) async fn apply(&self, name: &str, definition: &str) -> Result<()> {
        let path = format!("/api/workflows/{name}");
        let answer = self
            .send(self.request(Method::PUT, &path).body(definition.to_owned()))
            .await?;
        ensure!(
            matches!(answer.status, 200 | 201),
            "{name} was not applied: {answer:?}"
        );
        Ok(())
    }

    /// Starts `issue_to_pr` for one issue.
    pub(crate) async fn start_issue(&self, number: u64) -> Result<String> {
        self.start("issue_to_pr", &issue(number)).await
    }

    /// The same under a name: see [`Self::start_somewhere`].
    pub(crate) async fn start_issue_somewhere(&self, number: u64) -> Result<String> {
        self.start_somewhere("issue_to_pr", &issue(number)).await
    }

    /// Starts a workflow and returns the execution's id.
    pub(crate) async fn start(&self, workflow: &str, body: &Value) -> Result<String> {
        let path = format!("/api/workflows/{workflow}/trigger");
        Self::started(workflow, &self.post(&path, body).await?)
    }

    /// The same under a name: executions without one share a partition for a while, and those with one are
    /// anywhere.
    pub(crate) async fn start_somewhere(&self, workflow: &str, body: &Value) -> Result<String> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let key = format!("execution-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = format!("/api/workflows/{workflow}/trigger");
        // Names are looked up in the database, of which a projector may not have made everything yet.
        let answer = wait::until("a submission", START_WITHIN, async || {
            let answer = self.post_once(&path, body, &key).await?;
            Ok((answer.status != 503).then_some(answer))
        });
        Self::started(workflow, &answer.await?)
    }

    fn started(workflow: &str, answer: &Answer) -> Result<String> {
        ensure!(
            answer.status == 202,
            "{workflow} was not started: {answer:?}"
        );
        let id = answer.json["executionId"]
            .as_str()
            .context("an execution id")?;
        Ok(id.to_owned())
    }

    /// Waits until every one of `ids` is completed. While the gateway or an owner is away, it is
    /// asked again; an execution that ended otherwise is an error at once.
    pub(crate) async fn wait_until_completed(
        &self,
        ids: &[String],
        within: Duration,
    ) -> Result<()> {
        assert!(!ids.is_empty(), "nothing to wait for");
        let mut left = ids.iter().peekable();
        let mut last = None;
        let waited = wait::until("every execution to complete", within, async || {
            while let Some(id) = left.peek() {
                let answer = match self.get(&format!("/api/executions/{id}")).await {
                    Ok(answer) if answer.status < 500 => answer,
                    other => {
                        last = Some(format!("{other:?}"));
                        return Ok(None);
                    }
                };
                match answer.json["execution"]["status"].as_str() {
                    Some("completed") => left.next(),
                    Some("pending" | "running") => {
                        last = Some(answer.text);
                        return Ok(None);
                    }
                    _ => bail!("{id} is not completed: {answer:?}"),
                };
            }
            Ok(Some(()))
        });
        let waited = waited.await;
        waited.with_context(|| format!("{} are left, for example {last:?}", left.len()))
    }

    /// The ids of all executions of a workflow: a few hundred at most.
    pub(crate) async fn executions_of(&self, workflow: &str) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/api/executions?workflow={workflow}&limit=100{cursor}");
            let page = self.get(&path).await?;
            ensure!(page.status == 200, "{page:?}");
            let found = page.json["executions"].as_array().context("executions")?;
            ids.extend(
                found
                    .iter()
                    .filter_map(|one| one["id"].as_str().map(str::to_owned)),
            );
            match page.json["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(ids),
            }
        }
    }

    /// The value of a counter of the gateway.
    pub(crate) async fn metric(&self, name: &str) -> Result<u64> {
        let text = self.get("/metrics").await?.text;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.with_context(|| format!("no {name} in {text}"))?
            .trim()
            .parse()
            .context("a number")
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.token)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer> {
        let response = request.send().await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer { status, text, json })
    }
}

/// What starts `issue_to_pr` for one issue.
fn issue(number: u64) -> Value {
    json!({ "input": { "issue_number": number }, "repository": REPOSITORY })
}
