//! Rows from batches: merged, deduplicated, in any order.

use std::collections::BTreeSet;

use afu9_schemas::id::RequestId;
use afu9_schemas::message::{
    AttemptRecord, Control, ControlAction, ControlOutcome, ControlRecord, DefinitionRecord,
    ExecutionEnded, ExecutionStarted, Repository, StatusChanged, StepEnded, Trigger, TriggerKind,
    WorkflowRef,
};
use afu9_schemas::view::{ExecutionStatus, StepAction, StepRole, StepStatus};
use afu9_schemas::{DefinitionHash, ErrorClass, ExecutionId, StepError, Timestamp, WorkflowId};
use serde_json::{Value, json};

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
            depth: 0,
            initiator: None,
        },
        traceparent: None,
        key: None,
        parent: None,
        rerun_of: None,
        rerun_reason: None,
        lane: afu9_schemas::Lane::Bulk,
        priority: 0,
        status: ExecutionStatus::Running,
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
        steps_compensated: 0,
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
        deferrals: 0,
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
        item: None,
        role: StepRole::Main,
        action: StepAction::Tool,
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
    assert_eq!((row.state.value.status, row.state.event), ("completed", 9));
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

fn changed(
    execution: ExecutionId,
    number: u32,
    status: ExecutionStatus,
    workflow: Option<WorkflowRef>,
) -> HistoryEvent {
    let changed = StatusChanged {
        status,
        by: Some(format!("user-{number}")),
        reason: None,
        workflow,
    };
    event(
        execution,
        number,
        HistoryKind::StatusChanged(Box::new(changed)),
    )
}

/// Every order of the numbers below `count`.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let mut orders = Vec::new();
    for shorter in self::orders(count - 1) {
        for place in 0..count {
            let mut order = shorter.clone();
            order.insert(place, count - 1);
            orders.push(order);
        }
    }
    orders
}

#[test]
fn a_changing_execution_becomes_one_row_in_every_order_and_split() {
    use ExecutionStatus::{Paused, Running};

    let id = ExecutionId::new();
    let all = [
        started(id),
        changed(id, 2, Paused, None),
        changed(id, 3, Running, None),
        changed(id, 4, Paused, None),
        changed(id, 5, Paused, Some(workflow("build", 3))),
        ended(id, 9),
    ];
    // How it looks after each event.
    let pauses = [
        None,
        Some("user-2"),
        None,
        Some("user-4"),
        Some("user-4"),
        None,
    ];
    let versions = [2, 2, 2, 2, 3, 3];
    for count in 1..=all.len() {
        let expected = rows(all[..count].to_vec()).executions;
        let row = expected.values().next().expect("one row");
        let pause = row.pause.value.as_deref().map(|json| {
            let pause: execution::Pause = serde_json::from_str(json).expect("ours");
            pause.paused_by
        });
        assert_eq!(pause.as_deref(), pauses[count - 1], "{count} events");
        let version = row.version.value.as_ref().expect("started");
        assert_eq!(version.number, versions[count - 1], "{count} events");

        for order in orders(count) {
            let events: Vec<_> = order.iter().map(|&index| all[index].clone()).collect();
            for split in 0..count {
                let (mut parts, rest) = (rows(events[..split].to_vec()), &events[split..]);
                for row in rows(rest.to_vec()).executions.into_values() {
                    parts.add_execution(row);
                }
                assert_eq!(parts.executions, expected, "{order:?} at {split}");
            }
        }
    }
}

#[test]
fn an_execution_that_is_retried_by_hand_has_not_ended() {
    let id = ExecutionId::new();
    let again = changed(id, 10, ExecutionStatus::Running, None);
    for events in [[ended(id, 9), again.clone()], [again, ended(id, 9)]] {
        let rows = rows(events);
        let state = &rows.executions().next().expect("one row").state.value;
        assert_eq!((state.status, state.completed_at), ("running", None));
        assert_eq!((&state.output, state.steps_completed), (&None, 0));
    }
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

/// `event` with a change to its step, told as event `number`.
fn told_again(
    event: &HistoryEvent,
    number: u32,
    change: impl FnOnce(&mut StepEnded),
) -> HistoryEvent {
    let mut event = event.clone();
    (event.number, event.at) = (number, at(i64::from(number)));
    let HistoryKind::StepEnded(step) = &mut event.kind else {
        panic!("no step: {event:?}")
    };
    change(step);
    event
}

#[test]
fn a_compensated_step_is_one_row_and_its_calls_are_told_once() {
    let execution = ExecutionId::new();
    let done = step(execution, Some("github.createIssue"));
    // Whatever of its data the second end repeats.
    let undone = told_again(&done, 9, |step| {
        (step.status, step.output) = (StepStatus::Compensated, None);
    });
    let forward = rows([done.clone(), undone.clone()]);
    let backward = rows([undone, done.clone()]);

    assert_eq!(forward, backward);
    let row = forward.steps().next().expect("one row");
    assert_eq!(
        (row.status, row.event_number, forward.steps().len()),
        ("compensated", 9, 1)
    );
    assert_eq!(forward.tool_calls, rows([done]).tool_calls);
}

#[test]
fn a_step_retried_by_hand_is_another_row_and_tells_only_its_own_calls() {
    let execution = ExecutionId::new();
    let first = step(execution, Some("github.createIssue"));
    let second = told_again(&first, 9, |step| {
        step.started_at = at(8);
        step.input = Some(json!({ "title": "corrected" }));
        step.attempts.push(AttemptRecord {
            deferrals: 0,
            dispatched_at: at(8),
            ..attempt(3, None)
        });
    });
    let forward = rows([first.clone(), second.clone()]);
    let backward = rows([second, first]);

    assert_eq!(forward, backward);
    assert_eq!(forward.steps().len(), 2);
    let mut calls: Vec<_> = forward
        .tool_calls()
        .map(|call| (call.attempt, call.params.as_deref()))
        .collect();
    calls.sort_unstable();
    let (old, new) = (Some(r#"{"title":"x"}"#), Some(r#"{"title":"corrected"}"#));
    assert_eq!(calls, [(1, old), (2, old), (3, new)]);
}

#[test]
fn items_are_rows_beside_their_step() {
    let execution = ExecutionId::new();
    let whole = step(execution, Some("github.createIssue"));
    let item = |position| told_again(&whole, 6 + position, |step| step.item = Some(position));
    let rows = rows([item(1), whole.clone(), item(0)]);

    let items: Vec<i32> = rows.steps().map(|row| row.item).collect();
    assert_eq!(items, [step::WHOLE_STEP, 0, 1]);
    let ids: BTreeSet<Uuid> = rows.steps().map(|row| row.id).collect();
    assert_eq!(ids.len(), 3);
    let calls: BTreeSet<_> = rows
        .tool_calls()
        .map(|call| (call.item_index, call.attempt))
        .collect();
    let expected = [None, Some(0), Some(1)].map(|item| [(item, 1), (item, 2)]);
    assert_eq!(calls, expected.into_iter().flatten().collect());
}

fn controlled(action: ControlAction, outcome: ControlOutcome) -> HistoryEvent {
    let record = ControlRecord {
        execution: Some(ExecutionId::new()),
        control: Control {
            request: RequestId::new(),
            by: "ada".into(),
            scopes: vec!["operate".into()],
            reason: Some("because".into()),
            reply_to: None,
            content: None,
            action,
        },
        outcome,
    };
    HistoryEvent {
        execution: None,
        number: 0,
        at: at(1),
        kind: HistoryKind::Controlled(Box::new(record)),
    }
}

#[test]
fn a_wish_is_a_row_of_the_audit_log_once() {
    let refused = ControlOutcome::refused("execution.ended", "it has ended");
    let event = controlled(ControlAction::Pause, refused);
    let rows = rows([event.clone(), event]);

    assert_eq!((rows.len(), rows.malformed()), (1, 0));
    let row = rows.audit().next().expect("one row");
    assert_eq!((row.action, row.details.as_deref()), ("pause", None));
    assert_eq!(
        (row.outcome, row.code.as_deref(), row.message.as_deref()),
        ("refused", Some("execution.ended"), Some("it has ended"))
    );
    assert_eq!(row.scopes, r#"["operate"]"#);
}

#[test]
fn the_audit_log_keeps_what_was_sent_unless_it_is_large() {
    let details = |payload: Value| {
        let name = "go".to_owned();
        let signal = controlled(
            ControlAction::Signal { name, payload },
            ControlOutcome::Applied,
        );
        let rows = rows([signal]);
        let row = rows.audit().next().expect("one row");
        let details = row.details.as_deref().expect("a signal has details");
        serde_json::from_str::<Value>(details).expect("is JSON")
    };
    assert_eq!(
        details(json!([1, 2])),
        json!({ "name": "go", "payload": [1, 2] })
    );
    let large = details(json!("x".repeat(100_000)));
    assert_eq!(large["payload"]["$omitted"]["bytes"], json!(100_002));
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
            switched: None,
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
