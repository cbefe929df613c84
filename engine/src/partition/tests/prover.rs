//! The indexes of a partition are broken by hand, one after the other.

use std::sync::Arc;
use std::time::Duration;

use afu9_schemas::definition::ReadOptions;
use afu9_schemas::message::{
    Control, ControlAction, HoldScope, Input, InputEnvelope, InputKind, JobResult, Outcome, Start,
    Trigger, TriggerKind, WorkflowRef,
};
use afu9_schemas::{
    DefinitionHash, ExecutionId, Partition, RequestId, Timestamp, WorkerId, WorkerKind, WorkflowId,
};
use serde_json::json;
use uuid::Uuid;

use crate::partition::{Definitions, PartitionState, Proof};

struct Broken {
    state: PartitionState,
    definitions: Definitions,
    workflow: WorkflowRef,
    now: Timestamp,
}

impl Broken {
    fn new(source: &str) -> Self {
        let compiled =
            crate::workflow::compile(source, ReadOptions::default()).expect("a valid definition");
        let hash = DefinitionHash::of(source.as_bytes());
        let workflow = WorkflowRef {
            id: WorkflowId::from_uuid(Uuid::from_u128(1)),
            name: compiled.workflow.definition.name.clone(),
            version: 1,
            hash,
        };
        let definitions = std::iter::once((hash, Arc::new(compiled.workflow))).collect();
        Self {
            state: PartitionState::new(Partition::new(0)),
            definitions,
            workflow,
            now: Timestamp::from_micros(1_000_000),
        }
    }

    fn fold(&mut self, execution: ExecutionId, kind: InputKind) {
        self.now = self.now.plus(std::time::Duration::from_micros(100));
        let envelope = InputEnvelope {
            inputs: vec![Input { execution, kind }],
        };
        let sequence = self.state.floor() + 1;
        self.state.fold(
            sequence,
            self.now,
            envelope,
            &self.definitions,
            &mut Vec::new(),
        );
    }

    fn start(&mut self, number: u128) -> ExecutionId {
        let id = ExecutionId::from_uuid(Uuid::from_u128(7 << 76 | number));
        let flow = self.definitions[&self.workflow.hash]
            .definition
            .flow
            .clone();
        let start = Start {
            key: flow.has_limits().then(|| "k".to_owned()),
            priority: 3,
            ..Start::new(
                self.workflow.clone(),
                json!({}),
                Trigger {
                    kind: TriggerKind::Manual,
                    by: "test".to_owned(),
                    delivery: None,
                    depth: 0,
                    initiator: None,
                },
            )
        };
        self.fold(id, InputKind::Start(Box::new(start)));
        id
    }

    fn hold(&mut self, request: u128, action: ControlAction) {
        let control = Control {
            request: RequestId::from_uuid(Uuid::from_u128(request)),
            by: "test".to_owned(),
            scopes: Vec::new(),
            reason: None,
            reply_to: None,
            content: None,
            action,
        };
        self.fold(ExecutionId::NONE, InputKind::Control(Box::new(control)));
    }

    /// Whatever is due is woken, and every job is done, until everything has ended.
    fn finish(&mut self) {
        for _ in 0..100 {
            let jobs: Vec<_> = self.state.outstanding_jobs().collect();
            for job in jobs {
                let result = JobResult {
                    step: job.id.step,
                    item: job.id.item,
                    attempt: job.id.attempt,
                    worker: WorkerId::new("w").expect("valid"),
                    started_at: self.now,
                    ended_at: self.now,
                    outcome: Outcome::Done(json!({})),
                };
                self.fold(job.id.execution, InputKind::JobResult(Box::new(result)));
            }
            let Some(at) = self.state.next_wake() else {
                break;
            };
            self.now = self.now.max(at);
            for (id, due) in self.state.take_due(self.now, 10) {
                self.fold(id, InputKind::Wake { due });
            }
        }
        assert_eq!(self.state.live(), 0, "something still waits");
    }

    fn is_mended(&mut self) {
        let proof = self.state.prove(100, Timestamp::default());
        assert_eq!((proof.repaired, proof.orphans.len()), (1, 0), "{proof:?}");
        assert!(proof.round_ended);
        self.nothing_is_missing();
        self.finish();
    }

    fn nothing_is_missing(&mut self) {
        let proof = self.state.prove(100, Timestamp::default());
        let nothing = Proof {
            checked: proof.checked,
            round_ended: true,
            ..Proof::default()
        };
        assert_eq!(proof, nothing);
    }
}

#[test]
fn a_wake_that_is_not_armed_is_armed_again() {
    let mut broken = Broken::new("{ name: w, steps: [{ name: a, sleep: { for: 1h } }] }");
    broken.start(1);
    broken.nothing_is_missing();
    broken.state.wakes.clear();
    let proof = broken.state.prove(100, Timestamp::default());
    assert_eq!(proof.repaired, 1);
    broken.finish();
}

#[test]
fn a_place_before_a_key_that_is_lost_is_given_again() {
    let mut broken = Broken::new(
        "{ name: w, concurrency: { limit: 1, onConflict: queue }, steps: [{ name: a, tool: test.noop }] }",
    );
    broken.start(1);
    let waiting = broken.start(2);
    broken.nothing_is_missing();
    let place = broken.state.live[&waiting].execution.place_before_key();
    broken.state.keys.leave("k", waiting, place);
    broken.is_mended();
}

#[test]
fn a_turn_that_is_lost_is_given_again() {
    let kind = HoldScope::Kind(WorkerKind::new("test").expect("valid"));
    let mut broken =
        Broken::new("{ name: w, steps: [{ name: a, forEach: [1, 2, 3], tool: test.noop }] }");
    broken.hold(1, ControlAction::Hold(kind.clone()));
    let id = broken.start(1);
    broken.nothing_is_missing();
    let live = &broken.state.live[&id];
    let (step, _, turn) = live.execution.turns().nth(1).expect("three wait");
    let queue = live
        .execution
        .queue_of(step, &live.workflow)
        .expect("a tool");
    broken
        .state
        .dispatcher
        .leave(queue, live.execution.priority(), turn);
    assert_eq!(broken.state.waiting(), 2);
    let proof = broken.state.prove(100, Timestamp::default());
    assert_eq!(proof.repaired, 1);
    assert_eq!(
        broken.state.waiting(),
        3,
        "it, and none of the others twice"
    );
    broken.nothing_is_missing();
    broken.hold(2, ControlAction::Release(kind));
    assert_eq!(broken.state.waiting(), 0);
    broken.finish();
}

/// An execution that waits for nothing at all: no index is wrong, the state itself is.
#[test]
fn an_execution_that_waits_for_nothing_is_told_and_goes_on() {
    let mut broken = Broken::new(
        "{ name: w, steps: [{ name: a, tool: test.noop }, { name: b, tool: test.noop }] }",
    );
    let id = broken.start(1);
    let mut segment = serde_json::to_value(broken.state.take_full()).expect("data");
    segment["executions"][0]["steps"][0] = json!({ "s": "pending" });
    let segment = serde_json::from_value(segment).expect("data");
    let floor = broken.state.floor();
    broken.state =
        PartitionState::restore(Partition::new(0), floor, vec![segment], &broken.definitions);
    let proof = broken.state.prove(100, Timestamp::default());
    assert_eq!((proof.repaired, proof.orphans), (0, vec![id]));
    broken.finish();
}

#[test]
fn a_round_looks_at_everything_once_however_small_its_parts() {
    let mut broken = Broken::new("{ name: w, steps: [{ name: a, tool: test.noop }] }");
    for number in 0..10 {
        broken.start(number);
    }
    let parts: Vec<Proof> = (0..4)
        .map(|_| broken.state.prove(3, Timestamp::default()))
        .collect();
    let checked: u64 = parts.iter().map(|proof| proof.checked).sum();
    assert_eq!(checked, 10);
    let ended: Vec<bool> = parts.iter().map(|proof| proof.round_ended).collect();
    assert_eq!(ended, [false, false, false, true]);
}

#[test]
fn a_key_that_is_free_is_given_to_who_waits_for_it() {
    let mut broken = Broken::new(
        "{ name: w, concurrency: { limit: 1, onConflict: queue }, steps: [{ name: a, tool: test.noop }] }",
    );
    let holder = broken.start(1);
    broken.start(2);
    broken.nothing_is_missing();
    let live = broken.state.take(holder).expect("live");
    broken.state.keys.leave("k", holder, None);
    broken.state.keep(live);
    broken.is_mended();
}

#[test]
fn a_halt_that_nobody_wishes_ends() {
    let mut broken = Broken::new("{ name: w, steps: [{ name: a, sleep: { for: 1h } }] }");
    let id = broken.start(1);
    let mut live = broken.state.take(id).expect("live");
    live.execution.halt(broken.now);
    broken.state.keep(live);
    let proof = broken.state.prove(100, Timestamp::default());
    assert_eq!(proof.repaired, 1, "{proof:?}");
    broken.finish();
}

#[test]
fn a_wake_that_was_lost_on_its_way_is_armed_again() {
    let mut broken = Broken::new("{ name: w, steps: [{ name: a, sleep: { for: 1s } }] }");
    broken.start(1);
    broken.now = broken.now.plus(Duration::from_secs(2));
    assert_eq!(broken.state.take_due(broken.now, 10).len(), 1);
    broken.nothing_is_missing();
    // Nothing comes that would move the log's clock.
    broken.now = broken.now.plus(Duration::from_secs(100));
    let proof = broken.state.prove(100, broken.now);
    assert_eq!(proof.repaired, 1, "{proof:?}");
    broken.finish();
}

#[test]
fn a_place_in_a_queue_that_nobody_has_is_given_back() {
    let mut broken = Broken::new("{ name: w, steps: [{ name: a, tool: test.noop }] }");
    let id = broken.start(1);
    let live = &broken.state.live[&id];
    let queue = live.execution.queue_of(0, &live.workflow).expect("a tool");
    for _ in 0..5 {
        broken.state.dispatcher.occupy(queue);
    }
    broken.is_mended();
}
