//! One effect, whatever happens to the requests, and however many workers have the job.

use afu9_loadtest::simulated_github::{
    AppSeed, Config as SimulationConfig, EffectKind, Fault, FaultKind, Moment,
};
use afu9_schemas::ErrorClass;
use serde_json::{Value, json};

use super::{WORK, World, here, too_late};
use crate::github::client::Request;
use crate::github::tests::{call, github_app};

/// A tool, what it is asked, the requests by which it changes something, and what must have
/// happened once in the end.
struct Case {
    tool: &'static str,
    params: Value,
    changes: &'static [(&'static str, &'static str)],
    effect: EffectKind,
}

fn cases() -> Vec<Case> {
    vec![
        Case {
            tool: "createBranch",
            params: here(json!({ "branch": "afu9/new#1", "from": "main" })),
            changes: &[("POST", "/git/refs")],
            effect: EffectKind::CreateRef,
        },
        Case {
            tool: "commitFiles",
            params: here(json!({ "branch": WORK, "message": "fix: log in", "files": [
                { "path": "src/lib.rs", "content": "pub fn may_log_in() -> bool { true }\n" },
                { "path": "logo.png", "content": "AAEC", "encoding": "base64" },
                { "path": "README.md" },
            ] })),
            changes: &[
                ("POST", "/git/blobs"),
                ("POST", "/git/trees"),
                ("POST", "/git/commits"),
                ("PATCH", "/git/refs"),
            ],
            effect: EffectKind::UpdateRef,
        },
        Case {
            tool: "createPullRequest",
            params: here(
                json!({ "title": "Fix", "head": WORK, "base": "main", "body": "Fixes #1",
                "labels": ["afu9", "bug"] }),
            ),
            changes: &[("POST", "/pulls"), ("POST", "/labels")],
            effect: EffectKind::CreatePullRequest,
        },
        Case {
            tool: "addComment",
            params: here(json!({ "number": 1, "body": "Working on it." })),
            changes: &[("POST", "/comments")],
            effect: EffectKind::CreateComment,
        },
    ]
}

#[tokio::test]
async fn an_issue_is_read_as_it_is() {
    let world = World::new().await;
    let issue = world
        .run("getIssue", call(0), here(json!({ "number": 1 })))
        .await
        .unwrap();
    assert_eq!(issue["number"], 1);
    assert_eq!(issue["title"], world.issue().title);
    assert_eq!(issue["state"], "open");
    assert_eq!(issue["labels"], json!(["bug"]));
    assert!(issue["body"].as_str().unwrap().contains("Expected"));
}

#[tokio::test]
async fn a_tool_that_runs_twice_has_one_effect() {
    for Case {
        tool,
        params,
        effect,
        ..
    } in cases()
    {
        let world = World::new().await;
        let first = world.run(tool, call(1), params.clone()).await.unwrap();
        let mut second = world.run(tool, call(1), params).await.unwrap();
        if tool == "createBranch" {
            assert_eq!(
                (&first["created"], &second["created"]),
                (&json!(true), &json!(false))
            );
            second["created"] = json!(true);
        }
        assert_eq!(first, second, "{tool}");
        assert_eq!(world.count(effect), 1, "{tool}");
    }
}

#[tokio::test]
async fn a_lost_request_or_answer_leaves_one_effect() {
    let lost = || {
        [
            FaultKind::DropAfterEffect,
            FaultKind::DropBeforeEffect,
            FaultKind::Status {
                status: 502,
                body: None,
                moment: Moment::AfterEffect,
            },
        ]
    };
    for Case {
        tool,
        params,
        changes,
        effect,
    } in cases()
    {
        for (method, path) in changes {
            for kind in lost() {
                let world = World::new().await;
                world.fault(Fault::once(method, path, kind.clone()));
                let error = world
                    .run(tool, call(1), params.clone())
                    .await
                    .unwrap_err()
                    .error;
                assert_eq!(
                    error.class,
                    ErrorClass::Retryable,
                    "{tool} {path} {kind:?}: {error:?}"
                );
                world.run(tool, call(1), params.clone()).await.unwrap();
                assert_eq!(world.count(effect), 1, "{tool} {path} {kind:?}");
                // And once more: what was found is found again.
                world.run(tool, call(1), params.clone()).await.unwrap();
                assert_eq!(world.count(effect), 1, "{tool} {path} {kind:?}");
            }
        }
    }
}

#[tokio::test]
async fn workers_with_the_same_job_at_once_have_one_effect() {
    // Comments are tried in `odd`, where they can be deleted.
    for Case {
        tool,
        params,
        effect,
        ..
    } in cases().into_iter().filter(|c| c.tool != "addComment")
    {
        let world = World::new().await;
        let results = world
            .run_at_once(tool, vec![call(1), call(1), call(1)], &params)
            .await;
        let identity = |output: &Value| match tool {
            "createBranch" => output["sha"].clone(),
            "commitFiles" => output["commit_sha"].clone(),
            _ => output["number"].clone(),
        };
        let outputs: Vec<Value> = results
            .into_iter()
            .map(|result| identity(&result.unwrap()))
            .collect();
        assert!(
            outputs.iter().all(|output| *output == outputs[0]),
            "{tool} {outputs:?}"
        );
        assert_eq!(world.count(effect), 1, "{tool}");
    }
}

#[tokio::test]
async fn another_step_has_its_own_comment() {
    let world = World::new().await;
    let params = here(json!({ "number": 1, "body": "Working on it." }));
    let first = world
        .run("addComment", call(1), params.clone())
        .await
        .unwrap();
    let second = world.run("addComment", call(2), params).await.unwrap();
    assert_ne!(first["id"], second["id"]);
    let comments = world.issue().comments;
    assert_eq!(comments.len(), 2);
    assert!(comments[0].starts_with("Working on it.\n\n<!-- afu9:key="));
}

#[tokio::test]
async fn a_quoted_marker_does_not_silence_another_step() {
    let world = World::new().await;
    let quoted = format!("they wrote <!-- afu9:key={} -->", call(2).idempotency_key);
    world
        .run(
            "addComment",
            call(1),
            here(json!({ "number": 1, "body": quoted })),
        )
        .await
        .unwrap();
    world
        .run(
            "addComment",
            call(2),
            here(json!({ "number": 1, "body": "mine" })),
        )
        .await
        .unwrap();
    assert_eq!(world.issue().comments.len(), 2);
}

#[tokio::test]
async fn a_comment_is_found_among_hundreds() {
    let world = World::new().await;
    let key = call(500).idempotency_key;
    for step in 0..250 {
        let params = json!({ "body": "chatter" });
        let path = "/repos/octo/factory/issues/1/comments";
        if step == 120 {
            let marked = here(json!({ "number": 1, "body": format!("of {key}") }));
            world.run("addComment", call(500), marked).await.unwrap();
        }
        world.send(Request::post(path.to_owned(), &params)).await;
    }
    let again = here(json!({ "number": 1, "body": "again" }));
    world.run("addComment", call(500), again).await.unwrap();
    assert_eq!(world.issue().comments.len(), 251);
}

#[tokio::test]
async fn a_worker_that_was_quicker_with_the_same_job_did_the_work() {
    for (tool, (method, path), message) in [
        (
            "createBranch",
            ("POST", "/git/refs"),
            "Reference already exists",
        ),
        (
            "commitFiles",
            ("PATCH", "/git/refs"),
            "Update is not a fast forward",
        ),
        (
            "createPullRequest",
            ("POST", "/pulls"),
            "A pull request already exists for octo:x.",
        ),
    ] {
        let case = cases().into_iter().find(|case| case.tool == tool).unwrap();
        let world = World::new().await;
        world.fault(Fault::once(
            method,
            path,
            too_late(message, Moment::AfterEffect),
        ));
        let first = world.run(tool, call(1), case.params.clone()).await.unwrap();
        assert_eq!(
            first,
            world.run(tool, call(1), case.params).await.unwrap(),
            "{tool}"
        );
        assert_eq!(world.count(case.effect), 1, "{tool}");
    }
}

#[tokio::test]
async fn an_app_works_like_a_token_and_survives_its_loss() {
    let apps = vec![AppSeed::installed_on(7, 9, "octo")];
    let config = SimulationConfig {
        apps,
        ..SimulationConfig::demo()
    };
    let world = World::with(config, |base_url| github_app(base_url, None)).await;
    for Case {
        tool,
        params,
        effect,
        ..
    } in cases()
    {
        world.run(tool, call(1), params.clone()).await.unwrap();
        world.run(tool, call(1), params).await.unwrap();
        assert_eq!(world.count(effect), 1, "{tool}");
    }
    assert_eq!(world.count(EffectKind::CreateAccessToken), 1);
    assert!(world.simulation.handle.revoke_token("installation-9"));
    world
        .run("getIssue", call(1), here(json!({ "number": 1 })))
        .await
        .unwrap();
    assert_eq!(world.count(EffectKind::CreateAccessToken), 2);

    let elsewhere = json!({ "owner": "nobody", "repo": "nothing", "number": 1 });
    let error = world
        .run("getIssue", call(1), elsewhere)
        .await
        .unwrap_err()
        .error;
    assert_eq!(error.code, "github.not_found");
    assert!(error.message.contains("installation"), "{}", error.message);
}
