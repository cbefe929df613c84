//! Rows from batches: merged, deduplicated, in any order.

use afu9_schemas::message::{
    AttemptRecord, DefinitionRecord, ExecutionEnded, ExecutionStarted, Repository, StepEnded,
    Trigger, TriggerKind, WorkflowRef,
};
use afu9_schemas::view::{ExecutionStatus, StepStatus};
use afu9_schemas::{DefinitionHash, ErrorClass, ExecutionId, StepError, Timestamp, WorkflowId};
use serde_json::json;

use super::*;

const START: i64 = 1_800_000_000_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(START + seconds * 1_000_000)
}

fn event(execution: ExecutionId, number: u32, kind: HistoryKind) -> HistoryEvent {
    HistoryEvent {
        execution: Some(execution),
        number,
        at: at(i64::from(number)),
        kind,
    }
}

fn workflow(name: &str, version: u32) -> WorkflowRef {
    WorkflowRef {
        id: WorkflowId::from_uuid(Uuid::from_u128(7)),
        name: name.into(),
        version,
        hash: DefinitionHash::of(b"{}"),
    }
}

fn started(execution: ExecutionId) -> HistoryEvent {
    let started = ExecutionStarted {
        workflow: workflow("build", 2),
        input: json!({ "n": 1 }),
        repository: Some(Repository {
            owner: "acme".into(),
            name: "shop".into(),
            default_branch: Some("trunk".into()),
        }),
        trigger: Trigger {
            kind: TriggerKind::Manual,
            by: "ada".into(),
            delivery: None,
        },
        traceparent: None,
    };
    event(
        execution,
        1,
        HistoryKind::ExecutionStarted(Box::new(started)),
    )
}

fn ended(execution: ExecutionId, number: u32) -> HistoryEvent {
    let ended = ExecutionEnded {
        status: ExecutionStatus::Completed,
        output: Some(json!("done")),
        error: None,
        started_at: at(1),
        steps_completed: 1,
        steps_failed: 0,
        steps_skipped: 0,
        stale_results: 0,
    };
    event(
        execution,
        number,
        HistoryKind::ExecutionEnded(Box::new(ended)),
    )
}

fn attempt(number: u32, error: Option<StepError>) -> AttemptRecord {
    AttemptRecord {
        attempt: number,
        dispatched_at: at(1),
        worker: None,
        started_at: Some(at(2)),
        ended_at: Some(at(4)),
        error,
    }
}

fn step(execution: ExecutionId, tool: Option<&str>) -> HistoryEvent {
    let error = StepError::new(ErrorClass::Retryable, "github.unavailable", "502");
    let step = StepEnded {
        index: 0,
        name: "open".into(),
        tool: tool.map(|tool| tool.parse().expect("a tool")),
        status: StepStatus::Completed,
        input: Some(json!({ "title": "x" })),
        output: Some(json!({ "number": 5 })),
        error: None,
        started_at: at(1),
        attempts: vec![attempt(1, Some(error)), attempt(2, None)],
    };
    event(execution, 5, HistoryKind::StepEnded(Box::new(step)))
}

fn rows(events: impl IntoIterator<Item = HistoryEvent>) -> Rows {
    let batch = HistoryBatch {
        partition: None,
        events: events.into_iter().collect(),
    };
    Rows::from_batches([&batch])
}

#[test]
fn start_and_end_become_one_row_in_either_order() {
    let execution = ExecutionId::new();
    let forward = rows([started(execution), ended(execution, 9)]);
    let backward = rows([ended(execution, 9), started(execution), started(execution)]);

    assert_eq!(forward.executions, backward.executions);
    let row = forward.executions().next().expect("one row");
    assert_eq!((row.state.status, row.state.event_number), ("completed", 9));
    assert_eq!(
        row.start.as_ref().expect("start is kept").triggered_by,
        "ada"
    );
    assert_eq!(forward.len(), 1);
}

#[test]
fn an_end_alone_is_a_row() {
    let rows = rows([ended(ExecutionId::new(), 9)]);
    let row = rows.executions().next().expect("one row");
    assert!(row.start.is_none());
    assert_eq!(row.started_at, at(1).to_datetime());
    assert_eq!(rows.mentioned().len(), 0);
}

#[test]
fn a_repeated_step_is_one_row() {
    let execution = ExecutionId::new();
    let rows = rows([step(execution, None), step(execution, None)]);
    let row = rows.steps().next().expect("one row");
    assert_eq!(
        (rows.steps().len(), row.retry_count, row.duration_ms),
        (1, 1, 4000)
    );
}

#[test]
fn each_attempt_at_a_tool_of_a_server_is_a_call() {
    let rows = rows([step(ExecutionId::new(), Some("github.createPullRequest"))]);
    let mut calls: Vec<_> = rows.tool_calls().collect();
    calls.sort_by_key(|call| call.attempt);

    let [first, second] = calls[..] else {
        panic!("two attempts are two calls: {calls:?}")
    };
    assert_eq!(
        (first.server_name.as_str(), first.tool_name.as_str()),
        ("github", "createPullRequest")
    );
    assert_eq!(
        (first.error.as_deref(), first.error_class),
        (Some("502"), Some("retryable"))
    );
    assert_eq!(first.result, None);
    assert_eq!(second.result.as_deref(), Some(r#"{"number":5}"#));
    assert_eq!(second.duration_ms, Some(2000));
    assert_eq!(first.params, second.params);
}

#[test]
fn steps_of_the_test_kind_and_without_a_tool_are_no_calls() {
    for tool in [Some("test.echo"), None, Some("unheard.of")] {
        assert_eq!(
            rows([step(ExecutionId::new(), tool)]).tool_calls().len(),
            0,
            "{tool:?}"
        );
    }
}

#[test]
fn the_newest_definition_wins_whatever_the_order() {
    let applied = |name: &str, version: u32, seconds: i64| {
        let record = DefinitionRecord {
            workflow: workflow(name, version),
            definition: json!({ "description": "builds" }),
            enabled: true,
            applied_at: at(0),
            applied_by: "ada".into(),
        };
        HistoryEvent {
            execution: None,
            number: 0,
            at: at(seconds),
            kind: HistoryKind::DefinitionApplied(Box::new(record)),
        }
    };
    let old = applied("build", 1, 10);
    let new = applied("build", 2, 20);
    let renamed = applied("make", 3, 30);

    let forward = rows([old.clone(), new.clone()]);
    let backward = rows([new.clone(), old.clone()]);
    assert_eq!(forward.definitions, backward.definitions);
    let all = rows([renamed, new, old]);
    let row = all.definitions().next().expect("one row");
    assert_eq!(
        (all.definitions().len(), row.name.as_str(), row.version),
        (1, "make", 3)
    );
    assert_eq!(row.description.as_deref(), Some("builds"));
}

#[test]
fn the_latest_known_branch_wins_whatever_the_order() {
    let with_branch = |seconds: i64, branch: Option<&str>| {
        let mut event = started(ExecutionId::new());
        event.at = at(seconds);
        if let HistoryKind::ExecutionStarted(started) = &mut event.kind {
            let repository = started.repository.as_mut().expect("has one");
            repository.default_branch = branch.map(Into::into);
        }
        event
    };
    let events = [
        with_branch(1, Some("main")),
        with_branch(2, Some("trunk")),
        with_branch(3, None),
    ];
    let forward = rows(events.clone());
    let backward = rows(events.into_iter().rev());
    assert_eq!(forward.repositories, backward.repositories);
    let row = forward.repositories().next().expect("one row");
    assert_eq!(
        row.branch.as_ref().map(|(_, name)| name.as_str()),
        Some("trunk")
    );
}

#[test]
fn an_event_without_its_execution_does_not_harm_its_neighbours() {
    let mut orphan = started(ExecutionId::new());
    orphan.execution = None;
    let rows = rows([orphan, started(ExecutionId::new())]);
    assert_eq!((rows.malformed(), rows.len()), (1, 1));
}

#[test]
fn size_counts_what_is_large() {
    let mut large = started(ExecutionId::new());
    if let HistoryKind::ExecutionStarted(started) = &mut large.kind {
        started.input = json!("x".repeat(100_000));
    }
    assert!(rows([large]).bytes() > 100_000);
}
