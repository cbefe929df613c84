//! The result of a chaos run, for people and for programs.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::Options;
use super::check::Verdict;
use super::inject::Counts;
use crate::system;

/// The result of a chaos run.
#[derive(Debug, Clone)]
pub struct Report {
    pub(super) options: Options,
    pub(super) command: String,
    pub(super) faults: Counts,
    pub(super) verdict: Verdict,
    pub(super) effects: u64,
    pub(super) answers_lost: u64,
    pub(super) requests_repeated: u64,
    pub(super) restarts: u32,
    pub(super) rested: Duration,
    pub(super) directory: PathBuf,
}

impl Report {
    /// Whether everything is as promised, and something succeeded.
    pub fn is_clean(&self) -> bool {
        self.verdict.is_clean()
    }

    /// How many of the faults of each kind happened.
    pub fn faults(&self) -> &std::collections::BTreeMap<String, u64> {
        &self.faults
    }

    /// The report as one JSON object.
    pub fn to_json(&self) -> Value {
        let verdict = &self.verdict;
        json!({
            "submitted": verdict.submitted,
            "completed": verdict.completed,
            "failed": verdict.failed,
            "lost": verdict.lost,
            "duplicated": verdict.duplicated,
            "stuck": verdict.stuck,
            "dead_letters": verdict.dead_letters,
            "poison": verdict.poison,
            "faults": self.faults,
            "seed": self.options.seed,
            "minutes": (self.options.length.as_secs_f64() / 60.0 * 100.0).round() / 100.0,
            "mode": self.options.durability.name(),
            "cluster": self.options.cluster,
            "small_disk": self.options.small_disk,
            "unexpected": verdict.unexpected,
            "unacknowledged": verdict.unacknowledged,
            "overlaps": verdict.overlaps,
            "history_gaps": verdict.history_gaps,
            "contradictions": verdict.contradictions,
            "beyond_policy": verdict.beyond_policy,
            "dead_letters_wrong": verdict.letters_wrong,
            "effects": self.effects,
            "answers_lost": self.answers_lost,
            "requests_repeated": self.requests_repeated,
            "restarts": self.restarts,
            "rest_s": (self.rested.as_secs_f64() * 10.0).round() / 10.0,
            "violations": verdict.violations,
            "sentences": verdict.sentences,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = &self.verdict;
        writeln!(f, "{}", self.command)?;
        writeln!(
            f,
            "submitted {}, completed {}, failed {} (poison {}), lost {}, duplicated {}, stuck {}",
            verdict.submitted,
            verdict.completed,
            verdict.failed,
            verdict.poison,
            verdict.lost,
            verdict.duplicated,
            verdict.stuck,
        )?;
        writeln!(
            f,
            "dead letters {}, effects {} ({} answers lost), at rest after {:.1} s",
            verdict.dead_letters,
            self.effects,
            self.answers_lost,
            self.rested.as_secs_f64(),
        )?;
        let faults = self.faults.iter();
        let faults: Vec<String> = faults
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        writeln!(f, "faults: {}", faults.join(", "))?;
        if verdict.violations > 0 {
            writeln!(
                f,
                "{} violations; logs: {}",
                verdict.violations,
                self.directory.display()
            )?;
            for sentence in &verdict.sentences {
                writeln!(f, "- {sentence}")?;
            }
        }
        f.write_str(system::verdict(self.is_clean()))
    }
}
