//! Issues, comments, labels, pages.

use super::*;

#[tokio::test]
async fn an_issue_is_read_changed_and_discussed() {
    let github = Github::demo().await;
    let path = format!("{REPO}/issues/1");
    let issue = github.get(&path).await.json();
    assert_eq!(issue["title"], "Login button does nothing");
    assert_eq!(issue["labels"][0]["name"], "bug");
    assert_eq!(github.get(&format!("{REPO}/issues/99")).await.status, 404);
    assert_eq!(github.get(&format!("{REPO}/issues/abc")).await.status, 404);

    let comments = format!("{path}/comments");
    let comment = github
        .post(&comments, json!({"body": "hello <!-- afu9:k -->"}))
        .await;
    assert_eq!(comment.status, 201);
    assert_eq!(
        github.get(&comments).await.json()[0]["id"],
        comment.json()["id"]
    );
    let effects = github.handle().effects();
    assert_eq!(effects[0].marker.as_deref(), Some("afu9:k"));
    assert_eq!(
        (effects[0].subject.as_str(), effects[0].token.as_str()),
        ("#1", "sim-token")
    );
    assert_eq!(effects[0].request_id, comment.header("x-github-request-id"));

    let labels = github
        .post(&format!("{path}/labels"), json!({"labels": ["p1", "BUG"]}))
        .await;
    assert_eq!(labels.json().as_array().map(Vec::len), Some(2));
    let body =
        json!({"state": "closed", "state_reason": "not_planned", "labels": ["done"], "body": null});
    let closed = github.with_body(Method::PATCH, &path, body).await.json();
    assert_eq!(closed["state"], "closed");
    assert_eq!(closed["state_reason"], "not_planned");
    assert_eq!(closed["labels"][0]["name"], "done");
    assert!(closed["body"].is_null() && closed["closed_at"].is_string());
    let bad = github
        .with_body(Method::PATCH, &path, json!({"state": "gone"}))
        .await;
    assert_eq!(bad.status, 422);
    let expected = [
        EffectKind::CreateComment,
        EffectKind::AddLabels,
        EffectKind::UpdateIssue,
    ];
    assert_eq!(github.kinds(), expected);
}

#[tokio::test]
async fn a_comment_is_deleted_once() {
    let github = Github::demo().await;
    let comments = format!("{REPO}/issues/1/comments");
    let mut ids = Vec::new();
    for text in ["first <!-- afu9:k -->", "second <!-- afu9:k -->"] {
        let comment = github.post(&comments, json!({"body": text})).await.json();
        ids.push(comment["id"].as_u64().expect("an id"));
    }
    let second = format!("{REPO}/issues/comments/{}", ids[1]);
    let deleted = github.send(github.request(Method::DELETE, &second)).await;
    assert_eq!((deleted.status.as_u16(), deleted.text.as_str()), (204, ""));
    let left = github.get(&comments).await.json();
    assert_eq!(left.as_array().map(Vec::len), Some(1));
    assert_eq!(left[0]["id"], ids[0]);
    for gone in [second, format!("{REPO}/issues/comments/abc")] {
        let answer = github.send(github.request(Method::DELETE, &gone)).await;
        assert_eq!(answer.why(), (404, "Not Found".to_owned()));
    }
    let expected = [
        EffectKind::CreateComment,
        EffectKind::CreateComment,
        EffectKind::DeleteComment,
    ];
    assert_eq!(github.kinds(), expected);
    let effects = github.handle().effects();
    assert_eq!(effects[2].subject, "#1");
    assert_eq!(effects[2].marker.as_deref(), Some("afu9:k"));
}

#[tokio::test]
async fn mistakes_in_bodies_are_answered_as_github_does() {
    let github = Github::demo().await;
    let issues = format!("{REPO}/issues");
    let broken = github.request(Method::POST, &issues).body("{");
    assert_eq!(
        github.send(broken).await.why(),
        (400, "Problems parsing JSON".to_owned())
    );
    let missing = github.post(&issues, json!({})).await;
    assert_eq!(
        missing.why().1,
        "Invalid request.\n\n\"title\" wasn't supplied."
    );
    let blank = github.post(&issues, json!({"title": " "})).await.json();
    assert_eq!(blank["errors"][0]["code"], "missing_field");
    assert_eq!(blank["status"], "422");
    assert!(blank["documentation_url"].is_string());
    assert!(github.kinds().is_empty());
}

#[tokio::test]
async fn lists_are_filtered_and_come_in_pages() {
    let github = Github::demo().await;
    let made = github.post(
        "/_sim/issues/octo/factory",
        json!({"count": 24, "labels": ["load"]}),
    );
    assert_eq!(
        made.await.json(),
        json!({"first": 2, "last": 25, "count": 24})
    );
    let issues = format!("{REPO}/issues");
    assert_eq!(
        github
            .post(&issues, json!({"title": "n", "labels": [{"name": "x"}]}))
            .await
            .json()["number"],
        26
    );

    let mut next = Some(format!("{issues}?labels=load&per_page=10"));
    let mut numbers = Vec::new();
    let mut pages = 0;
    while let Some(path) = next.take() {
        let answer = github.get(&path).await;
        numbers.extend(
            answer
                .json()
                .as_array()
                .expect("a list")
                .iter()
                .map(|i| i["number"].as_u64()),
        );
        pages += 1;
        let link = answer.header("link");
        next = link
            .split(", ")
            .find(|part| part.ends_with("rel=\"next\""))
            .and_then(|part| part.split(['<', '>']).nth(1))
            .and_then(|url| url.strip_prefix(&github.running.base_url))
            .map(str::to_owned);
    }
    assert_eq!(pages, 3);
    assert_eq!(numbers, (2..=25).rev().map(Some).collect::<Vec<_>>());

    let count = async |query: &str| {
        let list = github.get(&format!("{issues}?{query}")).await.json();
        list.as_array().expect("a list").len()
    };
    assert_eq!(count("per_page=100").await, 26);
    assert_eq!(count("").await, 26);
    assert_eq!(count("labels=load,bug").await, 0);
    assert_eq!(count("labels=Bug").await, 1);
    assert_eq!(count("state=closed").await, 0);
    assert_eq!(count("since=2999-01-01T00:00:00Z").await, 0);
    assert_eq!(github.get(&format!("{issues}?state=odd")).await.status, 422);
}
