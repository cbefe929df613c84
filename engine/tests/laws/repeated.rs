//! Executions that repeat another one from a step, with what it did before.

use afu9_schemas::definition::Decision;
use afu9_schemas::message::{ControlAction, ControlOutcome, InputKind, KeptStep, Outcome, Rerun};
use afu9_schemas::view::{ExecutionStatus, StepStatus};
use afu9_schemas::{ErrorClass, ExecutionId};
use serde_json::json;

use crate::inputs::{self, failure};
use crate::rig::{Rig, value};

/// Starts an execution that takes over these steps of another one.
fn repeat(rig: &mut Rig, name: &str, kept: &[&str]) -> ExecutionId {
    let mut kind = rig.submission(name, json!({}));
    if let InputKind::Start(start) = &mut kind {
        let kept = kept.iter().map(|name| KeptStep {
            name: (*name).to_owned(),
            output: Some(value(format!("{name} before"))),
        });
        start.rerun = Some(Box::new(Rerun {
            of: inputs::drawn(900),
            kept: kept.collect(),
            from_step: None,
            reason: None,
            scopes: Vec::new(),
        }));
    }
    let id = inputs::drawn(901);
    rig.send(id, kind);
    id
}

fn decide(rig: &mut Rig, id: ExecutionId, decision: Decision) -> ControlOutcome {
    let step = "ask".to_owned();
    rig.control(id, ControlAction::Decide { step, decision })
}

const SHIPPED: &str = "
name: shipped
steps:
  - { name: build, tool: test.noop }
  - { name: ask, approval: {} }
  - { name: prepare, tool: test.noop }
  - { name: ship, tool: test.echo, params: { value: \"${steps.prepare.output.value}\" } }
";

#[test]
fn an_approval_is_asked_again_and_what_is_behind_it_waits_for_it() {
    let mut rig = Rig::new(&[SHIPPED]);
    // Whoever forged the submission says that it was approved.
    let id = repeat(&mut rig, "shipped", &["build", "ask", "prepare"]);
    assert_eq!(rig.view(id).steps[0].status, StepStatus::Completed);
    assert_eq!(rig.view(id).steps[1].status, StepStatus::Waiting);
    assert_eq!(rig.view(id).steps[2].status, StepStatus::Pending);
    assert_eq!(rig.jobs(), []);
    rig.crash();
    assert_eq!(
        decide(&mut rig, id, Decision::Approve),
        ControlOutcome::Applied
    );
    let job = rig.job();
    assert_eq!(
        (job.step_name.as_str(), &job.params),
        ("ship", &value("prepare before"))
    );
    rig.work();
    assert_eq!(rig.status(id), ExecutionStatus::Completed);
    assert_eq!(rig.dispatched().len(), 1, "what was kept did not run");
}

#[test]
fn what_was_rejected_this_time_keeps_nothing_behind_it() {
    let mut rig = Rig::new(&[SHIPPED]);
    let id = repeat(&mut rig, "shipped", &["build", "prepare"]);
    assert_eq!(
        decide(&mut rig, id, Decision::Reject),
        ControlOutcome::Applied
    );
    assert_eq!(rig.status(id), ExecutionStatus::Failed);
    assert_eq!(rig.view(id).steps[2].status, StepStatus::Skipped);
    // Asked once more, it is approved: what was kept is still known.
    let retry = ControlAction::Retry {
        step: None,
        params: None,
        failed: None,
    };
    assert_eq!(rig.control(id, retry), ControlOutcome::Applied);
    assert_eq!(
        decide(&mut rig, id, Decision::Approve),
        ControlOutcome::Applied
    );
    assert_eq!(rig.job().params, value("prepare before"));
}

const SAGA: &str = "
name: saga
steps:
  - { name: a, tool: test.noop, compensate: { tool: test.noop } }
  - { name: b, tool: test.noop, compensate: { tool: test.noop } }
  - { name: c, tool: test.noop, retry: { maxAttempts: 1 } }
";

#[test]
fn what_was_taken_over_is_not_undone() {
    let mut rig = Rig::new(&[SAGA]);
    let id = repeat(&mut rig, "saga", &["a"]);
    rig.crash();
    assert_eq!(rig.job().step_name, "b");
    rig.done(json!({}));
    rig.answer(&rig.job(), failure(ErrorClass::Permanent));
    let job = rig.job();
    assert_eq!(job.step_name, "b.compensate");
    rig.answer(&job, Outcome::Done(json!({})));
    assert_eq!(rig.status(id), ExecutionStatus::Failed);
    let statuses: Vec<StepStatus> = rig.view(id).steps.iter().map(|step| step.status).collect();
    assert_eq!(
        statuses[..3],
        [
            StepStatus::Completed,
            StepStatus::Compensated,
            StepStatus::Failed
        ]
    );
    assert!(
        rig.dispatched()
            .iter()
            .all(|job| job.step_name != "a.compensate")
    );
}
