//! Pull requests: whose they are, and what they need.

use afu9_loadtest::simulated_github::EffectKind;
use afu9_schemas::ErrorClass;
use serde_json::json;

use super::{WORK, World, here};
use crate::github::client::Request;
use crate::github::tests::call;

#[tokio::test]
async fn a_pull_request_of_somebody_else_is_not_taken() {
    let world = World::new().await;
    let params = here(json!({ "title": "Fix", "head": WORK, "base": "main" }));
    let first = world
        .run("createPullRequest", call(1), params.clone())
        .await
        .unwrap();
    let error = world
        .run("createPullRequest", call(2), params.clone())
        .await
        .unwrap_err()
        .error;
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Permanent, "github.conflict")
    );
    assert!(
        error
            .message
            .contains(&format!("pull request {}", first["number"])),
        "{}",
        error.message
    );
}

#[tokio::test]
async fn a_pull_request_has_its_labels_and_is_found_when_closed() {
    let world = World::new().await;
    let params = here(json!({ "title": "Fix", "head": WORK, "base": "main", "labels": ["afu9"] }));
    let first = world
        .run("createPullRequest", call(1), params.clone())
        .await
        .unwrap();
    let number = first["number"].as_u64().unwrap();
    let as_issue = world
        .run("getIssue", call(0), here(json!({ "number": number })))
        .await
        .unwrap();
    assert_eq!(as_issue["labels"], json!(["afu9"]));
    assert_eq!(first["head_sha"], json!(world.state().branches[WORK]));

    let path = format!("/repos/octo/factory/issues/{number}");
    world
        .send(Request::patch(path, &json!({ "state": "closed" })))
        .await;
    let second = world
        .run("createPullRequest", call(1), params)
        .await
        .unwrap();
    assert_eq!(
        (&second["number"], &second["state"]),
        (&first["number"], &json!("closed"))
    );
    assert_eq!(world.count(EffectKind::CreatePullRequest), 1);
}

#[tokio::test]
async fn a_pull_request_needs_commits() {
    let world = World::new().await;
    let branch = here(json!({ "branch": "empty", "from": "main" }));
    world.run("createBranch", call(1), branch).await.unwrap();
    let params = here(json!({ "title": "Fix", "head": "empty", "base": "main" }));
    let error = world
        .run("createPullRequest", call(2), params)
        .await
        .unwrap_err()
        .error;
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Permanent, "github.no_changes")
    );
    let params = here(json!({ "title": "Fix", "head": "nowhere", "base": "main" }));
    let error = world
        .run("createPullRequest", call(3), params)
        .await
        .unwrap_err()
        .error;
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Permanent, "github.invalid")
    );
}
