//! Executions that are steered by hand, run others, have steps of many items, or are undone.

use afu9_history::{Cursor, ExecutionFilter, ItemFilter, Relation, Store};
use afu9_schemas::message::{HistoryEvent, HistoryKind, Parent};
use afu9_schemas::view::{
    ExecutionStatus, ExecutionView, ItemsView, PauseView, StepAction, StepRole, StepStatus,
};
use afu9_schemas::{ExecutionId, Lane};
use serde_json::json;

use crate::stories::{NOON, Story, after, batch, workflow};
use crate::support::{count, database};

async fn write(store: &Store, events: impl IntoIterator<Item = HistoryEvent>) {
    let written = store.write_batches(&[&batch(events)]).await;
    assert!(written.expect("writes").poison.is_empty());
}

async fn show(store: &Store, execution: ExecutionId) -> ExecutionView {
    let view = store.show_execution(execution).await.expect("reads");
    view.expect("is there")
}

#[tokio::test]
async fn a_paused_execution_tells_who_paused_it_until_it_goes_on() {
    let database = database().await;
    let (store, mut story) = (&database.store, Story::new(workflow("build")));
    story.status = ExecutionStatus::Pending;
    write(store, [story.started()]).await;
    let view = show(store, story.execution).await;
    assert_eq!(view.summary.status, ExecutionStatus::Pending);

    let paused = [
        story.moved(4, ExecutionStatus::Paused, 2),
        story.changed(3, ExecutionStatus::Paused),
        story.changed(2, ExecutionStatus::Running),
    ];
    write(store, paused).await;
    let view = show(store, story.execution).await;
    assert_eq!(view.summary.status, ExecutionStatus::Paused);
    assert_eq!((view.summary.version, view.summary.started_at), (2, NOON));
    let pause = PauseView {
        by: "user-3".to_owned(),
        reason: Some("to have a look".to_owned()),
        at: after(NOON, 2),
    };
    assert_eq!(view.paused, Some(pause));
    let metadata = "SELECT count(*) FROM workflow_executions WHERE pause_metadata =
        '{\"pausedAt\": \"2026-03-01T12:00:02Z\", \"pausedBy\": \"user-3\", \"reason\": \"to have a look\"}'";
    assert_eq!(count(&database.pool, metadata).await, 1);

    write(store, [story.changed(5, ExecutionStatus::Running)]).await;
    let view = show(store, story.execution).await;
    assert_eq!(
        (view.summary.status, view.paused),
        (ExecutionStatus::Running, None)
    );
    assert_eq!(view.summary.version, 2);
}

#[tokio::test]
async fn a_failed_execution_that_is_retried_by_hand_ends_again() {
    let database = database().await;
    let (store, mut story) = (&database.store, Story::new(workflow("build")).failing());
    write(store, story.events()).await;

    write(store, [story.changed(8, ExecutionStatus::Running)]).await;
    let view = show(store, story.execution).await;
    assert_eq!(view.summary.status, ExecutionStatus::Running);
    assert_eq!((view.summary.completed_at, view.error), (None, None));

    let again = story.retried(9, 4);
    story.fails = false;
    write(store, [again, story.ended_as(10)]).await;
    let view = show(store, story.execution).await;
    assert_eq!(view.summary.status, ExecutionStatus::Completed);
    assert_eq!(view.summary.completed_at, Some(after(NOON, 9)));
    let positions: Vec<u32> = view.steps.iter().map(|step| step.index).collect();
    assert_eq!(positions, [0, 1, 2, 3, 4]);
    let step = &view.steps[4];
    assert_eq!(
        (step.status, step.attempts.len()),
        (StepStatus::Completed, 3)
    );
    assert_eq!(
        (&step.error, step.started_at),
        (&None, Some(after(NOON, 7)))
    );

    let runs = "SELECT count(*) FROM workflow_steps WHERE step_index = 4";
    assert_eq!(count(&database.pool, runs).await, 2);
    let calls = "SELECT count(*) FROM mcp_tool_calls WHERE step_index = 4";
    assert_eq!(count(&database.pool, calls).await, 3);
}

#[tokio::test]
async fn a_compensated_step_shows_that_it_was_undone_in_whatever_order_it_is_told() {
    let database = database().await;
    for done_first in [true, false] {
        let story = Story::new(workflow("build")).failing();
        let undoing = story.step_as(8, 5, |step| {
            (step.role, step.name) = (StepRole::Compensation, "step-0.compensate".to_owned());
            step.started_at = after(NOON, 6);
        });
        let undone = story.step_as(9, 0, |step| step.status = StepStatus::Compensated);
        let mut ended = story.ended_as(10);
        if let HistoryKind::ExecutionEnded(ended) = &mut ended.kind {
            (ended.steps_completed, ended.steps_compensated) = (3, 1);
        }
        let mut told = vec![story.step(0), undone.clone()];
        if !done_first {
            told.reverse();
        }
        for event in told {
            write(&database.store, [event]).await;
        }
        write(&database.store, [story.started(), undoing, ended]).await;

        let view = show(&database.store, story.execution).await;
        let [step, undoing] = &view.steps[..] else {
            panic!("a step and what undid it: {:?}", view.steps)
        };
        assert_eq!(step.status, StepStatus::Compensated);
        assert_eq!(step.completed_at, Some(after(NOON, 8)));
        assert_eq!((undoing.index, undoing.role), (5, StepRole::Compensation));
        let told = batch([story.step(0), undone]);
        let again = database.store.write_batches(&[&told]).await;
        assert_eq!(again.expect("writes").rows, 0);
    }
    let counted = "SELECT count(*) FROM workflow_executions WHERE steps_compensated = 1";
    assert_eq!(count(&database.pool, counted).await, 2);
    let calls = "SELECT count(*) FROM mcp_tool_calls WHERE step_index = 0";
    assert_eq!(count(&database.pool, calls).await, 2);
}

#[tokio::test]
async fn items_are_counted_with_their_step_and_paged_by_themselves() {
    const ITEMS: u32 = 2500;
    let database = database().await;
    let (store, story) = (&database.store, Story::new(workflow("build")));
    // Every hundredth item fails; one of those is retried by hand.
    let item = |item: u32| {
        let mut event = story.item(item + 2, 1, item);
        if let HistoryKind::StepEnded(step) = &mut event.kind
            && item.is_multiple_of(100)
        {
            step.status = StepStatus::Failed;
        }
        event
    };
    let mut retried = story.retried(ITEMS + 5, 1);
    if let HistoryKind::StepEnded(step) = &mut retried.kind {
        step.item = Some(200);
    }
    let mut events = vec![story.started(), retried];
    events.extend((0..ITEMS).map(item));
    events.extend([
        story.step_as(ITEMS + 2, 0, |_| ()),
        story.step_as(ITEMS + 3, 1, |_| ()),
    ]);
    write(store, events).await;

    let view = show(store, story.execution).await;
    let [without, with] = &view.steps[..] else {
        panic!("two steps: {}", view.steps.len())
    };
    assert_eq!((without.items, without.item, with.item), (None, None, None));
    let counted = ItemsView {
        total: ITEMS,
        completed: ITEMS - 24,
        failed: 24,
        in_progress: 0,
    };
    assert_eq!(with.items, Some(counted));

    let mut filter = ItemFilter {
        execution: story.execution,
        step: 1,
        status: None,
        limit: Some(120),
        after: None,
    };
    let mut seen = Vec::new();
    loop {
        let page = store.list_items(&filter).await.expect("reads");
        assert!(page.len() <= 120);
        filter.after = page.last().and_then(|item| item.item);
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    let positions: Vec<_> = seen.iter().filter_map(|item| item.item).collect();
    assert_eq!(positions, (0..ITEMS).collect::<Vec<_>>());
    assert_eq!(seen[7].output, Some(json!({ "item": 7 })));
    assert_eq!(seen[100].status, StepStatus::Failed);
    assert_eq!(seen[200].output, Some(json!({ "again": ITEMS + 5 })));

    let by_status = async |status: StepStatus, after: Option<u32>| {
        let filter = ItemFilter {
            status: Some(status),
            limit: Some(20),
            after,
            ..filter
        };
        let found = store.list_items(&filter).await.expect("reads");
        assert!(found.iter().all(|item| item.status == status));
        found
            .iter()
            .filter_map(|item| item.item)
            .collect::<Vec<_>>()
    };
    let of_status = |status: StepStatus| {
        let some = seen.iter().filter(|item| item.status == status);
        some.filter_map(|item| item.item).collect::<Vec<_>>()
    };
    let failed = of_status(StepStatus::Failed);
    assert_eq!(by_status(StepStatus::Failed, None).await, failed[..20]);
    assert_eq!(
        by_status(StepStatus::Failed, Some(failed[19])).await,
        failed[20..],
        "without the one that was retried"
    );
    let behind = of_status(StepStatus::Completed);
    let behind: Vec<u32> = behind.into_iter().filter(|item| *item > 190).collect();
    assert_eq!(
        by_status(StepStatus::Completed, Some(190)).await,
        behind[..20]
    );

    for (execution, step) in [(story.execution, 0), (ExecutionId::new(), 1)] {
        let filter = ItemFilter {
            execution,
            step,
            status: None,
            limit: None,
            after: None,
        };
        assert_eq!(store.list_items(&filter).await.expect("reads"), []);
    }
}

#[tokio::test]
async fn executions_are_found_by_what_they_have_to_do_with_each_other() {
    let database = database().await;
    let (store, mut parent) = (&database.store, Story::new(workflow("build")));
    parent.key = Some("build/shop".to_owned());
    let child_of = |item: Option<u32>, attempt: u32, second: u64| {
        let mut child = Story::new(workflow("deploy")).at(after(NOON, second));
        child.parent = Some(Parent {
            execution: parent.execution,
            step: 1,
            item,
            attempt,
            waits: true,
            depth: 1,
        });
        child
    };
    let (first, second) = (child_of(None, 1, 1), child_of(None, 2, 2));
    let of_item = child_of(Some(3), 1, 3);
    let mut rerun = Story::new(workflow("build")).at(after(NOON, 4));
    (rerun.rerun_of, rerun.key) = (Some(parent.execution), parent.key.clone());

    let runs_another = |number, item: Option<u32>| {
        parent.step_as(number, 1, |step| {
            (step.item, step.action, step.tool) = (item, StepAction::Workflow, None);
        })
    };
    let mut events = vec![
        parent.started(),
        runs_another(2, None),
        runs_another(3, Some(3)),
    ];
    for story in [&first, &second, &of_item, &rerun] {
        events.push(story.started());
    }
    write(store, events).await;

    let view = show(store, parent.execution).await;
    assert_eq!(view.key.as_deref(), Some("build/shop"));
    assert_eq!(view.steps[0].action, StepAction::Workflow);
    assert_eq!(view.steps[0].child, Some(second.execution));
    let items = ItemFilter {
        execution: parent.execution,
        step: 1,
        status: None,
        limit: None,
        after: None,
    };
    let items = store.list_items(&items).await.expect("reads");
    assert_eq!((items.len(), items[0].child), (1, Some(of_item.execution)));
    let view = show(store, of_item.execution).await;
    assert_eq!((view.parent, view.rerun_of), (of_item.parent, None));
    let view = show(store, rerun.execution).await;
    assert_eq!((view.parent, view.rerun_of), (None, Some(parent.execution)));
    assert_eq!(view.rerun_reason.as_deref(), Some("once more"));
    assert_eq!((view.lane, view.priority), (Lane::Interactive, -3));
    let branch = format!("branch-{}", rerun.start.as_micros());
    assert_eq!(
        view.default_branch,
        Some(branch),
        "as this one's trigger knew it"
    );

    let key = Relation::Key("build/shop".to_owned());
    let children = [&of_item, &second, &first].map(|story| story.execution);
    let related = [
        (key, vec![rerun.execution, parent.execution]),
        (Relation::Parent(parent.execution), children.to_vec()),
        (Relation::RerunOf(parent.execution), vec![rerun.execution]),
        (Relation::RerunOf(first.execution), vec![]),
    ];
    for (relation, expected) in related {
        let mut filter = ExecutionFilter {
            limit: Some(2),
            ..ExecutionFilter::default()
        };
        let mut seen = Vec::new();
        loop {
            let page = store.list_related_executions(&relation, &filter).await;
            let page = page.expect("reads");
            seen.extend(page.iter().map(|summary| summary.id));
            let Some(last) = page.last() else { break };
            filter.before = Some(Cursor::from(last));
        }
        assert_eq!(seen, expected, "{relation:?}");
    }
    let failed = ExecutionFilter {
        statuses: vec![ExecutionStatus::Failed],
        ..ExecutionFilter::default()
    };
    let relation = Relation::Parent(parent.execution);
    let none = store.list_related_executions(&relation, &failed).await;
    assert_eq!(none.expect("reads"), []);
}
