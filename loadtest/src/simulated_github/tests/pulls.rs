//! Pull requests from the branch to the merge.

use super::*;

#[tokio::test]
async fn a_change_becomes_a_merged_pull_request() {
    let github = Github::demo().await;
    let sha = github
        .branch("afu9/issue-1", "src/login.rs", "fn login() {}\n")
        .await;
    let opened = github.open_pull("afu9/issue-1").await;
    assert_eq!(opened.status, 201);
    let pull = opened.json();
    assert_eq!(
        (&pull["number"], &pull["state"]),
        (&json!(2), &json!("open"))
    );
    assert_eq!(
        (&pull["head"]["sha"], &pull["head"]["ref"]),
        (&json!(sha), &json!("afu9/issue-1"))
    );
    assert_eq!(
        (&pull["mergeable"], &pull["commits"]),
        (&json!(true), &json!(1))
    );

    let found = github
        .get(&format!("{REPO}/pulls?head=octo:afu9/issue-1&base=main"))
        .await
        .json();
    assert_eq!(found[0]["number"], 2);
    let other = github
        .get(&format!("{REPO}/pulls?head=other:afu9/issue-1"))
        .await
        .json();
    assert_eq!(other, json!([]));
    let files = github.get(&format!("{REPO}/pulls/2/files")).await.json();
    assert_eq!(
        (&files[0]["filename"], &files[0]["status"]),
        (&json!("src/login.rs"), &json!("added"))
    );
    let diff = github
        .request(Method::GET, &format!("{REPO}/pulls/2"))
        .header("accept", "application/vnd.github.v3.diff");
    assert!(
        github
            .send(diff)
            .await
            .text
            .starts_with("diff --git a/src/login.rs b/src/login.rs\n")
    );
    let issues = github.get(&format!("{REPO}/issues")).await.json();
    assert!(issues[0]["pull_request"]["url"].is_string() && issues[1]["pull_request"].is_null());
    assert_eq!(github.get(&format!("{REPO}/pulls/1")).await.status, 404);

    let merge = format!("{REPO}/pulls/2/merge");
    let wrong = github
        .with_body(Method::PUT, &merge, json!({"sha": "0".repeat(40)}))
        .await;
    assert_eq!(wrong.status, 409);
    let merged = github
        .with_body(Method::PUT, &merge, json!({"sha": sha}))
        .await;
    assert_eq!(
        (merged.status.as_u16(), &merged.json()["merged"]),
        (200, &json!(true))
    );
    assert_eq!(merged.json()["sha"], github.tip("main").await);
    assert_eq!(
        github
            .with_body(Method::PUT, &merge, json!({}))
            .await
            .status,
        405
    );
    let state = github.handle().state("octo/factory").expect("it exists");
    assert!(state.pull_requests[0].merged);
    assert_eq!(state.branches["main"], merged.json()["sha"]);
    let expected = [
        EffectKind::CreateTree,
        EffectKind::CreateCommit,
        EffectKind::CreateRef,
        EffectKind::CreatePullRequest,
        EffectKind::MergePullRequest,
    ];
    assert_eq!(github.kinds(), expected);
    assert_eq!(
        github.handle().effects()[3].marker.as_deref(),
        Some("key-1")
    );
}

#[tokio::test]
async fn a_pull_request_needs_commits_and_is_unique() {
    let github = Github::demo().await;
    let main = github.tip("main").await;
    let body = json!({"ref": "refs/heads/empty", "sha": main});
    github.post(&format!("{REPO}/git/refs"), body).await;
    let empty = github.open_pull("empty").await;
    assert_eq!(
        empty.why(),
        (422, "No commits between main and empty".to_owned())
    );
    let invalid = github.open_pull("none").await.json();
    assert_eq!(invalid["message"], "Validation Failed");
    assert_eq!(
        invalid["errors"][0],
        json!({"resource": "PullRequest", "field": "head", "code": "invalid"})
    );
    github.branch("x", "x", "x").await;
    assert_eq!(github.open_pull("octo:x").await.status, 201);
    let again = github.open_pull("x").await;
    assert_eq!(
        again.why(),
        (422, "A pull request already exists for octo:x.".to_owned())
    );
    let close = json!({"state": "closed"});
    github
        .with_body(Method::PATCH, &format!("{REPO}/pulls/2"), close)
        .await;
    assert_eq!(github.open_pull("x").await.status, 201);
}

#[tokio::test]
async fn conflicts_are_seen_and_heads_are_followed() {
    let github = Github::demo().await;
    github.branch("x", "README.md", "theirs\n").await;
    github.open_pull("x").await;
    let moved = github
        .handle()
        .push("octo/factory", "x", &[("more", "m")], "more")
        .expect("a push");
    let pull = github.get(&format!("{REPO}/pulls/2")).await.json();
    assert_eq!(
        (&pull["head"]["sha"], &pull["commits"]),
        (&json!(moved), &json!(2))
    );
    github
        .handle()
        .push("octo/factory", "main", &[("README.md", "ours\n")], "o")
        .expect("a push");
    let pull = github.get(&format!("{REPO}/pulls/2")).await.json();
    assert_eq!(
        (&pull["mergeable"], &pull["mergeable_state"]),
        (&json!(false), &json!("dirty"))
    );
    let merge = format!("{REPO}/pulls/2/merge");
    let answer = github.with_body(Method::PUT, &merge, json!({})).await;
    assert_eq!(
        answer.why(),
        (405, "Pull Request is not mergeable".to_owned())
    );
    let branch = github.request(Method::DELETE, &format!("{REPO}/git/refs/heads/x"));
    assert_eq!(github.send(branch).await.status, 204);
    assert_eq!(
        github.get(&format!("{REPO}/pulls/2")).await.json()["state"],
        "closed"
    );
}

#[tokio::test]
async fn squash_and_rebase_keep_the_history_linear() {
    let github = Github::demo().await;
    for (number, method) in [(2, "squash"), (3, "rebase")] {
        github.branch(method, method, "x").await;
        github
            .handle()
            .push("octo/factory", method, &[("more", method)], "more")
            .expect("a push");
        github
            .handle()
            .push(
                "octo/factory",
                "main",
                &[(&format!("m-{method}"), "m")],
                "m",
            )
            .expect("a push");
        assert_eq!(github.open_pull(method).await.json()["number"], number);
        let path = format!("{REPO}/pulls/{number}/merge");
        let merged = github
            .with_body(Method::PUT, &path, json!({"merge_method": method}))
            .await;
        assert_eq!(merged.status, 200, "{}", merged.text);
        let tip = github.get(&format!("{REPO}/commits/main")).await.json();
        assert_eq!(tip["parents"].as_array().map(Vec::len), Some(1));
        assert_eq!(
            github
                .get(&format!("{REPO}/contents/{method}"))
                .await
                .status,
            200
        );
    }
}
