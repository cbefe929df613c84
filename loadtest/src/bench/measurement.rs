//! What was measured, for people and for programs.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::growth::Size;
use super::meter::{Cpu, LOAD_GENERATOR};
use crate::load::Pace;

/// Steps per second may change by this share between the sizes of growth.
const MAY_CHANGE: f64 = 0.15;

/// One load, and what it took.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) name: &'static str,
    pub(super) pace: Pace,
    /// Executions, or webhooks.
    pub(super) completed: usize,
    /// Steps, items or webhooks.
    pub(super) jobs: usize,
    /// From the first submission until the last row was in Postgres.
    pub(super) took: Duration,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// Of all roles together, the largest sample.
    pub(super) rss_mb: f64,
    pub(super) cpu: Cpu,
}

impl Run {
    /// Steps, items or webhooks each second.
    pub(super) fn jobs_per_s(&self) -> f64 {
        self.jobs as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }

    /// Processor time of everything but the load generator for each step, item or webhook. Unlike the
    /// speed it does not depend on what else the machine does.
    pub(super) fn cpu_us_per_job(&self) -> f64 {
        let others = self.cpu.iter().filter(|(name, _)| **name != LOAD_GENERATOR);
        let used: Duration = others.map(|(_, used)| *used).sum();
        used.as_secs_f64() * 1e6 / self.jobs.max(1) as f64
    }

    fn to_json(&self) -> Map<String, Value> {
        let cpu = self.cpu.iter();
        let cpu: Map<String, Value> = cpu
            .map(|(name, used)| ((*name).to_owned(), round(used.as_secs_f64()).into()))
            .collect();
        let fields = [
            ("seconds", round(self.took.as_secs_f64())),
            ("per_s", round(self.jobs_per_s())),
            ("p50_ms", self.p50_ms),
            ("p99_ms", self.p99_ms),
            ("rss_mb", round(self.rss_mb)),
        ];
        let fields = fields.into_iter();
        let mut shown: Map<String, Value> = fields
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        shown.insert("completed".to_owned(), self.completed.into());
        shown.insert("cpu_s".to_owned(), Value::Object(cpu));
        shown
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pace = match self.pace {
            Pace::Concurrency(concurrency) => format!("{concurrency} at a time"),
            Pace::Rate(rate) => format!("{rate:.0} a second"),
        };
        write!(
            f,
            "{:<15} {pace:>16}: {:>7} in {:>6.2} s, {:>6.0}/s, p50 {:>7.2} ms, p99 {:>7.2} ms",
            self.name,
            self.completed,
            self.took.as_secs_f64(),
            self.jobs_per_s(),
            self.p50_ms,
            self.p99_ms
        )?;
        write!(f, "; cpu s:")?;
        for (name, used) in &self.cpu {
            write!(f, " {name} {:.2}", used.as_secs_f64())?;
        }
        Ok(())
    }
}

/// A point of the saturation curve.
#[derive(Debug, Clone)]
pub(super) struct Point {
    pub(super) concurrency: usize,
    pub(super) run: Run,
}

/// What one mode of one program measured.
#[derive(Debug, Clone, Default)]
pub struct Measurement {
    /// In the order in which they were measured.
    values: Vec<(&'static str, f64)>,
    pub(super) curve: Vec<Point>,
    /// All other loads.
    pub(super) loads: Vec<Run>,
    pub(super) growth: Vec<Size>,
}

impl Measurement {
    pub(super) fn set(&mut self, name: &'static str, value: f64) {
        self.values.push((name, round(value)));
    }

    /// The largest counts.
    pub(super) fn raise(&mut self, name: &'static str, value: f64) {
        let value = round(value);
        match self.values.iter_mut().find(|(known, _)| *known == name) {
            Some((_, highest)) => *highest = highest.max(value),
            None => self.values.push((name, value)),
        }
    }

    /// Every figure by its name.
    pub fn values(&self) -> &[(&'static str, f64)] {
        &self.values
    }

    /// The point with the most steps per second.
    pub(super) fn best(&self) -> Option<&Point> {
        let speed = |point: &&Point| point.run.jobs_per_s();
        let points = self.curve.iter();
        points.max_by(|one, other| speed(one).total_cmp(&speed(other)))
    }

    /// As one JSON object: the figures, and what they are made of.
    pub fn to_json(&self) -> Value {
        let figures = self.values.iter();
        let mut shown: Map<String, Value> = figures
            .map(|(name, value)| ((*name).to_owned(), (*value).into()))
            .collect();
        let points = self.curve.iter().map(|point| {
            let mut shown = point.run.to_json();
            shown.insert("concurrency".to_owned(), point.concurrency.into());
            Value::Object(shown)
        });
        shown.insert("saturation".to_owned(), points.collect());
        let loads = self.loads.iter().map(|run| {
            let mut shown = run.to_json();
            shown.insert("load".to_owned(), run.name.into());
            Value::Object(shown)
        });
        shown.insert("loads".to_owned(), loads.collect());
        if !self.growth.is_empty() {
            let sizes = self.growth.iter().map(|size| {
                json!({
                    "finished": size.finished, "live": size.live,
                    "steps_per_s": round(size.steps_per_s),
                })
            });
            shown.insert("growth".to_owned(), sizes.collect());
        }
        Value::Object(shown)
    }
}

impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.values {
            writeln!(f, "  {name:<22} {value:>12.2}")?;
        }
        for run in self.curve.iter().map(|point| &point.run).chain(&self.loads) {
            writeln!(f, "  {run}")?;
        }
        if let Some(best) = self.best() {
            // Where the time goes at the highest speed, in per cent of one core.
            write!(f, "  cores at {} at a time:", best.concurrency)?;
            for (name, used) in &best.run.cpu {
                let share = used.as_secs_f64() / best.run.took.as_secs_f64().max(f64::EPSILON);
                write!(f, " {name} {:.0} %", share * 100.0)?;
            }
            writeln!(f)?;
        }
        for size in &self.growth {
            writeln!(
                f,
                "  {:>9} finished, {:>9} live: {:>8.0} steps/s",
                size.finished, size.live, size.steps_per_s
            )?;
        }
        for (name, ratio) in &self.values {
            if name.starts_with("growth_") && (ratio - 1.0).abs() > MAY_CHANGE {
                writeln!(f, "  {name} is more than {MAY_CHANGE} from 1")?;
            }
        }
        Ok(())
    }
}

/// What a run of one program measured, by mode.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub(super) modes: Vec<(&'static str, Measurement)>,
}

impl Report {
    /// As one JSON object with an entry for each mode.
    pub fn to_json(&self) -> Value {
        let modes = self.modes.iter();
        let shown = modes.map(|(mode, measured)| ((*mode).to_owned(), measured.to_json()));
        Value::Object(shown.collect())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (mode, measured) in &self.modes {
            writeln!(f, "{mode}")?;
            write!(f, "{measured}")?;
        }
        Ok(())
    }
}

/// Three digits after the point.
pub(super) fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
