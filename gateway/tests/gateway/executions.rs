//! Showing, listing and cancelling executions, live and past.

use afu9_broker::history::history_message;
use afu9_history::Store;
use afu9_schemas::message::{
    AttemptRecord, Control, ControlAction, ControlOutcome, ControlRecord, ExecutionEnded,
    ExecutionStarted, HistoryBatch, HistoryEvent, HistoryKind, StepEnded, Trigger, TriggerKind,
    WorkflowRef,
};
use afu9_schemas::view::{
    ExecutionStatus, ExecutionSummary, ExecutionView, StepAction, StepRole, StepStatus, StepView,
};
use afu9_schemas::{
    DefinitionHash, ErrorClass, ExecutionId, RequestId, StepError, Timestamp, WorkerId, WorkflowId,
};
use serde_json::json;

use crate::support::{Running, World, config, eventually, world};

fn second(second: i64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + second * 1_000_000)
}

/// A running execution that began in this second, with a step that failed once.
pub(crate) fn view(id: ExecutionId, began: i64) -> ExecutionView {
    let attempt = AttemptRecord {
        deferrals: 0,
        attempt: 1,
        dispatched_at: second(began),
        worker: Some(WorkerId::new("w1").expect("valid")),
        started_at: Some(second(began)),
        ended_at: Some(second(began + 1)),
        error: Some(StepError::new(ErrorClass::Retryable, "test.failed", "once")),
    };
    ExecutionView {
        summary: ExecutionSummary {
            id,
            workflow_id: WorkflowId::new(),
            workflow: "echo".to_owned(),
            version: 1,
            status: ExecutionStatus::Running,
            triggered_by: "t".to_owned(),
            started_at: second(began),
            completed_at: None,
        },
        input: json!({"n": 1}),
        output: None,
        error: None,
        repository: Some("acme/shop".to_owned()),
        steps: vec![StepView {
            index: 0,
            name: "say".to_owned(),
            tool: Some("test.echo".parse().expect("valid")),
            status: StepStatus::Waiting,
            input: Some(json!({"value": 1})),
            output: None,
            error: attempt.error.clone(),
            started_at: Some(second(began)),
            completed_at: None,
            attempts: vec![attempt],
            waiting_until: Some(second(began + 9)),
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
    }
}

async fn publish(world: &World, id: ExecutionId, number: u32, at: i64, kind: HistoryKind) {
    let event = HistoryEvent {
        execution: Some(id),
        number,
        at: second(at),
        kind,
    };
    tell(world, id, event).await;
}

/// Tells history what happened in the partition of `id`.
async fn tell(world: &World, id: ExecutionId, event: HistoryEvent) {
    let partition = Some(world.broker.partitions().of(id));
    let batch = HistoryBatch {
        partition,
        events: vec![event],
    };
    world
        .broker
        .publish(history_message(&batch).expect("encodes"))
        .await
        .expect("stored");
}

/// The end of the only step, which began in this second.
fn step(began: i64) -> StepEnded {
    StepEnded {
        index: 0,
        item: None,
        role: StepRole::Main,
        action: StepAction::Tool,
        name: "say".to_owned(),
        tool: None,
        status: StepStatus::Completed,
        input: None,
        output: Some(json!({"value": 1})),
        error: None,
        started_at: second(began),
        attempts: Vec::new(),
    }
}

/// History of an execution that began in this second and took two.
pub(crate) async fn past(world: &World, id: ExecutionId, began: i64, status: ExecutionStatus) {
    let workflow = WorkflowRef {
        id: WorkflowId::new(),
        name: "echo".to_owned(),
        version: 3,
        hash: DefinitionHash::of(b""),
    };
    let started = ExecutionStarted {
        workflow,
        input: json!({"n": began}),
        repository: None,
        trigger: Trigger {
            kind: TriggerKind::Manual,
            by: "ada".to_owned(),
            delivery: None,
            depth: 0,
            initiator: None,
        },
        traceparent: None,
        key: Some("echo:k".to_owned()),
        parent: None,
        rerun_of: None,
        rerun_reason: None,
        lane: afu9_schemas::Lane::Bulk,
        priority: 0,
        status: ExecutionStatus::Running,
    };
    publish(
        world,
        id,
        1,
        began,
        HistoryKind::ExecutionStarted(Box::new(started)),
    )
    .await;
    let kind = HistoryKind::StepEnded(Box::new(step(began)));
    publish(world, id, 2, began + 1, kind).await;
    let ended = ExecutionEnded {
        status,
        output: Some(json!({})),
        error: None,
        started_at: second(began),
        steps_completed: 1,
        steps_failed: 0,
        steps_skipped: 0,
        steps_compensated: 0,
        stale_results: 0,
    };
    publish(
        world,
        id,
        3,
        began + 2,
        HistoryKind::ExecutionEnded(Box::new(ended)),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_execution_is_shown_with_its_attempts() {
    let world = world().await;
    let owner = world.owner().await;
    let gateway = world.gateway(config()).await;
    let id = ExecutionId::new();
    owner.knows(view(id, 0));
    let shown = gateway.get(&format!("/api/executions/{id}")).await;
    assert_eq!(shown.status, 200, "{shown:?}");
    let execution = &shown.body["execution"];
    for (member, value) in [
        ("id", json!(id)),
        ("workflow", json!("echo")),
        ("status", json!("running")),
        ("input", json!({"n": 1})),
        ("context", json!(null)),
        ("startedAt", json!("2023-11-14T22:13:20.000Z")),
        ("completedAt", json!(null)),
        ("durationMs", json!(null)),
        ("triggeredBy", json!("t")),
        ("repository", json!("acme/shop")),
        ("githubRunId", json!(null)),
    ] {
        assert_eq!(execution.get(member), Some(&value), "{member}");
    }
    let step = &shown.body["steps"][0];
    for (member, value) in [
        ("name", json!("say")),
        ("tool", json!("test.echo")),
        ("status", json!("waiting")),
        ("retryCount", json!(0)),
        ("waitingUntil", json!("2023-11-14T22:13:29.000Z")),
    ] {
        assert_eq!(step.get(member), Some(&value), "{member}");
    }
    let attempt = &step["attempts"][0];
    assert_eq!(
        (&attempt["attempt"], &attempt["worker"]),
        (&json!(1), &json!("w1"))
    );
    assert_eq!(attempt["error"]["class"], "retryable");
    let metadata = &shown.body["metadata"];
    assert_eq!(
        (&metadata["totalSteps"], &metadata["source"]),
        (&json!(1), &json!("live"))
    );

    let unknown = gateway
        .get(&format!("/api/executions/{}", ExecutionId::new()))
        .await;
    unknown.expect_problem(404, "execution.unknown", "STATE");
    gateway
        .get("/api/executions/x")
        .await
        .expect_problem(404, "execution.unknown", "STATE");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_the_past_is_what_the_stream_holds() {
    let world = world().await;
    let owner = world.owner().await;
    let gateway = world.gateway(config()).await;
    let (live, done, failed) = (ExecutionId::new(), ExecutionId::new(), ExecutionId::new());
    past(&world, done, 10, ExecutionStatus::Completed).await;
    past(&world, failed, 20, ExecutionStatus::Failed).await;
    owner.knows(view(live, 30));
    // Its owner still holds it, and has heard less.
    owner.knows(view(failed, 20));
    eventually("history is read", async || {
        let list = gateway.get("/api/executions?status=failed").await;
        list.body["executions"]
            .as_array()
            .is_some_and(|found| found.len() == 1)
    })
    .await;
    let list = gateway.get("/api/executions").await;
    let ids: Vec<_> = list.body["executions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|e| {
            (
                e["id"].clone(),
                e["status"].clone(),
                e["durationMs"].clone(),
            )
        })
        .collect();
    let expected = [
        (json!(live), json!("running"), json!(null)),
        (json!(failed), json!("failed"), json!(2000)),
        (json!(done), json!("completed"), json!(2000)),
    ];
    assert_eq!(ids, expected);
    assert_eq!(
        (&list.body["total"], &list.body["incomplete"]),
        (&json!(3), &json!(false))
    );
    assert_eq!(list.body["nextCursor"], json!(null));

    let first = gateway.get("/api/executions?limit=2").await;
    let cursor = first.body["nextCursor"]
        .as_str()
        .expect("there is more")
        .to_owned();
    let next = gateway
        .get(&format!("/api/executions?limit=2&cursor={cursor}"))
        .await;
    assert_eq!(next.body["executions"].as_array().map(Vec::len), Some(1));
    assert_eq!(next.body["executions"][0]["id"], json!(done));
    assert_eq!(next.body["nextCursor"], json!(null));
    let none = gateway.get("/api/executions?workflow=other").await;
    assert_eq!(none.body["executions"], json!([]));

    let shown = gateway.get(&format!("/api/executions/{done}")).await;
    assert_eq!(shown.body["metadata"]["source"], "stream", "{shown:?}");
    assert_eq!(shown.body["execution"]["status"], "completed");
    assert_eq!(shown.body["execution"]["durationMs"], 2000);
    assert_eq!(shown.body["metadata"]["completedSteps"], 1);
    let items = format!("/api/executions/{done}/steps/say/items");
    let unknown = gateway.get(&items).await;
    unknown.expect_problem(503, "database.not_configured", "CONFIG");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_without_an_owner_are_told_apart_from_unknown_executions() {
    let world = world().await;
    let gateway = world.gateway(config()).await;
    let id = ExecutionId::new();
    past(&world, id, 0, ExecutionStatus::Completed).await;
    let path = format!("/api/executions/{id}");
    eventually("history is read", async || {
        gateway.get(&path).await.status == 200
    })
    .await;
    let unknown = gateway
        .get(&format!("/api/executions/{}", ExecutionId::new()))
        .await;
    unknown.expect_problem(503, "execution.unreachable", "UPSTREAM");
    let list = gateway.get("/api/executions").await;
    assert_eq!(
        (&list.body["incomplete"], &list.body["total"]),
        (&json!(true), &json!(null))
    );
    assert_eq!(list.body["executions"].as_array().map(Vec::len), Some(1));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn live_executions_are_shown_while_the_database_is_away() {
    let world = world().await;
    let owner = world.owner().await;
    let mut away = afu9_history::Config::new("postgres://u:hunter2@127.0.0.1:9/x".into());
    away.connect_timeout = std::time::Duration::from_millis(300);
    let store = Store::connect(&away).expect("a valid URL");
    let gateway = world.gateway_with(config(), Some(store)).await;
    let id = ExecutionId::new();
    owner.knows(view(id, 0));
    assert_eq!(
        gateway.get(&format!("/api/executions/{id}")).await.status,
        200
    );
    let list = gateway.get("/api/executions").await;
    assert_eq!(
        (&list.body["incomplete"], &list.body["total"]),
        (&json!(true), &json!(null))
    );
    assert_eq!(list.body["executions"].as_array().map(Vec::len), Some(1));
    let unknown = gateway
        .get(&format!("/api/executions/{}", ExecutionId::new()))
        .await;
    unknown.expect_problem(503, "database.unavailable", "UPSTREAM");
    assert_eq!(gateway.put("echo", crate::support::ECHO).await.status, 201);
    assert_eq!(gateway.get("/api/workflows").await.body["total"], 1);
    let ready = gateway.get("/api/ready").await;
    assert_eq!(ready.status, 503);
    assert_eq!(
        ready.body["checks"]["database"]["status"], "error",
        "{ready:?}"
    );
    assert!(!ready.text.contains("hunter2"));
    gateway.stop().await;
}

/// Items, wishes and relations, which come from the database.
async fn history_of_more(world: &World, gateway: &Running, done: ExecutionId) {
    let path = format!("/api/executions/{done}");
    for item in 0..3 {
        let ended = StepEnded {
            item: Some(item),
            output: Some(json!({"n": item})),
            ..step(12)
        };
        let kind = HistoryKind::StepEnded(Box::new(ended));
        publish(world, done, 4 + item, 13, kind).await;
    }
    let items = format!("{path}/steps/say/items");
    eventually("items are written", async || {
        let all = gateway.get(&items).await;
        all.body["items"].as_array().map(Vec::len) == Some(3)
    })
    .await;
    let page = gateway.get(&format!("{items}?limit=2")).await;
    assert_eq!(page.body["nextAfter"], 1, "{page:?}");
    assert_eq!(page.body["items"][1]["item"], 1);
    assert_eq!(page.body["items"][1]["output"], json!({"n": 1}));
    let next = format!("{path}/steps/0/items?limit=2&after=1");
    let next = gateway.get(&next).await;
    assert_eq!(next.body["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(next.body["nextAfter"], json!(null));
    assert_eq!(
        (&next.body["counts"]["total"], &next.body["endedOnly"]),
        (&json!(3), &json!(true))
    );
    for (status, count) in [("completed", 3), ("failed", 0)] {
        let some = gateway.get(&format!("{items}?status={status}")).await;
        assert_eq!(some.body["items"].as_array().map(Vec::len), Some(count));
    }
    let running = gateway.get(&format!("{items}?status=running")).await;
    running.expect_problem(400, "request.malformed", "POLICY");
    let counted = &gateway.get(&path).await.body["steps"][0]["items"];
    assert_eq!(
        (&counted["total"], &counted["completed"]),
        (&json!(3), &json!(3))
    );
    let unknown = gateway.get(&format!("{path}/steps/other/items")).await;
    unknown.expect_problem(404, "request.no_such_resource", "POLICY");

    let record = ControlRecord {
        execution: Some(done),
        control: Control {
            request: RequestId::new(),
            by: "ada".to_owned(),
            scopes: vec!["operate".to_owned()],
            reason: None,
            reply_to: None,
            content: None,
            action: ControlAction::Pause,
        },
        outcome: ControlOutcome::Applied,
    };
    let event = HistoryEvent {
        execution: None,
        number: 0,
        at: second(14),
        kind: HistoryKind::Controlled(Box::new(record)),
    };
    tell(world, done, event).await;
    eventually("the wish is written", async || {
        let audit = gateway.get("/api/audit?action=pause").await;
        audit.body["entries"][0]["by"] == "ada"
    })
    .await;
    let list = gateway.get("/api/executions?key=echo:k").await;
    assert_eq!(list.body["executions"][0]["id"], json!(done), "{list:?}");
    let list = gateway.get(&format!("/api/executions?parent={done}")).await;
    assert_eq!(list.body["executions"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_database_the_past_comes_from_it() {
    use afu9_history::Projector;
    use afu9_history::projector::{Config as ProjectorConfig, StreamSource};

    let world = world().await;
    let owner = world.owner().await;
    let database = afu9_servers::fixture::postgres().expect("a database");
    let url = database.url.as_str();
    let store = Store::connect(&afu9_history::Config::new(url.into())).expect("a valid URL");
    let source = StreamSource::new(world.broker.clone());
    let projector = Projector::new(ProjectorConfig::default(), store.clone(), source);
    let stop = tokio_util::sync::CancellationToken::new();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(projector.run(stop.clone()));
    let gateway = world.gateway_with(config(), Some(store)).await;
    gateway.put("echo", crate::support::ECHO).await;
    let (live, done) = (ExecutionId::new(), ExecutionId::new());
    owner.knows(view(live, 30));
    past(&world, done, 10, ExecutionStatus::Completed).await;
    let path = format!("/api/executions/{done}");
    eventually("history is written", async || {
        gateway.get(&path).await.body["execution"]["status"] == "completed"
    })
    .await;
    let shown = gateway.get(&path).await;
    assert_eq!(shown.body["metadata"]["source"], "history", "{shown:?}");
    assert_eq!(shown.body["execution"]["durationMs"], 2000);
    assert_eq!(shown.body["steps"][0]["name"], "say");
    history_of_more(&world, &gateway, done).await;

    let first = gateway.get("/api/executions?limit=1").await;
    assert_eq!(first.body["executions"][0]["id"], json!(live));
    assert_eq!(
        (&first.body["total"], &first.body["incomplete"]),
        (&json!(null), &json!(false))
    );
    let cursor = first.body["nextCursor"]
        .as_str()
        .expect("there is more")
        .to_owned();
    let next = gateway
        .get(&format!("/api/executions?limit=1&cursor={cursor}"))
        .await;
    assert_eq!(next.body["executions"][0]["id"], json!(done), "{next:?}");
    eventually("the workflow is written", async || {
        let workflows = gateway.get("/api/workflows").await;
        workflows.body["workflows"][0]["last_run"]["id"] == json!(done)
    })
    .await;
    let ready = gateway.get("/api/ready").await;
    assert_eq!(
        ready.body["checks"]["database"]["status"], "ok",
        "{ready:?}"
    );
    let unknown = gateway
        .get(&format!("/api/executions/{}", ExecutionId::new()))
        .await;
    unknown.expect_problem(404, "execution.unknown", "STATE");
    gateway.stop().await;
    stop.cancel();
    while tasks.join_next().await.is_some() {}
}
