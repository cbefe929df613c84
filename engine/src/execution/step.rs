//! The state of one step: its attempts, and what it waits for.

use afu9_schemas::message::history::AttemptRecord;
use afu9_schemas::message::{JobResult, Outcome};
use afu9_schemas::view::StepStatus;
use afu9_schemas::{StepError, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The state of one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepState {
    /// Its status.
    pub status: StepStatus,
    /// What it waits for, while it is in progress.
    #[serde(default)]
    pub wait: Option<Wait>,
    /// When it was reached.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
    /// Its parameters, resolved once: every attempt gets the same.
    #[serde(default)]
    pub params: Option<Value>,
    /// Its output.
    #[serde(default)]
    pub output: Option<Value>,
    /// Its last error.
    #[serde(default)]
    pub error: Option<StepError>,
    /// Every attempt.
    #[serde(default)]
    pub attempts: Vec<AttemptRecord>,
}

/// What a step in progress waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// The answer of a worker.
    Job {
        /// Until when.
        deadline: Option<Timestamp>,
    },
    /// The instant of its next attempt.
    Retry {
        /// That instant.
        at: Timestamp,
    },
}

impl Default for StepState {
    fn default() -> Self {
        Self {
            status: StepStatus::Pending,
            wait: None,
            started_at: None,
            ended_at: None,
            params: None,
            output: None,
            error: None,
            attempts: Vec::new(),
        }
    }
}

impl StepState {
    /// Number of the attempt in progress, or of the last one; 0 before the first.
    pub fn attempt(&self) -> u32 {
        self.attempts.last().map_or(0, |attempt| attempt.attempt)
    }

    pub(super) fn awaits(&self, attempt: u32) -> bool {
        matches!(self.wait, Some(Wait::Job { .. })) && self.attempt() == attempt
    }

    pub(super) fn begin_attempt(&mut self, now: Timestamp, deadline: Option<Timestamp>) {
        self.attempts.push(AttemptRecord {
            attempt: self.attempt() + 1,
            dispatched_at: now,
            worker: None,
            started_at: None,
            ended_at: None,
            error: None,
        });
        self.status = StepStatus::Running;
        self.wait = Some(Wait::Job { deadline });
    }

    /// Notes who answered for the attempt in progress, and when.
    pub(super) fn answered(&mut self, result: &JobResult) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.worker = Some(result.worker.clone());
            attempt.started_at = Some(result.started_at);
            attempt.ended_at = Some(result.ended_at);
            if let Outcome::Failed { error, .. } = &result.outcome {
                attempt.error = Some(error.clone());
            }
        }
    }

    /// Notes that the attempt in progress failed. Without one, or after it ended, changes nothing.
    pub(super) fn attempt_failed(&mut self, error: &StepError, now: Timestamp) {
        if !matches!(self.wait, Some(Wait::Job { .. })) {
            return;
        }
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.ended_at.get_or_insert(now);
            attempt.error.get_or_insert_with(|| error.clone());
        }
    }
}
