//! Triggering: what is accepted is in the log, once.

use std::time::Duration;

use afu9_broker::kv::Claim;
use afu9_history::projector::{Config as ProjectorConfig, StreamSource};
use afu9_history::{Projector, Store};
use afu9_schemas::message::{Repository, TriggerKind};
use afu9_schemas::view::ExecutionStatus;
use afu9_schemas::{ExecutionId, Lane};
use reqwest::Method;
use serde_json::{Value, json};

use crate::executions::past;
use crate::support::{
    Answer, ECHO, Running, answer, config, eventually, limits, world, world_of, world_with,
};

const TRIGGER: &str = "/api/workflows/echo/trigger";

async fn keyed(gateway: &Running, key: &str, body: &Value) -> Answer {
    let call = gateway
        .admin(Method::POST, TRIGGER)
        .header("Idempotency-Key", key);
    answer(call.json(body)).await
}

fn id(answer: &Answer) -> ExecutionId {
    let text = answer.body["executionId"]
        .as_str()
        .unwrap_or_else(|| panic!("{answer:?}"));
    text.parse().expect("an id")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_trigger_is_in_the_log_and_found_at_once() {
    let world = world().await;
    let _owner = world.owner().await;
    let gateway = world.gateway(config()).await;
    gateway.put("echo", ECHO).await;
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let body = json!({
        "input": {"n": [1, 2.5, null]},
        "repository": "acme/shop",
        "lane": "interactive",
        "triggeredBy": "ada",
    });
    let call = gateway
        .admin(Method::POST, TRIGGER)
        .header("traceparent", traceparent);
    let accepted = answer(call.json(&body)).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    assert_eq!(accepted.body["workflow"], "echo");
    assert_eq!(accepted.body["version"], 1);
    assert_eq!(accepted.body["status"], "pending");
    let this = format!("/api/executions/{}", id(&accepted));
    assert_eq!(accepted.header("location"), Some(this.as_str()));
    assert_eq!(accepted.body["links"]["self"], this);

    // Its owner has not heard of it yet.
    let shown = gateway.get(&this).await;
    assert_eq!(shown.status, 200, "{shown:?}");
    assert_eq!(shown.body["execution"]["status"], "pending");
    assert_eq!(shown.body["metadata"]["source"], "live");

    let bare = gateway.post(TRIGGER, &json!({})).await;
    assert_eq!(bare.status, 202);
    let empty = answer(gateway.admin(Method::POST, TRIGGER)).await;
    assert_eq!(empty.status, 202, "no body at all is fine: {empty:?}");

    let starts = world.starts().await;
    assert_eq!(starts.len(), 3);
    let find = |id| {
        starts
            .iter()
            .find(|(found, _)| *found == id)
            .map(|(_, start)| start)
    };
    let start = find(id(&accepted)).expect("stored");
    assert_eq!(start.input, body["input"]);
    let repository = Repository {
        owner: "acme".to_owned(),
        name: "shop".to_owned(),
        default_branch: None,
    };
    assert_eq!(start.repository, Some(repository));
    assert_eq!(start.lane, Lane::Interactive);
    assert_eq!(
        (start.trigger.kind, start.trigger.by.as_str()),
        (TriggerKind::Manual, "ada")
    );
    assert_eq!(start.traceparent.as_deref(), Some(traceparent));
    assert_eq!(
        (start.workflow.name.as_str(), start.workflow.version),
        ("echo", 1)
    );
    let bare = find(id(&bare)).expect("stored");
    assert_eq!(
        (&bare.input, bare.trigger.by.as_str()),
        (&json!({}), "admin")
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_starts_one_execution() {
    let world = world().await;
    let owner = world.owner().await;
    let gateway = world.gateway(config()).await;
    gateway.put("echo", ECHO).await;
    let body = json!({"input": {"a": 1, "b": 2}});
    let first = keyed(&gateway, "k", &body).await;
    assert_eq!(
        (first.status.as_u16(), first.header("idempotency-replayed")),
        (202, None)
    );
    let expected = ExecutionId::derived("trigger:admin:echo:k");
    assert_eq!(id(&first), expected);

    let again = keyed(&gateway, "k", &json!({"input": {"b": 2, "a": 1}})).await;
    assert_eq!((again.status.as_u16(), id(&again)), (202, expected));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    let other = keyed(&gateway, "k", &json!({"input": {"a": 2}})).await;
    other.expect_problem(422, "idempotency.conflict", "STATE");
    let call = gateway
        .admin(Method::POST, TRIGGER)
        .header("Idempotency-Key", "a b");
    answer(call)
        .await
        .expect_problem(400, "request.malformed", "POLICY");
    assert_eq!(world.starts().await.len(), 1);

    // Another gateway did not accept it itself: the owner knows.
    let second = world.gateway(config()).await;
    let shown = gateway.get(&format!("/api/executions/{expected}")).await;
    assert_eq!(shown.status, 200);
    owner.knows(crate::executions::view(expected, 5));
    let replayed = keyed(&second, "k", &body).await;
    assert_eq!(
        replayed.header("idempotency-replayed"),
        Some("true"),
        "{replayed:?}"
    );
    assert_eq!(replayed.body["status"], "running");
    assert_eq!(world.starts().await.len(), 1);
    gateway.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_claimed_by_somebody_who_died_still_starts() {
    let world = world().await;
    let _owner = world.owner().await;
    let gateway = world.gateway(config()).await;
    gateway.put("echo", ECHO).await;
    let body = json!({"input": 1});
    // What the request claims is known from one with another key and the same content.
    let probe = keyed(&gateway, "probe", &body).await;
    assert_eq!(probe.status, 202);
    let keys = world.broker.idempotency().await.expect("opened");
    let dummy = Claim {
        execution: ExecutionId::new(),
        content: String::new(),
    };
    let claimed = keys
        .claim("trigger:admin:echo:probe", &dummy)
        .await
        .expect("asked");
    let content = claimed.expect("claimed before").content;

    let key = "trigger:admin:echo:k";
    let claim = Claim {
        execution: ExecutionId::derived(key),
        content,
    };
    assert_eq!(keys.claim(key, &claim).await.expect("asked"), None);
    let accepted = keyed(&gateway, "k", &body).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    assert_eq!(accepted.header("idempotency-replayed"), None);
    let starts = world.starts().await;
    let count = starts
        .iter()
        .filter(|(id, _)| *id == ExecutionId::derived(key))
        .count();
    assert_eq!(count, 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_started_is_refused() {
    let world = world().await;
    let gateway = world.gateway(config()).await;
    let unknown = gateway.post(TRIGGER, &json!({})).await;
    unknown.expect_problem(404, "workflow.unknown", "STATE");
    let odd = gateway
        .post("/api/workflows/a.b*/trigger", &json!({}))
        .await;
    odd.expect_problem(404, "workflow.unknown", "STATE");
    gateway.put("echo", ECHO).await;
    for body in [
        json!({"repository": "acme"}),
        json!({"lane": "fast"}),
        json!({"triggeredBy": ""}),
        json!([1]),
    ] {
        gateway
            .post(TRIGGER, &body)
            .await
            .expect_problem(400, "request.malformed", "POLICY");
    }
    let mut production = config();
    production.allow_test_kind = false;
    let production = world.gateway(production).await;
    let refused = production.post(TRIGGER, &json!({})).await;
    refused.expect_problem(403, "workflow.test_tools", "POLICY");
    let refused = production
        .put("other", &ECHO.replace("name: echo", "name: other"))
        .await;
    refused.expect_problem(403, "workflow.test_tools", "POLICY");
    assert_eq!(world.starts().await.len(), 0);
    gateway.stop().await;
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_log_is_a_503_and_accepts_nothing() {
    let world = world_with(afu9_broker::config::Limits {
        log_bytes: 4096,
        ..limits()
    })
    .await;
    let gateway = world.gateway(config()).await;
    gateway.put("echo", ECHO).await;
    let body = json!({"input": "x".repeat(8000)});
    let refused = keyed(&gateway, "k", &body).await;
    refused.expect_problem(503, "broker.full", "UPSTREAM");
    assert_eq!(gateway.metrics.triggers_unavailable.get(), 1);
    assert_eq!(world.starts().await.len(), 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_bucket_of_keys_is_a_503_for_new_keys_only() {
    /// More than fit.
    const MOST: usize = 200;
    let world = world_with(afu9_broker::config::Limits {
        key_bytes: 4096,
        ..limits()
    })
    .await;
    let gateway = world.gateway(config()).await;
    gateway.put("echo", ECHO).await;
    let mut accepted = Vec::new();
    let refused = loop {
        let answer = keyed(&gateway, &format!("k{}", accepted.len()), &json!({})).await;
        if answer.status != 202 {
            break answer;
        }
        accepted.push(id(&answer));
        assert!(accepted.len() < MOST, "the bucket has no bound");
    };
    refused.expect_problem(503, "broker.full", "UPSTREAM");
    assert_eq!(gateway.metrics.triggers_unavailable.get(), 1);
    assert_eq!(world.starts().await.len(), accepted.len());
    // Known keys, and submissions without one, are as ever.
    let again = keyed(&gateway, "k0", &json!({})).await;
    assert_eq!((again.status.as_u16(), id(&again)), (202, accepted[0]));
    assert_eq!(gateway.post(TRIGGER, &json!({})).await.status, 202);
    gateway.stop().await;
}

/// Claims are forgotten, promises are not: what history knows is not started again.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_forgotten_still_means_the_execution_that_history_has() {
    let world = world_of(limits(), Duration::from_secs(1)).await;
    let _owner = world.owner().await;
    let gateway = world.gateway(config()).await;
    gateway.put("echo", ECHO).await;
    let known = id(&keyed(&gateway, "known", &json!({})).await);
    let lost = id(&keyed(&gateway, "lost", &json!({})).await);
    // What it accepted lately, it would know by itself.
    gateway.stop().await;
    past(&world, known, 10, ExecutionStatus::Completed).await;
    let keys = world.broker.idempotency().await.expect("opened");
    let claim = Claim {
        execution: lost,
        content: String::new(),
    };
    assert_eq!(keys.claim("probe", &claim).await.expect("claims"), None);
    eventually("keys are forgotten", async || {
        // Forgotten means that it can be claimed anew; it is younger than the others.
        keys.claim("probe", &claim).await.expect("claims").is_none()
    })
    .await;

    let database = afu9_servers::fixture::postgres().expect("a database");
    let url = database.url.as_str();
    let store = Store::connect(&afu9_history::Config::new(url.into())).expect("a valid URL");
    let source = StreamSource::new(world.broker.clone());
    let projector = Projector::new(ProjectorConfig::default(), store.clone(), source);
    let stop = tokio_util::sync::CancellationToken::new();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(projector.run(stop.clone()));
    let gateway = world.gateway_with(config(), Some(store)).await;
    eventually("history is written", async || {
        let shown = gateway.get(&format!("/api/executions/{known}")).await;
        shown.body["metadata"]["source"] == "history"
    })
    .await;
    let before = world.starts().await.len();
    let again = keyed(&gateway, "known", &json!({})).await;
    assert_eq!(again.status, 202, "{again:?}");
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(id(&again), known);
    assert_eq!(world.starts().await.len(), before, "it is not started");
    // One that nobody knows is stored again, under the same id: to the engine it is one start.
    let again = keyed(&gateway, "lost", &json!({})).await;
    assert_eq!(again.header("idempotency-replayed"), None);
    assert_eq!(id(&again), lost);
    gateway.stop().await;
    stop.cancel();
    while tasks.join_next().await.is_some() {}
}
