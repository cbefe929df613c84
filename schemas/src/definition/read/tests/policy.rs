//! `config`, `retry` and `compensate`.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::definition::{Backoff, DEFAULT_CLEANUP_TIMEOUT, MAX_DURATION, RetryPolicy};
use crate::error::ErrorClass;

#[test]
fn retry_has_every_key() {
    let policy = right_step(
        "tool: test.noop, retry: {maxAttempts: 10, backoff: fixed, backoffMultiplier: 1.5, \
         initialDelayMs: 100, maxDelayMs: 1000, on: [retryable, permanent, timeout, rate_limited, \
         worker_lost]}",
    )
    .retry;
    assert_eq!(
        policy,
        RetryPolicy {
            max_attempts: 10,
            backoff: Backoff::Fixed,
            multiplier: 1.5,
            initial_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(1),
            on: Some(vec![
                ErrorClass::Retryable,
                ErrorClass::Permanent,
                ErrorClass::Timeout,
                ErrorClass::RateLimited,
                ErrorClass::WorkerLost,
            ]),
        }
    );
    assert!(policy.covers(ErrorClass::Permanent));
    let only = right_step("tool: test.noop, retry: {on: timeout}").retry;
    assert!(only.covers(ErrorClass::Timeout) && !only.covers(ErrorClass::Retryable));
    assert_eq!(only.max_attempts, 3);
    assert_eq!(
        right_step("tool: test.noop, retry: {backoff: exponential}").retry,
        RetryPolicy::default()
    );
}

#[test]
fn retry_has_bounds() {
    for bad in [
        "«1",
        "«[]",
        "«~",
        "{maxAttempts: «0}",
        "{maxAttempts: «11}",
        "{maxAttempts: «1.5}",
        "{backoff: «none}",
        "{backoff: «1}",
        "{backoffMultiplier: «0.9}",
        "{backoffMultiplier: «100.1}",
        "{backoffMultiplier: «two}",
        "{initialDelayMs: «99}",
        "{maxDelayMs: «999}",
        "{on: «[]}",
        "{on: «1}",
        "{on: [«never]}",
        "{on: «never}",
        "{on: [timeout, «timeout]}",
        "{on: [«1]}",
    ] {
        wrong_step(&format!("tool: test.noop, retry: {bad}"));
    }
    let longest = MAX_DURATION.as_millis();
    for key in ["initialDelayMs", "maxDelayMs"] {
        right_step(&format!("tool: test.noop, retry: {{{key}: {longest}}}"));
        wrong_step(&format!(
            "tool: test.noop, retry: {{{key}: «{}}}",
            longest + 1
        ));
    }
    right_step("tool: test.noop, retry: {backoffMultiplier: 1}");
    right_step("tool: test.noop, retry: {backoffMultiplier: 100}");
    says(
        &wrong_step("tool: test.noop, retry: {on: [timeout, «cancelled]}"),
        "never",
    );
    says(
        &wrong_step("tool: test.noop, retry: {on: [«rate_limit]}"),
        "rate_limited",
    );
}

#[test]
fn config_has_every_key() {
    let definition = right_top(
        "config: {continueOnError: true, timeoutMs: 1000, maxRetries: 0, debugMode: [what, ever], \
         cleanupTimeoutMs: 2000}",
    );
    assert!(definition.config.continue_on_error);
    assert_eq!(definition.config.timeout, Duration::from_secs(1));
    assert_eq!(definition.config.cleanup_timeout, Duration::from_secs(2));
    assert_eq!(definition.steps[0].retry.max_attempts, 1);
    assert_eq!(
        right_top("config: {maxRetries: 9}").steps[0]
            .retry
            .max_attempts,
        10
    );
    // The predecessor had no bound, and no step has more attempts than ten.
    assert_eq!(
        right_top("config: {maxRetries: 10}").steps[0]
            .retry
            .max_attempts,
        10
    );
    assert_eq!(
        right_top("config: {}").config.cleanup_timeout,
        DEFAULT_CLEANUP_TIMEOUT
    );
    let longest = MAX_DURATION.as_millis();
    for bad in [
        "«[]".to_owned(),
        "«~".to_owned(),
        "{continueOnError: «1}".to_owned(),
        "{timeoutMs: «999}".to_owned(),
        format!("{{timeoutMs: «{}}}", longest + 1),
        "{cleanupTimeoutMs: «999}".to_owned(),
        format!("{{cleanupTimeoutMs: «{}}}", longest + 1),
        "{maxRetries: «1.5}".to_owned(),
        "{maxRetries: «-1}".to_owned(),
    ] {
        wrong_top(&format!("config: {bad}"));
    }
}

#[test]
fn cleaning_up_that_waits_has_a_year() {
    for action in ["approval: {}", "waitFor: s", "sleep: 1s", "workflow: v"] {
        let steps = format!("onFailure: [{{name: b, {action}}}]");
        assert_eq!(right_top(&steps).config.cleanup_timeout, MAX_DURATION);
        assert_eq!(right_top(&steps).config.timeout, Duration::from_secs(300));
        let given = right_top(&format!("{steps}\nconfig: {{cleanupTimeoutMs: 5000}}"));
        assert_eq!(given.config.cleanup_timeout, Duration::from_secs(5));
    }
    let tools = right_top("onFailure: [{name: b, tool: test.noop}]");
    assert_eq!(tools.config.cleanup_timeout, DEFAULT_CLEANUP_TIMEOUT);
}

#[test]
fn an_execution_that_waits_has_a_year() {
    for action in ["approval: {}", "waitFor: s", "sleep: 1s", "workflow: v"] {
        let source = with_step(action);
        assert_eq!(right(&source).config.timeout, MAX_DURATION, "{action}");
        let with_config = format!("{source}config: {{maxRetries: 1}}");
        assert_eq!(right(&with_config).config.timeout, MAX_DURATION);
        let with_timeout = format!("{source}config: {{timeoutMs: 5000}}");
        assert_eq!(right(&with_timeout).config.timeout, Duration::from_secs(5));
    }
    // These have a time of their own.
    assert_eq!(
        right_top("onFailure: [{name: b, approval: {}}]")
            .config
            .timeout,
        Duration::from_secs(300)
    );
}

#[test]
fn compensations() {
    let step = right_step(
        "tool: test.noop, compensate: {tool: test.echo, params: {value: '${steps.a.output}'}, \
         retry: {maxAttempts: 7}, timeoutMs: 5000}",
    );
    let compensation = step.compensate.expect("given");
    assert_eq!(compensation.call.tool.to_string(), "test.echo");
    assert_eq!(
        compensation.call.params,
        json!({"value": "${steps.a.output}"})
    );
    assert_eq!(compensation.retry.max_attempts, 7);
    assert_eq!(compensation.timeout, Some(Duration::from_secs(5)));
    assert_eq!(step.retry.max_attempts, 3, "its own");
    let by_default = right(&format!(
        "{}config: {{maxRetries: 4}}",
        with_step("workflow: v, compensate: {tool: test.noop}")
    ));
    let compensation = by_default.steps[0].compensate.as_ref().expect("given");
    assert_eq!(compensation.retry.max_attempts, 5);
    assert_eq!(compensation.call.params, json!({}));
    for bad in [
        "«1",
        "«{}",
        "«{params: {}}",
        "{tool: «test.nop}",
        "«{tool: test.echo}",
        "{tool: test.echo, params: {value: 1, wert: «2}}",
        "{tool: test.sleep, params: {ms: «soon}}",
        "{tool: test.noop, params: «1}",
        "{tool: test.noop, retry: {maxAttempts: «0}}",
        "{tool: test.noop, timeoutMs: «1}",
        "{tool: test.noop, if: «true}",
    ] {
        wrong_step(&format!("tool: test.noop, compensate: {bad}"));
    }
}
