//! How executions of a workflow share what they contend for: `concurrency`, `rateLimit`, `debounce`
//! and `priority`.

use super::Reader;
use super::value::Object;
use crate::definition::vocabulary::{ON_CONFLICT, SCOPES, keys};
use crate::definition::{Concurrency, Debounce, Flow, KeyScope, OnConflict, RateLimit, bound};

impl Reader<'_> {
    pub(super) fn flow(&mut self, top: &Object<'_>) -> Flow {
        let concurrency = self.section(top, "concurrency", keys::CONCURRENCY);
        let rate = self.section(top, "rateLimit", keys::RATE_LIMIT);
        let debounce = self.section(top, "debounce", keys::DEBOUNCE);
        let limits: Vec<&Object<'_>> = [&concurrency, &rate, &debounce]
            .into_iter()
            .flatten()
            .collect();
        let key = self.agreed(&limits, "key", |reader, limit| {
            reader.short_text(limit, "key")
        });
        let scope = self.agreed(&limits, "scope", |reader, limit| {
            reader.choice(limit, "scope", SCOPES)
        });
        if scope == Some(KeyScope::Global)
            && !limits.iter().any(|limit| limit.has("key"))
            && let Some(limit) = limits.iter().find(|limit| limit.has("scope"))
        {
            self.mistake(
                &limit.at("scope"),
                "workflows share a key, and there is no `key`",
            );
        }
        Flow {
            key,
            scope: scope.unwrap_or_default(),
            concurrency: concurrency.map(|limit| self.concurrency(&limit)),
            rate: rate.and_then(|limit| self.rate(&limit)),
            debounce: debounce.and_then(|limit| self.debounce(&limit)),
            priority: self
                .signed(top, "priority", bound::PRIORITY)
                .unwrap_or_default(),
        }
    }

    /// What the limits say of something that holds for all of them: an execution has only one key,
    /// by which it finds its place.
    fn agreed<T: PartialEq>(
        &mut self,
        limits: &[&Object<'_>],
        field: &str,
        mut of: impl FnMut(&mut Self, &Object<'_>) -> Option<T>,
    ) -> Option<T> {
        let mut first: Option<(T, String)> = None;
        for limit in limits {
            let Some(value) = of(self, limit) else {
                continue;
            };
            match &first {
                None => first = Some((value, limit.at(field))),
                Some((agreed, at)) if *agreed != value => {
                    let message = format!(
                        "`{field}` is another one at {at}; all limits of a workflow share one"
                    );
                    self.mistake(&limit.at(field), message);
                }
                Some(_) => {}
            }
        }
        first.map(|(value, _)| value)
    }

    fn concurrency(&mut self, limit: &Object<'_>) -> Concurrency {
        Concurrency {
            limit: self.count(limit, "limit", bound::CONCURRENT).unwrap_or(1),
            on_conflict: self
                .choice(limit, "onConflict", ON_CONFLICT)
                .unwrap_or(OnConflict::Queue),
        }
    }

    fn rate(&mut self, rate: &Object<'_>) -> Option<RateLimit> {
        for key in ["limit", "periodMs"] {
            if !rate.has(key) {
                self.missing(rate, key);
            }
        }
        let limit = self.count(rate, "limit", bound::RATE);
        let period = self.millis(rate, "periodMs", bound::RATE_PERIOD_MS);
        Some(RateLimit {
            limit: limit?,
            period: period?,
        })
    }

    fn debounce(&mut self, debounce: &Object<'_>) -> Option<Debounce> {
        if !debounce.has("periodMs") {
            self.missing(debounce, "periodMs");
        }
        let period = self.millis(debounce, "periodMs", bound::QUIET_MS);
        let max_wait = self.millis(debounce, "maxWaitMs", bound::QUIET_WAIT_MS);
        let period = period?;
        if max_wait.is_some_and(|wait| wait < period) {
            self.mistake(
                &debounce.at("maxWaitMs"),
                "`maxWaitMs` must not be shorter than `periodMs`",
            );
        }
        Some(Debounce {
            period,
            max_wait: max_wait.unwrap_or(period * bound::QUIET_PERIODS),
        })
    }
}
