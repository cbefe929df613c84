//! Event streams: one reader for all of them, and of one execution from its state to its end.

use afu9_schemas::view::ExecutionStatus;
use futures::future::join_all;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::controls::{GATE, applied};
use crate::support::{BOUND, Running, world};

/// More than could once be open.
const MANY: usize = 200;

async fn open(gateway: &Running, path: &str) -> Response {
    let response = gateway
        .admin(Method::GET, path)
        .send()
        .await
        .expect("answered");
    assert_eq!(response.status(), 200);
    response
}

/// Reads until the stream has told `wanted`, or has ended where nothing is wanted.
async fn read(response: &mut Response, wanted: Option<&str>) -> String {
    let mut text = String::new();
    let reading = async {
        while wanted.is_none_or(|wanted| !text.contains(wanted)) {
            match response.chunk().await.expect("read") {
                Some(chunk) => text.push_str(std::str::from_utf8(&chunk).expect("text")),
                None => return,
            }
        }
    };
    assert!(
        timeout(BOUND, reading).await.is_ok(),
        "not in time: {wanted:?}"
    );
    text
}

fn events(text: &str) -> Vec<(String, Value)> {
    let mut events = Vec::new();
    let mut kind = "";
    for line in text.lines() {
        if let Some(named) = line.strip_prefix("event: ") {
            kind = named;
        } else if let Some(data) = line.strip_prefix("data: ") {
            events.push((kind.to_owned(), serde_json::from_str(data).expect("JSON")));
        }
    }
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_of_one_execution_begins_with_its_state_and_ends_with_it() {
    let world = world().await;
    let _owner = world.folding().await;
    let gateway = applied(&world, &[("gate", GATE)]).await;
    let id = gateway.start("gate").await;
    gateway.reaches(id, ExecutionStatus::Running).await;
    let path = format!("/api/executions/{id}/events");
    let mut live = open(&gateway, &path).await;
    // What ends it is not asked for, and ends it all the same.
    let mut some = open(&gateway, &format!("{path}?kinds=status_changed")).await;
    gateway.wish(id, "signal/go", &json!({})).await;
    let text = read(&mut live, None).await;
    let told = events(&text);
    assert!(text.starts_with(": ready\n\n"), "{text}");
    assert_eq!(told[0].0, "state");
    assert_eq!(
        (&told[0].1["status"], &told[0].1["executionId"]),
        (&json!("running"), &json!(id))
    );
    assert_eq!(told[0].1["steps"][0]["status"], "waiting");
    let last = told.last().expect("told");
    assert_eq!(
        (last.0.as_str(), &last.1["status"]),
        ("execution_ended", &json!("completed"))
    );
    let kinds: Vec<String> = events(&read(&mut some, None).await)
        .into_iter()
        .map(|(kind, _)| kind)
        .collect();
    assert_eq!(kinds, ["state"]);

    let mut late = open(&gateway, &path).await;
    let told = events(&read(&mut late, None).await);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(
        (told[0].0.as_str(), &told[0].1["status"]),
        ("state", &json!("completed"))
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_follow_what_happens_and_a_gateway_that_ends_ends_them() {
    let world = world().await;
    let _owner = world.folding().await;
    let gateway = applied(&world, &[("gate", GATE)]).await;
    let mut streams = join_all((0..MANY).map(|_| open(&gateway, "/api/events"))).await;
    for stream in &mut streams {
        read(stream, Some(": ready")).await;
    }
    let id = gateway.start("gate").await;
    let told = format!("\"executionId\":\"{id}\"");
    for stream in &mut streams {
        let text = read(stream, Some(&told)).await;
        assert!(text.contains("event: execution_started"), "{text}");
    }
    let (stopped, ()) = tokio::join!(timeout(BOUND, gateway.stop()), async {
        for stream in &mut streams {
            read(stream, None).await;
        }
    });
    assert!(stopped.is_ok());
}
