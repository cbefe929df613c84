//! Concurrency keys: who has one, who waits for it.

use std::collections::BTreeSet;

use afu9_schemas::definition::{Flow, RateLimit};
use afu9_schemas::{ExecutionId, Timestamp};
use rustc_hash::FxHashMap;

/// Most executions of one partition that wait for keys: they are all in memory.
pub(super) const MAX_WAITING: usize = 200_000;

/// Most keys with a rate limit of one partition whose allowance is not whole: each checkpoint holds
/// them all. Of more, those that would be whole first are taken for whole.
const MAX_RATES: usize = 20_000;

/// The order of those that wait: higher priorities first, then as they came.
pub(super) type Place = (i32, u64, ExecutionId);

/// The keys of one partition.
#[derive(Debug, Default)]
pub(super) struct Keys {
    keys: FxHashMap<String, KeyState>,
    /// For each key with a rate limit, when its allowance is whole again.
    rates: FxHashMap<String, Timestamp>,
    waiting: usize,
}

/// One key.
#[derive(Debug, Default)]
pub(super) struct KeyState {
    /// Who has it.
    pub(super) holders: BTreeSet<ExecutionId>,
    /// Who waits for it.
    pub(super) waiting: BTreeSet<Place>,
}

impl Keys {
    pub(super) fn get(&self, key: &str) -> Option<&KeyState> {
        self.keys.get(key)
    }

    pub(super) fn hold(&mut self, key: &str, id: ExecutionId) {
        self.entry(key).holders.insert(id);
    }

    pub(super) fn wait(&mut self, key: &str, priority: i32, ticket: u64, id: ExecutionId) -> bool {
        let new = self.entry(key).waiting.insert((-priority, ticket, id));
        self.waiting += usize::from(new);
        new
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting >= MAX_WAITING
    }

    /// Forgets an execution, whether it has the key or waits for it.
    pub(super) fn leave(&mut self, key: &str, id: ExecutionId, place: Option<(i32, u64)>) {
        let Some(state) = self.keys.get_mut(key) else {
            return;
        };
        state.holders.remove(&id);
        if let Some((priority, ticket)) = place
            && state.waiting.remove(&(-priority, ticket, id))
        {
            self.waiting -= 1;
        }
        if state.holders.is_empty() && state.waiting.is_empty() {
            self.keys.remove(key);
        }
    }

    /// Whether an execution with this key may begin at once.
    pub(super) fn is_free(&self, key: &str, flow: &Flow, now: Timestamp) -> bool {
        let state = self.get(key);
        let limit = flow
            .concurrency
            .map(|concurrency| concurrency.limit as usize);
        state.is_none_or(|state| {
            state.waiting.is_empty() && limit.is_none_or(|limit| state.holders.len() < limit)
        }) && flow.debounce.is_none()
            && flow
                .rate
                .is_none_or(|rate| self.allowed_at(key, rate) <= now)
    }

    /// When the rate limit lets the next one begin.
    ///
    /// Generic cell rate algorithm: an allowance of `limit` executions that refills evenly over the
    /// period; one instant per key is all there is to remember.
    pub(super) fn allowed_at(&self, key: &str, rate: RateLimit) -> Timestamp {
        let Some(whole) = self.rates.get(key) else {
            return Timestamp::default();
        };
        let interval = rate.period / rate.limit.max(1);
        let tolerance = rate.period.saturating_sub(interval);
        let micros = i64::try_from(tolerance.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(whole.as_micros().saturating_sub(micros))
    }

    /// Notes that one begins.
    pub(super) fn spend(&mut self, key: &str, rate: RateLimit, now: Timestamp) {
        let interval = rate.period / rate.limit.max(1);
        let whole = self.rates.entry(key.to_owned()).or_insert(now);
        *whole = (*whole).max(now).plus(interval);
        if self.rates.len() > MAX_RATES {
            self.forget_rates(now);
        }
    }

    /// Makes room for a tenth of all.
    fn forget_rates(&mut self, now: Timestamp) {
        let rates = self.rates(now);
        let most = MAX_RATES - MAX_RATES / 10;
        if let Some(surplus) = rates.len().checked_sub(most) {
            let mut order: Vec<(Timestamp, String)> =
                rates.into_iter().map(|(key, whole)| (whole, key)).collect();
            order.sort_unstable();
            for (_, key) in order.into_iter().take(surplus) {
                self.rates.remove(&key);
            }
        }
    }

    /// What there is to remember of rates at `now`.
    pub(super) fn rates(&mut self, now: Timestamp) -> Vec<(String, Timestamp)> {
        self.rates.retain(|_, whole| *whole > now);
        let mut rates: Vec<_> = self.rates.iter().map(|(k, at)| (k.clone(), *at)).collect();
        rates.sort();
        rates
    }

    pub(super) fn set_rates(&mut self, rates: Vec<(String, Timestamp)>) {
        self.rates = rates.into_iter().collect();
    }

    fn entry(&mut self, key: &str) -> &mut KeyState {
        self.keys.entry(key.to_owned()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rates_of_more_keys_than_fit_are_forgotten_the_nearly_whole_first() {
        let rate = RateLimit {
            limit: 1,
            period: Duration::from_secs(3600),
        };
        let mut keys = Keys::default();
        let begun = Timestamp::from_micros(1_000_000_000);
        for n in 0..=MAX_RATES {
            keys.spend(
                &format!("k{n}"),
                rate,
                begun.plus(Duration::from_millis(n as u64)),
            );
        }
        let kept = keys.rates(begun.plus(Duration::from_secs(60))).len();
        assert!((MAX_RATES / 2..=MAX_RATES).contains(&kept), "{kept}");
        assert!(keys.allowed_at("k0", rate) <= begun, "forgotten");
        let last = format!("k{MAX_RATES}");
        assert!(keys.allowed_at(&last, rate) > begun, "kept");
    }

    #[test]
    fn a_rate_limit_allows_its_number_at_once_and_then_one_per_interval() {
        let rate = RateLimit {
            limit: 3,
            period: Duration::from_secs(3),
        };
        let mut keys = Keys::default();
        let now = Timestamp::from_micros(1_000_000_000);
        for _ in 0..3 {
            assert!(keys.allowed_at("k", rate) <= now);
            keys.spend("k", rate, now);
        }
        let next = keys.allowed_at("k", rate);
        assert_eq!(next.since(now), Duration::from_secs(1));
        keys.spend("k", rate, next);
        assert_eq!(
            keys.allowed_at("k", rate).since(now),
            Duration::from_secs(2)
        );
        assert!(keys.rates(now.plus(Duration::from_secs(60))).is_empty());
    }
}
