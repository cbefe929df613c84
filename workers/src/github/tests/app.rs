//! A GitHub App's tokens: fetched once for all, again when they end.

use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{TimeDelta, Utc};
use futures::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};

use super::stub::{Seen, Stub};
use super::{call, github_app, issue};
use crate::github::Github;

const TOKENS: &str = "/app/installations/9/access_tokens";
const INSTALLATION: &str = "/repos/octo/demo/installation";

/// A GitHub whose installation tokens are `t1`, `t2`, … and live for `lifetime`; those of which
/// `accepts` says no are refused.
async fn serve(lifetime: TimeDelta, accepts: fn(&str) -> bool) -> Stub {
    let issued = AtomicUsize::new(0);
    Stub::serve(move |seen: &Seen| match seen.uri.path() {
        INSTALLATION => (StatusCode::OK, json!({ "id": 9 }).to_string()),
        TOKENS => {
            let token = format!("t{}", issued.fetch_add(1, Ordering::SeqCst) + 1);
            let body = json!({ "token": token, "expires_at": Utc::now() + lifetime });
            (StatusCode::CREATED, body.to_string())
        }
        "/app" => (StatusCode::OK, json!({ "id": 7 }).to_string()),
        _ if accepts(seen.header("authorization")) => (StatusCode::OK, issue().to_string()),
        _ => (
            StatusCode::UNAUTHORIZED,
            json!({ "message": "Bad credentials" }).to_string(),
        ),
    })
    .await
}

async fn get_issue(github: &Github) -> Result<Value, crate::ToolError> {
    let params = json!({ "owner": "octo", "repo": "demo", "number": 1 });
    github.toolbox().run("getIssue", call(0), params).await
}

#[tokio::test]
async fn many_calls_at_once_fetch_one_token() {
    let stub = serve(TimeDelta::hours(1), |_| true).await;
    let github = github_app(&stub.base_url, None);
    let results = join_all((0..20).map(|_| get_issue(&github))).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(stub.count(INSTALLATION), 1);
    assert_eq!(stub.count(TOKENS), 1);
    let asked = stub
        .seen()
        .into_iter()
        .filter(|seen| seen.uri.path().ends_with("issues/1"));
    assert!(
        asked
            .into_iter()
            .all(|seen| seen.header("authorization") == "Bearer t1")
    );
}

#[tokio::test]
async fn a_configured_installation_is_not_looked_up() {
    let stub = serve(TimeDelta::hours(1), |_| true).await;
    let github = github_app(&stub.base_url, Some(9));
    get_issue(&github).await.unwrap();
    get_issue(&github).await.unwrap();
    assert_eq!((stub.count(INSTALLATION), stub.count(TOKENS)), (0, 1));
}

#[tokio::test]
async fn a_token_near_its_end_is_replaced() {
    let stub = serve(TimeDelta::minutes(4), |_| true).await;
    let github = github_app(&stub.base_url, Some(9));
    get_issue(&github).await.unwrap();
    get_issue(&github).await.unwrap();
    assert_eq!(stub.count(TOKENS), 2);
    assert_eq!(
        stub.seen().last().unwrap().header("authorization"),
        "Bearer t2"
    );
}

#[tokio::test]
async fn a_token_that_is_refused_is_replaced_once_for_all() {
    let stub = serve(TimeDelta::hours(1), |token| token != "Bearer t1").await;
    let github = github_app(&stub.base_url, Some(9));
    let results = join_all((0..10).map(|_| get_issue(&github))).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(stub.count(TOKENS), 2);
}

#[tokio::test]
async fn a_second_refusal_is_final() {
    let stub = serve(TimeDelta::hours(1), |_| false).await;
    let github = github_app(&stub.base_url, Some(9));
    let error = get_issue(&github).await.unwrap_err().error;
    assert_eq!(error.code, "github.unauthorized");
    assert!(error.message.contains("github.app_id"));
    assert_eq!(stub.count("/repos/octo/demo/issues/1"), 2);
}

#[tokio::test]
async fn the_app_itself_signs_for_its_tokens_and_checks() {
    let stub = serve(TimeDelta::hours(1), |_| true).await;
    let github = github_app(&stub.base_url, Some(9));
    get_issue(&github).await.unwrap();
    let checks = github.check().await;
    assert!(
        checks
            .iter()
            .all(|check| check.status == afu9_schemas::message::DependencyStatus::Ok)
    );
    for seen in stub
        .seen()
        .iter()
        .filter(|seen| ["/app", TOKENS].contains(&seen.uri.path()))
    {
        let jwt = seen
            .header("authorization")
            .strip_prefix("Bearer ")
            .unwrap();
        assert_eq!(jwt.split('.').count(), 3, "{}", seen.uri);
    }
}
