//! Looking back.

use afu9_history::{Cursor, ExecutionFilter};
use afu9_schemas::ExecutionId;
use afu9_schemas::message::HistoryBatch;
use afu9_schemas::view::{ExecutionStatus, StepStatus};
use serde_json::json;

use crate::stories::{NOON, Story, after, batch, definition, refused, workflow};
use crate::support::{database, store};

#[tokio::test]
async fn an_execution_is_shown_as_it_happened() {
    let database = database().await;
    let story = Story::new(workflow("build")).failing();
    database
        .store
        .write_batches(&[&batch(story.events())])
        .await
        .expect("writes");

    let view = database
        .store
        .show_execution(story.execution)
        .await
        .expect("reads")
        .expect("is there");
    assert_eq!(view.summary.id, story.execution);
    assert_eq!(view.summary.workflow_id, story.workflow.id);
    assert_eq!(
        (view.summary.workflow.as_str(), view.summary.version),
        ("build", 1)
    );
    assert_eq!(view.summary.status, ExecutionStatus::Failed);
    assert_eq!(view.summary.started_at, NOON);
    assert_eq!(view.summary.completed_at, Some(after(NOON, 6)));
    assert_eq!(view.repository.as_deref(), Some("acme/shop"));
    assert_eq!((view.input, view.output), (json!({ "issue": 7 }), None));
    assert_eq!(view.error, Some(refused()));

    let positions: Vec<u32> = view.steps.iter().map(|step| step.index).collect();
    assert_eq!(positions, [0, 1, 2, 3, 4]);
    let (first, last) = (&view.steps[0], &view.steps[4]);
    assert_eq!(
        (first.status, last.status),
        (StepStatus::Completed, StepStatus::Failed)
    );
    assert_eq!(
        first.tool,
        Some("github.createIssue".parse().expect("a tool"))
    );
    assert_eq!(first.output, Some(json!({ "number": 0 })));
    assert_eq!((last.attempts.len(), last.attempts[1].attempt), (2, 2));
    assert_eq!(last.attempts[1].error, Some(refused()));
    assert_eq!(last.completed_at, Some(after(NOON, 5)));

    let unknown = database
        .store
        .show_execution(ExecutionId::new())
        .await
        .expect("reads");
    assert_eq!(unknown, None);
}

#[tokio::test]
async fn pages_show_every_execution_once_newest_first() {
    let database = database().await;
    // Many start in the same instant, so the id has to decide.
    let stories: Vec<Story> = (0..30_u64)
        .map(|n| {
            let story = Story::new(workflow(if n % 3 == 0 { "deploy" } else { "build" }))
                .at(after(NOON, n / 10));
            if n % 5 == 0 { story.failing() } else { story }
        })
        .collect();
    let batches: Vec<HistoryBatch> = stories.iter().map(|story| batch(story.events())).collect();
    let batches: Vec<&HistoryBatch> = batches.iter().collect();
    database
        .store
        .write_batches(&batches)
        .await
        .expect("writes");

    use ExecutionStatus::{Completed, Failed, Paused, Running};
    let filters: [(&[ExecutionStatus], _); 9] = [
        (&[], None),
        (&[Failed], None),
        (&[Completed], None),
        (&[], Some("deploy")),
        (&[Failed], Some("build")),
        (&[Running], None),
        (&[], Some("unheard of")),
        (&[Failed, Paused, Completed], Some("build")),
        (&[Running, Failed, Paused], None),
    ];
    for (statuses, name) in filters {
        let mut expected: Vec<_> = stories
            .iter()
            .filter(|story| name.is_none_or(|name| story.workflow.name == name))
            .filter(|story| {
                let status = if story.fails { Failed } else { Completed };
                statuses.is_empty() || statuses.contains(&status)
            })
            .map(|story| (story.start, story.execution))
            .collect();
        expected.sort_by(|a, b| b.cmp(a));

        let mut filter = ExecutionFilter {
            statuses: statuses.to_vec(),
            workflow: name.map(Into::into),
            limit: Some(4),
            ..ExecutionFilter::default()
        };
        let mut seen = Vec::new();
        loop {
            let page = database
                .store
                .list_executions(&filter)
                .await
                .expect("reads");
            assert!(page.len() <= 4);
            seen.extend(
                page.iter()
                    .map(|execution| (execution.started_at, execution.id)),
            );
            let Some(last) = page.last() else { break };
            filter.before = Some(Cursor::from(last));
        }
        assert_eq!(seen, expected, "{statuses:?} {name:?}");
    }
    let all = ExecutionFilter {
        limit: Some(u32::MAX),
        ..ExecutionFilter::default()
    };
    assert_eq!(
        database
            .store
            .list_executions(&all)
            .await
            .expect("reads")
            .len(),
        30
    );
    let by = |name: &str, begin| ExecutionFilter {
        statuses: vec![Failed, Completed],
        triggered_by: Some(name.to_owned()),
        started_after: Some(after(NOON, begin)),
        ..ExecutionFilter::default()
    };
    let whom = database.store.list_executions(&all).await.expect("reads");
    let whom = whom[0].triggered_by.as_str();
    for (filter, count) in [(by(whom, 0), 30), (by(whom, 1), 20), (by("nobody", 0), 0)] {
        let found = database.store.list_executions(&filter).await;
        assert_eq!(found.expect("reads").len(), count, "{filter:?}");
    }
}

#[tokio::test]
async fn workflows_are_listed_with_their_last_run() {
    let database = database().await;
    let newest = Story::new(workflow("build")).at(after(NOON, 60)).failing();
    let mut events = vec![
        definition(workflow("build"), NOON, true),
        definition(workflow("deploy"), after(NOON, 1), false),
    ];
    events.extend(newest.events());
    events.extend(Story::new(workflow("build")).events());
    events.extend(Story::new(workflow("undefined")).events());
    database
        .store
        .write_batches(&[&batch(events)])
        .await
        .expect("writes");

    let workflows = database.store.list_workflows().await.expect("reads");
    let [build, deploy, undefined] = &workflows[..] else {
        panic!("three workflows: {workflows:?}")
    };
    assert_eq!(
        (build.name.as_str(), build.version, build.enabled),
        ("build", 1, true)
    );
    assert_eq!(build.applied_at, Some(NOON));
    let last = build.last_run.as_ref().expect("it ran");
    assert_eq!(
        (last.id, last.status),
        (newest.execution, ExecutionStatus::Failed)
    );
    assert!(!deploy.enabled && deploy.last_run.is_none());
    assert_eq!((undefined.version, undefined.applied_at), (0, None));
    assert!(undefined.last_run.is_some());
}

#[tokio::test]
async fn a_store_without_a_server_says_so() {
    let port = afu9_servers::free_port().expect("a port");
    let store = store(&format!("postgres://nobody@127.0.0.1:{port}/nothing"));
    assert!(store.check().await.is_err());
    assert!(store.migrate().await.expect_err("no server").is_retryable());
    let listed = store.list_executions(&ExecutionFilter::default()).await;
    assert!(listed.expect_err("no server").is_retryable());
    let written = store
        .write_batches(&[&batch(Story::new(workflow("x")).events())])
        .await;
    assert!(written.expect_err("no server").is_retryable());
}

#[tokio::test]
async fn a_store_with_a_server_answers() {
    let database = database().await;
    let latency = database.store.check().await.expect("answers");
    assert!(latency < afu9_history::Store::CHECK_TIMEOUT);
}
