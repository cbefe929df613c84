//! A failed execution that is retried by hand: the one way back from an end.

use std::collections::BTreeSet;
use std::time::Duration;

use afu9_schemas::message::{ControlAction, ControlOutcome, Job, Outcome};
use afu9_schemas::view::{ExecutionStatus, StepStatus};
use afu9_schemas::{ErrorClass, JobId};
use serde_json::{Value, json};

use crate::inputs::failure;
use crate::rig::{Rig, value};

fn retry() -> ControlAction {
    ControlAction::Retry {
        step: None,
        params: None,
        failed: None,
    }
}

fn unique_job_ids(rig: &Rig) {
    let mut seen = BTreeSet::new();
    for job in rig.dispatched() {
        assert!(seen.insert(job.id.to_string()), "{} twice", job.id);
    }
}

const LIST: &str = "
name: list
config: { timeoutMs: 10000 }
steps:
  - { name: each, forEach: [1, 2, 3, 4], maxParallel: 2, tool: test.echo,
      params: { value: \"${item}\" }, retry: { maxAttempts: 2, initialDelayMs: 100 } }
";

#[test]
fn attempts_at_items_go_on_counting() {
    let mut rig = Rig::new(&[LIST]);
    let id = rig.start("list", json!({}));
    for round in 0..3_u32 {
        let first = rig.jobs().into_iter().find(|job| job.id.item == Some(0));
        let first = first.expect("the first item");
        assert_eq!(first.id.attempt, round + 1);
        rig.answer(&first, failure(ErrorClass::Permanent));
        rig.work();
        assert_eq!(rig.status(id), ExecutionStatus::Failed);
        assert_eq!(rig.control(id, retry()), ControlOutcome::Applied);
        rig.crash();
    }
    rig.work();
    assert_eq!(rig.status(id), ExecutionStatus::Completed);
    unique_job_ids(&rig);
}

/// Items that were stopped by the end of the execution's time have had attempts, too.
#[test]
fn attempts_at_items_that_were_stopped_go_on_counting() {
    let mut rig = Rig::new(&[LIST]);
    let id = rig.start("list", json!({}));
    rig.now = rig.now.plus(Duration::from_secs(60));
    rig.wake();
    assert_eq!(rig.status(id), ExecutionStatus::Failed);
    assert_eq!(rig.control(id, retry()), ControlOutcome::Applied);
    rig.crash();
    let attempts: Vec<_> = rig
        .jobs()
        .iter()
        .map(|job| (job.id.item, job.id.attempt))
        .collect();
    assert_eq!(attempts, [(Some(0), 2), (Some(1), 2)]);
    rig.work();
    assert_eq!(rig.status(id), ExecutionStatus::Completed);
    unique_job_ids(&rig);
    let output = rig.view(id).steps[0].output.clone();
    assert_eq!(
        output,
        Some(json!([value(1), value(2), value(3), value(4)]))
    );
}

#[test]
fn the_policy_begins_anew_and_the_numbers_go_on() {
    let mut rig = Rig::new(&["
name: one
steps:
  - { name: a, tool: test.noop, retry: { maxAttempts: 2, initialDelayMs: 100 } }
  - { name: b, tool: test.noop }
"]);
    let id = rig.start("one", json!({}));
    for round in 0..4_u32 {
        for attempt in 1..=2 {
            let job = rig.job();
            assert_eq!(job.id.attempt, round * 2 + attempt);
            rig.answer(&job, failure(ErrorClass::Retryable));
            if attempt == 1 {
                rig.wake();
            }
        }
        assert_eq!(rig.status(id), ExecutionStatus::Failed);
        rig.crash();
        assert_eq!(rig.control(id, retry()), ControlOutcome::Applied);
    }
    rig.work();
    assert_eq!(rig.status(id), ExecutionStatus::Completed);
    unique_job_ids(&rig);
    let numbers: Vec<u32> = rig.history(id).iter().map(|event| event.number).collect();
    let gapless: Vec<u32> = (1..=u32::try_from(numbers.len()).expect("few")).collect();
    assert_eq!(numbers, gapless);
}

#[test]
fn what_cleaned_up_does_so_again_with_new_attempts() {
    let mut rig = Rig::new(&["
name: told
steps:
  - { name: a, tool: test.noop, retry: { maxAttempts: 1 } }
onFailure:
  - { name: tell, tool: test.echo, params: { value: \"${failure.step}\" } }
"]);
    let id = rig.start("told", json!({}));
    for round in 1..=3 {
        rig.answer(&rig.job(), failure(ErrorClass::Permanent));
        let tell = rig.job();
        assert_eq!((tell.step_name.as_str(), tell.id.attempt), ("tell", round));
        assert_eq!(tell.params, value("a"));
        rig.work();
        assert_eq!(rig.status(id), ExecutionStatus::Failed);
        assert_eq!(rig.control(id, retry()), ControlOutcome::Applied);
    }
    rig.work();
    assert_eq!(rig.status(id), ExecutionStatus::Completed);
    unique_job_ids(&rig);
}

#[test]
fn steps_that_were_not_reached_for_a_failure_are_reached_now() {
    let mut rig = Rig::new(&["
name: dag
steps:
  - { name: a, tool: test.noop, needs: [], retry: { maxAttempts: 1 } }
  - { name: b, tool: test.noop, needs: [] }
  - { name: c, tool: test.noop, needs: [a, b] }
  - { name: d, tool: test.noop, needs: [c] }
"]);
    let id = rig.start("dag", json!({}));
    for job in rig.jobs() {
        let outcome = match job.step_name.as_str() {
            "a" => failure(ErrorClass::Permanent),
            _ => Outcome::Done(json!({})),
        };
        rig.answer(&job, outcome);
    }
    let statuses = |rig: &Rig| -> Vec<StepStatus> {
        rig.view(id).steps.iter().map(|step| step.status).collect()
    };
    use StepStatus::{Completed, Failed, Skipped};
    assert_eq!(statuses(&rig), [Failed, Completed, Skipped, Skipped]);
    assert_eq!(rig.control(id, retry()), ControlOutcome::Applied);
    rig.work();
    assert_eq!(statuses(&rig), [Completed; 4]);
    let again = rig
        .dispatched()
        .iter()
        .filter(|job| job.step_name == "b")
        .count();
    assert_eq!(again, 1, "what was done is not done again");
}

#[test]
fn given_parameters_take_the_place_of_the_definitions() {
    let mut rig = Rig::new(&["
name: mended
steps:
  - { name: a, tool: test.echo, params: { value: \"${input.absent}\" } }
"]);
    let id = rig.start("mended", json!({}));
    assert_eq!(rig.status(id), ExecutionStatus::Failed);
    let mended = ControlAction::Retry {
        step: Some("a".to_owned()),
        params: Some(value(7)),
        failed: None,
    };
    assert_eq!(rig.control(id, mended), ControlOutcome::Applied);
    assert_eq!(rig.job().params, value(7));
    rig.work();
    assert_eq!(rig.status(id), ExecutionStatus::Completed);
}

/// A step that is tolerated and was stopped by the end of the execution's time is what failed it.
#[test]
fn a_tolerated_step_that_was_stopped_runs_again() {
    let mut rig = Rig::new(&["
name: tolerant
config: { timeoutMs: 5000, continueOnError: true }
steps:
  - { name: a, tool: test.noop }
"]);
    let id = rig.start("tolerant", json!({}));
    rig.now = rig.now.plus(Duration::from_secs(6));
    rig.wake();
    assert_eq!(rig.status(id), ExecutionStatus::Failed);
    assert_eq!(rig.control(id, retry()), ControlOutcome::Applied);
    assert_eq!(rig.job().id.attempt, 2, "it runs again");
    rig.work();
    assert_eq!(rig.status(id), ExecutionStatus::Completed);
}

/// An undo that was attempted may have happened, whatever came of the attempt.
#[test]
fn nothing_is_retried_on_top_of_an_undo_that_may_have_happened() {
    let mut rig = Rig::new(&["
name: undone
config: { cleanupTimeoutMs: 1000 }
steps:
  - { name: a, tool: test.noop, compensate: { tool: test.noop, retry: { maxAttempts: 1 } } }
  - { name: b, tool: test.noop, retry: { maxAttempts: 1 } }
"]);
    let id = rig.start("undone", json!({}));
    rig.done(json!({}));
    rig.answer(&rig.job(), failure(ErrorClass::Permanent));
    assert_eq!(rig.job().step_name, "a.compensate");
    rig.now = rig.now.plus(Duration::from_secs(2));
    rig.wake();
    assert_eq!(rig.status(id), ExecutionStatus::Failed);
    let outcome = rig.control(id, retry());
    assert!(
        matches!(outcome, ControlOutcome::Refused { .. }),
        "{outcome:?}"
    );
}

#[test]
fn parameters_given_by_hand_are_checked_like_written_ones() {
    let mut rig = Rig::new(&["
name: told
steps:
  - { name: a, tool: test.echo, params: { value: 1 }, retry: { maxAttempts: 1 } }
"]);
    let id = rig.start("told", json!({}));
    rig.answer(&rig.job(), failure(ErrorClass::Permanent));
    for (params, why) in [
        (json!({ "valeu": 2 }), "no parameter `valeu`"),
        (json!({ "value": "x".repeat(600_000) }), "at most"),
        (json!([1]), "as an object"),
    ] {
        let wish = ControlAction::Retry {
            step: None,
            params: Some(params),
            failed: None,
        };
        match rig.control(id, wish) {
            ControlOutcome::Refused { code, message } => {
                assert_eq!(code, "retry.params");
                assert!(message.contains(why), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
    let wish = ControlAction::Retry {
        step: None,
        params: Some(json!({ "value": 2 })),
        failed: None,
    };
    assert_eq!(rig.control(id, wish), ControlOutcome::Applied);
    assert_eq!(rig.job().params, json!({ "value": 2 }));
}

fn replay(job: &Job, params: Option<Value>) -> ControlAction {
    ControlAction::Retry {
        step: None,
        params,
        failed: Some(job.id),
    }
}

fn refused_with(outcome: ControlOutcome, expected: &str) {
    match outcome {
        ControlOutcome::Refused { code, .. } => assert_eq!(code, expected),
        other => panic!("{other:?}"),
    }
}

/// A failed attempt is what somebody saw fail: as soon as it is not the last one, whoever wants it tried
/// again has seen something else.
#[test]
fn a_failed_attempt_is_tried_again_once() {
    let mut rig = Rig::new(&["
name: one
steps:
  - { name: a, tool: test.echo, params: { value: 1 }, retry: { maxAttempts: 1 } }
  - { name: b, tool: test.noop }
"]);
    let id = rig.start("one", json!({}));
    let first = rig.job();
    refused_with(
        rig.control(id, replay(&first, None)),
        "execution.not_failed",
    );
    rig.answer(&first, failure(ErrorClass::Permanent));
    let mended = replay(&first, Some(value(2)));
    assert_eq!(rig.control(id, mended.clone()), ControlOutcome::Applied);
    refused_with(rig.control(id, mended.clone()), "retry.superseded");
    rig.crash();
    let second = rig.job();
    assert_eq!((second.id.attempt, &second.params), (2, &value(2)));
    rig.answer(&second, failure(ErrorClass::Permanent));
    refused_with(rig.control(id, mended.clone()), "retry.superseded");
    assert_eq!(
        rig.control(id, replay(&second, None)),
        ControlOutcome::Applied
    );
    assert_eq!(rig.job().params, value(1), "only that attempt was patched");
    rig.work();
    assert_eq!(rig.status(id), ExecutionStatus::Completed);
    unique_job_ids(&rig);
    let third = JobId {
        attempt: 3,
        ..second.id
    };
    let too_late = ControlAction::Retry {
        step: None,
        params: None,
        failed: Some(third),
    };
    let ControlOutcome::Refused { .. } = rig.control(id, too_late) else {
        panic!("nothing failed any more");
    };
}

#[test]
fn an_item_is_tried_again_with_parameters_of_its_own() {
    let mut rig = Rig::new(&[LIST]);
    let id = rig.start("list", json!({}));
    let jobs = rig.jobs();
    rig.answer(&jobs[0], failure(ErrorClass::Permanent));
    rig.answer(&jobs[1], failure(ErrorClass::Permanent));
    assert_eq!(rig.status(id), ExecutionStatus::Failed);
    refused_with(
        rig.control(id, replay(&jobs[1], Some(json!({ "valeu": 0 })))),
        "retry.params",
    );
    let mended = replay(&jobs[1], Some(value(20)));
    assert_eq!(rig.control(id, mended), ControlOutcome::Applied);
    // The other one runs again with it.
    refused_with(rig.control(id, replay(&jobs[0], None)), "retry.superseded");
    rig.crash();
    rig.work();
    assert_eq!(rig.status(id), ExecutionStatus::Completed);
    let output = rig.view(id).steps[0].output.clone();
    let values = [value(1), value(20), value(3), value(4)];
    assert_eq!(output, Some(json!(values)));
    unique_job_ids(&rig);
}

/// Each branch has a dead letter of its own, and may be given parameters through it.
#[test]
fn one_of_several_failed_steps_is_given_parameters() {
    let mut rig = Rig::new(&["
name: branches
steps:
  - { name: a, tool: test.echo, needs: [], params: { value: 1 }, retry: { maxAttempts: 1 } }
  - { name: b, tool: test.echo, needs: [], params: { value: 2 }, retry: { maxAttempts: 1 } }
  - { name: c, tool: test.echo, needs: [], params: { value: 3 }, retry: { maxAttempts: 1 },
      continueOnError: true }
"]);
    let id = rig.start("branches", json!({}));
    let jobs = rig.jobs();
    for job in &jobs {
        rig.answer(job, failure(ErrorClass::Permanent));
    }
    // What is tolerated did not fail the execution, and does not run again.
    refused_with(rig.control(id, replay(&jobs[2], None)), "retry.not_failed");
    let mended = replay(&jobs[1], Some(value(20)));
    assert_eq!(rig.control(id, mended), ControlOutcome::Applied);
    let params: Vec<_> = rig.jobs().into_iter().map(|job| job.params).collect();
    assert_eq!(params, [value(1), value(20)]);
    rig.work();
    assert_eq!(rig.status(id), ExecutionStatus::Completed);
}
