//! What holds for many steps: `config`, `retry` and `compensate`.

use std::time::Duration;

use super::value::{Item, Object, chosen};
use super::{Common, Reader};
use crate::definition::vocabulary::{BACKOFFS, CLASSES, keys};
use crate::definition::{Compensation, Config, RetryPolicy, bound};
use crate::error::ErrorClass;

/// `config` as it was written.
#[derive(Default)]
pub(super) struct Settings {
    pub(super) continue_on_error: bool,
    timeout: Option<Duration>,
    pub(super) max_retries: Option<u32>,
    cleanup_timeout: Option<Duration>,
}

impl Settings {
    /// What holds for executions, where the definition says no times.
    pub(super) fn config(&self, timeout: Duration, cleanup_timeout: Duration) -> Config {
        Config {
            continue_on_error: self.continue_on_error,
            timeout: self.timeout.unwrap_or(timeout),
            cleanup_timeout: self.cleanup_timeout.unwrap_or(cleanup_timeout),
        }
    }
}

impl Reader<'_> {
    /// `debugMode` is accepted for the predecessor's definitions, whatever it is.
    pub(super) fn config(&mut self, top: &Object<'_>) -> Settings {
        let Some(config) = self.section(top, "config", keys::CONFIG) else {
            return Settings::default();
        };
        Settings {
            continue_on_error: self.flag(&config, "continueOnError").unwrap_or(false),
            timeout: self.millis(&config, "timeoutMs", bound::TIMEOUT_MS),
            // The predecessor had no bound on it.
            max_retries: self
                .count(&config, "maxRetries", bound::RETRIES)
                .map(|retries| retries.min(bound::MOST_RETRIES)),
            cleanup_timeout: self.millis(&config, "cleanupTimeoutMs", bound::TIMEOUT_MS),
        }
    }

    /// The `retry` of `holder`, a step or a compensation.
    pub(super) fn retry(&mut self, holder: &Object<'_>, common: &Common<'_>) -> RetryPolicy {
        let default = RetryPolicy::default();
        if !holder.has("retry") {
            let max_attempts = common
                .max_retries
                .map_or(default.max_attempts, |retries| retries + 1);
            return RetryPolicy {
                max_attempts,
                ..default
            };
        }
        let Some(retry) = self.section(holder, "retry", keys::RETRY) else {
            return default;
        };
        RetryPolicy {
            max_attempts: self
                .count(&retry, "maxAttempts", bound::ATTEMPTS)
                .unwrap_or(default.max_attempts),
            backoff: self
                .choice(&retry, "backoff", BACKOFFS)
                .unwrap_or(default.backoff),
            multiplier: self.multiplier(&retry).unwrap_or(default.multiplier),
            initial_delay: self
                .millis(&retry, "initialDelayMs", bound::INITIAL_DELAY_MS)
                .unwrap_or(default.initial_delay),
            max_delay: self
                .millis(&retry, "maxDelayMs", bound::MAX_DELAY_MS)
                .unwrap_or(default.max_delay),
            on: self.classes(&retry),
        }
    }

    fn multiplier(&mut self, retry: &Object<'_>) -> Option<f64> {
        let factor = retry
            .get("backoffMultiplier")?
            .as_f64()
            .filter(|factor| bound::MULTIPLIER.contains(factor));
        if factor.is_none() {
            self.mistake(
                &retry.at("backoffMultiplier"),
                format!(
                    "`backoffMultiplier` must be a number from {} to {}",
                    bound::MULTIPLIER.start(),
                    bound::MULTIPLIER.end()
                ),
            );
        }
        factor
    }

    fn classes(&mut self, retry: &Object<'_>) -> Option<Vec<ErrorClass>> {
        let items = self.some_texts(retry, "on")?;
        Some(items.iter().filter_map(|item| self.class(item)).collect())
    }

    fn class(&mut self, Item { text, path }: &Item<'_>) -> Option<ErrorClass> {
        if *text == ErrorClass::Cancelled.as_str() {
            self.mistake(
                path,
                "`cancelled` is never retried: somebody wanted the execution to end",
            );
            return None;
        }
        let class = chosen(text, CLASSES);
        if class.is_none() {
            self.no_choice("on", Some(text), path, CLASSES);
        }
        class
    }

    pub(super) fn compensation(
        &mut self,
        step: &Object<'_>,
        common: &Common<'_>,
    ) -> Option<Compensation> {
        let compensate = self.section(step, "compensate", keys::COMPENSATE)?;
        if !compensate.has("tool") {
            self.missing(&compensate, "tool");
        }
        let call = self.tool_call(&compensate);
        let retry = self.retry(&compensate, common);
        let timeout = self.millis(&compensate, "timeoutMs", bound::TIMEOUT_MS);
        Some(Compensation {
            call: call?,
            retry,
            timeout,
        })
    }
}
