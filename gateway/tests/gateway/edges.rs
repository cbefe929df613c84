//! Health, readiness, metrics, authentication, and the form of every error.

use afu9_schemas::message::{DependencyCheck, DependencyStatus, Heartbeat};
use afu9_schemas::{Timestamp, WorkerId, WorkerKind};
use reqwest::Method;
use serde_json::json;

use crate::support::{BOUND, ECHO, answer, config, eventually, world};

fn heartbeat(status: DependencyStatus) -> Heartbeat {
    Heartbeat {
        worker: WorkerId::new("w1").expect("valid"),
        kind: WorkerKind::new("github").expect("valid"),
        version: "1".to_owned(),
        host: "h".to_owned(),
        at: Timestamp::from_micros(0),
        started_at: Timestamp::from_micros(0),
        capacity: 1,
        in_flight: 0,
        oldest_job_since: None,
        finished: 0,
        last_error: None,
        draining: false,
        checks: vec![DependencyCheck {
            name: "github_api".to_owned(),
            status,
            message: Some("rate limit".to_owned()),
            latency_ms: Some(7),
        }],
        tools: vec!["getIssue".to_owned()],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_readiness_have_the_shape_of_the_contract() {
    let mut world = world().await;
    let gateway = world.gateway(config()).await;
    let health = answer(gateway.call(Method::GET, "/api/health")).await;
    assert_eq!(health.status, 200);
    assert_eq!(health.body["status"], "ok");
    assert_eq!(health.body["service"], "control-plane");
    assert_eq!(health.body["version"], "1.2.3");
    assert!(
        health.body["timestamp"]
            .as_str()
            .is_some_and(|at| at.ends_with('Z'))
    );

    let ready = answer(gateway.call(Method::GET, "/api/ready")).await;
    assert_eq!(ready.status, 200, "{ready:?}");
    assert_eq!(ready.body["ready"], true);
    assert_eq!(ready.body["service"], "control-plane");
    let checks = &ready.body["checks"];
    assert_eq!(checks["database"]["status"], "not_configured");
    assert_eq!(checks["nats"]["status"], "ok");
    assert!(checks["nats"]["latency_ms"].is_u64());
    assert_eq!(checks["environment"]["status"], "ok");
    assert_eq!(checks["mcp-github"]["status"], "error", "no worker");
    assert_eq!(checks["mcp-deploy"]["status"], "not_configured");
    assert_eq!(checks["mcp-observability"]["status"], "not_configured");
    assert_eq!(
        ready.body["dependencies"]["required"],
        json!(["nats", "environment"])
    );
    assert!(ready.body.get("errors").is_none());

    eventually("the worker is seen", async || {
        world
            .broker
            .publish_heartbeat(&heartbeat(DependencyStatus::Warning))
            .await
            .expect("sent");
        let ready = answer(gateway.call(Method::GET, "/api/ready")).await;
        let check = &ready.body["checks"]["mcp-github"];
        *check == json!({"status": "warning", "message": "github_api: rate limit", "latency_ms": 7})
    })
    .await;
    let metrics = answer(gateway.call(Method::GET, "/metrics")).await;
    assert!(
        metrics
            .text
            .contains("afu9_gateway_live_workers{kind=\"github\"} 1\n"),
        "{metrics:?}"
    );

    world.nats.pause().expect("paused");
    // The signal does not stop every thread of the server at once.
    eventually("it shows", async || {
        let begun = std::time::Instant::now();
        let ready = answer(gateway.call(Method::GET, "/api/ready")).await;
        assert!(begun.elapsed().as_secs() < 5, "an answer in time");
        ready.status == 503
    })
    .await;
    let ready = answer(gateway.call(Method::GET, "/api/ready")).await;
    assert_eq!(ready.body["ready"], false);
    assert_eq!(ready.body["checks"]["nats"]["status"], "error");
    assert!(
        ready.body["errors"][0]
            .as_str()
            .is_some_and(|e| e.starts_with("nats check failed: "))
    );
    let health = answer(gateway.call(Method::GET, "/api/health")).await;
    assert_eq!(health.status, 200, "health depends on nothing");
    world.nats.resume().expect("resumed");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_path_wants_its_scope() {
    let world = world().await;
    let _owner = world.folding().await;
    let gateway = world.gateway(config()).await;
    assert_eq!(gateway.put("echo", ECHO).await.status, 201);
    let unknown = "/api/executions/00000000-0000-4000-8000-000000000000";
    let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
    // Path, the tokens that may use it, and what those then get.
    let readers = &["read", "trigger", "operate", "admin"][..];
    let matrix = [
        (get.clone(), "/api/workflows".to_owned(), readers, 200),
        (get.clone(), "/api/workflows/echo".to_owned(), readers, 200),
        (
            post.clone(),
            "/api/workflows/validate".to_owned(),
            readers,
            200,
        ),
        (get.clone(), "/api/executions".to_owned(), readers, 200),
        (get.clone(), "/api/audit".to_owned(), readers, 200),
        (get.clone(), "/api/holds".to_owned(), readers, 200),
        (get.clone(), format!("{unknown}/explain"), readers, 404),
        (
            get.clone(),
            "/api/workflows/echo/versions".to_owned(),
            readers,
            200,
        ),
        (get, unknown.to_owned(), readers, 404),
        (
            post.clone(),
            "/api/workflows/echo/trigger".to_owned(),
            &["trigger", "admin"][..],
            202,
        ),
        (
            post.clone(),
            "/api/executions/bulk".to_owned(),
            &["operate", "admin"][..],
            400,
        ),
        (
            post.clone(),
            "/api/holds".to_owned(),
            &["operate", "admin"][..],
            400,
        ),
        (
            post.clone(),
            format!("{unknown}/rerun"),
            &["trigger", "admin"][..],
            404,
        ),
        (
            post.clone(),
            format!("{unknown}/approve"),
            &["approve", "admin"][..],
            404,
        ),
        (
            post.clone(),
            format!("{unknown}/reject"),
            &["approve", "admin"][..],
            404,
        ),
        (
            post,
            format!("{unknown}/cancel"),
            &["operate", "admin"][..],
            404,
        ),
        (put, "/api/workflows/other".to_owned(), &["admin"][..], 422),
    ];
    for (method, path, allowed, status) in matrix {
        let anonymous = answer(gateway.call(method.clone(), &path)).await;
        anonymous.expect_problem(401, "auth.unauthenticated", "POLICY");
        assert_eq!(anonymous.header("www-authenticate"), Some("Bearer"));
        let wrong = answer(gateway.call(method.clone(), &path).bearer_auth("admin")).await;
        wrong.expect_problem(401, "auth.unauthenticated", "POLICY");
        for token in ["read", "trigger", "operate", "approve", "admin"] {
            let call = gateway
                .call(method.clone(), &path)
                .bearer_auth(format!("{token}-token"));
            let got = answer(call).await;
            if allowed.contains(&token) {
                assert_eq!(
                    got.status.as_u16(),
                    status,
                    "{token} {method} {path}: {got:?}"
                );
            } else {
                got.expect_problem(403, "auth.missing_scope", "POLICY");
            }
        }
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_error_is_a_problem() {
    let world = world().await;
    let mut config = config();
    config.limits.request_bytes = 1000;
    let gateway = world.gateway(config).await;
    gateway
        .get("/nowhere")
        .await
        .expect_problem(404, "request.no_such_resource", "POLICY");
    let wrong = answer(gateway.call(Method::DELETE, "/api/executions")).await;
    wrong.expect_problem(405, "request.method_not_allowed", "POLICY");
    assert!(
        wrong
            .header("allow")
            .is_some_and(|allow| allow.contains("GET")),
        "{wrong:?}"
    );
    gateway
        .get("/api/executions?limit=0")
        .await
        .expect_problem(400, "request.malformed", "POLICY");
    gateway
        .get("/api/executions?no=1")
        .await
        .expect_problem(400, "request.malformed", "POLICY");
    gateway
        .get("/api/executions?cursor=x")
        .await
        .expect_problem(400, "request.malformed", "POLICY");
    gateway
        .get("/api/workflows/%ff")
        .await
        .expect_problem(400, "request.malformed", "POLICY");

    let trigger = |body: String| {
        answer(
            gateway
                .admin(Method::POST, "/api/workflows/echo/trigger")
                .body(body),
        )
    };
    trigger("{".to_owned())
        .await
        .expect_problem(400, "request.malformed", "POLICY");
    let unknown = trigger(r#"{"inptu": 1}"#.to_owned()).await;
    unknown.expect_problem(400, "request.malformed", "POLICY");
    assert!(
        unknown.body["detail"]
            .as_str()
            .is_some_and(|d| d.contains("inptu")),
        "{unknown:?}"
    );
    trigger(format!("\"{}\"", "x".repeat(1000)))
        .await
        .expect_problem(413, "request.too_large", "POLICY");

    let named = gateway
        .call(Method::GET, "/nowhere")
        .header("x-request-id", "mine-1");
    assert_eq!(answer(named).await.body["requestId"], "mine-1");
    let odd = gateway
        .call(Method::GET, "/api/health")
        .header("x-request-id", "a b");
    let odd = answer(odd).await;
    assert!(odd.header("x-request-id").is_some_and(|id| id != "a b"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_cannot_reach_the_broker_says_so_and_recovers() {
    let mut world = world().await;
    let gateway = world.gateway(config()).await;
    assert_eq!(gateway.put("echo", ECHO).await.status, 201);
    world.nats.kill().expect("killed");
    let refused = gateway.put("echo", ECHO).await;
    refused.expect_problem(503, "broker.unavailable", "UPSTREAM");
    world.nats.restart().expect("restarted");
    eventually("it stores again", async || {
        gateway.put("echo", ECHO).await.status == 200
    })
    .await;
    tokio::time::timeout(BOUND, gateway.stop())
        .await
        .expect("stops");
}

/// Nobody else can see what the owners count: the prover's findings among them.
#[tokio::test(flavor = "multi_thread")]
async fn what_orchestrators_count_is_in_the_metrics() {
    let world = world().await;
    let gateway = world.gateway(config()).await;
    let metrics = answer(gateway.call(Method::GET, "/metrics")).await;
    assert!(
        metrics.text.contains("\nafu9_orchestrators 0\n"),
        "{metrics:?}"
    );
    gateway.stop().await;
    let _owner = world.owner().await;
    let gateway = world.gateway(config()).await;
    let metrics = answer(gateway.call(Method::GET, "/metrics")).await;
    for line in [
        "afu9_orchestrators 1",
        "afu9_orchestrator_events_total{event=\"orphans\"} 2",
    ] {
        assert!(metrics.text.contains(&format!("\n{line}\n")), "{metrics:?}");
    }
    gateway.stop().await;
}
