//! Triggering: what is accepted is in the log, once.

use afu9_broker::kv::Claim;
use afu9_schemas::message::{Repository, TriggerKind};
use afu9_schemas::{ExecutionId, Lane};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, ECHO, Running, answer, config, limits, world, world_with};

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
