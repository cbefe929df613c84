//! Pauses and holds: nothing new begins, nothing is lost, and everything goes on afterwards.

use afu9_schemas::Timestamp;
use std::time::Duration;

use afu9_engine::PartitionState;
use afu9_schemas::ErrorClass;
use afu9_schemas::message::{ControlAction, ControlOutcome, HoldScope, InputKind, Outcome};
use afu9_schemas::view::{Cause, ExecutionStatus};
use afu9_schemas::{ExecutionId, WorkerKind};
use serde_json::json;

use crate::inputs::{self, failure};
use crate::rig::{PARTITION, Rig, answered, dispatched, value};

const TWO: &str = "
name: two
steps:
  - { name: a, tool: test.noop, retry: { maxAttempts: 1 } }
  - { name: b, tool: test.noop }
";

const LAST_WORDS: &str = "
name: last_words
steps:
  - { name: a, tool: test.noop, retry: { maxAttempts: 1 } }
onFailure:
  - { name: tell, tool: test.echo, params: { value: 1 } }
";

fn hold(rig: &mut Rig, scope: HoldScope) {
    let outcome = rig.control(ExecutionId::NONE, ControlAction::Hold(scope));
    assert_eq!(outcome, ControlOutcome::Applied);
}

fn release(rig: &mut Rig, scope: HoldScope) {
    let outcome = rig.control(ExecutionId::NONE, ControlAction::Release(scope));
    assert_eq!(outcome, ControlOutcome::Applied);
}

fn retry() -> ControlAction {
    ControlAction::Retry {
        step: None,
        params: None,
        failed: None,
    }
}

/// Whether the owner died in between or not.
fn with_and_without_a_crash(test: impl Fn(&dyn Fn(&mut Rig))) {
    test(&|_| {});
    test(&Rig::crash);
}

#[test]
fn a_wish_is_decided_when_it_first_comes_whatever_has_changed_when_it_comes_again() {
    with_and_without_a_crash(|crash| {
        let mut rig = Rig::new(&[TWO]);
        let id = rig.start("two", json!({}));
        let send = |rig: &mut Rig, id, request, action: &ControlAction| {
            let control = inputs::control(request, action.clone());
            let effects = rig.send(id, InputKind::Control(Box::new(control)));
            answered(&effects).expect("every wish is answered")
        };
        let everything = ControlAction::Hold(HoldScope::All);
        hold(&mut rig, HoldScope::All);
        let late = send(&mut rig, ExecutionId::NONE, 1000, &everything);
        assert_eq!(late, ControlOutcome::Unchanged, "held already");
        release(&mut rig, HoldScope::All);
        crash(&mut rig);
        let late = send(&mut rig, ExecutionId::NONE, 1000, &everything);
        assert_eq!(late, ControlOutcome::Unchanged, "answered already");
        assert!(rig.state.holds().is_empty(), "nothing is held again");

        let refused = send(&mut rig, id, 1001, &ControlAction::Resume);
        assert!(
            matches!(refused, ControlOutcome::Refused { .. }),
            "not paused"
        );
        assert_eq!(
            rig.control(id, ControlAction::Pause),
            ControlOutcome::Applied
        );
        crash(&mut rig);
        let late = send(&mut rig, id, 1001, &ControlAction::Resume);
        assert!(
            matches!(&late, ControlOutcome::Refused { code, .. } if code == "control.repeated"),
            "{late:?}"
        );
        assert_eq!(rig.status(id), ExecutionStatus::Paused, "it stays paused");
    });
}

#[test]
fn a_failed_execution_that_is_retried_under_a_hold_waits_for_the_release() {
    with_and_without_a_crash(|crash| {
        for scope in [HoldScope::All, HoldScope::Workflow("two".to_owned())] {
            let mut rig = Rig::new(&[TWO]);
            let id = rig.start("two", json!({}));
            rig.answer(&rig.job(), failure(ErrorClass::Permanent));
            assert_eq!(rig.status(id), ExecutionStatus::Failed);
            hold(&mut rig, scope.clone());
            let before = rig.dispatched().len();
            assert_eq!(rig.control(id, retry()), ControlOutcome::Applied);
            crash(&mut rig);
            assert_eq!(rig.dispatched().len(), before, "held back");
            assert!(rig.state.prove(10, Timestamp::default()).orphans.is_empty());
            let causes = rig.state.explain(id).expect("live").causes;
            assert!(
                matches!(causes[0].cause, Cause::Paused { .. }),
                "{causes:?}"
            );
            release(&mut rig, scope.clone());
            assert_eq!(rig.job().id.attempt, 2, "and let go");
            rig.work();
            assert_eq!(rig.status(id), ExecutionStatus::Completed);
        }
    });
}

#[test]
fn a_paused_execution_that_waits_for_its_rate_is_not_woken_again_and_again() {
    with_and_without_a_crash(|crash| {
        let mut rig = Rig::new(&[
            "{ name: slow, rateLimit: { limit: 1, periodMs: 1000 }, steps: [{ name: a, tool: test.noop }] }",
        ]);
        let first = rig.start("slow", json!({}));
        let second = rig.start("slow", json!({}));
        assert_eq!(rig.status(second), ExecutionStatus::Pending);
        assert_eq!(
            rig.control(second, ControlAction::Pause),
            ControlOutcome::Applied
        );
        let mut wakes = 0;
        while rig
            .state
            .next_wake()
            .is_some_and(|at| at <= rig.now.plus(std::time::Duration::from_secs(2)))
        {
            rig.wake();
            crash(&mut rig);
            wakes += 1;
            assert!(wakes < 5, "a paused execution wants to be woken for ever");
        }
        assert_eq!(
            rig.control(second, ControlAction::Resume),
            ControlOutcome::Applied
        );
        if rig.status(second) == ExecutionStatus::Pending {
            rig.wake();
        }
        rig.work();
        assert_eq!(rig.status(first), ExecutionStatus::Completed);
        assert_eq!(rig.status(second), ExecutionStatus::Completed);
    });
}

#[test]
fn items_of_a_failure_handler_go_on_after_a_pause() {
    with_and_without_a_crash(|crash| {
        // The reader refuses items in `onFailure` today; retries and pauses meet there all the same.
        let mut rig = Rig::new(&[LAST_WORDS]);
        let id = rig.start("last_words", json!({}));
        rig.answer(&rig.job(), failure(ErrorClass::Permanent));
        let handler = rig.job();
        assert_eq!(handler.step_name, "tell");
        assert_eq!(
            rig.control(id, ControlAction::Pause),
            ControlOutcome::Applied
        );
        crash(&mut rig);
        rig.answer(&handler, failure(ErrorClass::Retryable));
        assert!(rig.jobs().is_empty());
        assert_eq!(
            rig.control(id, ControlAction::Resume),
            ControlOutcome::Applied
        );
        rig.wake();
        rig.done(value(1));
        assert_eq!(rig.status(id), ExecutionStatus::Failed);
    });
}

#[test]
fn a_held_kind_gives_out_no_jobs_and_everything_at_its_release() {
    with_and_without_a_crash(|crash| {
        let kind = HoldScope::Kind(WorkerKind::new("test").expect("valid"));
        let mut rig = Rig::new(&[TWO]);
        hold(&mut rig, kind.clone());
        let ids: Vec<ExecutionId> = (0..3).map(|_| rig.start("two", json!({}))).collect();
        crash(&mut rig);
        assert!(rig.jobs().is_empty());
        assert_eq!(rig.state.waiting(), 3);
        release(&mut rig, kind);
        assert_eq!(rig.jobs().len(), 3);
        rig.work();
        for id in ids {
            assert_eq!(rig.status(id), ExecutionStatus::Completed);
        }
    });
}

#[test]
fn an_execution_whose_definition_comes_late_gets_the_place_it_waited_for() {
    let kind = HoldScope::Kind(WorkerKind::new("test").expect("valid"));
    let mut rig = Rig::new(&[TWO]);
    hold(&mut rig, kind.clone());
    let id = rig.start("two", json!({}));
    release(&mut rig, kind.clone());
    // Its owner dies, and the next one does not find the definition at first.
    let definitions = std::mem::take(&mut rig.definitions);
    let segment = rig.state.take_full();
    rig.state = PartitionState::restore(
        PARTITION,
        rig.state.floor(),
        vec![segment],
        &rig.definitions,
    );
    rig.definitions = definitions;
    rig.wake();
    rig.work();
    assert_eq!(rig.status(id), ExecutionStatus::Completed);

    // The same while its unit waits for a turn, and nobody else keeps the queue moving.
    hold(&mut rig, kind.clone());
    let id = rig.start("two", json!({}));
    let mut segment = rig.state.take_full();
    if let Some(shared) = &mut segment.shared {
        shared.holds.clear();
    }
    let definitions = std::mem::take(&mut rig.definitions);
    rig.state = PartitionState::restore(
        PARTITION,
        rig.state.floor(),
        vec![segment],
        &rig.definitions,
    );
    rig.definitions = definitions;
    rig.wake();
    assert_eq!(
        rig.jobs().len(),
        1,
        "the queue has room, so the unit has its place"
    );
    rig.work();
    assert_eq!(rig.status(id), ExecutionStatus::Completed);
}

#[test]
fn a_cancel_of_a_paused_execution_undoes_what_was_done() {
    with_and_without_a_crash(|crash| {
        let mut rig = Rig::new(&["
name: undone
steps:
  - { name: a, tool: test.noop, compensate: { tool: test.noop } }
  - { name: b, tool: test.noop }
"]);
        let id = rig.start("undone", json!({}));
        rig.done(json!({}));
        assert_eq!(
            rig.control(id, ControlAction::Pause),
            ControlOutcome::Applied
        );
        crash(&mut rig);
        assert_eq!(
            rig.control(id, ControlAction::Cancel),
            ControlOutcome::Applied
        );
        let undo = rig
            .jobs()
            .into_iter()
            .find(|job| job.step_name == "a.compensate");
        rig.answer(&undo.expect("it is undone"), Outcome::Done(json!({})));
        assert_eq!(rig.status(id), ExecutionStatus::Cancelled);
        assert!(
            dispatched(&rig.effects)
                .iter()
                .all(|job| job.id.attempt == 1)
        );
    });
}

/// What a parent waits for does not run out of time while the parent is held.
#[test]
fn a_hold_gives_a_child_its_time_back() {
    use afu9_schemas::message::{ChildResolved, ChildStart, InputKind, Parent};
    with_and_without_a_crash(|crash| {
        let mut rig = Rig::new(&[
            "
name: parent
steps:
  - { name: a, workflow: { name: two }, timeoutMs: 60000 }
",
            TWO,
        ]);
        let id = rig.start("parent", json!({}));
        let InputKind::Start(mut start) = rig.submission("two", json!({})) else {
            panic!("a submission is a start");
        };
        start.parent = Some(Parent {
            execution: id,
            step: 0,
            item: None,
            attempt: 1,
            waits: true,
            depth: 1,
        });
        let child = ChildStart {
            execution: ExecutionId::derived("child"),
            start: *start,
        };
        let found = ChildResolved {
            step: 0,
            item: None,
            attempt: 1,
            child: Ok(Box::new(child)),
        };
        rig.send(id, InputKind::ChildResolved(Box::new(found)));
        hold(&mut rig, HoldScope::All);
        crash(&mut rig);
        rig.now = rig.now.plus(Duration::from_secs(120));
        release(&mut rig, HoldScope::All);
        let at = rig.state.next_wake().expect("it has a time");
        let left = at.since(rig.now);
        assert!(left > Duration::from_secs(50), "{left:?}");
        assert_eq!(rig.status(id), ExecutionStatus::Running);
    });
}

/// Cleaning up after a long pause has the time that cleaning up has.
#[test]
fn a_pause_does_not_prolong_the_time_for_cleaning_up() {
    let mut rig = Rig::new(&["
name: undo
config: { cleanupTimeoutMs: 1000 }
steps:
  - { name: a, tool: test.noop, compensate: { tool: test.noop } }
  - { name: b, tool: test.noop }
"]);
    let id = rig.start("undo", json!({}));
    rig.done(json!({}));
    assert_eq!(
        rig.control(id, ControlAction::Pause),
        ControlOutcome::Applied
    );
    rig.now = rig.now.plus(Duration::from_secs(30 * 24 * 3600));
    assert_eq!(
        rig.control(id, ControlAction::Cancel),
        ControlOutcome::Applied
    );
    assert_eq!(rig.job().step_name, "a.compensate");
    let at = rig.state.next_wake().expect("it has a time");
    assert!(at.since(rig.now) <= Duration::from_secs(1));
    rig.wake();
    assert_eq!(rig.status(id), ExecutionStatus::Cancelled);
}
