//! A client of several gateways: what one does not answer, another one is asked, as behind a load
//! balancer.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use reqwest::Method;
use serde_json::Value;

use crate::system::TOKEN;

/// A gateway that is frozen answers nothing; another one is asked then.
const TIMEOUT: Duration = Duration::from_secs(6);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(150);

/// Longer than anything here is away: a request that is refused for so long has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

/// The gateways. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    gateways: Arc<[String]>,
    repeated: Arc<AtomicU64>,
}

/// An answer below 500.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Null if it is not JSON.
    pub(super) json: Value,
}

impl Client {
    pub(super) fn new(gateways: &[String]) -> Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(TIMEOUT)
            .build()
            .context("build the HTTP client")?;
        Ok(Self {
            http,
            gateways: gateways.into(),
            repeated: Arc::new(AtomicU64::new(0)),
        })
    }

    /// The gateway whose turn it is.
    pub(super) fn gateway(&self, turn: usize) -> &str {
        &self.gateways[turn % self.gateways.len()]
    }

    /// How many requests had to be made again.
    pub(super) fn repeated(&self) -> u64 {
        self.repeated.load(Ordering::Relaxed)
    }

    pub(super) async fn get(&self, path: &str) -> Result<Answer> {
        self.ask(Method::GET, path, None, None, 0).await
    }

    pub(super) async fn put(&self, path: &str, body: &Value) -> Result<Answer> {
        self.ask(Method::PUT, path, Some(body), None, 0).await
    }

    /// The first try goes to the gateway whose `turn` it is.
    pub(super) async fn post(
        &self,
        path: &str,
        body: &Value,
        key: &str,
        turn: usize,
    ) -> Result<Answer> {
        self.ask(Method::POST, path, Some(body), Some(key), turn)
            .await
    }

    /// Calls `attempt` with one gateway after the other until it returns a value.
    pub(super) async fn until<T, F>(
        &self,
        what: &str,
        turn: usize,
        attempt: impl Fn(String) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<Option<T>>>,
    {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut last = None;
        for turn in turn.. {
            match attempt(self.gateway(turn).to_owned()).await {
                Ok(Some(value)) => return Ok(value),
                Ok(None) => {}
                Err(error) => last = Some(error),
            }
            if tokio::time::Instant::now() > deadline {
                break;
            }
            self.repeated.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(PAUSE).await;
        }
        match last {
            Some(error) => Err(error).with_context(|| format!("{what} for {PATIENCE:?}")),
            None => bail!("{what} was refused for {PATIENCE:?}"),
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
        turn: usize,
    ) -> Result<Answer> {
        let what = format!("{method} {path}");
        self.until(&what, turn, |gateway| {
            let url = format!("{gateway}{path}");
            let mut request = self.http.request(method.clone(), url).bearer_auth(TOKEN);
            if let Some(body) = body {
                request = request.json(body);
            }
            if let Some(key) = key {
                request = request.header("idempotency-key", key);
            }
            once(request)
        })
        .await
    }
}

/// `None` for what another try may answer better.
async fn once(request: reqwest::RequestBuilder) -> Result<Option<Answer>> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let text = response.text().await?;
    if status >= 500 || status == 429 {
        return Ok(None);
    }
    let json = serde_json::from_str(&text).unwrap_or(Value::Null);
    Ok(Some(Answer { status, json }))
}
