//! Checkpoints of earlier versions, as bytes: a successor reads them, and goes on where they ended.
//!
//! What version 1 wrote never changes. Version 2 is not released yet: delete its file, and
//! `AFU9_GOLDEN=write cargo test -p afu9-engine --test laws upgrades` writes it again.

use std::path::PathBuf;

use afu9_engine::checkpoint::Segment;
use afu9_engine::{Execution, PartitionState};
use afu9_schemas::message::{
    ControlAction, ControlOutcome, Deferral, HoldScope, ListFilter, Outcome,
};
use afu9_schemas::view::ExecutionStatus;
use afu9_schemas::{ErrorClass, ExecutionId, Timestamp, codec};
use serde_json::json;

use crate::inputs::{self, failure};
use crate::rig::{PARTITION, Rig, value};

/// Position of the last input that the checkpoint of version 1 covers.
const FLOOR_V1: u64 = 7;

/// What its executions run. Their hash is that of this text.
const SOURCE_V1: &str = concat!(
    "name: checkpointed\n",
    "steps:\n",
    "  - { name: a, tool: test.echo, params: { value: 1 }, assign: x }\n",
    "  - { name: b, tool: test.echo, params: { value: \"${x.value}\" },\n",
    "      retry: { maxAttempts: 3, backoff: fixed, initialDelayMs: 100 } }\n",
    "  - { name: c, tool: test.noop }\n",
);

/// Between them, whatever a segment holds.
const SOURCES_V2: [&str; 7] = [
    "{ name: retried, onFailure: [{ name: tell, tool: test.noop }], steps: [
       { name: a, tool: test.echo, assign: x, params: { value: '${input.n}' }, compensate: { tool: test.noop } },
       { name: b, tool: test.echo, params: { value: '${x.value}' },
         retry: { maxAttempts: 3, backoff: fixed, initialDelayMs: 100 } } ] }",
    "{ name: listed, steps: [ { name: each, tool: test.echo, forEach: '${input.items}', maxParallel: 2,
       params: { value: '${item}' } } ] }",
    "{ name: asking, steps: [ { name: ask, approval: { message: 'may it?' } },
       { name: wait, waitFor: { signal: go } } ] }",
    "{ name: alone, concurrency: { key: '${input.key}', limit: 1, onConflict: queue },
       rateLimit: { key: '${input.key}', limit: 2, periodMs: 3600000 }, steps: [ { name: a, tool: test.noop } ] }",
    "{ name: parent, steps: [ { name: child, workflow: { name: alone } } ] }",
    "{ name: patient, steps: [ { name: a, tool: test.wait, params: { times: 2 }, timeoutMs: 60000 } ] }",
    "{ name: one, steps: [ { name: a, tool: test.noop, retry: { maxAttempts: 1 } } ] }",
];

fn file(version: u8) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    folder.join(format!("segment.v{version}.msgpack"))
}

fn pinned(version: u8) -> Vec<u8> {
    let file = file(version);
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The state that a segment of version 1 describes, beside the log behind it.
fn restored_v1() -> Rig {
    let segment = Segment::decode(&pinned(1)).expect("readable");
    let mut rig = Rig::new(&[SOURCE_V1]);
    rig.now = Timestamp::from_micros(1_000_800);
    rig.state = PartitionState::restore(PARTITION, FLOOR_V1, vec![segment], &rig.definitions);
    // The log begins behind the checkpoint's floor.
    let empty = afu9_schemas::message::InputEnvelope { inputs: Vec::new() };
    for _ in 0..FLOOR_V1 {
        rig.log.push((rig.now, empty.clone()));
        rig.marks.push(0);
    }
    rig
}

#[test]
fn what_version_1_had_begun_is_brought_to_its_end() {
    let mut rig = restored_v1();
    assert_eq!((rig.state.live(), rig.state.floor()), (3, FLOOR_V1));
    let jobs = rig.jobs();
    let at: Vec<_> = jobs
        .iter()
        .map(|job| (job.id.step, job.id.attempt))
        .collect();
    assert_eq!(at, [(0, 1), (1, 1)], "the third waits for a retry");
    let listed = rig.state.list(&ListFilter::default(), 10).executions;
    let ids: Vec<ExecutionId> = listed.iter().map(|summary| summary.id).collect();
    for job in &jobs {
        rig.answer(job, Outcome::Done(value(7)));
    }
    rig.wake();
    rig.work();
    for id in ids {
        let end = rig.end(id).expect("ended");
        assert_eq!(end.status, ExecutionStatus::Completed, "{id}: {end:?}");
    }
    // What had ended under a derived id is not run again.
    let again = rig.submission("checkpointed", json!({}));
    rig.send(ExecutionId::derived("ended"), again);
    assert_eq!(
        (rig.state.live(), rig.state.counters().duplicate_starts),
        (0, 1)
    );
}

/// Executions in every state that a checkpoint holds, and what they share.
fn partition_v2() -> (Rig, Segment) {
    let mut rig = Rig::new(&SOURCES_V2);
    let failed = rig.start("one", json!({}));
    rig.answer(&rig.job(), failure(ErrorClass::Permanent));
    assert_eq!(rig.status(failed), ExecutionStatus::Failed);
    let derived = ExecutionId::derived("ended");
    let start = rig.submission("one", json!({}));
    rig.send(derived, start);
    rig.work();
    let retried = rig.start("retried", json!({ "n": 1 }));
    rig.done(value(7));
    rig.answer(&rig.job(), failure(ErrorClass::Retryable));
    let listed = rig.start("listed", json!({ "items": [1, 2, 3] }));
    let item = rig.job_of(listed);
    rig.answer(&item, Outcome::Done(value(1)));
    let paused = rig.start("asking", json!({}));
    let signal = ControlAction::Signal {
        name: "go".to_owned(),
        payload: json!({ "early": true }),
    };
    for action in [signal, ControlAction::Pause] {
        assert_eq!(rig.control(paused, action), ControlOutcome::Applied);
    }
    let [holder, waiter] = [(); 2].map(|()| rig.start("alone", json!({ "key": "k" })));
    let parent = rig.start("parent", json!({}));
    let patient = rig.start("patient", json!({}));
    let deferral = Deferral {
        after_ms: 5000,
        state: json!({ "looks": 1 }),
        progress: Some("once".to_owned()),
    };
    let job = rig.job_of(patient);
    rig.answer(&job, Outcome::Deferred(Box::new(deferral)));
    let hold = ControlAction::Hold(HoldScope::Workflow("retried".to_owned()));
    assert_eq!(
        rig.control(ExecutionId::NONE, hold),
        ControlOutcome::Applied
    );
    let mut segment = rig.state.take_full();
    segment.executions.sort_by_key(Execution::id);
    let ids: Vec<_> = segment.executions.iter().map(Execution::id).collect();
    assert_eq!(
        ids,
        [
            failed, retried, listed, paused, holder, waiter, parent, patient
        ]
    );
    // What a delta has beside, and what its owner adds.
    segment.removed = vec![inputs::drawn(99)];
    segment.outgoing = Some(vec![inputs::wake(retried, rig.now)]);
    segment.unsent = Some(vec![rig.job_of(holder).id]);
    assert_eq!(segment.tombstones, [derived]);
    assert!(segment.shared.as_ref().is_some_and(|shared| {
        shared.ticket > 0 && shared.holds.len() == 1 && !shared.rates.is_empty()
    }));
    (rig, segment)
}

#[test]
fn a_segment_is_written_and_read_as_before() {
    let (rig, segment) = partition_v2();
    let written = codec::encode(&segment).expect("encodes");
    if !file(2).exists() && option_env!("AFU9_GOLDEN") == Some("write") {
        std::fs::write(file(2), &written).expect("golden file written");
    }
    let bytes = pinned(2);
    assert!(written == bytes, "it is written differently than before");
    let read = Segment::decode(&bytes).expect("readable");
    assert_eq!(read, segment);
    let state = PartitionState::restore(PARTITION, rig.state.floor(), vec![read], &rig.definitions);
    let jobs = |state: &PartitionState| {
        let mut jobs: Vec<_> = state.outstanding_jobs().map(|job| job.id).collect();
        jobs.sort_unstable_by_key(|id| (id.execution, id.step, id.item));
        jobs
    };
    assert_eq!(jobs(&state), jobs(&rig.state));
    assert_eq!(state.holds(), rig.state.holds());
    assert_eq!(state.next_wake(), rig.state.next_wake());
    for execution in &segment.executions {
        assert_eq!(state.show(execution.id()), rig.state.show(execution.id()));
    }
}

#[test]
fn a_segment_of_a_version_that_is_not_known_is_refused() {
    for version in [1, 2] {
        let mut bytes = pinned(version);
        assert_eq!(bytes[0], version);
        bytes[0] = codec::WIRE_VERSION + 1;
        let refused = Segment::decode(&bytes).expect_err("a future version");
        assert!(refused.is_from_the_future(), "{refused}");
    }
}
