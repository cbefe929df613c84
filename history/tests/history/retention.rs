//! Forgetting old history.

use std::time::Duration;

use afu9_history::projector::Retention;
use afu9_schemas::Timestamp;
use afu9_schemas::view::StepStatus;

use crate::stories::{NOON, Story, after, batch, workflow};
use crate::support::{Database, all_rows, count, database};

const DAY: u64 = 86_400;

/// Not less than history may wait in its stream.
const KEEP_DAYS: u64 = 31;

/// The first of March 2020, at noon: the months of these tests have no other steps.
const MARCH: Timestamp = Timestamp::from_micros(1_583_064_000_000_000);

async fn tell(database: &Database, stories: &[Story]) {
    for story in stories {
        let batch = batch(story.events());
        let written = database.store.write_batches(&[&batch]).await;
        assert!(written.expect("writes").poison.is_empty());
    }
    database.store.ensure_partitions(0).await.expect("makes");
}

fn retention(database: &Database) -> Retention {
    Retention::new(database.store.clone(), Duration::from_secs(KEEP_DAYS * DAY))
}

fn story(days: u64) -> Story {
    Story::new(workflow("old")).at(after(MARCH, days * DAY))
}

/// It has begun, taken some steps, and waits for something ever since.
fn unfinished(days: u64) -> Story {
    story(days)
}

#[tokio::test]
async fn what_ended_long_ago_is_forgotten_and_the_rest_is_untouched() {
    let database = database().await;
    // Three months of one execution a day; today is the first of June.
    let stories: Vec<Story> = (0..92).map(story).collect();
    tell(&database, &stories).await;
    let today = after(MARCH, 92 * DAY);
    let dropped = retention(&database).run_once(today).await.expect("drops");

    // All that ended before the first of May.
    assert_eq!(dropped.executions, 61);
    assert_eq!(
        dropped.months,
        ["workflow_steps_2020_03", "workflow_steps_2020_04"]
    );
    for (days, story) in stories.iter().enumerate() {
        let shown = database.store.show_execution(story.execution).await;
        let shown = shown.expect("reads");
        if days < 61 {
            assert_eq!(shown, None, "{days}");
        } else {
            let steps = shown.expect("is kept").steps;
            assert_eq!(steps.len(), 5, "{days}");
        }
    }
    let executions = "SELECT count(*) FROM workflow_executions";
    assert_eq!(count(&database.pool, executions).await, 31);
    let steps = "SELECT count(*) FROM workflow_steps";
    assert_eq!(count(&database.pool, steps).await, 31 * 5);
    let calls = "SELECT count(*) FROM mcp_tool_calls";
    assert_eq!(count(&database.pool, calls).await, 31 * 5);

    let before = all_rows(&database.pool).await;
    let again = retention(&database).run_once(today).await.expect("drops");
    assert_eq!(again, afu9_history::projector::Dropped::default());
    assert_eq!(all_rows(&database.pool).await, before);
    // Months that are gone are made again if something comes for them.
    tell(&database, &[story(1)]).await;
    assert_eq!(count(&database.pool, executions).await, 32);
}

#[tokio::test]
async fn an_execution_that_has_not_ended_keeps_its_steps_and_no_others() {
    let database = database().await;
    let stories: Vec<Story> = (0..31).map(story).collect();
    tell(&database, &stories).await;
    let waiting = unfinished(2);
    let begun = batch([waiting.started(), waiting.step(0), waiting.step(1)]);
    database
        .store
        .write_batches(&[&begun])
        .await
        .expect("writes");
    let retention = retention(&database);
    let dropped = retention.run_once(NOON).await.expect("drops");
    assert_eq!(dropped.executions, 31);
    assert_eq!(dropped.months, ["workflow_steps_2020_03"]);
    let shown = async || {
        let view = database.store.show_execution(waiting.execution).await;
        view.expect("reads").expect("is kept")
    };
    let steps = shown().await.steps;
    assert_eq!(steps.len(), 2);
    assert!(
        steps
            .iter()
            .all(|step| step.status == StepStatus::Completed)
    );
    let all = "SELECT count(*) FROM workflow_steps";
    assert_eq!(count(&database.pool, all).await, 2);
    let dropped = retention.run_once(NOON).await.expect("drops");
    assert_eq!(dropped.months, [""; 0], "nothing is left to do");
    assert_eq!(shown().await.steps, steps);

    // Once it has ended, and that is long ago, it goes too.
    let ended = batch([waiting.ended()]);
    database
        .store
        .write_batches(&[&ended])
        .await
        .expect("writes");
    let dropped = retention.run_once(NOON).await.expect("drops");
    assert_eq!((dropped.executions, dropped.months.len()), (1, 1));
    assert_eq!(count(&database.pool, all).await, 0);
}

#[tokio::test]
async fn old_history_is_dropped_while_writers_write_and_by_several_at_once() {
    let database = database().await;
    let old: Vec<Story> = (0..60).map(story).collect();
    tell(&database, &old).await;
    let (first, second) = (retention(&database), retention(&database));
    let write = async {
        for number in 0..40 {
            let story = Story::new(workflow("new")).at(after(NOON, number));
            crate::support::write_until_done(&database.store, &batch(story.events())).await;
        }
    };
    let (one, other, ()) = tokio::join!(first.run_once(NOON), second.run_once(NOON), write);
    // What one is deleting, the other leaves to it; and one that writers are in the way of, tries again.
    for error in [one, other].into_iter().filter_map(Result::err) {
        assert!(error.is_retryable(), "{error:?}");
    }
    first.run_once(NOON).await.expect("drops");
    let executions = "SELECT count(*) FROM workflow_executions";
    assert_eq!(count(&database.pool, executions).await, 40);
    let steps = "SELECT count(*) FROM workflow_steps";
    assert_eq!(count(&database.pool, steps).await, 200);
}
