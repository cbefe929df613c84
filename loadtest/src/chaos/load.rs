//! Starts the executions of a run, each at its time, and notes what was acknowledged.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::client::Client;
use super::work::{EXECUTIONS_PER_KEY, KEYS, LABEL, Work};
use crate::simulated_github::{Delivery, Handle, IssueSeed};
use crate::system::{REPOSITORY, WEBHOOK_SECRET};

/// Requests under way at once: a gateway that is away delays so many.
const IN_FLIGHT: usize = 512;

/// Every so many submissions, one is made twice.
const TWICE_EVERY: usize = 7;

/// A submission and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Submission {
    pub(super) work: Work,
    /// The issue that its effects are at; 0 where there is none.
    pub(super) issue: u64,
    /// What was acknowledged.
    pub(super) accepted: Accepted,
}

/// What was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Accepted {
    /// The execution.
    Execution(String),
    /// A webhook: the execution is found by its issue.
    Delivery,
    /// Two executions for one submission.
    Twice(String, String),
    /// Nobody answered in time.
    No(String),
}

/// The load of a run.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) seed: u64,
    pub(super) rate: f64,
    pub(super) mix: Vec<Work>,
    pub(super) client: Client,
    pub(super) github: Handle,
}

impl Load {
    /// Stores every workflow.
    pub(super) async fn prepare(&self) -> Result<()> {
        for work in Work::ALL {
            let path = format!("/api/workflows/{}", work.workflow());
            let answer = self.client.put(&path, &work.definition()).await?;
            ensure!(
                matches!(answer.status, 200 | 201),
                "{} was not stored: {answer:?}",
                work.workflow()
            );
        }
        Ok(())
    }

    /// Starts everything, each at its time since `begun`.
    pub(super) async fn run(self, begun: Instant) -> Result<Vec<Submission>> {
        let load = Arc::new(self);
        let room = Arc::new(Semaphore::new(IN_FLIGHT));
        let mut running = JoinSet::new();
        let mut keys = Keys::default();
        for (index, work) in load.mix.iter().copied().enumerate() {
            let due = begun + Duration::from_secs_f64(index as f64 / load.rate);
            tokio::time::sleep_until(due).await;
            let issue = match work {
                Work::One => keys.next(&load.github)?,
                work if work.has_issue() => open_issue(&load.github, &format!("Work {index}"))?,
                _ => 0,
            };
            let place = Arc::clone(&room).acquire_owned().await?;
            let load = Arc::clone(&load);
            running.spawn(async move {
                let _place = place;
                let accepted = load.submit(index, work, issue).await;
                let accepted = accepted.unwrap_or_else(|error| Accepted::No(format!("{error:#}")));
                Submission {
                    work,
                    issue,
                    accepted,
                }
            });
        }
        let mut submissions = Vec::new();
        while let Some(ended) = running.join_next().await {
            submissions.push(ended.context("a submission panicked")?);
        }
        Ok(submissions)
    }

    async fn submit(&self, index: usize, work: Work, issue: u64) -> Result<Accepted> {
        if work == Work::Hook {
            self.deliver(index, issue).await?;
            if index.is_multiple_of(TWICE_EVERY) {
                self.deliver(index, issue).await?;
            }
            return Ok(Accepted::Delivery);
        }
        let first = self.trigger(index, work, issue, index).await?;
        if index.is_multiple_of(TWICE_EVERY) {
            let second = self.trigger(index, work, issue, index + 1).await?;
            if second != first {
                return Ok(Accepted::Twice(first, second));
            }
        }
        Ok(Accepted::Execution(first))
    }

    async fn trigger(&self, index: usize, work: Work, issue: u64, turn: usize) -> Result<String> {
        let path = format!("/api/workflows/{}/trigger", work.workflow());
        let lane = if index.is_multiple_of(5) {
            "interactive"
        } else {
            "bulk"
        };
        let body = json!({ "input": { "issue": issue, "n": index }, "lane": lane });
        let key = format!("chaos-{}-{index}", self.seed);
        let answer = self.client.post(&path, &body, &key, turn).await?;
        ensure!(
            matches!(answer.status, 200 | 202),
            "{path} was answered {answer:?}"
        );
        let id = answer.json["executionId"].as_str();
        Ok(id.context("no execution id")?.to_owned())
    }

    async fn deliver(&self, index: usize, issue: u64) -> Result<()> {
        let what = format!("the webhook of #{issue}");
        self.client
            .until(&what, index, |gateway| {
                self.deliver_to(gateway, index, issue)
            })
            .await
    }

    async fn deliver_to(&self, gateway: String, index: usize, issue: u64) -> Result<Option<()>> {
        let url = format!("{gateway}/api/webhooks/github");
        let mut delivery = Delivery::labeled(&url, WEBHOOK_SECRET, REPOSITORY, issue);
        delivery.delivery_id = Some(format!("chaos-{}-{index}", self.seed));
        let answered = self.github.deliver(&delivery).await?;
        ensure!(
            answered.status == 202 || answered.status >= 429,
            "the webhook was answered {answered:?}"
        );
        Ok((answered.status == 202).then_some(()))
    }
}

/// The issues that stand for keys.
#[derive(Debug, Default)]
struct Keys {
    used: u64,
    issues: Vec<u64>,
}

impl Keys {
    fn next(&mut self, github: &Handle) -> Result<u64> {
        if self.used.is_multiple_of(KEYS * EXECUTIONS_PER_KEY) {
            self.issues.clear();
            for number in 0..KEYS {
                self.issues
                    .push(open_issue(github, &format!("Key {number}"))?);
            }
        }
        self.used += 1;
        let turn = usize::try_from(self.used % KEYS)?;
        Ok(self.issues[turn])
    }
}

fn open_issue(github: &Handle, title: &str) -> Result<u64> {
    let issue = IssueSeed {
        title: title.to_owned(),
        labels: vec![LABEL.to_owned()],
        ..IssueSeed::default()
    };
    github.add_issue(REPOSITORY, issue)
}
