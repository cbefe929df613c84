//! `concurrency`, `rateLimit`, `debounce`, `priority`.

use std::time::Duration;

use super::*;
use crate::definition::{Concurrency, Debounce, Flow, KeyScope, OnConflict, RateLimit};

#[test]
fn every_limit_has_every_key() {
    let flow = right_top(concat!(
        "concurrency: {key: '${repo.owner}/${repo.name}', scope: global, limit: 1000, ",
        "onConflict: cancel_running}\n",
        "rateLimit: {limit: 100000, periodMs: 86400000}\n",
        "debounce: {periodMs: 100, maxWaitMs: 100}\n",
        "priority: -100",
    ))
    .flow;
    assert!(flow.has_limits());
    assert_eq!(
        flow,
        Flow {
            key: Some("${repo.owner}/${repo.name}".to_owned()),
            scope: KeyScope::Global,
            concurrency: Some(Concurrency {
                limit: 1000,
                on_conflict: OnConflict::CancelRunning,
            }),
            rate: Some(RateLimit {
                limit: 100_000,
                period: Duration::from_secs(86_400),
            }),
            debounce: Some(Debounce {
                period: Duration::from_millis(100),
                max_wait: Duration::from_millis(100),
            }),
            priority: -100,
        }
    );
}

#[test]
fn what_a_limit_does_not_say() {
    let flow = right_top("concurrency: {}").flow;
    assert_eq!(flow.key, None);
    assert_eq!(flow.scope, KeyScope::Workflow);
    assert_eq!(flow.priority, 0);
    assert_eq!(
        flow.concurrency,
        Some(Concurrency {
            limit: 1,
            on_conflict: OnConflict::Queue,
        })
    );
    let debounce = right_top("debounce: {periodMs: 86400000}").flow.debounce;
    assert_eq!(
        debounce.map(|debounce| debounce.max_wait),
        Some(Duration::from_secs(864_000))
    );
    for (word, meaning) in [
        ("queue", OnConflict::Queue),
        ("cancel_newest", OnConflict::CancelNewest),
        ("cancel_running", OnConflict::CancelRunning),
        ("coalesce", OnConflict::Coalesce),
    ] {
        let flow = right_top(&format!("concurrency: {{onConflict: {word}}}")).flow;
        assert_eq!(
            flow.concurrency.map(|limit| limit.on_conflict),
            Some(meaning)
        );
    }
    assert_eq!(right_top("priority: 100").flow.priority, 100);
}

#[test]
fn limits_have_bounds() {
    for bad in [
        "concurrency: «1",
        "concurrency: «~",
        "concurrency: {limit: «0}",
        "concurrency: {limit: «1001}",
        "concurrency: {onConflict: «drop}",
        "concurrency: {key: «1}",
        "concurrency: {key: «''}",
        "concurrency: {scope: «all}",
        "rateLimit: «[]",
        "rateLimit: ««{}",
        "rateLimit: «{limit: 1}",
        "rateLimit: «{periodMs: 1000}",
        "rateLimit: {limit: «0, periodMs: 1000}",
        "rateLimit: {limit: «100001, periodMs: 1000}",
        "rateLimit: {limit: 1, periodMs: «999}",
        "rateLimit: {limit: 1, periodMs: «86400001}",
        "debounce: «{}",
        "debounce: «{maxWaitMs: 1000}",
        "debounce: {periodMs: «99}",
        "debounce: {periodMs: «86400001}",
        "debounce: {periodMs: 100, maxWaitMs: «99}",
        "priority: «101",
        "priority: «-101",
        "priority: «1.5",
        "priority: «high",
    ] {
        wrong_top(bad);
    }
    wrong_to_the_reader(&with_top("debounce: {periodMs: 1000, maxWaitMs: «999}"));
}

#[test]
fn all_limits_share_one_key() {
    let flow = right_top(concat!(
        "concurrency: {limit: 2}\n",
        "rateLimit: {limit: 1, periodMs: 1000, key: '${input.x}'}\n",
        "debounce: {periodMs: 100, key: '${input.x}', scope: global}",
    ))
    .flow;
    assert_eq!(flow.key.as_deref(), Some("${input.x}"));
    assert_eq!(flow.scope, KeyScope::Global);
    let mistakes = wrong_to_the_reader(&with_top(concat!(
        "concurrency: {key: a, scope: global}\n",
        "rateLimit: {limit: 1, periodMs: 1000, key: «b, scope: «workflow}\n",
        "debounce: {periodMs: 100, key: a}",
    )));
    assert_eq!(mistakes[0].path, "/rateLimit/key");
    assert_eq!(mistakes[1].path, "/rateLimit/scope");
}

#[test]
fn a_key_for_all_workflows_must_be_given() {
    let mistakes = wrong_top("concurrency: {scope: «global}");
    assert_eq!(mistakes[0].path, "/concurrency/scope");
    wrong_top("concurrency: {}\ndebounce: {periodMs: 100, scope: «global}");
    right_top("concurrency: {scope: workflow}");
    // A key that is wrong is one that was given.
    wrong_top("concurrency: {scope: global, key: «1}");
}
