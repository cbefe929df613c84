//! Going on with another version: only where that version would have done the same so far.

use afu9_schemas::ErrorClass;
use afu9_schemas::message::{ControlAction, ControlOutcome};
use afu9_schemas::view::ExecutionStatus;
use serde_json::json;

use crate::inputs::failure;
use crate::rig::Rig;

/// `a` has failed, and the others are where that left them; then it is moved to `other`.
fn moved(one: &str, other: &str) -> (Rig, ControlOutcome, afu9_schemas::ExecutionId) {
    let mut rig = Rig::new(&[&format!("name: w\nsteps:\n{one}")]);
    let id = rig.start("w", json!({}));
    let first = rig.jobs().into_iter().find(|job| job.step_name == "a");
    rig.answer(&first.expect("it begins"), failure(ErrorClass::Permanent));
    let to = rig.define(&format!("name: w\nsteps:\n{other}"));
    let outcome = rig.control(id, ControlAction::Move { to });
    (rig, outcome, id)
}

const A: &str = "  - { name: a, tool: test.noop, needs: [], retry: { maxAttempts: 1 } }\n";

fn misfit(outcome: &ControlOutcome, why: &str) {
    match outcome {
        ControlOutcome::Refused { code, message } => {
            assert_eq!(code, "version.misfit");
            assert!(message.contains(why), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_step_that_was_kept_back_would_not_have_been() {
    let one = format!(
        "{A}  - {{ name: b, tool: test.noop, needs: [a] }}\n  - {{ name: c, waitFor: {{ signal: go }}, needs: [] }}\n"
    );
    let (_, outcome, _) = moved(&one, &one.replace("needs: [a]", "needs: []"));
    misfit(&outcome, "`b` was skipped");
}

#[test]
fn a_step_that_runs_would_have_been_kept_back() {
    let one = format!("{A}  - {{ name: c, waitFor: {{ signal: go }}, needs: [] }}\n");
    let (_, outcome, _) = moved(&one, &one.replace("}, needs: []", "}, needs: [a]"));
    misfit(&outcome, "which failed");
}

#[test]
fn a_step_kept_back_by_the_same_failure_fits() {
    let one = format!(
        "{A}  - {{ name: b, tool: test.noop, needs: [a] }}\n  - {{ name: c, waitFor: {{ signal: go }}, needs: [] }}\n"
    );
    let other = format!("{one}  - {{ name: d, tool: test.noop, needs: [] }}\n");
    let (mut rig, outcome, id) = moved(&one, &other);
    assert_eq!(outcome, ControlOutcome::Applied);
    let signal = ControlAction::Signal {
        name: "go".to_owned(),
        payload: json!(1),
    };
    assert_eq!(rig.control(id, signal), ControlOutcome::Applied);
    assert_eq!(rig.job().step_name, "d", "the new step begins");
    rig.work();
    assert_eq!(rig.status(id), ExecutionStatus::Failed);
}
