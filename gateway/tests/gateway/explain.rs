//! Why an execution is where it is.

use afu9_schemas::message::{Heartbeat, WorkReply};
use afu9_schemas::view::ExecutionStatus;
use afu9_schemas::{ExecutionId, Timestamp, WorkerId, WorkerKind};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::controls::{GATE, WORK, applied};
use crate::support::{Running, World, eventually, world};

async fn explained(gateway: &Running, id: ExecutionId) -> Value {
    let explained = gateway.get(&format!("/api/executions/{id}/explain")).await;
    assert_eq!(explained.status, 200, "{explained:?}");
    for member in ["executionId", "workflow", "version", "status", "more"] {
        assert!(!explained.body[member].is_null(), "{member}: {explained:?}");
    }
    let sentences = explained.body["summary"].as_array().expect("a list");
    assert!(sentences.iter().all(Value::is_string), "{explained:?}");
    explained.body
}

/// The one thing it waits for.
async fn cause(gateway: &Running, id: ExecutionId) -> Value {
    let told = explained(gateway, id).await;
    let causes = told["causes"].as_array().expect("a list");
    assert_eq!(causes.len(), 1, "{told}");
    assert_eq!(told["summary"].as_array().map(Vec::len), Some(1), "{told}");
    causes[0].clone()
}

fn heartbeat() -> Heartbeat {
    Heartbeat {
        worker: WorkerId::new("w7").expect("valid"),
        kind: WorkerKind::new("test").expect("valid"),
        version: "1".to_owned(),
        host: "h".to_owned(),
        at: Timestamp::from_micros(0),
        started_at: Timestamp::from_micros(0),
        capacity: 1,
        in_flight: 1,
        oldest_job_since: None,
        finished: 0,
        last_error: None,
        draining: false,
        checks: Vec::new(),
        tools: Vec::new(),
    }
}

/// A worker that says that it runs every job it is asked about.
fn busy_worker(world: &World) -> JoinSet<()> {
    let (broker, mut tasks) = (world.broker.clone(), JoinSet::new());
    tasks.spawn(async move {
        let answered = broker.answer_work_queries(|query| {
            let since = Timestamp::from_micros(5_000_000);
            Some(WorkReply {
                worker: WorkerId::new("w7").expect("valid"),
                running: query.jobs.iter().map(|job| (*job, since)).collect(),
            })
        });
        answered.await.expect("asked");
    });
    tasks
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_waits_for_a_worker_until_one_runs_it() {
    let world = world().await;
    let _owner = world.folding().await;
    let gateway = applied(&world, &[("work", WORK)]).await;
    let id = gateway.start("work").await;
    gateway.reaches(id, ExecutionStatus::Running).await;
    let waits = cause(&gateway, id).await;
    assert_eq!(
        (&waits["cause"], &waits["step"]),
        (&json!("worker"), &json!("a"))
    );
    assert_eq!(
        (&waits["kind"], &waits["live"]),
        (&json!("test"), &Value::Null),
        "in its first seconds a gateway does not know who is alive"
    );
    assert_eq!(
        (&waits["lane"], &waits["ahead"]),
        (&json!("bulk"), &json!(0))
    );
    assert!(waits["since"].as_str().is_some_and(|at| at.ends_with('Z')));

    let _worker = busy_worker(&world);
    eventually("the worker is heard", async || {
        let sent = world.broker.publish_heartbeat(&heartbeat()).await;
        sent.expect("sent");
        cause(&gateway, id).await["cause"] == "running"
    })
    .await;
    let runs = cause(&gateway, id).await;
    assert_eq!(
        (&runs["worker"], &runs["tool"]),
        (&json!("w7"), &json!("test.noop"))
    );
    assert_eq!(runs["since"], "1970-01-01T00:00:05.000Z");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_paused_what_failed_and_what_is_over_are_explained() {
    let world = world().await;
    let owner = world.folding().await;
    let gateway = applied(&world, &[("gate", GATE), ("work", WORK)]).await;
    let id = gateway.start("gate").await;
    gateway.reaches(id, ExecutionStatus::Running).await;
    let waits = cause(&gateway, id).await;
    assert_eq!(
        (&waits["cause"], &waits["name"]),
        (&json!("signal"), &json!("go"))
    );
    gateway.wish(id, "pause", &json!({"reason": "lunch"})).await;
    let told = explained(&gateway, id).await;
    assert_eq!(told["causes"][0]["cause"], "paused");
    assert_eq!(told["causes"][0]["reason"], "lunch");
    gateway.wish(id, "cancel", &json!({})).await;
    gateway.reaches(id, ExecutionStatus::Cancelled).await;
    let over = explained(&gateway, id).await;
    assert_eq!(
        (&over["status"], &over["causes"]),
        (&json!("cancelled"), &json!([]))
    );

    let broken = gateway.start("work").await;
    gateway.reaches(broken, ExecutionStatus::Running).await;
    owner.fails(broken, 0).await;
    gateway.reaches(broken, ExecutionStatus::Failed).await;
    let failed = explained(&gateway, broken).await;
    assert_eq!(failed["error"]["code"], "test.failed", "{failed}");
    assert_eq!(failed["causes"][0]["cause"], "dead_lettered");
    assert_eq!(failed["causes"][0]["step"], "a");

    let path = format!("/api/executions/{}/explain", ExecutionId::new());
    let unknown = gateway.get(&path).await;
    unknown.expect_problem(404, "execution.unknown", "STATE");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_owner_nothing_can_be_explained_but_what_is_over() {
    let world = world().await;
    let owner = world.folding().await;
    let gateway = applied(&world, &[("gate", GATE)]).await;
    let (live, over) = (gateway.start("gate").await, gateway.start("gate").await);
    gateway.wish(over, "cancel", &json!({})).await;
    gateway.reaches(over, ExecutionStatus::Cancelled).await;
    gateway.reaches(live, ExecutionStatus::Running).await;
    eventually("history is read", async || {
        let list = gateway.get("/api/executions?status=cancelled").await;
        list.body["executions"][0]["id"] == json!(over)
    })
    .await;
    owner.end().await;
    let away = gateway
        .get(&format!("/api/executions/{live}/explain"))
        .await;
    away.expect_problem(503, "execution.unreachable", "UPSTREAM");
    let told = explained(&gateway, over).await;
    assert_eq!(told["status"], "cancelled");
    gateway.stop().await;
}
