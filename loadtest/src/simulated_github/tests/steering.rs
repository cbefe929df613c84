//! `/_sim` and webhooks.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::routing::post;

use super::super::{Delivery, webhook};
use super::*;

#[tokio::test]
async fn effects_state_and_reset() {
    let github = Github::demo().await;
    github.branch("x", "x", "x").await;
    github.open_pull("x").await;
    let effects = github.get("/_sim/effects?kind=create_ref").await.json();
    assert_eq!(effects["effects"][0]["subject"], "refs/heads/x");
    assert_eq!(effects["recorded"], 4);
    let rest = github.get("/_sim/effects?since=3").await.json();
    assert_eq!(rest["effects"][0]["kind"], "create_pull_request");
    assert_eq!(rest["effects"].as_array().map(Vec::len), Some(1));
    let state = github.get("/_sim/state/octo/factory").await.json();
    assert_eq!(state["pull_requests"][0]["commits"], 1);
    assert_eq!(state["issues"][0]["number"], 1);
    let stats = github.get("/_sim/stats").await.json();
    assert_eq!(
        stats["responses"]["POST /repos/{owner}/{repo}/pulls"]["201"],
        1
    );

    let seed = json!({"full_name": "octo/new", "files": {"a": "b"}});
    assert_eq!(github.post("/_sim/repos", seed.clone()).await.status, 201);
    assert_eq!(github.post("/_sim/repos", seed).await.status, 422);
    assert_eq!(
        github.get("/repos/octo/new/contents/a").await.json()["content"],
        "Yg==\n"
    );
    assert_eq!(github.post("/_sim/reset", json!({})).await.status, 204);
    assert_eq!(github.get("/repos/octo/new").await.status, 404);
    assert!(github.kinds().is_empty());
    assert_eq!(
        github.get(&format!("{REPO}/git/ref/heads/x")).await.status,
        404
    );
}

#[tokio::test]
async fn a_webhook_arrives_signed() {
    type Received = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;
    let received: Received = Arc::default();
    let keep = Arc::clone(&received);
    let receive = move |headers: HeaderMap, body: Bytes| async move {
        keep.lock().expect("no panic").push((headers, body));
        (axum::http::StatusCode::ACCEPTED, "thanks")
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/hook", listener.local_addr().expect("bound"));
    let mut receiver = tokio::task::JoinSet::new();
    let app = axum::Router::new().route("/hook", post(receive));
    receiver.spawn(axum::serve(listener, app).into_future());

    let github = Github::demo().await;
    let request = json!({"url": url, "secret": "s", "event": "issues", "action": "labeled",
        "repository": "octo/factory", "issue": 1, "delivery_id": "d-1"});
    let answer = github.post("/_sim/webhook", request).await.json();
    assert_eq!(
        answer,
        json!({"delivery_id": "d-1", "status": 202, "body": "thanks"})
    );
    let (headers, body) = received.lock().expect("no panic")[0].clone();
    let signature = webhook::sign(b"s", &body);
    assert_eq!(headers["x-hub-signature-256"], signature);
    assert_eq!(
        (&headers["x-github-event"], &headers["x-github-delivery"]),
        (
            &"issues".parse().expect("ascii"),
            &"d-1".parse().expect("ascii")
        )
    );
    assert!(
        headers["user-agent"]
            .to_str()
            .expect("ascii")
            .starts_with("GitHub-Hookshot/")
    );
    let payload: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(payload["label"]["name"], "bug");
    assert_eq!(payload["issue"]["title"], "Login button does nothing");

    let far = Delivery::labeled("http://192.0.2.1/", "s", "octo/factory", 1);
    assert!(github.handle().deliver(&far).await.is_err());
}

#[tokio::test]
async fn it_ends_when_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let shutdown = CancellationToken::new();
    let running = serve(listener, Config::demo(), shutdown.clone())
        .await
        .expect("a good config");
    shutdown.cancel();
    running.join().await.expect("an orderly end");
}
