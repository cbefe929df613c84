//! A checkpoint holds everything, and a successor that begins with it cannot be told from the one before
//! it; also where writing it failed.

use afu9_engine::PartitionState;
use afu9_engine::checkpoint::Segment;
use afu9_schemas::ErrorClass;
use afu9_schemas::message::{ControlAction, InputKind, ListFilter, Outcome};
use afu9_schemas::view::ExecutionStatus;
use serde_json::{Value, json};

use crate::inputs::{self, failure};
use crate::rig::{PARTITION, Rig, written};

/// A failed execution is kept so that it can be retried.
const ONE: &str = "{ name: one, steps: [{ name: a, tool: test.noop, retry: { maxAttempts: 1 } }] }";

fn restored(rig: &Rig, segments: &[Segment]) -> PartitionState {
    let segments = segments.iter().map(written).collect();
    PartitionState::restore(PARTITION, rig.state.floor(), segments, &rig.definitions)
}

fn ids(state: &PartitionState) -> Vec<String> {
    let mut ids: Vec<String> = state
        .list(&ListFilter::default(), usize::MAX)
        .executions
        .iter()
        .map(|summary| summary.id.to_string())
        .collect();
    ids.sort();
    ids
}

/// A restart used to turn it into no output at all, which expressions cannot see.
#[test]
fn an_output_that_is_null_is_still_one_after_a_restart() {
    for crash in [false, true] {
        let mut rig = Rig::new(&["
name: nothing
steps:
  - { name: a, tool: test.noop, assign: a }
  - { name: b, waitFor: { signal: go, onTimeout: continue }, timeoutMs: 1000 }
  - { name: c, tool: test.echo, params: { value: [\"${a}\", \"${steps.b.output}\"] } }
"]);
        rig.start("nothing", json!({}));
        rig.done(Value::Null);
        rig.wake();
        // It waits for its last step: what came before is only in the checkpoint.
        let waiting = rig.job();
        if crash {
            rig.crash();
        }
        rig.answer(&waiting, failure(ErrorClass::Retryable));
        rig.wake();
        assert_eq!(rig.job().params, json!({ "value": [null, null] }));
        rig.work();
        let ended = rig.dispatched().last().map(|job| job.id.execution);
        let end = rig.end(ended.expect("a job")).expect("ended");
        assert_eq!(end.output, Some(json!({ "a": null })), "crash: {crash}");
    }
}

#[test]
fn what_ended_while_a_checkpoint_failed_does_not_come_back() {
    for full in [false, true] {
        let mut rig = Rig::new(&[ONE]);
        let id = rig.start("one", json!({}));
        let mut segments = vec![rig.state.take_delta()];
        rig.work();
        assert_eq!(rig.status(id), ExecutionStatus::Completed);
        let failed = if full {
            rig.state.take_full()
        } else {
            rig.state.take_delta()
        };
        rig.state.put_back(failed);
        segments.push(rig.state.take_delta());
        assert_eq!(restored(&rig, &segments).live(), 0, "full: {full}");
    }
}

#[test]
fn a_checkpoint_that_failed_is_in_the_next_one() {
    for full in [false, true] {
        let mut rig = Rig::new(&[ONE]);
        for _ in 0..3 {
            rig.start("one", json!({}));
        }
        let failed = if full {
            rig.state.take_full()
        } else {
            rig.state.take_delta()
        };
        rig.start("one", json!({}));
        rig.state.put_back(failed);
        let segments = [rig.state.take_delta()];
        let restored = restored(&rig, &segments);
        assert_eq!(restored.live(), 4, "full: {full}");
        assert!(restored.live_bytes() > 0);
        assert_eq!(restored.live_bytes(), rig.state.live_bytes());
        assert_eq!(ids(&restored), ids(&rig.state));
    }
}

/// Those that failed first are forgotten first, whatever was asked of them since and however often the
/// owner changed.
#[test]
fn the_oldest_failures_are_forgotten_first() {
    const KEPT: usize = 1000;
    let mut rig = Rig::new(&[ONE]);
    let mut all = Vec::new();
    for _ in 0..KEPT {
        all.push(rig.start("one", json!({})));
        let job = rig.job();
        rig.answer(&job, failure(ErrorClass::Permanent));
    }
    // The oldest are looked at, wished something of, and answered late.
    for id in &all[..3] {
        rig.control(*id, ControlAction::Pause);
        let submitted_again = rig.submission("one", json!({}));
        rig.send(*id, submitted_again);
    }
    rig.crash();
    for _ in 0..2 {
        rig.start("one", json!({}));
        let job = rig.job();
        rig.answer(&job, failure(ErrorClass::Permanent));
    }
    let kept = |rig: &Rig, at: usize| rig.state.explain(all[at]).is_some();
    assert_eq!(
        [kept(&rig, 0), kept(&rig, 1), kept(&rig, 2)],
        [false, false, true]
    );
}

#[test]
fn a_message_that_was_folded_is_not_folded_again() {
    let mut rig = Rig::new(&[ONE]);
    let id = rig.start("one", json!({}));
    rig.work();
    let before = rig.state.counters();
    for (index, (at, envelope)) in rig.log.clone().into_iter().enumerate() {
        let mut effects = Vec::new();
        let position = index as u64 + 1;
        rig.state
            .fold(position, at, envelope, &rig.definitions, &mut effects);
        assert!(effects.is_empty(), "{effects:?}");
    }
    assert_eq!(rig.state.counters(), before);
    assert_eq!(rig.status(id), ExecutionStatus::Completed);
}

/// Webhooks are routed again after a gateway has died: an id that was derived from a delivery means one
/// execution for ever.
#[test]
fn a_derived_id_is_not_run_twice_even_after_a_crash() {
    let mut rig = Rig::new(&[ONE]);
    let id = afu9_schemas::ExecutionId::derived("delivery 1");
    let start = rig.submission("one", json!({}));
    rig.send(id, start.clone());
    rig.work();
    rig.crash();
    let history = rig.history(id).len();
    rig.send(id, start);
    assert_eq!(rig.state.live(), 0);
    assert_eq!(rig.history(id).len(), history);
    assert_eq!(rig.state.counters().duplicate_starts, 1);
}

#[test]
fn an_execution_without_its_definition_fails_and_says_so() {
    let mut rig = Rig::new(&[ONE]);
    let start = rig.submission("one", json!({}));
    rig.definitions.clear();
    let id = inputs::drawn(5);
    rig.send(id, start);
    let end = rig.end(id).expect("ended");
    assert_eq!(end.status, ExecutionStatus::Failed);
    assert_eq!(
        end.error.as_ref().expect("a reason").code,
        "definition.missing"
    );
}

/// One whose definition is not found when its partition is loaded keeps nobody else waiting, and ends if
/// it is still not there when it is looked at.
#[test]
fn a_definition_that_is_gone_ends_its_executions_and_no_others() {
    let mut rig = Rig::new(&[ONE, "{ name: gone, steps: [{ name: a, tool: test.noop }] }"]);
    let gone = rig.start("gone", json!({}));
    let other = rig.start("one", json!({}));
    let hash = rig.references["gone"].hash;
    rig.definitions.remove(&hash);
    rig.crash();
    let job = rig.job();
    assert_eq!(
        job.id.execution, other,
        "nobody can say what the other one waits for"
    );
    rig.wake();
    assert_eq!(rig.status(gone), ExecutionStatus::Failed);
    rig.answer(&job, Outcome::Done(json!({})));
    assert_eq!(
        rig.end(other).expect("ended").status,
        ExecutionStatus::Completed
    );
    let retry = ControlAction::Retry {
        step: None,
        params: None,
        failed: None,
    };
    let control = inputs::control(1, retry);
    rig.send(gone, InputKind::Control(Box::new(control)));
    assert_eq!(rig.state.live(), 0);
}
