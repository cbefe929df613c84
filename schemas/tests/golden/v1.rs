//! What version 1 wrote. These files never change.

use afu9_schemas::message::heartbeat::{DependencyCheck, DependencyStatus};
use afu9_schemas::message::{
    Cancel, CancelNotice, DeadLetter, DeadLetterReason, ExecutionEnded, ExecutionStarted,
    Heartbeat, HistoryBatch, HistoryEvent, HistoryKind, InboxBody, InboxDelivery, Input,
    InputEnvelope, InputKind, JobEnvelope, JobResult, Outcome, Query, QueryReply, Start, StepEnded,
    TriggerKind,
};
use afu9_schemas::view::{
    ExecutionStatus, ExecutionView, StepAction, StepRole, StepStatus, StepView,
};
use afu9_schemas::{ArtifactRef, DeliveryId, ErrorClass, Lane, Partition, codec};
use serde::de::DeserializeOwned;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::values::{
    at, attempt, definition_record, error, execution, job, kind, repository, summary, trigger,
    worker, workflow,
};
use super::{files, pinned, still_read};

/// SHA-256 of the contents of all files, in the order of their names.
const CONTENTS: &str = "0bd869454adaa2108daf10a637b2b79013466c23089e907e975fd9f018196582";

#[test]
fn the_files_are_what_was_released() {
    let files = files("v1");
    assert_eq!(files.len(), 13, "{files:?}");
    let mut contents = Sha256::new();
    for name in &files {
        contents.update(pinned(name));
    }
    assert_eq!(hex::encode(contents.finalize()), CONTENTS);
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
        key: None,
        priority: 0,
        parent: None,
        rerun: None,
    };
    let result = |outcome| {
        InputKind::JobResult(Box::new(JobResult {
            step: 1,
            item: None,
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
    still_read("input_envelope.v1.msgpack", &InputEnvelope { inputs });
}

#[test]
fn jobs() {
    still_read(
        "job_envelope.v1.msgpack",
        &JobEnvelope {
            jobs: vec![job(None)],
        },
    );
    still_read(
        "cancel_notice.v1.msgpack",
        &CancelNotice {
            execution: execution(),
            before: None,
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
            key: None,
            parent: None,
            rerun_of: None,
            rerun_reason: None,
            lane: afu9_schemas::Lane::Bulk,
            priority: 0,
            status: ExecutionStatus::Running,
        })),
        HistoryKind::StepEnded(Box::new(StepEnded {
            index: 1,
            item: None,
            role: StepRole::Main,
            action: StepAction::Tool,
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
            steps_compensated: 0,
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
    still_read(
        "history_batch.v1.msgpack",
        &HistoryBatch {
            partition: Some(Partition::new(3)),
            events,
        },
    );
    still_read("definition_record.v1.msgpack", &definition_record());
    let event = HistoryEvent {
        execution: None,
        number: 3,
        at: at(0),
        kind: HistoryKind::DefinitionApplied(Box::new(definition_record())),
    };
    still_read(
        "history_definition.v1.msgpack",
        &HistoryBatch {
            partition: None,
            events: vec![event],
        },
    );
}

#[test]
fn dead_letters_and_heartbeats() {
    still_read(
        "dead_letter.v1.msgpack",
        &DeadLetter {
            reason: DeadLetterReason::AttemptsExhausted,
            kind: Some(kind()),
            job: Some(job(None)),
            raw: Some(vec![0, 255]),
            attempts: vec![attempt()],
            error: error(),
            at: at(6),
            job_id: None,
            replay_of: None,
        },
    );
    still_read(
        "heartbeat.v1.msgpack",
        &Heartbeat {
            worker: worker(),
            kind: kind(),
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
        replay_of: None,
    };
    still_read(
        "inbox_delivery.v1.msgpack",
        &delivery(InboxBody::Inline(b"{}".to_vec())),
    );
    let artifact = ArtifactRef {
        name: "a".to_owned(),
        bytes: 300_000,
        sha256: "00".to_owned(),
    };
    still_read(
        "inbox_delivery_large.v1.msgpack",
        &delivery(InboxBody::Artifact(artifact)),
    );
}

#[test]
fn queries() {
    still_read(
        "query.v1.msgpack",
        &Query::Show {
            execution: execution(),
        },
    );
    let view = ExecutionView {
        summary: summary(),
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
            progress: None,
            item: None,
            role: StepRole::Main,
            action: StepAction::Tool,
            items: None,
            decisions: Vec::new(),
            message: None,
            child: None,
        }],
        paused: None,
        key: None,
        parent: None,
        rerun_of: None,
        default_branch: None,
        rerun_reason: None,
        lane: afu9_schemas::Lane::Bulk,
        priority: 0,
        signals: 0,
        truncated: false,
    };
    still_read(
        "query_reply.v1.msgpack",
        &QueryReply::Execution(Box::new(view)),
    );
    still_read(
        "query_reply_list.v1.msgpack",
        &QueryReply::Executions {
            executions: vec![summary()],
            live: 1,
            more: false,
        },
    );
}

/// A message of version 1 that holds `word` alone.
#[track_caller]
fn word<T: DeserializeOwned>(word: &str) {
    let mut bytes = codec::encode(&word).expect("encodes").to_vec();
    bytes[0] = 1;
    let read = codec::decode::<T>(&bytes);
    assert!(read.is_ok(), "{word} is no {}", std::any::type_name::<T>());
}

/// Every word that version 1 had for something, also those of which none of its files makes use.
#[test]
fn words() {
    for name in [
        "retryable",
        "permanent",
        "timeout",
        "cancelled",
        "rate_limited",
        "worker_lost",
    ] {
        word::<ErrorClass>(name);
    }
    for name in [
        "pending",
        "running",
        "paused",
        "completed",
        "failed",
        "cancelled",
    ] {
        word::<ExecutionStatus>(name);
    }
    for name in [
        "pending",
        "running",
        "waiting",
        "completed",
        "failed",
        "skipped",
        "compensated",
    ] {
        word::<StepStatus>(name);
    }
    for name in [
        "undecodable",
        "permanent",
        "attempts_exhausted",
        "deliveries_exhausted",
        "unroutable",
        "unwritable",
    ] {
        word::<DeadLetterReason>(name);
    }
    for name in ["ok", "warning", "error", "not_configured"] {
        word::<DependencyStatus>(name);
    }
    for name in ["manual", "webhook", "schedule", "child", "mcp"] {
        word::<TriggerKind>(name);
    }
    for name in ["interactive", "bulk"] {
        word::<Lane>(name);
    }
}
