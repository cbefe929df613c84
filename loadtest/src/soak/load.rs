//! A steady load: executions of steps without effect, each started at its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Options;
use crate::system::TOKEN;

/// Requests under way at once.
const IN_FLIGHT: usize = 1024;

/// Longer than the gateway takes to give up on a submission.
const TIMEOUT: Duration = Duration::from_secs(40);

/// Connections kept: those of a burst are files of the gateway, and no leak of it.
const IDLE: usize = 8;

const WORKFLOW: &str = "soak";

/// What came of the submissions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) accepted: u64,
    pub(super) refused: u64,
}

#[derive(Debug)]
pub(super) struct Load {
    http: reqwest::Client,
    gateway: String,
    rate: f64,
    steps: usize,
    keyed: bool,
}

impl Load {
    pub(super) fn new(options: &Options, gateway: &str) -> Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(TIMEOUT)
            .pool_max_idle_per_host(IDLE)
            .build()
            .context("build the HTTP client")?;
        Ok(Self {
            http,
            gateway: gateway.to_owned(),
            rate: options.rate,
            steps: options.steps,
            keyed: options.keyed,
        })
    }

    /// Stores the workflow.
    pub(super) async fn prepare(&self) -> Result<()> {
        let steps: Vec<Value> = (1..=self.steps)
            .map(|step| json!({ "name": format!("step_{step}"), "tool": "test.noop" }))
            .collect();
        let url = format!("{}/api/workflows/{WORKFLOW}", self.gateway);
        let body = json!({ "name": WORKFLOW, "steps": steps });
        let answer = self.http.put(url).bearer_auth(TOKEN).json(&body).send();
        let answer = answer.await.context("store the workflow")?;
        ensure!(
            answer.status().is_success(),
            "the workflow was refused: {}",
            answer.status()
        );
        Ok(())
    }

    /// Starts executions from `begun` on, until the time is over or somebody stops it.
    pub(super) async fn run(
        self,
        begun: Instant,
        length: Duration,
        stop: &CancellationToken,
    ) -> Result<Counts> {
        let (accepted, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let load = Arc::new(self);
        let room = Arc::new(Semaphore::new(IN_FLIGHT));
        let mut running = JoinSet::new();
        for index in 0_u64.. {
            let due = begun + Duration::from_secs_f64(index as f64 / load.rate);
            if due > begun + length || stop.is_cancelled() {
                break;
            }
            tokio::time::sleep_until(due).await;
            let place = Arc::clone(&room).acquire_owned().await?;
            let load = Arc::clone(&load);
            let (accepted, refused) = (Arc::clone(&accepted), Arc::clone(&refused));
            running.spawn(async move {
                let _place = place;
                let counter = match load.start(index).await {
                    Ok(()) => accepted,
                    Err(error) => {
                        tracing::warn!("a submission failed: {error:#}");
                        refused
                    }
                };
                counter.fetch_add(1, Ordering::Relaxed);
            });
            while running.try_join_next().is_some() {}
        }
        while running.join_next().await.is_some() {}
        Ok(Counts {
            accepted: accepted.load(Ordering::Relaxed),
            refused: refused.load(Ordering::Relaxed),
        })
    }

    async fn start(&self, index: u64) -> Result<()> {
        let url = format!("{}/api/workflows/{WORKFLOW}/trigger", self.gateway);
        let mut request = self.http.post(url).bearer_auth(TOKEN).json(&json!({}));
        if self.keyed {
            request = request.header("idempotency-key", format!("soak-{index}"));
        }
        let answer = request.send().await?;
        let status = answer.status();
        // Read whole, so that the connection can be used again.
        let text = answer.text().await?;
        ensure!(status.is_success(), "{status}: {text}");
        Ok(())
    }
}
