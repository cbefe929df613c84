//! The result of a load run, for people and for programs.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::processes::RoleUsage;
use super::{Pace, Shape};

/// The result of a load run.
#[derive(Debug, Clone)]
pub struct Report {
    pub(super) workflows: usize,
    pub(super) shape: Shape,
    pub(super) pace: Pace,
    pub(super) submitted: usize,
    pub(super) refused: usize,
    pub(super) begun: Instant,
    pub(super) ended: usize,
    pub(super) failed: usize,
    pub(super) lost: usize,
    pub(super) duplicates: usize,
    pub(super) elapsed: Duration,
    pub(super) latency_us: Histogram<u64>,
    pub(super) processes: Vec<RoleUsage>,
}

impl Report {
    /// Whether everything that was asked for was accepted, and ended once, and well.
    pub fn is_clean(&self) -> bool {
        self.submitted > 0
            && self.ended == self.submitted
            && self.lost == 0
            && self.duplicates == 0
            && self.failed == 0
            && self.refused == 0
    }

    /// Executions that completed.
    pub fn completed(&self) -> usize {
        self.ended.saturating_sub(self.failed)
    }

    /// When the first execution was started.
    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    /// What became of those that did not complete, or not once.
    pub(crate) fn shortfall(&self) -> String {
        format!(
            "of {} executions {} completed: lost {}, failed {}, refused {}, ended twice {}",
            self.submitted + self.refused,
            self.completed(),
            self.lost,
            self.failed,
            self.refused,
            self.duplicates
        )
    }

    /// Completed executions a second.
    pub fn workflows_per_s(&self) -> f64 {
        self.completed() as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }

    /// Completed steps a second; items count as steps.
    pub fn steps_per_s(&self) -> f64 {
        self.workflows_per_s() * self.shape.jobs() as f64
    }

    /// Latency at a quantile, in milliseconds.
    pub fn latency_ms(&self, quantile: f64) -> f64 {
        self.latency_us.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// Resident memory of all roles of AFU-9 together, in MiB.
    pub fn rss_mb(&self) -> f64 {
        let bytes: u64 = self
            .processes
            .iter()
            .filter(|role| role.is_afu9())
            .map(|role| role.rss_bytes)
            .sum();
        bytes as f64 / 1024.0 / 1024.0
    }

    /// The report as one JSON object.
    pub fn to_json(&self) -> Value {
        let round = |value: f64| (value * 1000.0).round() / 1000.0;
        let processes: Vec<Value> = self
            .processes
            .iter()
            .map(|role| {
                json!({
                    "role": role.role,
                    "processes": role.processes,
                    "cpu_s": round(role.cpu.as_secs_f64()),
                    "rss_mb": round(role.rss_bytes as f64 / 1024.0 / 1024.0),
                })
            })
            .collect();
        json!({
            "workflows": self.workflows,
            "steps": self.shape.jobs(),
            "submitted": self.submitted,
            "refused": self.refused,
            "completed": self.completed(),
            "failed": self.failed,
            "lost": self.lost,
            "duplicates": self.duplicates,
            "elapsed_s": round(self.elapsed.as_secs_f64()),
            "workflows_per_s": round(self.workflows_per_s()),
            "steps_per_s": round(self.steps_per_s()),
            "p50_ms": self.latency_ms(0.50),
            "p90_ms": self.latency_ms(0.90),
            "p99_ms": self.latency_ms(0.99),
            "max_ms": self.latency_us.max() as f64 / 1000.0,
            "rss_mb": round(self.rss_mb()),
            "processes": processes,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pace = match self.pace {
            Pace::Concurrency(concurrency) => format!("{concurrency} at a time"),
            Pace::Rate(rate) => format!("{rate} a second"),
        };
        let each = match self.shape {
            Shape::Steps(steps) => format!("of {steps} steps"),
            Shape::Items {
                count, parallel, ..
            } => format!("of {count} items, {parallel} in parallel"),
            Shape::Sleeping => "that sleep".to_owned(),
        };
        writeln!(f, "{} workflows {each}, {pace}", self.workflows)?;
        writeln!(
            f,
            "completed  {} in {:.2} s: {:.0} workflows/s, {:.0} steps/s",
            self.completed(),
            self.elapsed.as_secs_f64(),
            self.workflows_per_s(),
            self.steps_per_s(),
        )?;
        writeln!(
            f,
            "latency    p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
            self.latency_ms(0.50),
            self.latency_ms(0.90),
            self.latency_ms(0.99),
            self.latency_us.max() as f64 / 1000.0,
        )?;
        writeln!(
            f,
            "lost {}, duplicates {}, failed {}, refused {}",
            self.lost, self.duplicates, self.failed, self.refused
        )?;
        for role in &self.processes {
            let share = role.cpu.as_secs_f64() / self.elapsed.as_secs_f64().max(f64::EPSILON);
            writeln!(
                f,
                "{:<17} {} process(es)  {:>6.2} s cpu ({:>5.1} % of a core)  {:>7.1} MiB",
                role.role,
                role.processes,
                role.cpu.as_secs_f64(),
                share * 100.0,
                role.rss_bytes as f64 / 1024.0 / 1024.0,
            )?;
        }
        write!(f, "AFU-9 in all      {:.1} MiB", self.rss_mb())
    }
}
