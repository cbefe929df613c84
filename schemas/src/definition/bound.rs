//! The bounds of the language: the reader checks them, and the JSON Schema states them.

use std::ops::RangeInclusive;

use super::MAX_DURATION;

/// Longest name of a workflow, a step or an assigned value, in bytes: what the database holds.
pub(super) const NAME_BYTES: usize = 255;

/// Attempts of a step, the first one included.
pub(super) const ATTEMPTS: RangeInclusive<u64> = 1..=10;

/// `config.maxRetries`. The predecessor had no bound on it; above [`MOST_RETRIES`] it means that.
pub(super) const RETRIES: RangeInclusive<u64> = 0..=u32::MAX as u64;

/// Attempts of a step at most, less one.
pub(super) const MOST_RETRIES: u32 = *ATTEMPTS.end() as u32 - 1;

/// Factor of an exponential backoff.
pub(super) const MULTIPLIER: RangeInclusive<f64> = 1.0..=100.0;

/// Least first delay between attempts.
pub(super) const INITIAL_DELAY_MS: RangeInclusive<u64> = 100..=LONGEST_MS;

/// Least bound on the delay between attempts.
pub(super) const MAX_DELAY_MS: RangeInclusive<u64> = 1000..=LONGEST_MS;

/// Times within which something has to be done.
pub(super) const TIMEOUT_MS: RangeInclusive<u64> = 1000..=LONGEST_MS;

/// A sleep given as a number.
pub(super) const SLEEP_MS: RangeInclusive<u64> = 0..=LONGEST_MS;

/// Items of one step that run at once.
pub(super) const PARALLEL: RangeInclusive<u64> = 1..=10_000;

/// People who must approve.
pub(super) const APPROVALS: RangeInclusive<u64> = 1..=20;

/// Versions of a workflow.
pub(super) const VERSION: RangeInclusive<u64> = 1..=u32::MAX as u64;

/// Executions with the same key that run at once.
pub(super) const CONCURRENT: RangeInclusive<u64> = 1..=1000;

/// Executions with the same key that begin in a period.
pub(super) const RATE: RangeInclusive<u64> = 1..=100_000;

/// The period of a rate limit: a second to a day.
pub(super) const RATE_PERIOD_MS: RangeInclusive<u64> = 1000..=DAY_MS;

/// How long it has to be quiet.
pub(super) const QUIET_MS: RangeInclusive<u64> = 100..=DAY_MS;

/// Longest wait for quiet; ten times the longest period fits.
pub(super) const QUIET_WAIT_MS: RangeInclusive<u64> = 100..=LONGEST_MS;

/// Periods of quiet that an execution waits at most, where the definition does not say.
pub(super) const QUIET_PERIODS: u32 = 10;

/// Who begins first among those that wait.
pub(super) const PRIORITY: RangeInclusive<i64> = -100..=100;

/// Delay by which the starts of a schedule are spread.
pub(super) const JITTER_MS: RangeInclusive<u64> = 0..=3_600_000;

/// Triggers of one definition: each is looked at for every delivery.
pub(super) const TRIGGERS: usize = 50;

/// Longest name of a signal, in bytes.
pub(super) const SIGNAL_BYTES: usize = 128;

/// Longest name of a scope of deciders, in bytes: as long as the name of a token.
pub(super) const SCOPE_BYTES: usize = 64;

/// Whether `text` is a name of 1 to `most` letters, digits, `.`, `-` or `_`.
pub(super) fn is_name(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

/// Longest of the short texts: an approver, an event, a time zone, a cron expression.
pub(super) const SHORT_BYTES: usize = 255;

/// Longest name of a webhook source, in bytes: it is a part of a subject.
pub(super) const SOURCE_BYTES: usize = 64;

const DAY_MS: u64 = 24 * 3600 * 1000;

/// Longer waits are schedules. In range: a year has fewer milliseconds than a `u64` holds.
const LONGEST_MS: u64 = MAX_DURATION.as_millis() as u64;
