//! What the gateway counts, and the text in which Prometheus reads it.
//!
//! Labels are never ids: their values are fixed in this file, or the names of worker kinds.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use afu9_schemas::Timestamp;
use afu9_schemas::message::DeadLetterReason;

use crate::dead_letters::Backlog;
use crate::orchestrators::Counted;

/// Among what orchestrators count, the only number that may fall.
const SCHEDULES: &str = "schedules";

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Its value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Name, description, label, and a counter for each value of the label.
type Family<'a> = (&'a str, &'a str, &'a str, &'a [(&'a str, &'a Counter)]);

/// What the gateway has done since it started.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "each name is its own description")]
pub struct Metrics {
    pub webhooks_accepted: Counter,
    pub webhooks_duplicate: Counter,
    pub webhooks_bad_signature: Counter,
    pub webhooks_refused: Counter,
    pub webhooks_unavailable: Counter,
    pub triggers_accepted: Counter,
    pub triggers_replayed: Counter,
    pub triggers_refused: Counter,
    pub triggers_unavailable: Counter,
    pub deliveries_routed: Counter,
    pub deliveries_unmatched: Counter,
    pub deliveries_retried: Counter,
    pub deliveries_dead: Counter,
    pub routes_started: Counter,
    pub routes_known: Counter,
    pub routes_failed: Counter,
    pub dead_letters: Counter,
    pub wishes_applied: Counter,
    pub wishes_unchanged: Counter,
    pub wishes_refused: Counter,
    pub wishes_pending: Counter,
    pub wishes_unavailable: Counter,
    pub history_unreadable: Counter,
    pub responses_success: Counter,
    pub responses_client_error: Counter,
    pub responses_server_error: Counter,
    pub panics: Counter,
}

impl Metrics {
    /// The text of `/metrics`; `live_workers` are the workers heard of lately, by kind; `letters` are the
    /// open dead letters, if they could be counted.
    pub(crate) fn text(
        &self,
        live_workers: &[(String, usize)],
        counted: &Counted,
        letters: Option<&Backlog>,
        now: Timestamp,
    ) -> String {
        let families: [Family<'_>; 9] = [
            (
                "webhooks",
                "Webhook deliveries by what became of them.",
                "result",
                &[
                    ("accepted", &self.webhooks_accepted),
                    ("duplicate", &self.webhooks_duplicate),
                    ("bad_signature", &self.webhooks_bad_signature),
                    ("refused", &self.webhooks_refused),
                    ("unavailable", &self.webhooks_unavailable),
                ],
            ),
            (
                "triggers",
                "Trigger calls by what became of them.",
                "result",
                &[
                    ("accepted", &self.triggers_accepted),
                    ("replayed", &self.triggers_replayed),
                    ("refused", &self.triggers_refused),
                    ("unavailable", &self.triggers_unavailable),
                ],
            ),
            (
                "deliveries",
                "Stored deliveries by how routing them ended.",
                "result",
                &[
                    ("routed", &self.deliveries_routed),
                    ("unmatched", &self.deliveries_unmatched),
                    ("retried", &self.deliveries_retried),
                    ("dead", &self.deliveries_dead),
                ],
            ),
            (
                "routes",
                "Matched routes by what became of them.",
                "result",
                &[
                    ("started", &self.routes_started),
                    ("known", &self.routes_known),
                    ("failed", &self.routes_failed),
                ],
            ),
            (
                "dead_letters",
                "Dead letters written.",
                "source",
                &[("inbox", &self.dead_letters)],
            ),
            (
                "wishes",
                "Wishes to change executions by what came of them.",
                "result",
                &[
                    ("applied", &self.wishes_applied),
                    ("unchanged", &self.wishes_unchanged),
                    ("refused", &self.wishes_refused),
                    ("pending", &self.wishes_pending),
                    ("unavailable", &self.wishes_unavailable),
                ],
            ),
            (
                "history_unreadable",
                "History batches the gateway could not read.",
                "reason",
                &[("decode", &self.history_unreadable)],
            ),
            (
                "responses",
                "HTTP answers by class.",
                "class",
                &[
                    ("success", &self.responses_success),
                    ("client_error", &self.responses_client_error),
                    ("server_error", &self.responses_server_error),
                ],
            ),
            (
                "panics",
                "Panics caught.",
                "in",
                &[("handler", &self.panics)],
            ),
        ];
        let mut text = String::new();
        for (name, help, label, values) in families {
            let name = format!("afu9_gateway_{name}_total");
            // Writing into a string cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
            for (value, counter) in values {
                let _ = writeln!(text, "{name}{{{label}=\"{value}\"}} {}", counter.get());
            }
        }
        let name = "afu9_gateway_live_workers";
        let _ = writeln!(
            text,
            "# HELP {name} Workers heard of lately.\n# TYPE {name} gauge"
        );
        for (kind, count) in live_workers {
            let _ = writeln!(text, "{name}{{kind=\"{kind}\"}} {count}");
        }
        if let Some(letters) = letters {
            backlog_text(&mut text, letters, now);
        }
        let name = "afu9_orchestrators";
        let _ = writeln!(
            text,
            "# HELP {name} Orchestrators that own a partition.\n# TYPE {name} gauge\n{name} {}",
            counted.orchestrators
        );
        let schedules = counted.counters.get(SCHEDULES).copied().unwrap_or(0);
        let name = "afu9_schedules";
        let _ = writeln!(
            text,
            "# HELP {name} Schedules that are run.\n# TYPE {name} gauge\n{name} {schedules}"
        );
        let name = "afu9_orchestrator_events_total";
        let _ = writeln!(
            text,
            "# HELP {name} What those orchestrators have counted since they started. `orphans` must \
             stay 0.\n# TYPE {name} counter"
        );
        let events = counted
            .counters
            .iter()
            .filter(|(name, _)| *name != SCHEDULES);
        for (event, count) in events {
            let _ = writeln!(text, "{name}{{event=\"{event}\"}} {count}");
        }
        text
    }
}

/// Every reason has a line, so that an alarm on one does not wait for its first dead letter.
fn backlog_text(text: &mut String, letters: &Backlog, now: Timestamp) {
    let name = "afu9_dead_letters_open";
    let _ = writeln!(
        text,
        "# HELP {name} Dead letters that nobody has replayed or discarded.\n# TYPE {name} gauge"
    );
    for reason in DeadLetterReason::ALL {
        let reason = reason.as_str();
        let of_reason = letters.open.iter().find(|open| open.reason == reason);
        let count = of_reason.map_or(0, |open| open.count);
        let _ = writeln!(text, "{name}{{reason=\"{reason}\"}} {count}");
    }
    let name = "afu9_dead_letters_oldest_seconds";
    let oldest = letters.oldest(now).unwrap_or_default().as_secs();
    let _ = writeln!(
        text,
        "# HELP {name} Age of the oldest open dead letter; 0 without any.\n# TYPE {name} gauge\n\
         {name} {oldest}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_in_the_text() {
        let metrics = Metrics::default();
        metrics.webhooks_bad_signature.add();
        let counted = Counted {
            orchestrators: 3,
            counters: [("orphans".to_owned(), 1)].into(),
        };
        let backlog = Backlog::default();
        let now = Timestamp::from_micros(0);
        let live = [("github".to_owned(), 2)];
        let text = metrics.text(&live, &counted, Some(&backlog), now);
        for reason in DeadLetterReason::ALL {
            let line = format!(
                "afu9_dead_letters_open{{reason=\"{}\"}} 0\n",
                reason.as_str()
            );
            assert!(text.contains(&line), "{text}");
        }
        let text = metrics.text(&live, &counted, None, now);
        assert!(text.contains("\nafu9_orchestrators 3\n"), "{text}");
        assert!(
            text.contains("afu9_orchestrator_events_total{event=\"orphans\"} 1\n"),
            "{text}"
        );
        assert!(
            text.contains("afu9_gateway_webhooks_total{result=\"bad_signature\"} 1\n"),
            "{text}"
        );
        assert!(
            text.contains("afu9_gateway_live_workers{kind=\"github\"} 2\n"),
            "{text}"
        );
        let lines = text.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(lines, 27 + 1 + 3, "one line for each field of the struct");
    }
}
