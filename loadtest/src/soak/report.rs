//! The result of a soak run: what grew, and whether it may.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Options;
use super::growth::{Growth, Tolerance};
use super::load::Counts;
use super::sample::Sample;
use crate::system;

/// Allocators keep a little more after each peak; a leak of a hundred bytes for each execution is
/// beyond it within an hour at a hundred executions a second.
const MEMORY: Tolerance = Tolerance {
    share: 0.10,
    more: 8.0 * 1024.0 * 1024.0,
};

/// Connections come and go: as many requests as are under way when the sample is taken.
const FILES: Tolerance = Tolerance {
    share: 0.0,
    more: 16.0,
};

/// What is in the streams swings with the moments at which history is dropped and the log is purged.
const STREAM_BYTES: Tolerance = Tolerance {
    share: 0.25,
    more: 4.0 * 1024.0 * 1024.0,
};

/// As [`STREAM_BYTES`].
const STREAM_MESSAGES: Tolerance = Tolerance {
    share: 0.25,
    more: 2_000.0,
};

/// Without keys there are none; with keys each is kept for days, longer than a run, and what is judged is
/// that there is one for each execution.
const KEYS: Tolerance = Tolerance {
    share: 0.0,
    more: 0.0,
};

/// Rows for each execution: history keeps every execution, but of each no more than of the first. The
/// rows of the last second's executions are partly written.
const ROWS_PER_EXECUTION: Tolerance = Tolerance {
    share: 0.02,
    more: 0.0,
};

/// The result of a soak run.
#[derive(Debug, Clone)]
pub struct Report {
    options: Options,
    counts: Counts,
    ended: u64,
    restarts: u32,
    mistakes: Vec<String>,
    samples: usize,
    growth: BTreeMap<String, Growth>,
}

impl Report {
    pub(super) fn new(
        options: &Options,
        counts: Counts,
        ended: u64,
        restarts: u32,
        mistakes: Vec<String>,
        samples: &[Sample],
    ) -> Self {
        Self {
            options: options.clone(),
            counts,
            ended,
            restarts,
            mistakes,
            samples: samples.len(),
            growth: growth(samples, options.keyed),
        }
    }

    /// Whether everything that was started has ended, nothing failed, and nothing grew that may not.
    pub fn is_clean(&self) -> bool {
        self.beyond().is_empty()
            && self.mistakes.is_empty()
            && self.restarts == 0
            && self.counts.refused == 0
            && self.counts.accepted > 0
            && self.ended == self.counts.accepted
    }

    /// What grew more than it may.
    fn beyond(&self) -> Vec<&str> {
        let beyond = self.growth.iter().filter(|(_, growth)| growth.is_beyond());
        beyond.map(|(name, _)| name.as_str()).collect()
    }

    /// The report as one JSON object.
    pub fn to_json(&self) -> Value {
        let round = |value: f64| (value * 100.0).round() / 100.0;
        let growth: Map<String, Value> = self
            .growth
            .iter()
            .map(|(name, growth)| {
                let shown = json!({
                    "from": round(growth.from), "to": round(growth.to),
                    "bound": round(growth.bound), "slope_per_hour": round(growth.slope_per_hour),
                });
                (name.clone(), shown)
            })
            .collect();
        json!({
            "accepted": self.counts.accepted,
            "refused": self.counts.refused,
            "ended": self.ended,
            "minutes": round(self.options.length.as_secs_f64() / 60.0),
            "rate": self.options.rate,
            "steps": self.options.steps,
            "keyed": self.options.keyed,
            "mode": self.options.durability.name(),
            "samples": self.samples,
            "restarts": self.restarts,
            "mistakes": self.mistakes,
            "beyond": self.beyond(),
            "growth": growth,
        })
    }
}

fn growth(samples: &[Sample], keyed: bool) -> BTreeMap<String, Growth> {
    let mut found = BTreeMap::new();
    let mut add = |name: &str, tolerance, value: &dyn Fn(&Sample) -> Option<f64>| {
        let values: Vec<(Duration, f64)> = samples
            .iter()
            .filter_map(|sample| Some((sample.at, value(sample)?)))
            .collect();
        found.insert(name.to_owned(), Growth::of(&values, tolerance));
    };
    let names = samples.iter().flat_map(|sample| sample.footprints.keys());
    let names: std::collections::BTreeSet<&String> = names.collect();
    for name in names {
        let of = |sample: &Sample| sample.footprints.get(name).copied();
        add(&format!("{name}.rss_bytes"), MEMORY, &|sample| {
            Some(of(sample)?.rss_bytes as f64)
        });
        add(&format!("{name}.files"), FILES, &|sample| {
            Some(of(sample)?.files as f64)
        });
    }
    add("stream_bytes", STREAM_BYTES, &|sample| {
        Some(sample.stream_bytes as f64)
    });
    add("stream_messages", STREAM_MESSAGES, &|sample| {
        Some(sample.stream_messages as f64)
    });
    let each = |count: u64, sample: &Sample| {
        (sample.executions > 0).then(|| count as f64 / sample.executions as f64)
    };
    if keyed {
        // A key is there before its execution is in history.
        add("keys_per_execution", ROWS_PER_EXECUTION, &|sample| {
            each(sample.keys, sample)
        });
    } else {
        add("keys", KEYS, &|sample| Some(sample.keys as f64));
    }
    add("rows_per_execution", ROWS_PER_EXECUTION, &|sample| {
        each(sample.rows, sample)
    });
    found
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} executions accepted, {} refused, {} ended; {} samples after the warm-up",
            self.counts.accepted, self.counts.refused, self.ended, self.samples
        )?;
        for (name, growth) in &self.growth {
            let beyond = if growth.is_beyond() { "  BEYOND" } else { "" };
            writeln!(
                f,
                "{name:<28} from {:>14.2} to {:>14.2} (at most {:>14.2}), {:>+14.2} an hour{beyond}",
                growth.from, growth.to, growth.bound, growth.slope_per_hour
            )?;
        }
        for mistake in &self.mistakes {
            writeln!(f, "- {mistake}")?;
        }
        f.write_str(system::verdict(self.is_clean()))
    }
}
