//! From a stored delivery to exactly one execution for each route, whoever dies in between.

use std::time::Duration;

use afu9_broker::inbox::InboxMessage;
use afu9_broker::kv::Claim;
use afu9_schemas::message::{
    InboxBody, InboxDelivery, Input, InputKind, Repository, Start, Trigger, TriggerKind,
};
use afu9_schemas::{DeliveryId, ExecutionId, Timestamp};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{BOUND, ECHO, World, answer, eventually, with_routes, world};

const ROUTES: &str = r#"
    [[route]]
    name = "labeled"
    event = "issues"
    action = "labeled"
    filter = "event.label.name == 'afu9'"
    workflow = "echo"
    input = { issue = "${event.issue.number}", text = "Fix: ${event.issue.title}" }

    [[route]]
    name = "every"
    event = "issues"
    workflow = "echo"
"#;

fn payload(label: &str) -> Vec<u8> {
    json!({
        "action": "labeled",
        "label": {"name": label},
        "issue": {"number": 7, "title": "${event.issue.number}"},
        "repository": {"name": "shop", "owner": {"login": "acme"}, "default_branch": "main"},
    })
    .to_string()
    .into_bytes()
}

fn derived(delivery: &str, route: &str) -> ExecutionId {
    ExecutionId::derived(&format!("webhook:github:{delivery}:{route}"))
}

async fn count(world: &World, id: ExecutionId) -> usize {
    world
        .starts()
        .await
        .iter()
        .filter(|(found, _)| *found == id)
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_webhook_becomes_one_start_for_each_route_that_matches() {
    let world = world().await;
    let gateway = world.gateway(with_routes(ROUTES)).await;
    gateway.put("echo", ECHO).await;
    for (id, label) in [("d1", "afu9"), ("d2", "bug")] {
        let accepted = answer(gateway.webhook(id, "issues", &payload(label))).await;
        assert_eq!(accepted.status, 202);
    }
    // The same delivery again, and one that no route wants.
    answer(gateway.webhook("d1", "issues", &payload("afu9"))).await;
    answer(gateway.webhook("d3", "star", b"{}")).await;
    let metrics = &gateway.metrics;
    eventually("all are routed", async || {
        metrics.deliveries_routed.get() == 2 && metrics.deliveries_unmatched.get() == 1
    })
    .await;
    let starts = world.starts().await;
    let mut ids: Vec<ExecutionId> = starts.iter().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    let mut expected = [
        derived("d1", "labeled"),
        derived("d1", "every"),
        derived("d2", "every"),
    ];
    expected.sort_unstable();
    assert_eq!(ids, expected);
    let (_, start) = starts
        .iter()
        .find(|(id, _)| *id == derived("d1", "labeled"))
        .expect("started");
    assert_eq!(
        start.input,
        json!({"issue": 7, "text": "Fix: ${event.issue.number}"})
    );
    let repository = Repository {
        owner: "acme".to_owned(),
        name: "shop".to_owned(),
        default_branch: Some("main".to_owned()),
    };
    assert_eq!(start.repository, Some(repository));
    let trigger = Trigger {
        kind: TriggerKind::Webhook,
        by: "labeled".to_owned(),
        delivery: Some("d1".to_owned()),
        depth: 0,
        initiator: None,
    };
    assert_eq!(start.trigger, trigger);
    gateway.stop().await;
}

/// Stores a delivery and takes it as a router would.
async fn taken(world: &World, id: &str) -> InboxMessage {
    let delivery = InboxDelivery {
        id: DeliveryId::new(id).expect("valid"),
        source: "github".to_owned(),
        event: "issues".to_owned(),
        action: Some("opened".to_owned()),
        headers: Vec::new(),
        body: InboxBody::Inline(payload("none")),
        received_at: Timestamp::from_micros(0),
        replay_of: None,
        traceparent: None,
    };
    world
        .broker
        .publish_delivery(&delivery)
        .await
        .expect("stored");
    let mut inbox = world.broker.inbox().await.expect("opened");
    timeout(BOUND, inbox.next())
        .await
        .expect("in time")
        .expect("readable")
}

async fn claim(world: &World, id: &str) {
    let keys = world.broker.idempotency().await.expect("opened");
    let key = format!("webhook:github:{id}:every");
    let claim = Claim {
        execution: ExecutionId::derived(&key),
        content: String::new(),
    };
    assert_eq!(keys.claim(&key, &claim).await.expect("asked"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_dies_between_claim_and_start_loses_nothing() {
    let world = world().await;
    let _owner = world.owner().await;
    let first = world.gateway(with_routes("")).await;
    first.put("echo", ECHO).await;
    first.stop().await;

    let message = taken(&world, "d1").await;
    claim(&world, "d1").await;
    // It dies here; the server delivers again.
    message.again(Duration::ZERO).await.expect("given back");

    let gateway = world.gateway(with_routes(ROUTES)).await;
    eventually("it is routed", async || {
        gateway.metrics.deliveries_routed.get() == 1
    })
    .await;
    assert_eq!(count(&world, derived("d1", "every")).await, 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_dies_between_start_and_acknowledgement_starts_nothing_twice() {
    let world = world().await;
    let owner = world.owner().await;
    let first = world.gateway(with_routes("")).await;
    first.put("echo", ECHO).await;
    let workflow = world
        .broker
        .definitions()
        .await
        .expect("opened")
        .newest("echo")
        .await;
    let workflow = workflow.expect("asked").expect("applied").workflow;
    first.stop().await;

    let message = taken(&world, "d1").await;
    claim(&world, "d1").await;
    let execution = derived("d1", "every");
    let start = Start::new(
        workflow,
        Value::Null,
        Trigger {
            kind: TriggerKind::Webhook,
            by: "every".to_owned(),
            delivery: None,
            depth: 0,
            initiator: None,
        },
    );
    let (writer, task) = afu9_broker::log::LogWriter::start(world.broker.clone());
    let kind = InputKind::Start(Box::new(start));
    writer
        .submit(Input { execution, kind })
        .await
        .expect("stored");
    drop(writer);
    task.finished().await;
    owner.knows(crate::executions::view(execution, 1));
    message.again(Duration::ZERO).await.expect("given back");

    let gateway = world.gateway(with_routes(ROUTES)).await;
    eventually("it is routed", async || {
        gateway.metrics.deliveries_routed.get() == 1
    })
    .await;
    assert_eq!(gateway.metrics.routes_known.get(), 1);
    assert_eq!(count(&world, execution).await, 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn routers_that_are_killed_while_they_route_start_everything() {
    let world = world().await;
    let _owner = world.owner().await;
    let mut gateway = world.gateway(with_routes(ROUTES)).await;
    gateway.put("echo", ECHO).await;
    for number in 0..40 {
        let id = format!("d{number}");
        let accepted = answer(gateway.webhook(&id, "issues", &payload("none"))).await;
        assert_eq!(accepted.status, 202);
        if number % 10 == 5 {
            gateway.kill().await;
            gateway = world.gateway(with_routes(ROUTES)).await;
        }
    }
    // What a killed router had taken comes again after the server's patience, 30 s.
    let wanted: Vec<ExecutionId> = (0..40)
        .map(|number| derived(&format!("d{number}"), "every"))
        .collect();
    world.started(&wanted).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_routed_is_a_dead_letter_and_holds_up_nothing() {
    let world = world().await;
    let routes = r#"
        [[route]]
        name = "missing"
        event = "issues"
        workflow = "nobody_wrote_it"
        [[route]]
        name = "unresolved"
        event = "issues"
        workflow = "echo"
        input = { x = "${event.not.there}" }
        [[route]]
        name = "fine"
        event = "issues"
        workflow = "echo"
    "#;
    let gateway = world.gateway(with_routes(routes)).await;
    gateway.put("echo", ECHO).await;
    answer(gateway.webhook("d1", "issues", &payload("none"))).await;
    let metrics = &gateway.metrics;
    eventually("it is routed", async || {
        metrics.deliveries_routed.get() == 1
    })
    .await;
    assert_eq!(metrics.dead_letters.get(), 2);
    assert_eq!(metrics.routes_failed.get(), 2);
    let starts = world.starts().await;
    assert_eq!(starts.len(), 1);
    assert_eq!(starts[0].0, derived("d1", "fine"));
    gateway.stop().await;
}
