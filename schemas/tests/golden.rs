//! Golden files: the bytes of every wire message, as they were when the message was first released.
//!
//! A test that fails here means that processes of different versions would not understand each
//! other. Adding a field with a default changes what is written, not whether the old bytes can be
//! read: then write the new bytes beside the old ones (`AFU9_GOLDEN=write cargo test -p
//! afu9-schemas --test golden` writes files that are missing, and never changes one).

use std::fmt::Debug;
use std::path::PathBuf;

use afu9_schemas::error::{ErrorClass, StepError};
use afu9_schemas::message::heartbeat::{DependencyCheck, DependencyStatus};
use afu9_schemas::message::history::{
    AttemptRecord, ExecutionEnded, ExecutionStarted, HistoryKind, StepEnded,
};
use afu9_schemas::message::{
    Cancel, CancelNotice, DeadLetter, DeadLetterReason, DefinitionRecord, Heartbeat, HistoryBatch,
    HistoryEvent, InboxBody, InboxDelivery, Input, InputEnvelope, InputKind, Job, JobEnvelope,
    JobResult, Outcome, Query, QueryReply, Repository, Start, Trigger, TriggerKind, WorkflowRef,
};
use afu9_schemas::view::{ExecutionStatus, ExecutionSummary, ExecutionView, StepStatus, StepView};
use afu9_schemas::{
    ArtifactRef, DefinitionHash, DeliveryId, ExecutionId, JobId, Lane, Partition, Timestamp,
    WorkerId, WorkerKind, WorkflowId, codec,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use uuid::Uuid;

/// Compares `message` with its golden file, in both directions.
fn golden<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, message: &T) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    let written = codec::encode(message).expect("encodes");
    if !file.exists() && option_env!("AFU9_GOLDEN") == Some("write") {
        std::fs::write(&file, &written).expect("golden file written");
    }
    let pinned = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    assert_eq!(
        hex(&written),
        hex(&pinned),
        "{name} is written differently than before"
    );
    let read: T = codec::decode(&pinned).expect("the pinned bytes are readable");
    assert_eq!(&read, message, "{name} is read differently than before");
    let mut future = pinned.clone();
    future[0] += 1;
    let refused = codec::decode::<T>(&future).expect_err("a future version");
    assert!(refused.is_from_the_future(), "{name}");
}

fn hex(bytes: &[u8]) -> String {
    hex::encode(bytes)
}

fn execution() -> ExecutionId {
    ExecutionId::from_uuid(Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001))
}

fn workflow() -> WorkflowRef {
    WorkflowRef {
        id: WorkflowId::from_uuid(Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0002)),
        name: "issue_to_pr".to_owned(),
        version: 3,
        hash: DefinitionHash::of(b"golden"),
    }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_micros(1_764_000_000_000_000 + millis * 1000)
}

fn error() -> StepError {
    StepError {
        class: ErrorClass::RateLimited,
        code: "github.rate_limited".to_owned(),
        message: "wait".to_owned(),
        chain: vec!["403".to_owned()],
    }
}

fn worker() -> WorkerId {
    WorkerId::new("github-host-1").expect("valid")
}

fn attempt() -> AttemptRecord {
    AttemptRecord {
        attempt: 1,
        dispatched_at: at(1),
        worker: Some(worker()),
        started_at: Some(at(2)),
        ended_at: Some(at(3)),
        error: Some(error()),
    }
}

fn trigger() -> Trigger {
    Trigger {
        kind: TriggerKind::Webhook,
        by: "route".to_owned(),
        delivery: Some("d-1".to_owned()),
    }
}

fn repository() -> Repository {
    Repository {
        owner: "octo".to_owned(),
        name: "factory".to_owned(),
        default_branch: Some("main".to_owned()),
    }
}

fn job() -> Job {
    Job {
        id: JobId {
            execution: execution(),
            step: 1,
            attempt: 2,
        },
        partition: Partition::new(3),
        step_name: "create_branch".to_owned(),
        tool: "github.createBranch".parse().expect("valid"),
        params: json!({"owner": "octo", "n": 1, "list": [true, null, 1.5]}),
        lane: Lane::Interactive,
        dispatched_at: at(1),
        deadline: Some(at(9)),
        workflow: "issue_to_pr".to_owned(),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
    }
}

#[test]
fn inputs() {
    let start = Start {
        workflow: workflow(),
        input: json!({"issue_number": 7}),
        repository: Some(repository()),
        trigger: trigger(),
        lane: Lane::Bulk,
        traceparent: None,
    };
    let result = |outcome| {
        InputKind::JobResult(Box::new(JobResult {
            step: 1,
            attempt: 2,
            worker: worker(),
            started_at: at(2),
            ended_at: at(3),
            outcome,
        }))
    };
    let kinds = [
        InputKind::Start(Box::new(start)),
        result(Outcome::Done(json!({"sha": "abc"}))),
        result(Outcome::Failed {
            error: error(),
            retry_after_ms: Some(1500),
        }),
        InputKind::Cancel(Cancel {
            by: "ops".to_owned(),
            reason: Some("enough".to_owned()),
        }),
        InputKind::Wake { due: at(4) },
    ];
    let inputs = kinds
        .into_iter()
        .map(|kind| Input {
            execution: execution(),
            kind,
        })
        .collect();
    golden("input_envelope.v1.msgpack", &InputEnvelope { inputs });
}

#[test]
fn jobs() {
    golden(
        "job_envelope.v1.msgpack",
        &JobEnvelope { jobs: vec![job()] },
    );
    golden(
        "cancel_notice.v1.msgpack",
        &CancelNotice {
            execution: execution(),
        },
    );
}

#[test]
fn history() {
    let kinds = [
        HistoryKind::ExecutionStarted(Box::new(ExecutionStarted {
            workflow: workflow(),
            input: json!({}),
            repository: Some(repository()),
            trigger: trigger(),
            traceparent: None,
        })),
        HistoryKind::StepEnded(Box::new(StepEnded {
            index: 1,
            name: "create_branch".to_owned(),
            tool: Some("github.createBranch".parse().expect("valid")),
            status: StepStatus::Failed,
            input: Some(json!({"a": 1})),
            output: None,
            error: Some(error()),
            started_at: at(1),
            attempts: vec![attempt()],
        })),
        HistoryKind::ExecutionEnded(Box::new(ExecutionEnded {
            status: ExecutionStatus::Failed,
            output: Some(json!({})),
            error: Some(error()),
            started_at: at(0),
            steps_completed: 1,
            steps_failed: 1,
            steps_skipped: 2,
            stale_results: 1,
        })),
    ];
    let events = (1..)
        .zip(kinds)
        .map(|(number, kind)| HistoryEvent {
            execution: Some(execution()),
            number,
            at: at(5),
            kind,
        })
        .collect();
    golden(
        "history_batch.v1.msgpack",
        &HistoryBatch {
            partition: Some(Partition::new(3)),
            events,
        },
    );
    let record = DefinitionRecord {
        workflow: workflow(),
        definition: json!({"name": "issue_to_pr", "steps": []}),
        enabled: true,
        applied_at: at(0),
        applied_by: "ops".to_owned(),
    };
    golden("definition_record.v1.msgpack", &record);
    let event = HistoryEvent {
        execution: None,
        number: 3,
        at: at(0),
        kind: HistoryKind::DefinitionApplied(Box::new(record)),
    };
    golden(
        "history_definition.v1.msgpack",
        &HistoryBatch {
            partition: None,
            events: vec![event],
        },
    );
}

#[test]
fn dead_letters_and_heartbeats() {
    golden(
        "dead_letter.v1.msgpack",
        &DeadLetter {
            reason: DeadLetterReason::AttemptsExhausted,
            kind: Some(WorkerKind::new("github").expect("valid")),
            job: Some(job()),
            raw: Some(vec![0, 255]),
            attempts: vec![attempt()],
            error: error(),
            at: at(6),
        },
    );
    golden(
        "heartbeat.v1.msgpack",
        &Heartbeat {
            worker: worker(),
            kind: WorkerKind::new("github").expect("valid"),
            version: "0.1.0".to_owned(),
            host: "host".to_owned(),
            at: at(7),
            started_at: at(0),
            capacity: 32,
            in_flight: 2,
            oldest_job_since: Some(at(1)),
            finished: 40,
            last_error: Some("none".to_owned()),
            draining: false,
            checks: vec![DependencyCheck {
                name: "github_api".to_owned(),
                status: DependencyStatus::Warning,
                message: Some("slow".to_owned()),
                latency_ms: Some(2400),
            }],
            tools: vec!["getIssue".to_owned()],
        },
    );
}

#[test]
fn deliveries() {
    let delivery = |body| InboxDelivery {
        id: DeliveryId::new("d-1").expect("valid"),
        source: "github".to_owned(),
        event: "issues".to_owned(),
        action: Some("labeled".to_owned()),
        headers: vec![("x-github-event".to_owned(), "issues".to_owned())],
        body,
        received_at: at(0),
        traceparent: None,
    };
    golden(
        "inbox_delivery.v1.msgpack",
        &delivery(InboxBody::Inline(b"{}".to_vec())),
    );
    let artifact = ArtifactRef {
        name: "a".to_owned(),
        bytes: 300_000,
        sha256: "00".to_owned(),
    };
    golden(
        "inbox_delivery_large.v1.msgpack",
        &delivery(InboxBody::Artifact(artifact)),
    );
}

#[test]
fn queries() {
    golden(
        "query.v1.msgpack",
        &Query::Show {
            execution: execution(),
        },
    );
    let summary = ExecutionSummary {
        id: execution(),
        workflow_id: workflow().id,
        workflow: "issue_to_pr".to_owned(),
        version: 3,
        status: ExecutionStatus::Running,
        triggered_by: "route".to_owned(),
        started_at: at(0),
        completed_at: None,
    };
    let view = ExecutionView {
        summary: summary.clone(),
        input: json!({}),
        output: None,
        error: None,
        repository: Some("octo/factory".to_owned()),
        steps: vec![StepView {
            index: 0,
            name: "fetch_issue".to_owned(),
            tool: Some("github.getIssue".parse().expect("valid")),
            status: StepStatus::Waiting,
            input: Some(json!({"n": 1})),
            output: None,
            error: Some(error()),
            started_at: Some(at(1)),
            completed_at: None,
            attempts: vec![attempt()],
            waiting_until: Some(at(8)),
        }],
        truncated: false,
    };
    golden(
        "query_reply.v1.msgpack",
        &QueryReply::Execution(Box::new(view)),
    );
    golden(
        "query_reply_list.v1.msgpack",
        &QueryReply::Executions {
            executions: vec![summary],
            live: 1,
        },
    );
}
