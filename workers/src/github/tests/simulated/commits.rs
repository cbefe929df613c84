//! Branches and commits: whose they are, and what they begin at.

use afu9_loadtest::simulated_github::{EffectKind, Fault, FaultKind, Moment};
use afu9_schemas::ErrorClass;
use serde_json::json;

use super::{WORK, World, here, too_late};
use crate::github::tests::call;

#[tokio::test]
async fn a_branch_begins_at_a_branch_or_a_commit() {
    let world = World::new().await;
    let tip = world.state().branches["main"].clone();
    let at = |branch: &str, from: &str| here(json!({ "branch": branch, "from": from }));
    let output = world
        .run("createBranch", call(1), at("a/b", "main"))
        .await
        .unwrap();
    assert_eq!(output["ref"], "refs/heads/a/b");
    assert_eq!(output["sha"], json!(tip));
    let output = world
        .run("createBranch", call(2), at("c", &tip.to_uppercase()))
        .await
        .unwrap();
    assert_eq!(output["sha"], json!(tip));
    for from in ["nowhere", &"0".repeat(40)] {
        let error = world
            .run("createBranch", call(3), at("d", from))
            .await
            .unwrap_err()
            .error;
        assert_eq!(error.code, "github.not_found", "{from}");
    }
    assert_eq!(world.count(EffectKind::CreateRef), 2);
}

#[tokio::test]
async fn a_branch_that_is_there_is_taken_only_without_commits_of_its_own() {
    let world = World::new().await;
    let params = |branch: &str| here(json!({ "branch": branch, "from": "main" }));
    world
        .run("createBranch", call(1), params("new"))
        .await
        .unwrap();
    world.push("main", "other.txt", "main has moved on");
    let output = world
        .run("createBranch", call(1), params("new"))
        .await
        .unwrap();
    assert_eq!(output["created"], false);
    assert_eq!(output["sha"], json!(world.state().branches["new"]));

    let error = world
        .run("createBranch", call(2), params(WORK))
        .await
        .unwrap_err()
        .error;
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Permanent, "github.conflict")
    );
}

#[tokio::test]
async fn commits_of_two_steps_follow_each_other() {
    let world = World::new().await;
    let files = |content: &str| {
        here(
            json!({ "branch": WORK, "message": "m", "files": [{ "path": "x", "content": content }] }),
        )
    };
    let first = world.run("commitFiles", call(1), files("1")).await.unwrap();
    assert_eq!(json!(world.state().branches[WORK]), first["commit_sha"]);
    let second = world.run("commitFiles", call(2), files("2")).await.unwrap();
    assert_ne!(first["commit_sha"], second["commit_sha"]);
    // The first is found below the second, and the branch stays where it is.
    assert_eq!(
        world.run("commitFiles", call(1), files("1")).await.unwrap(),
        first
    );
    assert_eq!(json!(world.state().branches[WORK]), second["commit_sha"]);
    assert_eq!(world.count(EffectKind::UpdateRef), 2);
}

#[tokio::test]
async fn a_commit_gives_way_to_another_and_is_built_anew() {
    let world = World::new().await;
    let too_late = too_late("Update is not a fast forward", Moment::BeforeEffect);
    world.fault(Fault::once("PATCH", "/git/refs", too_late));
    let params =
        here(json!({ "branch": WORK, "message": "m", "files": [{ "path": "x", "content": "1" }] }));
    let error = world
        .run("commitFiles", call(1), params)
        .await
        .unwrap_err()
        .error;
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Retryable, "github.conflict")
    );
    assert_eq!(world.count(EffectKind::UpdateRef), 0);

    world.fault(Fault::once(
        "PATCH",
        "/git/refs",
        FaultKind::DropBeforeEffect,
    ));
    let params =
        here(json!({ "branch": WORK, "message": "m", "files": [{ "path": "y", "content": "1" }] }));
    world
        .run("commitFiles", call(9), params.clone())
        .await
        .unwrap_err();
    let theirs = world.push(WORK, "z", "between two attempts");
    let ours = world.run("commitFiles", call(9), params).await.unwrap();
    assert_ne!(ours["commit_sha"], json!(theirs));
    assert_eq!(json!(world.state().branches[WORK]), ours["commit_sha"]);
}

#[tokio::test]
async fn a_commit_wants_the_head_that_was_expected_and_a_change() {
    let world = World::new().await;
    let head = world.state().branches[WORK].clone();
    let params = |expected: &str, content: &str| {
        here(
            json!({ "branch": WORK, "message": "m", "expected_head": expected,
            "files": [{ "path": "x", "content": content }] }),
        )
    };
    let other = "0".repeat(40);
    let error = world
        .run("commitFiles", call(1), params(&other, "1"))
        .await
        .unwrap_err()
        .error;
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Permanent, "github.conflict")
    );
    assert!(error.message.contains(&head) && error.message.contains(&other));

    let output = world
        .run("commitFiles", call(2), params(&head, "1"))
        .await
        .unwrap();
    assert_eq!(
        world
            .run("commitFiles", call(2), params(&head, "1"))
            .await
            .unwrap(),
        output
    );

    let head = output["commit_sha"].as_str().unwrap();
    let error = world
        .run("commitFiles", call(3), params(head, "1"))
        .await
        .unwrap_err()
        .error;
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Permanent, "github.no_changes")
    );

    let nowhere = here(json!({ "branch": "nowhere", "message": "m", "files": [{ "path": "x" }] }));
    let error = world
        .run("commitFiles", call(4), nowhere)
        .await
        .unwrap_err()
        .error;
    assert_eq!(error.code, "github.not_found");
}
