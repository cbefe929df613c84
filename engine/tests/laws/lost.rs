//! Jobs that workers are lost with: run once more, alone, then set aside.

use afu9_engine::Effect;
use afu9_schemas::ErrorClass;
use afu9_schemas::message::{ControlAction, DeadLetter, DeadLetterReason, Outcome};
use afu9_schemas::view::ExecutionStatus;
use serde_json::json;

use crate::inputs::failure;
use crate::rig::{Rig, value};

const PATIENT: &str = "
name: patient
steps:
  - { name: a, tool: test.noop, retry: { maxAttempts: 10, on: [worker_lost, retryable] } }
onFailure:
  - { name: tell, tool: test.noop }
";

const IMPATIENT: &str = "
name: impatient
steps:
  - { name: a, tool: test.noop, retry: { maxAttempts: 2, on: [retryable] } }
";

const LIST: &str = "
name: list
steps:
  - { name: a, tool: test.noop, forEach: \"${[1, 2]}\", retry: { maxAttempts: 1 } }
";

fn lost() -> Outcome {
    failure(ErrorClass::WorkerLost)
}

fn letters(rig: &Rig) -> Vec<&DeadLetter> {
    let effects = rig.effects.iter();
    effects
        .filter_map(|effect| match effect {
            Effect::DeadLetter(letter) => Some(&**letter),
            _ => None,
        })
        .collect()
}

#[test]
fn whatever_the_policy_says_it_is_lost_twice_and_no_more() {
    let mut rig = Rig::new(&[PATIENT]);
    let id = rig.start("patient", json!({}));
    let first = rig.job();
    assert!(!first.alone);
    rig.answer(&first, lost());
    // A second notice of the same is late.
    rig.answer(&first, lost());
    rig.crash();
    rig.wake();
    let second = rig.job();
    assert!(second.alone && second.id.attempt == 2);
    assert_eq!(second.id.idempotency_key(), first.id.idempotency_key());
    rig.answer(&second, lost());
    assert_eq!(rig.job().step_name, "tell");
    assert!(!rig.job().alone);
    rig.work();
    assert_eq!(rig.status(id), ExecutionStatus::Failed);
    let letters = letters(&rig);
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].reason, DeadLetterReason::DeliveriesExhausted);
    assert_eq!(letters[0].job.as_ref(), Some(&second));
    assert_eq!(letters[0].attempts.len(), 2);

    // By hand it can be tried again, alone, and then for the last time.
    let retry = ControlAction::Retry {
        step: None,
        params: None,
        failed: None,
    };
    rig.control(id, retry);
    let third = rig.job();
    assert!(third.alone && third.id.attempt == 3);
    rig.answer(&third, lost());
    assert_eq!(rig.job().step_name, "tell");
}

#[test]
fn who_was_only_beside_it_loses_no_attempt() {
    let mut rig = Rig::new(&[IMPATIENT]);
    let id = rig.start("impatient", json!({}));
    rig.answer(&rig.job(), lost());
    rig.wake();
    rig.answer(&rig.job(), failure(ErrorClass::Retryable));
    rig.wake();
    let third = rig.job();
    assert!(third.alone && third.id.attempt == 3);
    rig.answer(&third, Outcome::Done(value(1)));
    assert_eq!(rig.status(id), ExecutionStatus::Completed);
    assert!(letters(&rig).is_empty());
}

#[test]
fn of_a_list_the_item_alone_is_set_aside() {
    let mut rig = Rig::new(&[LIST]);
    let id = rig.start("list", json!({}));
    let [guilty, innocent] = <[_; 2]>::try_from(rig.jobs()).expect("two jobs");
    rig.answer(&guilty, lost());
    rig.answer(&innocent, lost());
    rig.wake();
    let [guilty, innocent] = <[_; 2]>::try_from(rig.jobs()).expect("two jobs");
    assert!(guilty.alone && innocent.alone);
    rig.answer(&innocent, Outcome::Done(value(1)));
    rig.answer(&guilty, lost());
    assert_eq!(rig.status(id), ExecutionStatus::Failed);
    assert_eq!(letters(&rig).len(), 1);
}
