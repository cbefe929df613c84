//! What executions contend for: keys, rates, quiet.

use std::time::Duration;

use afu9_engine::Effect;
use afu9_schemas::ErrorClass;
use afu9_schemas::message::{ControlAction, ControlOutcome};
use afu9_schemas::view::{Cause, ExecutionStatus};
use serde_json::json;

use crate::inputs::failure;
use crate::rig::{Rig, answered};

const ONE_AT_A_TIME: &str = "
name: single
concurrency: { key: \"${input.k}\", limit: 1, onConflict: queue }
steps:
  - { name: a, tool: test.noop, retry: { maxAttempts: 1 } }
";

fn refused(outcome: &ControlOutcome) -> &str {
    match outcome {
        ControlOutcome::Refused { code, .. } => code,
        other => panic!("not refused: {other:?}"),
    }
}

fn retry() -> ControlAction {
    ControlAction::Retry {
        step: None,
        params: None,
        failed: None,
    }
}

#[test]
fn a_failed_execution_cannot_take_its_key_from_another_one() {
    let mut rig = Rig::new(&[ONE_AT_A_TIME]);
    let first = rig.start("single", json!({ "k": 1 }));
    let second = rig.start("single", json!({ "k": 1 }));
    rig.answer(&rig.job(), failure(ErrorClass::Permanent));
    assert_eq!(rig.job().id.execution, second, "the next one has the key");
    assert_eq!(refused(&rig.control(first, retry())), "retry.key_taken");
    rig.done(json!({}));
    assert_eq!(rig.control(first, retry()), ControlOutcome::Applied);
    let third = rig.start("single", json!({ "k": 1 }));
    assert_eq!(
        rig.status(third),
        ExecutionStatus::Pending,
        "the key is taken again"
    );
    rig.work();
    for id in [first, second, third] {
        assert_eq!(rig.status(id), ExecutionStatus::Completed);
    }
}

/// A refused wish about an execution that has ended used to end it again for everybody who waits for
/// its end.
#[test]
fn a_refused_wish_does_not_end_an_execution_a_second_time() {
    let mut rig = Rig::new(&[ONE_AT_A_TIME]);
    rig.state.follow(["single".to_owned()]);
    let first = rig.start("single", json!({ "k": 1 }));
    let _second = rig.start("single", json!({ "k": 1 }));
    rig.answer(&rig.job(), failure(ErrorClass::Permanent));
    let other = rig.define(&ONE_AT_A_TIME.replace("limit: 1", "limit: 2"));
    let followed = |rig: &Rig| {
        let of_first = |effect: &&Effect| matches!(effect, Effect::Followed(ended) if ended.execution == first);
        rig.effects.iter().filter(of_first).count()
    };
    assert_eq!(followed(&rig), 1);
    let ended = rig.state.counters().ended;
    for wish in [retry(), ControlAction::Move { to: other }] {
        assert!(!refused(&rig.control(first, wish)).is_empty());
    }
    assert_eq!(followed(&rig), 1);
    assert_eq!(rig.state.counters().ended, ended);
}

#[test]
fn who_is_not_first_any_more_is_not_woken_for_ever() {
    let mut rig = Rig::new(&[
        "{ name: slow, rateLimit: { limit: 1, periodMs: 60000 }, steps: [{ name: a, tool: test.noop }] }",
    ]);
    let begun = rig.start("slow", json!({}));
    rig.work();
    assert_eq!(rig.status(begun), ExecutionStatus::Completed);
    // Each later one comes before the earlier ones.
    let mut ids = Vec::new();
    for priority in [0, 5, 9] {
        let mut kind = rig.submission("slow", json!({}));
        if let afu9_schemas::message::InputKind::Start(start) = &mut kind {
            start.priority = priority;
        }
        let id = crate::inputs::drawn(100 + priority.unsigned_abs() as u64);
        rig.send(id, kind);
        ids.push(id);
    }
    let mut inputs = 0;
    while rig.state.live() > 0 {
        rig.wake();
        rig.work();
        inputs += 1;
        assert!(inputs < 20, "woken again and again");
    }
    assert_eq!(rig.state.live_bytes(), 0, "what has ended is not live");
    assert!(
        rig.now.since(crate::rig::BEGIN) >= Duration::from_secs(180),
        "one a minute"
    );
}

#[test]
fn what_comes_during_a_debounce_begins_once_and_late_enough() {
    let mut rig = Rig::new(&[
        "{ name: quiet, debounce: { periodMs: 1000, maxWaitMs: 2500 }, steps: [{ name: a, tool: test.noop }] }",
    ]);
    let mut ids = Vec::new();
    for _ in 0..10 {
        rig.now = rig.now.plus(Duration::from_millis(400));
        while rig.state.next_wake().is_some_and(|at| at <= rig.now) {
            rig.wake();
        }
        ids.push(rig.start("quiet", json!({})));
    }
    let begun: Vec<_> = rig.jobs().iter().map(|job| job.id.execution).collect();
    assert_eq!(
        begun.len(),
        1,
        "never quiet, but the longest wait was over once"
    );
    let last = *ids.last().expect("ten");
    let causes = rig.state.explain(last).expect("live").causes;
    assert!(
        matches!(causes[0].cause, Cause::Debounce { .. }),
        "{causes:?}"
    );
    rig.wake();
    rig.work();
    let completed = ids
        .iter()
        .filter(|id| rig.status(**id) == ExecutionStatus::Completed);
    assert_eq!(completed.count(), 2);
    assert_eq!(rig.status(last), ExecutionStatus::Completed);
    let superseded = ids
        .iter()
        .filter(|id| rig.status(**id) == ExecutionStatus::Cancelled);
    assert_eq!(superseded.count(), 8);
}

#[test]
fn a_wish_about_an_execution_nobody_knows_is_answered() {
    let mut rig = Rig::new(&[ONE_AT_A_TIME]);
    let outcome = rig.control(crate::inputs::drawn(77), ControlAction::Pause);
    assert_eq!(refused(&outcome), "execution.not_live");
    let done = rig.start("single", json!({ "k": 1 }));
    rig.work();
    let control = crate::inputs::control(900, ControlAction::Cancel);
    let effects = rig.send(
        done,
        afu9_schemas::message::InputKind::Control(Box::new(control)),
    );
    assert_eq!(
        refused(&answered(&effects).expect("answered")),
        "execution.ended"
    );
}

#[test]
fn an_execution_whose_key_has_no_value_does_not_pass_by_the_limit() {
    let mut rig = Rig::new(&[ONE_AT_A_TIME]);
    let one = rig.start("single", json!({}));
    assert_eq!(rig.status(one), ExecutionStatus::Failed);
}

/// Events of one series are no conflict, whatever the workflow does about conflicts.
#[test]
fn the_last_of_a_series_runs_whatever_happens_on_conflicts() {
    for on_conflict in ["queue", "cancel_newest", "cancel_running", "coalesce"] {
        let source = format!(
            "{{ name: quiet, debounce: {{ periodMs: 1000 }}, \
             concurrency: {{ limit: 1, onConflict: {on_conflict} }}, \
             steps: [{{ name: a, tool: test.noop }}] }}"
        );
        let mut rig = Rig::new(&[&source]);
        let ids: Vec<_> = (0..3).map(|_| rig.start("quiet", json!({}))).collect();
        rig.now = rig.now.plus(Duration::from_secs(2));
        rig.wake();
        rig.work();
        let ends: Vec<_> = ids.iter().map(|id| rig.status(*id)).collect();
        let expected = [
            ExecutionStatus::Cancelled,
            ExecutionStatus::Cancelled,
            ExecutionStatus::Completed,
        ];
        assert_eq!(ends, expected, "{on_conflict}");
    }
}

/// What has a higher priority goes first, and for all that takes nothing from the fair share of those
/// that come late at a lower one.
#[test]
fn urgent_work_does_not_push_a_quiet_share_behind_a_long_list() {
    let list = |name: &str, priority: i32| {
        format!(
            "{{ name: {name}, priority: {priority}, steps: [{{ name: each, forEach: \"${{range(input.n)}}\", \
             maxParallel: 10000, tool: github.getIssue, params: {{ owner: o, repo: r, number: 1 }} }}] }}"
        )
    };
    let sources = [list("batch", 0), list("urgent", 10), list("quiet", 0)];
    let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
    let mut rig = Rig::new(&sources);
    rig.start("batch", json!({ "n": 3000 }));
    rig.start("urgent", json!({ "n": 1000 }));
    let answer = |rig: &mut Rig| {
        let jobs = rig.jobs();
        let answers = jobs
            .iter()
            .take(50)
            .map(|job| crate::inputs::answer(job, afu9_schemas::message::Outcome::Done(json!({}))));
        rig.send_all(answers.collect());
    };
    let urgent_is_left = |rig: &Rig| rig.jobs().iter().any(|job| job.workflow == "urgent");
    while !urgent_is_left(&rig) {
        answer(&mut rig);
    }
    while urgent_is_left(&rig) {
        answer(&mut rig);
    }
    let quiet = rig.start("quiet", json!({ "n": 1 }));
    let mut answers = 0;
    while !rig.jobs().iter().any(|job| job.id.execution == quiet) {
        answer(&mut rig);
        answers += 50;
        assert!(answers <= 200, "it waits for its turn behind the list");
    }
}
