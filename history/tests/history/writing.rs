//! What rows events become, however often and in whatever order they come.

use afu9_history::WriteError;
use afu9_schemas::id::mix64;
use afu9_schemas::message::{
    ControlAction, ControlOutcome, HistoryBatch, HistoryEvent, HistoryKind, HoldScope, Parent,
};
use afu9_schemas::view::{ExecutionStatus, StepRole, StepStatus};
use afu9_schemas::{ExecutionId, Timestamp, WorkflowId};
use serde_json::json;

use crate::stories::{NOON, Story, after, batch, controlled, definition, workflow};
use crate::support::{all_rows, count, database, write_until_done};

/// A small world: two workflows (one of them changed, disabled and enabled again), one without a
/// definition, two repositories, executions that succeed, fail, still run, and are steered by hand.
fn world() -> Vec<HistoryEvent> {
    let (build, deploy) = (workflow("build"), workflow("deploy"));
    let mut events = vec![
        definition(build.clone(), NOON, true),
        definition(deploy.clone(), NOON, true),
        definition(deploy.clone(), after(NOON, 5), false),
        definition(deploy.clone(), after(NOON, 9), true),
    ];
    let mut second = build.clone();
    second.version = 2;
    events.push(definition(second, after(NOON, 7), true));

    events.extend(Story::new(build.clone()).events());
    events.extend(
        Story::new(build.clone())
            .at(after(NOON, 3))
            .failing()
            .events(),
    );
    let mut unrecorded = Story::new(deploy).at(after(NOON, 60));
    (unrecorded.tool, unrecorded.repository) = ("test.echo", "site");
    events.extend(unrecorded.events());
    events.extend(Story::new(workflow("undefined")).events());
    let running = Story::new(build).at(after(NOON, 90));
    events.extend([running.started(), running.step(0)]);
    events.extend(steered());
    events
}

/// An execution that waits for its key, has a step of three items, fails, is retried by hand, paused,
/// moved while it is paused, resumed, and compensated; the execution one of its steps runs; and the
/// wishes behind it.
fn steered() -> Vec<HistoryEvent> {
    use ExecutionStatus::{Failed, Paused, Pending, Running};

    let mut story = Story::new(workflow("build")).at(after(NOON, 120)).failing();
    (story.key, story.status) = (Some("build/shop".to_owned()), Pending);
    let mut child = Story::new(workflow("deploy")).at(after(NOON, 130));
    child.rerun_of = Some(ExecutionId::derived("earlier"));
    child.parent = Some(Parent {
        execution: story.execution,
        step: 3,
        item: Some(1),
        attempt: 1,
        waits: true,
        depth: 1,
    });
    let failed_item = story.step_as(5, 1, |step| {
        (step.item, step.status, step.output) = (Some(2), StepStatus::Failed, None);
    });
    let mut item_again = story.retried(12, 1);
    if let HistoryKind::StepEnded(step) = &mut item_again.kind {
        step.item = Some(2);
    }
    let undone = story.step_as(17, 0, |step| step.status = StepStatus::Compensated);
    let undoing = story.step_as(18, 5, |step| {
        (step.role, step.name) = (StepRole::Compensation, "step-0.compensate".to_owned());
        step.started_at = after(story.start, 16);
    });
    let wish = |second, action| {
        let at = after(story.start, second);
        controlled(Some(story.execution), at, action, ControlOutcome::Applied)
    };
    let (step, params) = (None, Some(json!({ "title": "corrected" })));
    let held = ControlOutcome::refused("hold.none", "nothing is held");
    let mut events = vec![
        story.started(),
        story.changed(2, Running),
        story.item(3, 1, 0),
        story.item(4, 1, 1),
        failed_item,
        story.step_as(6, 0, |_| ()),
        story.step_as(7, 1, |_| ()),
        story.step_as(8, 4, |_| ()),
        story.ended_as(9),
        story.changed(10, Running),
        story.retried(11, 4),
        item_again,
        story.changed(13, Paused),
        story.moved(14, Paused, 2),
        story.changed(15, Running),
        story.changed(16, Failed),
        undone,
        undoing,
        story.ended_as(19),
        wish(
            9,
            ControlAction::Retry {
                step,
                params,
                failed: None,
            },
        ),
        wish(12, ControlAction::Pause),
        controlled(None, NOON, ControlAction::Release(HoldScope::All), held),
    ];
    events.extend(child.events());
    events.extend(left_paused());
    events
}

/// An execution that was paused twice, and then moved and left as it was.
fn left_paused() -> [HistoryEvent; 5] {
    use ExecutionStatus::{Paused, Running};

    let story = Story::new(workflow("build")).at(after(NOON, 150));
    [
        story.started(),
        story.changed(2, Paused),
        story.changed(3, Running),
        story.changed(4, Paused),
        story.moved(5, Paused, 2),
    ]
}

/// The events in an order and in batches that depend on `seed`, some of them twice.
fn scrambled(events: &[HistoryEvent], seed: u64) -> Vec<HistoryBatch> {
    let mut state = seed;
    let mut below = |bound: usize| {
        state = mix64(state);
        (state % bound as u64) as usize
    };
    let mut events = events.to_vec();
    for _ in 0..events.len() / 3 {
        let repeated = events[below(events.len())].clone();
        events.push(repeated);
    }
    for last in (1..events.len()).rev() {
        events.swap(last, below(last + 1));
    }
    let mut batches = Vec::new();
    while !events.is_empty() {
        let rest = events.split_off((1 + below(12)).min(events.len()));
        batches.push(batch(std::mem::replace(&mut events, rest)));
    }
    batches
}

#[tokio::test]
async fn any_order_any_split_and_any_repetition_give_the_same_rows() {
    let database = database().await;
    let events = world();
    database
        .store
        .write_batches(&[&batch(events.clone())])
        .await
        .expect("writes");
    let expected = all_rows(&database.pool).await;
    assert!(
        expected.len() > 60,
        "the world is in the tables: {}",
        expected.len()
    );

    for seed in 0..40 {
        sqlx::query(
            "TRUNCATE workflows, repositories, workflow_executions, workflow_steps, mcp_tool_calls,
                      audit_log",
        )
        .execute(&database.pool)
        .await
        .expect("truncates");
        let batches = scrambled(&events, seed);
        // Two writers at once, as in the projector, each with every other batch.
        let half = |parity: usize| batches.iter().skip(parity).step_by(2);
        let write = |parity: usize| {
            let store = &database.store;
            async move {
                for batch in half(parity) {
                    write_until_done(store, batch).await;
                }
            }
        };
        tokio::join!(write(0), write(1));
        assert_eq!(all_rows(&database.pool).await, expected, "seed {seed}");

        let batches: Vec<&HistoryBatch> = batches.iter().collect();
        let again = database
            .store
            .write_batches(&batches)
            .await
            .expect("writes");
        assert_eq!(again.rows, 0, "seed {seed}: a repetition changes nothing");
    }
}

#[tokio::test]
async fn a_workflow_fills_every_table() {
    let database = database().await;
    let story = Story::new(workflow("build")).failing();
    let mut events = vec![definition(workflow("build"), NOON, true)];
    events.extend(story.events());
    let written = database
        .store
        .write_batches(&[&batch(events)])
        .await
        .expect("writes");
    // A workflow in two strokes, a repository, an execution, 5 steps, 6 calls.
    assert_eq!((written.rows, written.poison.len()), (15, 0));

    let checks = [
        "SELECT count(*) FROM workflows WHERE name = 'build' AND enabled AND version = 1
             AND description = 'What it is for' AND definition ? 'steps' AND applied_by = 'ada'",
        "SELECT count(*) FROM repositories WHERE full_name = 'acme/shop' AND default_branch LIKE 'branch-%'",
        "SELECT count(*) FROM workflow_executions e JOIN workflows w ON w.id = e.workflow_id
             JOIN repositories r ON r.id = e.repository_id
             WHERE e.status = 'failed' AND e.input = '{\"issue\": 7}' AND e.output IS NULL
             AND e.completed_at - e.started_at = interval '6 s' AND e.error LIKE 'GitHub refused%'
             AND e.error_detail ->> 'code' = 'github.forbidden' AND e.triggered_by = 'issues.opened'
             AND e.trigger_kind = 'webhook' AND e.trigger_delivery = 'd-1'
             AND (e.steps_completed, e.steps_failed) = (4, 1) AND e.event_number = 7",
        "SELECT count(*) FROM workflow_steps WHERE status = 'failed' AND step_index = 4
             AND retry_count = 1 AND error_class = 'permanent' AND jsonb_array_length(attempts) = 2
             AND duration_ms = 1000 AND tool = 'github.createIssue'",
        "SELECT count(*) FROM mcp_tool_calls WHERE step_index = 4 AND attempt = 2 AND result IS NULL
             AND error IS NOT NULL AND duration_ms = 1000 AND worker = 'worker-1'
             AND (server_name, tool_name) = ('github', 'createIssue')",
    ];
    for check in checks {
        assert_eq!(count(&database.pool, check).await, 1, "{check}");
    }
    assert_eq!(
        count(&database.pool, "SELECT count(*) FROM mcp_tool_calls").await,
        6
    );
    assert_eq!(
        count(
            &database.pool,
            "SELECT count(DISTINCT id) FROM workflow_steps"
        )
        .await,
        5
    );
}

#[tokio::test]
async fn a_start_after_the_end_only_adds_what_the_end_did_not_know() {
    let database = database().await;
    let story = Story::new(workflow("build"));
    database
        .store
        .write_batches(&[&batch([story.ended()])])
        .await
        .expect("writes");
    let view = database
        .store
        .show_execution(story.execution)
        .await
        .expect("reads")
        .expect("is there");
    assert_eq!(view.summary.workflow, "");

    database
        .store
        .write_batches(&[&batch([story.started()])])
        .await
        .expect("writes");
    let view = database
        .store
        .show_execution(story.execution)
        .await
        .expect("reads")
        .expect("is there");
    assert_eq!(view.summary.workflow, "build");
    assert!(view.summary.status.is_terminal());
    assert_eq!(view.input, json!({ "issue": 7 }));
    assert_eq!(view.output, Some(json!({ "last": 5 })));
}

#[tokio::test]
async fn nul_characters_do_not_stop_anything() {
    let database = database().await;
    let mut story = Story::new(workflow("nul\0name"));
    story.input = json!({ "text\0": "a\0b", "plain": "\\u0000" });
    let mut events = story.events();
    for event in &mut events {
        if let HistoryKind::StepEnded(step) = &mut event.kind {
            step.name.push('\0');
            step.output = Some(json!(["\0"]));
        }
    }
    let written = database
        .store
        .write_batches(&[&batch(events)])
        .await
        .expect("writes");
    assert_eq!(written.poison.len(), 0);

    let view = database
        .store
        .show_execution(story.execution)
        .await
        .expect("reads")
        .expect("is there");
    assert_eq!(
        view.input,
        json!({ "text\u{fffd}": "a\u{fffd}b", "plain": "\\u0000" })
    );
    assert_eq!(view.summary.workflow, "nul\u{fffd}name");
    assert_eq!(view.steps[0].name, "step-0\u{fffd}");
    assert_eq!(view.steps[0].output, Some(json!(["\u{fffd}"])));
}

/// An instant that Postgres cannot hold (21,000 BC): nothing of ours makes one, and no cleaning
/// helps.
fn poisonous() -> Story {
    Story::new(workflow("poison")).at(Timestamp::from_micros(-725_000_000_000_000_000))
}

#[tokio::test]
async fn a_poisonous_batch_stands_alone() {
    let database = database().await;
    let batches: Vec<HistoryBatch> = (0..32)
        .map(|n| {
            if n == 5 || n == 6 || n == 31 {
                poisonous()
            } else {
                Story::new(workflow("good"))
            }
        })
        .map(|story| batch(story.events()))
        .collect();
    let batches: Vec<&HistoryBatch> = batches.iter().collect();

    let mut written = database
        .store
        .write_batches(&batches)
        .await
        .expect("writes the others");
    written.poison.sort_by_key(|poison| poison.index);
    let found: Vec<usize> = written.poison.iter().map(|poison| poison.index).collect();
    assert_eq!(found, [5, 6, 31]);
    assert!(
        written
            .poison
            .iter()
            .all(|poison| matches!(poison.error, WriteError::Refused(_)))
    );
    assert_eq!(
        count(&database.pool, "SELECT count(*) FROM workflow_executions").await,
        29
    );
    assert_eq!(
        count(&database.pool, "SELECT count(*) FROM workflow_steps").await,
        29 * 5
    );
}

#[tokio::test]
async fn a_name_belongs_to_the_newest_workflow_that_took_it() {
    let database = database().await;
    let old = workflow("build");
    let mut new = old.clone();
    new.id = WorkflowId::new();
    let mut renamed = old.clone();
    (renamed.name, renamed.version) = ("make".to_owned(), 2);

    let steps = [
        definition(old.clone(), NOON, true),
        definition(renamed.clone(), after(NOON, 1), true),
        definition(new.clone(), after(NOON, 2), true),
        // Comes late and changes nothing.
        definition(old.clone(), NOON, true),
    ];
    for event in steps {
        let written = database
            .store
            .write_batches(&[&batch([event])])
            .await
            .expect("writes");
        assert!(written.poison.is_empty());
    }
    let names: Vec<(uuid::Uuid, String)> =
        sqlx::query_as("SELECT id, name FROM workflows ORDER BY name")
            .fetch_all(&database.pool)
            .await
            .expect("reads");
    let expected = [
        (new.id.as_uuid(), "build".to_owned()),
        (old.id.as_uuid(), "make".to_owned()),
    ];
    assert_eq!(names, expected);
}
