//! Webhooks: checked, then stored as they came.

use std::time::Duration;

use afu9_broker::inbox::InboxMessage;
use afu9_broker::publish::Outgoing;
use afu9_schemas::message::InboxBody;
use afu9_schemas::{codec, subject};
use reqwest::Method;
use serde_json::json;
use tokio::time::timeout;

use crate::support::{
    BOUND, ECHO, SECRET, answer, config, eventually, limits, sign, with_routes, world, world_with,
};

const BODY: &[u8] = br#"{"action": "opened", "issue": {"number": 7}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn only_a_valid_signature_gets_in() {
    let world = world().await;
    let gateway = world.gateway(config()).await;
    let call = |signature: Option<String>| {
        let mut call = gateway
            .call(Method::POST, "/api/webhooks/github")
            .header("X-GitHub-Event", "issues")
            .header("X-GitHub-Delivery", "d1")
            .body(BODY);
        if let Some(signature) = signature {
            call = call.header("X-Hub-Signature-256", signature);
        }
        answer(call)
    };
    call(None)
        .await
        .expect_problem(401, "webhook.signature_missing", "POLICY");
    let good = sign(SECRET, BODY);
    for bad in [
        sign("another secret", BODY),
        sign(SECRET, b"another body"),
        sign("", BODY),
        good.replace("sha256=", "sha1="),
        good[..20].to_owned(),
        SECRET.to_owned(),
    ] {
        let refused = call(Some(bad)).await;
        refused.expect_problem(401, "webhook.signature_invalid", "POLICY");
        assert!(refused.header("www-authenticate").is_none());
    }
    assert_eq!(gateway.metrics.webhooks_bad_signature.get(), 7);
    // Nothing was stored of them: the same id is new.
    let accepted = call(Some(good)).await;
    assert_eq!(accepted.status, 202);
    assert_eq!(
        accepted.body,
        json!({"deliveryId": "d1", "duplicate": false})
    );
    // During a rotation, the older secret counts too.
    let rotated = gateway
        .call(Method::POST, "/api/webhooks/github")
        .header("X-GitHub-Event", "issues")
        .header("X-GitHub-Delivery", "d2")
        .header("X-Hub-Signature-256", sign("an older secret", BODY))
        .body(BODY);
    assert_eq!(answer(rotated).await.status, 202);
    let metrics = answer(gateway.call(Method::GET, "/metrics")).await;
    assert!(
        metrics
            .text
            .contains("afu9_gateway_webhooks_total{result=\"bad_signature\"} 7\n")
    );
    assert!(
        metrics
            .text
            .contains("afu9_gateway_webhooks_total{result=\"accepted\"} 2\n")
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_deliveries_are_refused_and_unknown_events_are_not() {
    let world = world().await;
    let mut config = config();
    config.limits.webhook_bytes = 1000;
    let gateway = world.gateway(config).await;
    for missing in ["X-GitHub-Event", "X-GitHub-Delivery"] {
        let mut call = gateway
            .call(Method::POST, "/api/webhooks/github")
            .body(BODY);
        call = call.header("X-Hub-Signature-256", sign(SECRET, BODY));
        for header in ["X-GitHub-Event", "X-GitHub-Delivery"] {
            if header != missing {
                call = call.header(header, "x");
            }
        }
        let refused = answer(call).await;
        refused.expect_problem(400, "request.header_missing", "POLICY");
        assert!(
            refused.body["detail"]
                .as_str()
                .is_some_and(|d| d.contains(missing))
        );
    }
    for body in [&b"{"[..], b"[1]", b"\"text\"", b"", b"{} trailing"] {
        let refused = answer(gateway.webhook("d", "issues", body)).await;
        refused.expect_problem(400, "request.malformed", "POLICY");
    }
    let odd = answer(gateway.webhook("no spaces", "issues", BODY)).await;
    odd.expect_problem(400, "request.malformed", "POLICY");
    let large = format!("{{\"x\": \"{}\"}}", "y".repeat(1000));
    let refused = answer(gateway.webhook("d", "issues", large.as_bytes())).await;
    refused.expect_problem(413, "request.too_large", "POLICY");

    let unknown = answer(gateway.webhook("d", "an_event.of>tomorrow*", BODY)).await;
    assert_eq!(unknown.status, 202, "{unknown:?}");
    let again = answer(gateway.webhook("d", "an_event.of>tomorrow*", BODY)).await;
    assert_eq!(again.body, json!({"deliveryId": "d", "duplicate": true}));
    assert_eq!(gateway.metrics.webhooks_duplicate.get(), 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_secret_webhooks_are_a_matter_of_configuration() {
    let world = world().await;
    let mut config = config();
    config.webhook_secrets.clear();
    let gateway = world.gateway(config).await;
    let refused = answer(gateway.webhook("d", "issues", BODY)).await;
    refused.expect_problem(503, "webhook.not_configured", "CONFIG");
    let ready = answer(gateway.call(Method::GET, "/api/ready")).await;
    assert_eq!(
        ready.body["checks"]["environment"]["status"], "warning",
        "{ready:?}"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_inbox_is_a_503() {
    let world = world_with(afu9_broker::config::Limits {
        inbox_bytes: 4096,
        ..limits()
    })
    .await;
    let gateway = world.gateway(config()).await;
    let large = format!("{{\"x\": \"{}\"}}", "y".repeat(8000));
    let refused = answer(gateway.webhook("d", "issues", large.as_bytes())).await;
    refused.expect_problem(503, "broker.full", "UPSTREAM");
    assert_eq!(gateway.metrics.webhooks_unavailable.get(), 1);
    assert_eq!(
        answer(gateway.webhook("d", "issues", BODY)).await.status,
        202,
        "d was not stored"
    );
    gateway.stop().await;
}

/// A full log keeps the router from routing, so the delivery comes back to whoever asks next.
#[tokio::test(flavor = "multi_thread")]
async fn the_inbox_holds_the_delivery_as_it_came() {
    let world = world_with(afu9_broker::config::Limits {
        log_bytes: 512,
        ..limits()
    })
    .await;
    let routes = "[[route]]\nname = \"r\"\nevent = \"issues\"\nworkflow = \"echo\"\n\
                  input = { all = \"${event}\" }\n";
    let gateway = world.gateway(with_routes(routes)).await;
    gateway.put("echo", ECHO).await;
    let body = format!(
        "{{\"action\": \"opened\",   \"x\": \"{}\"}}",
        "y".repeat(2000)
    );
    let call = gateway
        .webhook("d1", "issues", body.as_bytes())
        .header("Authorization", "Bearer of nothing")
        .header("Cookie", "a=b");
    assert_eq!(answer(call).await.status, 202);
    eventually("the router tries", async || {
        gateway.metrics.deliveries_retried.get() > 0
    })
    .await;
    gateway.stop().await;

    let mut inbox = world.broker.inbox().await.expect("opened");
    let message: InboxMessage = timeout(BOUND, inbox.next())
        .await
        .expect("in time")
        .expect("readable");
    assert!(message.tries >= 2, "{}", message.tries);
    let delivery = message.delivery.as_ref().expect("decodable");
    assert_eq!(
        (delivery.id.as_str(), delivery.source.as_str()),
        ("d1", "github")
    );
    assert_eq!(
        (delivery.event.as_str(), delivery.action.as_deref()),
        ("issues", Some("opened"))
    );
    assert_eq!(
        delivery.body,
        InboxBody::Inline(body.clone().into_bytes()),
        "byte by byte"
    );
    let names: Vec<&str> = delivery
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        names,
        ["content-type", "x-github-event", "x-github-delivery"]
    );
    message.again(Duration::ZERO).await.expect("given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_and_large_bodies_are_routed_like_any_other() {
    let world = world().await;
    let routes = "[[route]]\nname = \"r\"\nevent = \"issues\"\nworkflow = \"echo\"\n\
                  input = { n = \"${event.issue.number}\" }\n";
    let gateway = world.gateway(with_routes(routes)).await;
    gateway.put("echo", ECHO).await;
    let form = b"payload=%7B%22action%22%3A%22opened%22%2C%22issue%22%3A%7B%22number%22%3A1%7D%7D";
    let call = gateway
        .call(Method::POST, "/api/webhooks/github")
        .header("X-GitHub-Event", "issues")
        .header("X-GitHub-Delivery", "form")
        .header("X-Hub-Signature-256", sign(SECRET, form))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(form.to_vec());
    assert_eq!(answer(call).await.status, 202);
    let large = format!(
        "{{\"issue\": {{\"number\": 2, \"body\": \"{}\"}}}}",
        "y".repeat(3_000_000)
    );
    let accepted = answer(gateway.webhook("large", "issues", large.as_bytes())).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    eventually("both are routed", async || {
        gateway.metrics.routes_started.get() == 2
    })
    .await;
    let mut numbers: Vec<_> = world
        .starts()
        .await
        .into_iter()
        .map(|(_, start)| start.input["n"].clone())
        .collect();
    numbers.sort_by_key(|number| number.as_u64());
    assert_eq!(numbers, [json!(1), json!(2)]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_of_a_newer_version_is_left_for_a_newer_gateway() {
    let world = world().await;
    let routes = "[[route]]\nname = \"r\"\nevent = \"issues\"\nworkflow = \"echo\"\ninput = {}\n";
    let gateway = world.gateway(with_routes(routes)).await;
    gateway.put("echo", ECHO).await;
    let newer = Outgoing {
        subject: subject::inbox("github", "issues"),
        payload: vec![codec::WIRE_VERSION + 1, 0x80].into(),
        message_id: None,
    };
    world.broker.publish(newer).await.expect("is stored");
    assert_eq!(
        answer(gateway.webhook("d1", "issues", BODY)).await.status,
        202
    );
    eventually("both are looked at", async || {
        gateway.metrics.deliveries_routed.get() == 1
            && gateway.metrics.deliveries_retried.get() == 1
    })
    .await;
    // It was neither acknowledged nor set aside.
    assert_eq!(gateway.metrics.deliveries_unmatched.get(), 0);
    assert_eq!(gateway.metrics.deliveries_dead.get(), 0);
    assert_eq!(gateway.metrics.routes_failed.get(), 0);
    gateway.stop().await;
}
