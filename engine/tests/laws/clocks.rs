//! The owner's clock says that an instant has come; the log's clock may be behind it, or ahead.

use std::time::Duration;

use afu9_engine::Effect;
use afu9_schemas::message::{ControlAction, ControlOutcome, InputEnvelope};
use afu9_schemas::view::ExecutionStatus;
use afu9_schemas::{ErrorClass, ExecutionId, Timestamp};
use serde_json::json;

use crate::inputs::wake;
use crate::rig::{Rig, dispatched};

/// Folds a wake that the log stored at `at`, by its own clock.
fn wake_at(rig: &mut Rig, id: ExecutionId, due: Timestamp, at: Timestamp) -> Vec<Effect> {
    let envelope = InputEnvelope {
        inputs: vec![wake(id, due)],
    };
    rig.log.push((at, envelope.clone()));
    let mut effects = Vec::new();
    let _taken = rig.state.take_due(due, 10);
    rig.state.fold(
        rig.log.len() as u64,
        at,
        envelope,
        &rig.definitions,
        &mut effects,
    );
    rig.effects.extend(effects.iter().cloned());
    effects
}

/// Workers stop what was dispatched before the notice: what undoes must not be among it.
#[test]
fn what_undoes_is_dispatched_no_earlier_than_the_notice_that_stops_the_rest() {
    let mut rig = Rig::new(&["
name: slow
config: { timeoutMs: 1000 }
steps:
  - { name: a, tool: test.noop, compensate: { tool: test.noop } }
  - { name: b, tool: test.noop }
"]);
    let id = rig.start("slow", json!({}));
    rig.done(json!({}));
    let due = rig.state.next_wake().expect("the end of its time");
    let log_clock = rig.now.plus(Duration::from_micros(1));
    assert!(log_clock < due);
    let effects = wake_at(&mut rig, id, due, log_clock);
    let notice = effects.iter().find_map(|effect| match effect {
        Effect::CancelJobs(notice) => notice.before,
        _ => None,
    });
    let undo = dispatched(&effects);
    assert_eq!(undo.len(), 1, "{effects:#?}");
    assert!(undo[0].dispatched_at >= notice.expect("it stops the rest"));
}

/// The log's clock may be seconds behind: the same instant must not be waited for again and again.
#[test]
fn an_instant_that_has_come_for_the_owner_has_come_for_the_key() {
    let mut rig = Rig::new(&[
        "{ name: slow, rateLimit: { limit: 1, periodMs: 1000 }, steps: [{ name: a, tool: test.noop }] }",
    ]);
    rig.start("slow", json!({}));
    rig.work();
    let second = rig.start("slow", json!({}));
    let due = rig.state.next_wake().expect("the rate");
    let log_clock = rig.now.plus(Duration::from_micros(1));
    wake_at(&mut rig, second, due, log_clock);
    assert_eq!(rig.status(second), ExecutionStatus::Running);
}

#[test]
fn an_attempt_whose_instant_has_come_counts_its_time_from_then() {
    let mut rig = Rig::new(&["
name: again
steps:
  - { name: a, tool: test.noop, timeoutMs: 1000, retry: { initialDelayMs: 60000, backoff: fixed } }
"]);
    let id = rig.start("again", json!({}));
    let limited = |retry_after_ms| afu9_schemas::message::Outcome::Failed {
        error: afu9_schemas::StepError::new(ErrorClass::RateLimited, "test.limited", "later"),
        retry_after_ms: Some(retry_after_ms),
    };
    rig.answer(&rig.job(), limited(90_000));
    let due = rig.state.next_wake().expect("the next attempt");
    let log_clock = rig.now.plus(Duration::from_micros(1));
    wake_at(&mut rig, id, due, log_clock);
    let job = rig.job();
    assert!(job.dispatched_at >= due, "not before what was asked for");
    assert_eq!(
        job.deadline,
        Some(job.dispatched_at.plus(Duration::from_secs(1)))
    );
}

/// A pause of a thousand years must not turn a clock around.
#[test]
fn what_a_pause_took_is_given_back() {
    let mut rig = Rig::new(&["
name: asked
config: { timeoutMs: 5000 }
steps:
  - { name: ask, approval: { scope: approve }, timeoutMs: 3000 }
"]);
    let id = rig.start("asked", json!({}));
    rig.now = rig.now.plus(Duration::from_secs(2));
    assert_eq!(
        rig.control(id, ControlAction::Pause),
        ControlOutcome::Applied
    );
    assert_eq!(rig.state.next_wake(), None, "a pause never times out");
    rig.now = rig.now.plus(Duration::from_secs(3600));
    assert_eq!(
        rig.control(id, ControlAction::Resume),
        ControlOutcome::Applied
    );
    let left = rig.state.next_wake().expect("the approval").since(rig.now);
    assert!(
        left > Duration::from_millis(900) && left < Duration::from_millis(1100),
        "{left:?}"
    );
    rig.wake();
    assert_eq!(rig.status(id), ExecutionStatus::Failed);
}
