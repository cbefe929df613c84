//! The audit log.

use afu9_history::{AuditCursor, AuditFilter};
use afu9_schemas::message::{
    ControlAction, ControlOutcome, HistoryBatch, HistoryEvent, HistoryKind, HoldScope,
};
use afu9_schemas::{ExecutionId, Timestamp};
use serde_json::json;

use crate::stories::{NOON, after, batch, controlled};
use crate::support::{all_rows, database};

#[tokio::test]
async fn a_wish_is_remembered_as_it_was_decided() {
    let database = database().await;
    let execution = ExecutionId::new();
    let signal = ControlAction::Signal {
        name: "go\0".to_owned(),
        payload: json!({ "to": "production" }),
    };
    let late = ControlOutcome::refused("execution.ended", "the execution has ended");
    let events = [
        controlled(Some(execution), NOON, signal, late.clone()),
        controlled(
            None,
            after(NOON, 1),
            ControlAction::Hold(HoldScope::Workflow("build".to_owned())),
            ControlOutcome::Applied,
        ),
    ];
    let written = database
        .store
        .write_batches(&[&batch(events.clone()), &batch(events)])
        .await
        .expect("writes");
    assert_eq!((written.rows, written.poison.len()), (2, 0));

    let entries = database
        .store
        .list_audit(&AuditFilter::default())
        .await
        .expect("reads");
    let [hold, signal] = &entries[..] else {
        panic!("two entries: {entries:?}")
    };
    assert_eq!((signal.at, signal.execution), (NOON, Some(execution)));
    assert_eq!(
        (signal.action.as_str(), signal.by.as_str()),
        ("signal", "ada")
    );
    assert_eq!(signal.scopes, ["operate", "read"]);
    assert_eq!(signal.reason.as_deref(), Some("to have a look"));
    let details = json!({ "name": "go\u{fffd}", "payload": { "to": "production" } });
    assert_eq!(signal.details, Some(details));
    assert_eq!(signal.outcome, late);
    assert_eq!((hold.action.as_str(), hold.execution), ("hold", None));
    assert_eq!(
        hold.details,
        Some(json!({ "scope": { "workflow": "build" } }))
    );
    assert_eq!(hold.outcome, ControlOutcome::Applied);
}

#[tokio::test]
async fn the_first_record_of_a_wish_stays() {
    let database = database().await;
    let first = controlled(None, NOON, ControlAction::Pause, ControlOutcome::Applied);
    let mut second = first.clone();
    second.at = after(NOON, 1);
    if let HistoryKind::Controlled(record) = &mut second.kind {
        record.outcome = ControlOutcome::Unchanged;
    }
    let write = async |event: HistoryEvent| {
        let batch = batch([event]);
        let written = database.store.write_batches(&[&batch]).await;
        written.expect("writes").rows
    };
    assert_eq!(write(first).await, 1);
    let rows = all_rows(&database.pool).await;
    assert_eq!(write(second).await, 0);
    assert_eq!(all_rows(&database.pool).await, rows);
}

#[tokio::test]
async fn pages_show_every_entry_once_newest_first() {
    let database = database().await;
    let executions = [ExecutionId::new(), ExecutionId::new()];
    // Many are decided in the same instant, so the request has to decide.
    let wishes: Vec<(Timestamp, ExecutionId, ControlAction)> = (0..30_u64)
        .map(|n| {
            let action = if n % 3 == 0 {
                ControlAction::Cancel
            } else {
                ControlAction::Pause
            };
            (after(NOON, n / 10), executions[(n % 2) as usize], action)
        })
        .collect();
    let events: Vec<HistoryEvent> = wishes
        .iter()
        .map(|(at, execution, action)| {
            controlled(
                Some(*execution),
                *at,
                action.clone(),
                ControlOutcome::Applied,
            )
        })
        .collect();
    let batches: Vec<HistoryBatch> = events.iter().map(|event| batch([event.clone()])).collect();
    let batches: Vec<&HistoryBatch> = batches.iter().collect();
    database
        .store
        .write_batches(&batches)
        .await
        .expect("writes");

    let filters = [
        (None, None),
        (Some(executions[1]), None),
        (None, Some("cancel")),
        (Some(executions[0]), Some("pause")),
        (None, Some("resume")),
    ];
    for (execution, action) in filters {
        let mut expected: Vec<_> = events
            .iter()
            .filter_map(|event| match &event.kind {
                HistoryKind::Controlled(record) => Some((event.at, record)),
                _ => None,
            })
            .filter(|(_, record)| execution.is_none() || record.execution == execution)
            .filter(|(_, record)| action.is_none_or(|a| record.control.action.as_str() == a))
            .map(|(at, record)| (at, record.control.request))
            .collect();
        expected.sort_by(|a, b| b.cmp(a));

        let mut filter = AuditFilter {
            execution,
            action: action.map(Into::into),
            limit: Some(4),
            ..AuditFilter::default()
        };
        let mut seen = Vec::new();
        loop {
            let page = database.store.list_audit(&filter).await.expect("reads");
            assert!(page.len() <= 4);
            seen.extend(page.iter().map(|entry| (entry.at, entry.request)));
            let Some(last) = page.last() else { break };
            filter.before = Some(AuditCursor::from(last));
        }
        assert_eq!(seen, expected, "{execution:?} {action:?}");
    }
}

#[tokio::test]
async fn entries_are_found_by_who_and_when_and_what_came_of_them() {
    let database = database().await;
    let no = ControlOutcome::refused("execution.not_paused", "it is not");
    let stories = [
        ("ada", 0, ControlOutcome::Applied),
        ("ben", 1, ControlOutcome::Unchanged),
        ("ada", 2, no.clone()),
        ("ben", 3, no),
        ("ada", 4, ControlOutcome::Applied),
    ];
    let events = stories.map(|(by, second, outcome)| {
        let at = after(NOON, second);
        let mut event = controlled(None, at, ControlAction::Resume, outcome);
        if let HistoryKind::Controlled(record) = &mut event.kind {
            record.control.by = by.to_owned();
        }
        event
    });
    let batch = batch(events);
    let written = database.store.write_batches(&[&batch]).await;
    assert_eq!(written.expect("writes").rows, 5);
    let by = |by: &str| AuditFilter {
        by: Some(by.to_owned()),
        ..AuditFilter::default()
    };
    let outcome = |outcome: &str| AuditFilter {
        outcome: Some(outcome.to_owned()),
        ..AuditFilter::default()
    };
    let between = AuditFilter {
        from: Some(after(NOON, 1)),
        to: Some(after(NOON, 3)),
        ..AuditFilter::default()
    };
    let both = AuditFilter {
        by: Some("ada".to_owned()),
        ..outcome("refused")
    };
    for (filter, expected) in [
        (by("ada"), vec![4, 2, 0]),
        (by("eve"), vec![]),
        (outcome("applied"), vec![4, 0]),
        (outcome("unchanged"), vec![1]),
        (outcome("refused"), vec![3, 2]),
        (between, vec![2, 1]),
        (both, vec![2]),
    ] {
        let found = database.store.list_audit(&filter).await.expect("reads");
        let found: Vec<Timestamp> = found.iter().map(|entry| entry.at).collect();
        let expected: Vec<Timestamp> = expected.into_iter().map(|n| after(NOON, n)).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
}
