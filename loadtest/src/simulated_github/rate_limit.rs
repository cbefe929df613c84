//! The primary limit (requests per window and token) and the secondary limit on mutations.
//!
//! Invariant: a request that is refused by a limit, or answered 304, is not counted.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

/// GitHub's limit of a caller without a token.
pub(crate) const ANONYMOUS_LIMIT: u32 = 60;
/// The window of the secondary limit on mutations.
const SECONDARY_WINDOW_S: i64 = 60;

/// What the `x-ratelimit-*` headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) limit: u32,
    pub(crate) used: u32,
    pub(crate) reset_s: i64,
}

impl Standing {
    pub(crate) fn remaining(&self) -> u32 {
        self.limit.saturating_sub(self.used)
    }
}

#[derive(Debug, Default)]
struct Bucket {
    used: u32,
    reset_s: i64,
    writes: u32,
    writes_reset_s: i64,
}

/// One bucket per caller.
#[derive(Debug)]
pub(crate) struct RateLimits {
    window_s: i64,
    buckets: HashMap<String, Bucket>,
}

impl RateLimits {
    pub(crate) fn new(window: Duration) -> Self {
        let window_s = i64::try_from(window.as_secs())
            .unwrap_or(i64::MAX / 2)
            .max(1);
        Self {
            window_s,
            buckets: HashMap::new(),
        }
    }

    fn bucket(&mut self, name: &str, now: DateTime<Utc>) -> &mut Bucket {
        if !self.buckets.contains_key(name) {
            self.buckets.insert(name.to_owned(), Bucket::default());
        }
        let window_s = self.window_s;
        let bucket = self.buckets.entry(name.to_owned()).or_default();
        if now.timestamp() >= bucket.reset_s {
            bucket.used = 0;
            bucket.reset_s = now.timestamp() + window_s;
        }
        bucket
    }

    pub(crate) fn standing(&mut self, name: &str, limit: u32, now: DateTime<Utc>) -> Standing {
        let bucket = self.bucket(name, now);
        Standing {
            limit,
            used: bucket.used,
            reset_s: bucket.reset_s,
        }
    }

    /// Counts a request; `Err` if none is left.
    pub(crate) fn charge(
        &mut self,
        name: &str,
        limit: u32,
        now: DateTime<Utc>,
    ) -> Result<Standing, Standing> {
        let bucket = self.bucket(name, now);
        let is_free = bucket.used < limit;
        bucket.used += u32::from(is_free);
        let standing = Standing {
            limit,
            used: bucket.used,
            reset_s: bucket.reset_s,
        };
        if is_free { Ok(standing) } else { Err(standing) }
    }

    /// Takes back a counted request that was answered 304.
    pub(crate) fn refund(&mut self, name: &str) {
        if let Some(bucket) = self.buckets.get_mut(name) {
            bucket.used = bucket.used.saturating_sub(1);
        }
    }

    /// Counts a mutation; `Err` with the seconds to wait if none is left in this minute.
    pub(crate) fn charge_write(
        &mut self,
        name: &str,
        limit: u32,
        now: DateTime<Utc>,
    ) -> Result<(), u64> {
        let now_s = now.timestamp();
        let bucket = self.bucket(name, now);
        if now_s >= bucket.writes_reset_s {
            bucket.writes = 0;
            bucket.writes_reset_s = now_s + SECONDARY_WINDOW_S;
        }
        if bucket.writes >= limit {
            return Err(u64::try_from(bucket.writes_reset_s - now_s).unwrap_or(1));
        }
        bucket.writes += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_ends_and_a_refund_counts() {
        let mut limits = RateLimits::new(Duration::from_secs(10));
        let start = DateTime::UNIX_EPOCH;
        assert!(limits.charge("a", 1, start).is_ok());
        assert!(limits.charge("a", 1, start).is_err());
        assert!(limits.charge("b", 1, start).is_ok());
        limits.refund("a");
        assert!(limits.charge("a", 1, start).is_ok());
        let later = start + Duration::from_secs(10);
        let standing = limits.charge("a", 1, later).expect("a new window");
        assert_eq!(
            standing,
            Standing {
                limit: 1,
                used: 1,
                reset_s: 20
            }
        );
        assert_eq!(standing.remaining(), 0);
    }
}
