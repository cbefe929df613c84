//! When the next attempt at a step begins.

use std::time::Duration;

use afu9_schemas::JobId;
use afu9_schemas::definition::{Backoff, RetryPolicy};
use afu9_schemas::id::mix64;

/// Longest wait that the other side can ask for: a mistaken header must not park a step for years.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// The delay before the attempt that follows `failed`, the `made`th since the step was last begun by
/// hand, or `None` if the policy allows no further one.
///
/// The computed delay is drawn evenly between zero and the policy's delay ("full jitter": a fleet
/// that failed together does not come back together), and is never below `retry_after`, which the
/// other side asked for, up to a day. The draw is derived from the job, so that a replay draws the same.
pub fn delay(
    policy: &RetryPolicy,
    failed: JobId,
    made: u32,
    retry_after: Option<Duration>,
) -> Option<Duration> {
    if made >= policy.max_attempts {
        return None;
    }
    let ceiling = ceiling(policy, made);
    let place = u64::from(failed.step) << 32 | u64::from(failed.attempt);
    let item = failed.item.map_or(0, |item| mix64(u64::from(item) + 1));
    let seed = mix64(failed.execution.hash64() ^ mix64(place) ^ item);
    // 53 bits: the precision of a double.
    let fraction = (seed >> 11) as f64 / (1_u64 << 53) as f64;
    let jittered = ceiling.mul_f64(fraction);
    Some(retry_after.map_or(jittered, |asked| asked.min(MAX_RETRY_AFTER).max(jittered)))
}

fn ceiling(policy: &RetryPolicy, attempt: u32) -> Duration {
    let factor = match policy.backoff {
        Backoff::Fixed => 1.0,
        Backoff::Linear => f64::from(attempt),
        Backoff::Exponential => policy
            .multiplier
            .powi(i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX)),
    };
    let seconds = policy.initial_delay.as_secs_f64() * factor;
    Duration::from_secs_f64(seconds.min(policy.max_delay.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use afu9_schemas::ExecutionId;

    use super::*;

    fn job(attempt: u32) -> JobId {
        JobId {
            execution: ExecutionId::derived("retry"),
            step: 1,
            attempt,
            item: None,
        }
    }

    #[test]
    fn delays_grow_as_the_policy_says_and_stay_below_its_maximum() {
        let policy = |backoff| RetryPolicy {
            max_attempts: 10,
            backoff,
            ..RetryPolicy::default()
        };
        let secs = |backoff| -> Vec<u64> {
            (1..9)
                .map(|attempt| ceiling(&policy(backoff), attempt).as_secs())
                .collect()
        };
        assert_eq!(secs(Backoff::Fixed), [1; 8]);
        assert_eq!(secs(Backoff::Linear), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(secs(Backoff::Exponential), [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn the_last_attempt_has_no_successor() {
        let policy = RetryPolicy {
            max_attempts: 3,
            ..RetryPolicy::default()
        };
        assert!(delay(&policy, job(2), 2, None).is_some());
        assert_eq!(delay(&policy, job(3), 3, None), None);
        assert_eq!(delay(&policy, job(4), 4, None), None);
    }

    #[test]
    fn jitter_is_full_and_repeatable() {
        let policy = RetryPolicy {
            max_attempts: 2,
            ..RetryPolicy::default()
        };
        let draw = |name: &str| {
            let failed = JobId {
                execution: ExecutionId::derived(name),
                step: 0,
                attempt: 1,
                item: None,
            };
            let first = delay(&policy, failed, 1, None).expect("allowed");
            assert_eq!(
                Some(first),
                delay(&policy, failed, 1, None),
                "a replay draws the same"
            );
            first.as_millis()
        };
        let draws: Vec<u128> = (0..200).map(|n| draw(&n.to_string())).collect();
        assert!(draws.iter().all(|ms| *ms <= 1000));
        assert!(
            draws.iter().any(|ms| *ms < 100) && draws.iter().any(|ms| *ms > 900),
            "{draws:?}"
        );
    }

    #[test]
    fn what_the_other_side_asks_for_is_a_minimum() {
        let policy = RetryPolicy {
            max_attempts: 2,
            ..RetryPolicy::default()
        };
        let asked = Duration::from_secs(3600);
        assert_eq!(delay(&policy, job(1), 1, Some(asked)), Some(asked));
    }
}
