//! Tools that wait for something outside: run again later within the same attempt, with what they knew.

use std::time::Duration;

use afu9_engine::Effect;
use afu9_schemas::message::{
    ControlAction, ControlOutcome, DeadLetter, Deferral, HistoryKind, HoldScope, Job, Outcome,
};
use afu9_schemas::view::{ExecutionStatus, StepStatus};
use afu9_schemas::{ErrorClass, ExecutionId, codec};
use serde_json::{Value, json};

use crate::inputs::failure;
use crate::rig::{Rig, value};

const TWICE: &str = "
name: twice
config: { timeoutMs: 86400000 }
steps:
  - { name: a, tool: test.wait, params: { times: 3 }, retry: { maxAttempts: 2, initialDelayMs: 100 } }
";

const TIMED: &str = "
name: timed
steps:
  - { name: a, tool: test.wait, params: { times: 3 }, timeoutMs: 1000, retry: { maxAttempts: 1 } }
";

const LIST: &str = "
name: list
steps:
  - { name: a, tool: test.wait, params: { times: 1 }, forEach: \"${[1, 2]}\" }
";

fn later(after_ms: u64, state: Value, progress: &str) -> Outcome {
    Outcome::Deferred(Box::new(Deferral {
        after_ms,
        state,
        progress: Some(progress.to_owned()),
    }))
}

fn progress(rig: &Rig, id: ExecutionId) -> Vec<&str> {
    let told = rig.history(id).into_iter();
    told.filter_map(|event| match &event.kind {
        HistoryKind::StepProgressed(told) => Some(told.progress.as_str()),
        _ => None,
    })
    .collect()
}

fn letter(rig: &Rig) -> &DeadLetter {
    let mut letters = rig.effects.iter().filter_map(|effect| match effect {
        Effect::DeadLetter(letter) => Some(&**letter),
        _ => None,
    });
    letters.next().expect("a dead letter")
}

/// Another job of the same attempt: with its own id, and with the key under which effects are found.
fn follows(next: &Job, before: &Job) {
    assert_eq!(next.id.attempt, before.id.attempt + 1);
    assert_eq!(next.id.idempotency_key(), before.id.idempotency_key());
    assert_eq!(
        (&next.params, next.deadline),
        (&before.params, before.deadline)
    );
    assert!(next.dispatched_at > before.dispatched_at);
}

#[test]
fn it_goes_on_with_its_state_and_its_turns_cost_no_attempt() {
    let mut rig = Rig::new(&[TWICE]);
    let id = rig.start("twice", json!({}));
    let first = rig.job();
    assert_eq!(first.state, None);
    rig.answer(&first, later(500, json!({"seen": 1}), "one of three"));
    assert!(rig.jobs().is_empty());
    let step = &rig.view(id).steps[0];
    assert_eq!(step.status, StepStatus::Waiting);
    assert_eq!(step.progress.as_deref(), Some("one of three"));
    assert_eq!(
        step.waiting_until,
        Some(rig.now.plus(Duration::from_millis(500)))
    );
    rig.crash();
    rig.wake();
    let second = rig.job();
    follows(&second, &first);
    assert_eq!(second.state, Some(json!({"seen": 1})));
    // What is told twice is told once.
    rig.answer(&second, later(500, json!({"seen": 2}), "one of three"));
    rig.wake();
    let third = rig.job();
    follows(&third, &second);
    rig.answer(&third, later(500, json!({"seen": 3}), "two of three"));
    rig.wake();

    // The attempt fails: the next one begins without what this one knew, and is the last.
    rig.answer(&rig.job(), failure(ErrorClass::Retryable));
    rig.wake();
    let again = rig.job();
    assert_eq!(again.state, None);
    rig.answer(&again, later(500, json!({}), "one of three"));
    rig.wake();
    rig.answer(&rig.job(), failure(ErrorClass::Retryable));
    assert_eq!(rig.status(id), ExecutionStatus::Failed);
    assert_eq!(
        progress(&rig, id),
        ["one of three", "two of three", "one of three"]
    );
    let turns: Vec<u32> = letter(&rig)
        .attempts
        .iter()
        .map(|attempt| attempt.deferrals)
        .collect();
    assert_eq!(turns, [3, 1]);
    assert_eq!(rig.view(id).steps[0].progress, None);
    rig.replay(0, Vec::new());
}

#[test]
fn late_answers_to_an_earlier_turn_change_nothing() {
    let mut rig = Rig::new(&[TWICE]);
    let id = rig.start("twice", json!({}));
    let first = rig.job();
    rig.answer(&first, later(500, json!(1), "one"));
    rig.answer(&first, Outcome::Done(value(1)));
    rig.answer(&first, later(500, json!(7), "seven"));
    rig.wake();
    let second = rig.job();
    assert_eq!(second.state, Some(json!(1)));
    rig.answer(&first, failure(ErrorClass::Permanent));
    assert_eq!(rig.job(), second);
    rig.answer(&second, Outcome::Done(value(2)));
    assert_eq!(rig.status(id), ExecutionStatus::Completed);
    assert_eq!(rig.ends(id)[0].output, Some(value(2)));
    assert_eq!(rig.ends(id)[0].attempts.len(), 1);
    assert_eq!(progress(&rig, id), ["one"]);
}

#[test]
fn the_deadline_is_the_attempts_and_a_pause_does_not_use_it_up() {
    let mut rig = Rig::new(&[TIMED]);
    let id = rig.start("timed", json!({}));
    let first = rig.job();
    let deadline = first.deadline.expect("one");
    rig.answer(&first, later(700, json!(1), "one"));
    let pause =
        |rig: &mut Rig, action| assert_eq!(rig.control(id, action), ControlOutcome::Applied);
    pause(&mut rig, ControlAction::Pause);
    rig.now = rig.now.plus(Duration::from_secs(3600));
    pause(&mut rig, ControlAction::Resume);
    rig.wake();
    let second = rig.job();
    let postponed = second.deadline.expect("still one");
    assert!(postponed.since(deadline) >= Duration::from_secs(3600));
    rig.answer(&second, later(5000, json!(2), "two"));
    assert_eq!(rig.view(id).steps[0].waiting_until, Some(postponed));
    rig.wake();
    assert_eq!(rig.status(id), ExecutionStatus::Failed);
    let error = &letter(&rig).error;
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Timeout, "step.timeout")
    );
    assert_eq!(letter(&rig).job.as_ref().map(|job| job.id), Some(second.id));
}

#[test]
fn who_is_cancelled_is_not_run_again() {
    let mut rig = Rig::new(&[TWICE]);
    let id = rig.start("twice", json!({}));
    rig.answer(&rig.job(), later(500, json!(1), "one"));
    rig.control(id, ControlAction::Cancel);
    assert_eq!(rig.status(id), ExecutionStatus::Cancelled);
    assert_eq!(rig.state.next_wake(), None);
}

#[test]
fn items_wait_each_for_themselves() {
    let mut rig = Rig::new(&[LIST]);
    let id = rig.start("list", json!({}));
    for (at, job) in rig.jobs().into_iter().enumerate() {
        rig.answer(&job, later(500 * (at as u64 + 1), json!(at), "waits"));
    }
    rig.wake();
    assert_eq!(rig.job().state, Some(json!(0)));
    rig.done(value(0));
    rig.wake();
    assert_eq!(rig.job().state, Some(json!(1)));
    rig.done(value(1));
    assert_eq!(rig.status(id), ExecutionStatus::Completed);
}

#[test]
fn its_wishes_have_bounds() {
    let mut rig = Rig::new(&[TWICE]);
    let id = rig.start("twice", json!({}));
    rig.answer(&rig.job(), later(0, json!(1), &"ä".repeat(5000)));
    let step = &rig.view(id).steps[0];
    assert_eq!(
        step.waiting_until,
        Some(
            rig.now
                .plus(Duration::from_millis(*Deferral::AFTER_MS.start()))
        )
    );
    let told = step.progress.as_ref().expect("told").len();
    assert!(told <= Deferral::MAX_PROGRESS_BYTES && told + 1 >= Deferral::MAX_PROGRESS_BYTES);
    rig.wake();
    rig.answer(&rig.job(), later(u64::MAX, json!(1), "long"));
    assert_eq!(
        rig.view(id).steps[0].waiting_until,
        Some(
            rig.now
                .plus(Duration::from_millis(*Deferral::AFTER_MS.end()))
        )
    );
    rig.wake();
    let large = json!("x".repeat(Deferral::MAX_STATE_BYTES));
    rig.answer(&rig.job(), later(500, large, "large"));
    assert_eq!(rig.status(id), ExecutionStatus::Failed);
    assert_eq!(letter(&rig).error.code, "tool.state_too_large");
}

const SHORT: &str = "
name: short
config: { timeoutMs: 2000 }
steps:
  - { name: a, tool: test.wait, params: { times: 3 }, timeoutMs: 60000 }
";

const SHORT_LIST: &str = "
name: short_list
config: { timeoutMs: 2000 }
steps:
  - { name: a, tool: test.wait, params: { times: 1 }, forEach: \"${[1]}\", timeoutMs: 60000 }
";

fn retry() -> ControlAction {
    ControlAction::Retry {
        step: None,
        params: None,
        failed: None,
    }
}

#[test]
fn who_ran_out_of_time_and_is_retried_by_hand_begins_anew() {
    for (name, source) in [("short", SHORT), ("short_list", SHORT_LIST)] {
        let mut rig = Rig::new(&[source]);
        let id = rig.start(name, json!({}));
        let first = rig.job();
        rig.answer(&first, later(60_000, json!(1), "one"));
        while rig.status(id) != ExecutionStatus::Failed {
            rig.wake();
        }
        let ended = rig.ends(id);
        let tried = ended.iter().flat_map(|end| &end.attempts);
        assert!(tried.clone().count() > 0, "{ended:#?}");
        for attempt in tried {
            assert!(
                attempt.error.is_some() && attempt.ended_at.is_some(),
                "{attempt:?}"
            );
        }
        rig.now = rig.now.plus(Duration::from_secs(3600));
        assert_eq!(rig.control(id, retry()), ControlOutcome::Applied);
        let again = rig.job();
        assert_eq!((again.state.clone(), again.id.attempt), (None, 2));
        assert!(again.deadline > Some(rig.now));
        rig.answer(&again, Outcome::Done(value(1)));
        assert_eq!(rig.status(id), ExecutionStatus::Completed);
    }
}

#[test]
fn the_time_in_which_it_waits_for_its_turn_is_not_the_attempts() {
    let mut rig = Rig::new(&[TIMED]);
    let id = rig.start("timed", json!({}));
    let first = rig.job();
    rig.answer(&first, later(700, json!(1), "one"));
    let kind = HoldScope::Kind(first.tool.kind().clone());
    let hold = ControlAction::Hold(kind.clone());
    assert_eq!(
        rig.control(ExecutionId::NONE, hold),
        ControlOutcome::Applied
    );
    rig.wake();
    assert!(rig.jobs().is_empty(), "its kind is held");
    rig.now = rig.now.plus(Duration::from_secs(3600));
    let release = ControlAction::Release(kind);
    assert_eq!(
        rig.control(ExecutionId::NONE, release),
        ControlOutcome::Applied
    );
    let second = rig.job();
    assert!(second.deadline > Some(rig.now));
    rig.answer(&second, Outcome::Done(value(1)));
    assert_eq!(rig.status(id), ExecutionStatus::Completed);
}

#[test]
fn who_is_cancelled_while_it_waits_for_its_turn_has_not_succeeded() {
    let mut rig = Rig::new(&[TIMED]);
    let id = rig.start("timed", json!({}));
    let first = rig.job();
    rig.answer(&first, later(700, json!(1), "one"));
    let hold = ControlAction::Hold(HoldScope::Kind(first.tool.kind().clone()));
    assert_eq!(
        rig.control(ExecutionId::NONE, hold),
        ControlOutcome::Applied
    );
    rig.wake();
    rig.control(id, ControlAction::Cancel);
    let attempt = &rig.ends(id)[0].attempts[0];
    assert!(
        attempt.error.is_some() && attempt.ended_at.is_some(),
        "{attempt:?}"
    );
}

#[test]
fn a_state_of_nothing_is_a_state() {
    let mut rig = Rig::new(&[TWICE]);
    rig.start("twice", json!({}));
    rig.answer(&rig.job(), later(500, Value::Null, "one"));
    rig.wake();
    let bytes = codec::encode(&rig.job()).expect("encodes");
    let read: Job = codec::decode(&bytes).expect("readable");
    assert_eq!(read.state, Some(Value::Null));
}
