//! What a message costs to write and to read: the envelopes of one tick under load.

use afu9_schemas::message::{
    AttemptRecord, ExecutionEnded, HistoryBatch, HistoryEvent, HistoryKind, Input, InputEnvelope,
    InputKind, Job, JobEnvelope, JobResult, Outcome, StepEnded,
};
use afu9_schemas::view::{ExecutionStatus, StepAction, StepRole, StepStatus};
use afu9_schemas::{ExecutionId, JobId, Lane, Partition, Timestamp, WorkerId, codec};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use serde_json::{Value, json};

fn main() {
    divan::main();
}

/// How many jobs, results or events are in one message.
const SIZES: [usize; 2] = [1, 64];

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn at(millis: i64) -> Timestamp {
    Timestamp::from_micros(1_764_000_000_000_000 + millis * 1000)
}

fn worker() -> WorkerId {
    WorkerId::new("github-host-1").expect("valid")
}

fn value() -> Value {
    json!({
        "owner": "octo", "repo": "factory", "number": 42, "title": "The build is slow",
        "labels": ["performance", "help wanted"], "open": true, "weight": 1.5, "parent": null,
    })
}

fn jobs(count: usize) -> JobEnvelope {
    let job = |_| Job {
        id: JobId {
            execution: ExecutionId::new(),
            step: 1,
            attempt: 1,
            item: None,
        },
        partition: Partition::new(3),
        step_name: "create_branch".to_owned(),
        tool: "github.createBranch".parse().expect("valid"),
        params: value(),
        lane: Lane::Interactive,
        dispatched_at: at(1),
        deadline: Some(at(30_000)),
        workflow: "issue_to_pr".to_owned(),
        traceparent: Some(TRACE.to_owned()),
        alone: false,
        state: None,
    };
    JobEnvelope {
        jobs: (0..count).map(job).collect(),
    }
}

fn results(count: usize) -> InputEnvelope {
    let result = |_| Input {
        execution: ExecutionId::new(),
        kind: InputKind::JobResult(Box::new(JobResult {
            step: 1,
            item: None,
            attempt: 1,
            worker: worker(),
            started_at: at(2),
            ended_at: at(3),
            outcome: Outcome::Done(value()),
        })),
    };
    InputEnvelope {
        inputs: (0..count).map(result).collect(),
    }
}

/// Ends of steps, and of every fifth its execution's.
fn history(count: usize) -> HistoryBatch {
    let ended = HistoryKind::ExecutionEnded(Box::new(ExecutionEnded {
        status: ExecutionStatus::Completed,
        output: Some(value()),
        error: None,
        started_at: at(0),
        steps_completed: 5,
        steps_failed: 0,
        steps_skipped: 0,
        steps_compensated: 0,
        stale_results: 0,
    }));
    let step = HistoryKind::StepEnded(Box::new(StepEnded {
        index: 1,
        item: None,
        role: StepRole::Main,
        action: StepAction::Tool,
        name: "create_branch".to_owned(),
        tool: Some("github.createBranch".parse().expect("valid")),
        status: StepStatus::Completed,
        input: Some(value()),
        output: Some(value()),
        error: None,
        started_at: at(1),
        attempts: vec![AttemptRecord {
            deferrals: 0,
            attempt: 1,
            dispatched_at: at(1),
            worker: Some(worker()),
            started_at: Some(at(2)),
            ended_at: Some(at(3)),
            error: None,
        }],
    }));
    let event = |index: usize| HistoryEvent {
        execution: Some(ExecutionId::new()),
        number: 2,
        at: at(4),
        kind: if index % 5 == 4 { &ended } else { &step }.clone(),
    };
    HistoryBatch {
        partition: Some(Partition::new(3)),
        events: (0..count).map(event).collect(),
    }
}

/// Both directions of one kind of message.
macro_rules! both_ways {
    ($name:ident, $message:ty, $make:path) => {
        mod $name {
            use super::*;

            #[divan::bench(args = SIZES)]
            fn encode(bencher: Bencher, count: usize) {
                let message = $make(count);
                let bytes = codec::encode(&message).expect("encodes").len();
                bencher
                    .counter(ItemsCount::new(count))
                    .counter(BytesCount::new(bytes))
                    .bench(|| codec::encode(black_box(&message)));
            }

            #[divan::bench(args = SIZES)]
            fn decode(bencher: Bencher, count: usize) {
                let bytes = codec::encode(&$make(count)).expect("encodes");
                bencher
                    .counter(ItemsCount::new(count))
                    .counter(BytesCount::new(bytes.len()))
                    .bench(|| codec::decode::<$message>(black_box(&bytes)).expect("decodes"));
            }
        }
    };
}

both_ways!(job_envelope, JobEnvelope, super::jobs);
both_ways!(input_envelope, InputEnvelope, super::results);
both_ways!(history_batch, HistoryBatch, super::history);
