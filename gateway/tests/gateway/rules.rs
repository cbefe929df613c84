//! What definitions start by themselves, and what inputs and keys of theirs submissions must fit.

use afu9_schemas::message::{Repository, TriggerKind};
use afu9_schemas::{ExecutionId, PartitionCount};
use reqwest::Method;
use serde_json::{Value, json};

use crate::controls::applied;
use crate::support::{ECHO, World, answer, config, eventually, with_routes, world};

const LABELED: &str = "\
name: labeled
on:
  - schedule: { cron: '0 6 * * *' }
  - webhook:
      event: issues
      action: labeled
      repository: acme/*
      filter: ${payload.label.name == 'afu9'}
      input: { n: '${payload.issue.number}', branch: '${repo.default_branch}' }
steps:
  - { name: say, tool: test.echo, params: { value: '${input.n}' } }
";

const KEYED: &str = "\
name: keyed
inputSchema:
  type: object
  required: [branch]
  additionalProperties: false
  properties:
    branch: { type: string }
    n: { type: integer }
    dry: { type: boolean, default: false }
concurrency: { key: '${input.branch}', limit: 1 }
steps:
  - { name: say, tool: test.noop }
";

fn payload(label: &str) -> Vec<u8> {
    json!({
        "action": "labeled",
        "label": {"name": label},
        "issue": {"number": 7},
        "repository": {"name": "shop", "owner": {"login": "acme"}, "default_branch": "trunk"},
    })
    .to_string()
    .into_bytes()
}

fn derived(delivery: &str, rule: &str) -> ExecutionId {
    ExecutionId::derived(&format!("webhook:github:{delivery}:{rule}"))
}

fn partition_of(world: &World, key: &str) -> afu9_schemas::Partition {
    let partitions: PartitionCount = world.broker.partitions();
    partitions.of_key(key)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_starts_what_definitions_say_beside_the_configuration() {
    let world = world().await;
    let routes = "[[route]]\nname = \"every\"\nevent = \"issues\"\nworkflow = \"echo\"\n";
    let gateway = world.gateway(with_routes(routes)).await;
    gateway.put("echo", ECHO).await;
    assert_eq!(gateway.put("labeled", LABELED).await.status, 201);
    for (id, label) in [("d1", "afu9"), ("d2", "bug")] {
        let accepted = answer(gateway.webhook(id, "issues", &payload(label))).await;
        assert_eq!(accepted.status, 202);
    }
    eventually("both are routed", async || {
        gateway.metrics.deliveries_routed.get() == 2
    })
    .await;
    let starts = world.starts().await;
    let mut ids: Vec<ExecutionId> = starts.iter().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    let mut expected = [
        derived("d1", "every"),
        derived("d1", "labeled.on.1"),
        derived("d2", "every"),
    ];
    expected.sort_unstable();
    assert_eq!(ids, expected);
    let by_rule = derived("d1", "labeled.on.1");
    let (_, start) = starts
        .iter()
        .find(|(id, _)| *id == by_rule)
        .expect("started");
    assert_eq!(start.input, json!({"n": 7, "branch": "trunk"}));
    assert_eq!(start.workflow.name, "labeled");
    assert_eq!(
        (start.trigger.kind, start.trigger.by.as_str()),
        (TriggerKind::Webhook, "labeled.on.1")
    );
    assert_eq!(start.trigger.delivery.as_deref(), Some("d1"));
    let repository = Repository {
        owner: "acme".to_owned(),
        name: "shop".to_owned(),
        default_branch: Some("trunk".to_owned()),
    };
    assert_eq!(start.repository, Some(repository));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_known_before_the_first_delivery_and_follow_what_is_applied_elsewhere() {
    let world = world().await;
    let first = world.gateway(config()).await;
    first.put("labeled", LABELED).await;
    first.stop().await;
    // One that has just begun knows them before it routes anything.
    let gateway = world.gateway(config()).await;
    answer(gateway.webhook("d1", "issues", &payload("afu9"))).await;
    world.started(&[derived("d1", "labeled.on.1")]).await;

    // A new version, applied through another gateway. The same delivery starts nothing twice.
    let other = world.gateway(config()).await;
    let version = LABELED.replace("'afu9'", "'other'");
    assert_eq!(other.put("labeled", &version).await.body["version"], 2);
    other.stop().await;
    let mut number = 1;
    eventually("the new version is known", async || {
        number += 1;
        let id = format!("d{number}");
        answer(gateway.webhook(&id, "issues", &payload("afu9"))).await;
        gateway.metrics.deliveries_unmatched.get() > 0
    })
    .await;
    answer(gateway.webhook("last", "issues", &payload("other"))).await;
    world.started(&[derived("last", "labeled.on.1")]).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_does_not_fit_is_refused_with_every_mistake() {
    let world = world().await;
    let gateway = applied(&world, &[("keyed", KEYED)]).await;
    let trigger = async |input: Value| {
        let body = json!({"input": input});
        gateway.post("/api/workflows/keyed/trigger", &body).await
    };
    let refused = trigger(json!({"n": "x", "odd": 1})).await;
    refused.expect_problem(400, "input.invalid", "POLICY");
    let errors = refused.body["errors"].as_array().expect("a list");
    let mut paths: Vec<&str> = errors.iter().filter_map(|e| e["path"].as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/", "/", "/n"], "{refused:?}");
    assert!(errors.iter().all(|e| e["message"].is_string()));
    assert_eq!(world.starts().await.len(), 0);

    let accepted = trigger(json!({"branch": "main"})).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let (id, start) = world.starts().await.remove(0);
    assert_eq!(
        start.input,
        json!({"branch": "main", "dry": false}),
        "defaults are filled in"
    );
    assert_eq!(start.key.as_deref(), Some("keyed:main"));
    assert_eq!(
        world.broker.partitions().of(id),
        partition_of(&world, "keyed:main")
    );
    assert_eq!(accepted.body["executionId"], json!(id));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_decides_the_partition_and_an_idempotency_key_still_the_execution() {
    let world = world().await;
    let _owner = world.folding().await;
    let gateway = applied(&world, &[("keyed", KEYED)]).await;
    let keyed = async |idempotency_key: &str, branch: &str| {
        let call = gateway.admin(Method::POST, "/api/workflows/keyed/trigger");
        let call = call.header("Idempotency-Key", idempotency_key);
        answer(call.json(&json!({"input": {"branch": branch}}))).await
    };
    for branch in ["a", "b", "c", "d"] {
        let key = format!("keyed:{branch}");
        let first = keyed(branch, branch).await;
        assert_eq!(first.status, 202, "{first:?}");
        let id: ExecutionId = first.body["executionId"]
            .as_str()
            .expect("an id")
            .parse()
            .expect("an id");
        let name = format!("trigger:admin:keyed:{branch}");
        let partitions = world.broker.partitions();
        assert_eq!(id, ExecutionId::derived_for(&name, Some(&key), partitions));
        assert_eq!(partitions.of(id), partition_of(&world, &key));
        let again = keyed(branch, branch).await;
        assert_eq!(again.body["executionId"], json!(id));
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        let shown = gateway.show(id).await;
        assert_eq!(shown["execution"]["key"], json!(key));
    }
    // Another version works out another key: the same request is still the same execution.
    let first = keyed("a", "a").await.body["executionId"].clone();
    gateway
        .put(
            "keyed",
            &KEYED.replace("${input.branch}", "x-${input.branch}"),
        )
        .await;
    assert_eq!(keyed("a", "a").await.body["executionId"], first);
    eventually("they are related", async || {
        let list = gateway.get("/api/executions?key=keyed:b").await;
        list.body["executions"].as_array().map(Vec::len) == Some(1)
    })
    .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_a_value_is_refused() {
    let world = world().await;
    let contending = "name: contending\nconcurrency: { key: '${input.branch}', limit: 1 }\n\
                      steps:\n  - { name: say, tool: test.noop }\n";
    let gateway = applied(&world, &[("contending", contending)]).await;
    let path = "/api/workflows/contending/trigger";
    for input in [json!({}), json!({"branch": [1]})] {
        let refused = gateway.post(path, &json!({"input": input})).await;
        refused.expect_problem(400, "concurrency.key", "POLICY");
    }
    assert_eq!(world.starts().await.len(), 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_whose_input_does_not_fit_is_a_dead_letter() {
    let world = world().await;
    let rule = "on:\n  - webhook: { event: issues, input: { n: '${payload.issue.number}' } }\n";
    let wanting = KEYED.replace("name: keyed\n", &format!("name: wanting\n{rule}"));
    let routes = "[[route]]\nname = \"r\"\nevent = \"issues\"\nworkflow = \"wanting\"\n\
                  input = { branch = \"main\", n = \"${event.issue.number}\" }\n";
    let gateway = world.gateway(with_routes(routes)).await;
    let put = gateway.put("wanting", &wanting).await;
    assert_eq!(put.status, 201, "{put:?}");
    answer(gateway.webhook("d1", "issues", &payload("afu9"))).await;
    eventually("it is routed", async || {
        gateway.metrics.deliveries_routed.get() == 1
    })
    .await;
    assert_eq!(
        gateway.metrics.routes_failed.get(),
        1,
        "the rule, not the route"
    );
    assert_eq!(gateway.metrics.dead_letters.get(), 1);
    let starts = world.starts().await;
    assert_eq!(starts.len(), 1);
    assert_eq!(starts[0].1.trigger.by, "r");
    gateway.stop().await;
}
