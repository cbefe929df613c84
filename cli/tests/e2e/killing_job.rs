//! A job that ends the process of every worker that takes it: it is told from those beside it, set aside
//! after a few crashes, and everything else completes.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::harness::Factory;
use crate::harness::database::Storage;

/// Three deliveries beside others, two alone.
const CRASHES: u32 = 5;

/// Jobs that are taken together with it.
const INNOCENT: usize = 5;

/// After each crash the server waits this long for a sign of life, instead of 30 s.
const ACK_WAIT_MS: &str = "2000";

const PATIENCE: Duration = Duration::from_secs(120);

const POLL: Duration = Duration::from_millis(50);

/// Its policy would have it tried ten times.
const KILLING: &str = r#"{ "name": "killing", "steps": [
  { "name": "crash", "tool": "test.crash",
    "retry": { "maxAttempts": 10, "on": ["worker_lost"], "initialDelayMs": 100 } }
], "onFailure": [ { "name": "tell", "tool": "test.noop" } ] }"#;

/// One attempt only: it is not an attempt that a worker is lost with.
const INNOCENTS: &str = r#"{ "name": "innocent", "steps": [
  { "name": "sleep", "tool": "test.sleep", "params": { "ms": 100 }, "retry": { "maxAttempts": 1 } }
] }"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_ends_workers_is_set_aside_and_spares_those_beside_it() -> Result<()> {
    let mut factory = Factory::new(Storage::None, 0).await?;
    factory.configure("AFU9_NATS__ACK_WAIT_MS", Some(ACK_WAIT_MS));
    for name in ["orchestrator", "gateway"] {
        factory.launch(name, &[name])?;
    }
    factory.wait_until_answering().await?;
    let api = factory.api.clone();
    api.apply("killing", KILLING).await?;
    api.apply("innocent", INNOCENTS).await?;
    let body = json!({ "input": {} });
    let mut innocent = Vec::new();
    for _ in 0..INNOCENT {
        innocent.push(api.start("innocent", &body).await?);
    }
    let guilty = api.start("killing", &body).await?;
    for _ in 0..INNOCENT {
        innocent.push(api.start("innocent", &body).await?);
    }
    // Only now, so that it takes them all at once.
    factory.launch("worker", &["worker", "--kinds", "test"])?;

    let mut crashes = 0;
    let deadline = Instant::now() + PATIENCE;
    let ended = loop {
        if factory.revive("worker")? {
            crashes += 1;
            ensure!(crashes <= CRASHES, "it is not set aside");
            // Newcomers, while the guilty one waits.
            innocent.push(api.start("innocent", &body).await?);
        }
        let answer = api.get(&format!("/api/executions/{guilty}")).await?;
        match answer.json["execution"]["status"].as_str() {
            Some("failed") => break answer,
            Some("pending" | "running") => {}
            _ => bail!("{answer:?}"),
        }
        ensure!(Instant::now() < deadline, "{crashes} crashes: {answer:?}");
        sleep(POLL).await;
    };
    assert_eq!(crashes, CRASHES);
    assert!(ended.text.contains("worker.lost"), "{}", ended.text);
    api.wait_until_completed(&innocent, PATIENCE).await?;
    factory.finish()
}
