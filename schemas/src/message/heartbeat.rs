//! Heartbeats: what a worker says of itself, every [`INTERVAL`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{WorkerId, WorkerKind};
use crate::time::Timestamp;

/// How often a worker says that it lives.
pub const INTERVAL: Duration = Duration::from_secs(5);

/// A worker that has not been heard of for this long is dead: three missed heartbeats.
pub const DEAD_AFTER: Duration = Duration::from_secs(15);

/// One heartbeat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Who.
    pub worker: WorkerId,
    /// What it can do.
    pub kind: WorkerKind,
    /// The version of AFU-9 it runs.
    pub version: String,
    /// The host it runs on.
    pub host: String,
    /// When it was sent, by the worker's clock.
    pub at: Timestamp,
    /// When the worker started.
    pub started_at: Timestamp,
    /// How many jobs it can run at once.
    pub capacity: u32,
    /// How many it runs now.
    pub in_flight: u32,
    /// When the oldest job it runs was taken.
    #[serde(default)]
    pub oldest_job_since: Option<Timestamp>,
    /// Jobs finished since the start, whatever their outcome.
    #[serde(default)]
    pub finished: u64,
    /// The last error of a job, if there was one.
    #[serde(default)]
    pub last_error: Option<String>,
    /// It takes no new jobs and ends soon.
    #[serde(default)]
    pub draining: bool,
    /// Its view of what it depends on.
    #[serde(default)]
    pub checks: Vec<DependencyCheck>,
    /// Names of its tools, without the kind.
    #[serde(default)]
    pub tools: Vec<String>,
}

/// The state of one dependency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DependencyCheck {
    /// Its name in the readiness contract (`github_api`, `authentication`, …).
    pub name: String,
    /// How it is.
    pub status: DependencyStatus,
    /// Why, where it is not `ok`.
    #[serde(default)]
    pub message: Option<String>,
    /// How long the check took, in milliseconds.
    #[serde(default)]
    pub latency_ms: Option<u64>,
}

/// How a dependency is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DependencyStatus {
    /// It answers.
    Ok,
    /// It answers, but slowly or not quite as it should.
    Warning,
    /// It does not answer, or refuses.
    Error,
    /// There is none to check.
    NotConfigured,
}
