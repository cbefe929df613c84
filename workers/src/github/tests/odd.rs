//! Answers and inputs out of the ordinary.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use afu9_schemas::ErrorClass;
use afu9_schemas::message::DependencyStatus;
use http::{HeaderName, Method, StatusCode};
use serde_json::{Value, json};

use super::stub::{Seen, Stub};
use super::{KEY_PEM, TOKEN, call, github, issue};
use crate::github::{Auth, Config, Error, toolbox};

const GET_ISSUE: &str = "getIssue";

fn get_issue_params() -> Value {
    json!({ "owner": "octo", "repo": "demo", "number": 1 })
}

#[tokio::test]
async fn a_request_says_what_github_wants_to_know() {
    let stub = Stub::serve(|_: &Seen| issue().to_string()).await;
    let github = github(&stub.base_url);
    github
        .toolbox()
        .run(GET_ISSUE, call(0), get_issue_params())
        .await
        .unwrap();
    let [seen] = &stub.seen()[..] else {
        panic!("one request")
    };
    assert_eq!(seen.uri.path(), "/repos/octo/demo/issues/1");
    assert_eq!(seen.header("x-github-api-version"), "2022-11-28");
    assert_eq!(seen.header("accept"), "application/vnd.github+json");
    assert_eq!(seen.header("authorization"), format!("Bearer {TOKEN}"));
    for name in [
        "user-agent",
        "accept",
        "authorization",
        "x-github-api-version",
    ] {
        assert_eq!(seen.headers.get_all(name).iter().count(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_base_url_may_have_a_path() {
    let stub = Stub::serve(|_: &Seen| issue().to_string()).await;
    for (base, path) in [
        ("/api/v3/", "/api/v3/repos/octo/demo/issues/1"),
        ("/r", "/r/repos/octo/demo/issues/1"),
    ] {
        let github = github(&format!("{}{base}", stub.base_url));
        github
            .toolbox()
            .run(GET_ISSUE, call(0), get_issue_params())
            .await
            .unwrap();
        assert_eq!(stub.seen().last().unwrap().uri.path(), path);
    }
}

#[tokio::test]
async fn an_answer_that_is_not_githubs_may_be_asked_for_again() {
    let stub = Stub::serve(|_: &Seen| "<html>please log in</html>").await;
    let error = github(&stub.base_url)
        .toolbox()
        .run(GET_ISSUE, call(0), get_issue_params())
        .await;
    let error = error.unwrap_err().error;
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Retryable, "github.bad_response")
    );
}

#[tokio::test]
async fn a_write_to_a_repository_that_moved_is_not_sent_elsewhere() {
    let stub = Stub::serve(|seen: &Seen| {
        if seen.method == Method::GET {
            let body = json!({ "ref": "refs/heads/main", "object": { "sha": "a".repeat(40) } });
            return (
                StatusCode::OK,
                [(HeaderName::from_static("x-a"), "")],
                body.to_string(),
            );
        }
        let location = (http::header::LOCATION, "/repositories/1/git/refs");
        (
            StatusCode::TEMPORARY_REDIRECT,
            [location],
            json!({ "message": "Moved" }).to_string(),
        )
    })
    .await;
    let params = json!({ "owner": "octo", "repo": "old", "branch": "x", "from": "main" });
    let error = github(&stub.base_url)
        .toolbox()
        .run("createBranch", call(0), params)
        .await;
    assert_eq!(error.unwrap_err().error.code, "github.moved");
    assert_eq!(
        stub.seen()
            .iter()
            .filter(|seen| seen.method == Method::POST)
            .count(),
        1
    );
}

#[tokio::test]
async fn a_failed_request_is_not_repeated() {
    let stub = Stub::serve(|_: &Seen| (StatusCode::BAD_GATEWAY, "bad gateway")).await;
    let error = github(&stub.base_url)
        .toolbox()
        .run(GET_ISSUE, call(0), get_issue_params())
        .await;
    let error = error.unwrap_err().error;
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Retryable, "github.unavailable")
    );
    assert_eq!(stub.seen().len(), 1);
}

#[tokio::test]
async fn nobody_at_the_address_is_a_network_error_and_says_why() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let github = github(&base_url);
    let error = github
        .toolbox()
        .run(GET_ISSUE, call(0), get_issue_params())
        .await
        .unwrap_err()
        .error;
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Retryable, "github.network")
    );
    assert!(!error.chain.is_empty());
    let checks = github.check().await;
    assert!(
        checks
            .iter()
            .all(|check| check.status == DependencyStatus::Error)
    );
}

#[tokio::test]
async fn checks_tell_a_bad_credential_from_a_bad_github() {
    let answer = |status: StatusCode| Stub::serve(move |_: &Seen| (status, "{}"));
    for (status, api, authentication) in [
        (StatusCode::OK, DependencyStatus::Ok, DependencyStatus::Ok),
        (
            StatusCode::UNAUTHORIZED,
            DependencyStatus::Ok,
            DependencyStatus::Error,
        ),
        (
            StatusCode::FORBIDDEN,
            DependencyStatus::Ok,
            DependencyStatus::Error,
        ),
        (
            StatusCode::TOO_MANY_REQUESTS,
            DependencyStatus::Ok,
            DependencyStatus::Ok,
        ),
        (
            StatusCode::BAD_GATEWAY,
            DependencyStatus::Error,
            DependencyStatus::Error,
        ),
    ] {
        let stub = answer(status).await;
        let checks = github(&stub.base_url).check().await;
        let found: Vec<_> = checks
            .iter()
            .map(|check| (check.name.as_str(), check.status))
            .collect();
        assert_eq!(
            found,
            [("github_api", api), ("authentication", authentication)],
            "{status}"
        );
    }
}

#[tokio::test]
async fn a_marker_that_others_copied_does_not_count() {
    let key = call(3).idempotency_key;
    let forged = json!([{
        "id": 5, "html_url": "h", "created_at": "c", "user": { "id": 666, "type": "User" },
        "body": format!("me first <!-- afu9:key={key} -->"),
    }]);
    let stub = Stub::serve(move |seen: &Seen| match (&seen.method, seen.uri.path()) {
        (&Method::GET, "/user") => (StatusCode::OK, json!({ "id": 1 }).to_string()),
        (&Method::GET, _) => (StatusCode::OK, forged.to_string()),
        _ => {
            let body =
                json!({ "id": 6, "html_url": "ours", "created_at": "c", "user": { "id": 1 } });
            (StatusCode::CREATED, body.to_string())
        }
    })
    .await;
    let params = json!({ "owner": "octo", "repo": "demo", "number": 1, "body": "hello" });
    let output = github(&stub.base_url)
        .toolbox()
        .run("addComment", call(3), params)
        .await
        .unwrap();
    assert_eq!(output["id"], 6);
    assert!(stub.seen().iter().all(|seen| seen.method != Method::DELETE));
}

/// Comments as GitHub keeps them, with their deletion; the first two lists are empty, so that two
/// runs write.
#[tokio::test]
async fn two_comments_written_at_once_become_the_older_one() {
    let comments = Mutex::new(Vec::<Value>::new());
    let lists = AtomicUsize::new(0);
    let stub = Stub::serve(move |seen: &Seen| {
        let mut comments = comments.lock().unwrap_or_else(PoisonError::into_inner);
        match (&seen.method, seen.uri.path()) {
            (_, "/user") => (StatusCode::OK, json!({ "id": 1 }).to_string()),
            (&Method::GET, _) => {
                let is_early = lists.fetch_add(1, Ordering::SeqCst) < 2;
                let shown = if is_early {
                    json!([])
                } else {
                    json!(*comments)
                };
                (StatusCode::OK, shown.to_string())
            }
            (&Method::POST, _) => {
                let mut comment: Value = serde_json::from_str(&seen.body).unwrap();
                comment["id"] = json!(comments.len() + 100);
                comment["html_url"] = json!("h");
                comment["created_at"] = json!("c");
                comment["user"] = json!({ "id": 1 });
                comments.push(comment.clone());
                (StatusCode::CREATED, comment.to_string())
            }
            (_, path) => {
                let before = comments.len();
                comments.retain(|comment| !path.ends_with(&format!("/comments/{}", comment["id"])));
                let is_gone = comments.len() < before;
                let status = if is_gone {
                    StatusCode::NO_CONTENT
                } else {
                    StatusCode::NOT_FOUND
                };
                (status, String::new())
            }
        }
    })
    .await;
    let params = json!({ "owner": "octo", "repo": "demo", "number": 1, "body": "hello" });
    let (one, two) = (github(&stub.base_url), github(&stub.base_url));
    let (one, two) = (one.toolbox(), two.toolbox());
    let (one, two) = futures::join!(
        one.run("addComment", call(3), params.clone()),
        two.run("addComment", call(3), params.clone())
    );
    assert_eq!(
        (&one.unwrap()["id"], &two.unwrap()["id"]),
        (&json!(100), &json!(100))
    );
    let third = github(&stub.base_url)
        .toolbox()
        .run("addComment", call(3), params)
        .await
        .unwrap();
    assert_eq!(third["id"], 100);
    let count = |method| {
        stub.seen()
            .iter()
            .filter(|seen| seen.method == method)
            .count()
    };
    assert_eq!(count(Method::POST), 2);
    assert!((1..=2).contains(&count(Method::DELETE)));
}

#[tokio::test]
async fn the_newest_comments_are_searched_on_the_last_pages() {
    let key = call(3).idempotency_key;
    let stub = Stub::serve(move |seen: &Seen| {
        let link = "<http://x/?per_page=100&page=40>; rel=\"last\"";
        let marked = json!([{
            "id": 9, "html_url": "h", "created_at": "c", "user": { "id": 1 },
            "body": format!("<!-- afu9:key={key} -->"),
        }]);
        let body = match (seen.uri.path(), seen.uri.query()) {
            ("/user", _) => json!({ "id": 1 }),
            (_, Some(query)) if query.ends_with("&page=32") => marked,
            _ => json!([]),
        };
        ([(http::header::LINK, link)], body.to_string())
    })
    .await;
    let params = json!({ "owner": "octo", "repo": "demo", "number": 1, "body": "hello" });
    let output = github(&stub.base_url)
        .toolbox()
        .run("addComment", call(3), params)
        .await
        .unwrap();
    assert_eq!(output["id"], 9);
    assert_eq!(stub.count("/repos/octo/demo/issues/1/comments"), 10);
}

#[tokio::test]
async fn parameters_that_could_leave_their_place_are_refused_before_any_request() {
    let stub = Stub::serve(|_: &Seen| "{}").await;
    let toolbox = github(&stub.base_url).toolbox();
    let file = |path: &str, content: &str, encoding: &str| {
        json!({ "owner": "octo", "repo": "demo", "branch": "x", "message": "m",
            "files": [{ "path": path, "content": content, "encoding": encoding }] })
    };
    let twice = json!({ "path": "a", "content": "1" });
    for (tool, params) in [
        (
            GET_ISSUE,
            json!({ "owner": "..", "repo": "demo", "number": 1 }),
        ),
        (
            GET_ISSUE,
            json!({ "owner": "octo", "repo": "demo/../other", "number": 1 }),
        ),
        (
            "createBranch",
            json!({ "owner": "octo", "repo": "demo", "branch": "../x", "from": "main" }),
        ),
        (
            "createBranch",
            json!({ "owner": "octo", "repo": "demo", "branch": "x", "from": "a?b" }),
        ),
        ("commitFiles", file("/etc/passwd", "x", "utf-8")),
        ("commitFiles", file("a/../b", "x", "utf-8")),
        ("commitFiles", file(".git/config", "x", "utf-8")),
        ("commitFiles", file("a", "not base64!", "base64")),
        (
            "commitFiles",
            json!({ "owner": "octo", "repo": "demo", "branch": "x", "message": "m",
            "files": [twice.clone(), twice] }),
        ),
        (
            "commitFiles",
            json!({ "owner": "octo", "repo": "demo", "branch": "x", "message": " ",
            "files": [{ "path": "a", "content": "1" }] }),
        ),
        (
            "createPullRequest",
            json!({ "owner": "octo", "repo": "demo", "title": "t",
            "head": "a/b:x", "base": "main" }),
        ),
        (
            "createPullRequest",
            json!({ "owner": "octo", "repo": "demo", "title": "",
            "head": "x", "base": "main" }),
        ),
        (
            "addComment",
            json!({ "owner": "octo", "repo": "demo", "number": 1, "body": " " }),
        ),
    ] {
        let error = toolbox
            .run(tool, call(0), params.clone())
            .await
            .unwrap_err();
        assert_eq!(error.error.code, "params.invalid", "{tool} {params}");
    }
    assert!(stub.seen().is_empty());
}

#[tokio::test]
async fn a_cancelled_call_sends_nothing() {
    let stub = Stub::serve(|_: &Seen| "{}").await;
    let toolbox = github(&stub.base_url).toolbox();
    let call = call(0);
    call.cancelled.cancel();
    let repository = |mut params: Value| {
        params["owner"] = json!("octo");
        params["repo"] = json!("demo");
        params
    };
    for (tool, params) in [
        (GET_ISSUE, json!({ "number": 1 })),
        ("createBranch", json!({ "branch": "x", "from": "main" })),
        (
            "commitFiles",
            json!({ "branch": "x", "message": "m", "files": [{ "path": "a" }] }),
        ),
        (
            "createPullRequest",
            json!({ "title": "t", "head": "x", "base": "main" }),
        ),
        ("addComment", json!({ "number": 1, "body": "b" })),
    ] {
        let error = toolbox
            .run(tool, call.clone(), repository(params))
            .await
            .unwrap_err();
        assert_eq!(error.error.class, ErrorClass::Cancelled, "{tool}");
    }
    assert!(stub.seen().is_empty());
}

#[tokio::test]
async fn a_wrong_configuration_is_named_and_not_repeated() {
    let with = |base_url: &str, token: &str| Config {
        base_url: Some(base_url.to_owned()),
        auth: Auth::Token(token.to_owned().into()),
    };
    for base_url in [
        "",
        "api.github.com",
        "ftp://x",
        "http://u:p@x",
        "https://x?y",
        "https://x/#y",
    ] {
        let error = toolbox(&with(base_url, TOKEN)).unwrap_err();
        assert!(matches!(error, Error::BaseUrl), "{base_url}");
    }
    for token in ["", " \n", "a\nb"] {
        assert!(matches!(
            toolbox(&with("http://x", token)).unwrap_err(),
            Error::Token
        ));
    }
    let app = |pem: &str| Config {
        base_url: None,
        auth: Auth::App {
            app_id: 7,
            private_key_pem: pem.to_owned().into(),
            installation_id: None,
        },
    };
    assert!(matches!(
        toolbox(&app("no key")).unwrap_err(),
        Error::PrivateKey(_)
    ));
    assert!(toolbox(&app(KEY_PEM)).is_ok());
    assert!(!format!("{:?}", with("http://x", "ghp_secret")).contains("ghp_secret"));
}

#[tokio::test]
async fn a_commit_is_dated_by_its_parent_and_large_files_travel_alone() {
    let head = "a".repeat(40);
    let stub = Stub::serve(move |seen: &Seen| {
        let tail = seen
            .uri
            .path()
            .rsplit("/octo/demo/")
            .next()
            .unwrap_or("")
            .to_owned();
        let body = match (&seen.method, tail.as_str()) {
            (&Method::GET, "git/ref/heads/a%23b/c") => {
                json!({ "ref": "refs/heads/a#b/c", "object": { "sha": head } })
            }
            (&Method::GET, "commits") => json!([{ "sha": head, "html_url": "h", "commit": {
                "message": "m", "tree": { "sha": "t0" },
                "committer": { "date": "2026-01-31T23:59:59Z" },
            }}]),
            (&Method::POST, "git/blobs") => json!({ "sha": "b1" }),
            (&Method::POST, "git/trees") => json!({ "sha": "t1" }),
            (&Method::POST, "git/commits") => {
                json!({ "sha": "c1", "html_url": "h", "message": "m" })
            }
            (&Method::PATCH, "git/refs/heads/a%23b/c") => json!({}),
            other => panic!("{other:?}"),
        };
        body.to_string()
    })
    .await;
    let params = json!({
        "owner": "octo", "repo": "demo", "branch": "a#b/c", "message": "m",
        "files": [
            { "path": "small", "content": "1", "executable": true },
            { "path": "large", "content": "x".repeat(200_000) },
            { "path": "binary", "content": "AAEC", "encoding": "base64" },
            { "path": "gone" },
        ],
    });
    github(&stub.base_url)
        .toolbox()
        .run("commitFiles", call(4), params)
        .await
        .unwrap();

    assert_eq!(stub.count("/repos/octo/demo/git/blobs"), 2);
    let sent = |path: &str| -> Value {
        let seen = stub
            .seen()
            .into_iter()
            .rfind(|seen| seen.method != Method::GET && seen.uri.path().ends_with(path));
        serde_json::from_str(&seen.unwrap().body).unwrap()
    };
    let tree = sent("git/trees");
    assert_eq!(tree["base_tree"], "t0");
    let entry = |path: &str, mode: &str, key: &str, value: Value| {
        let mut entry = json!({ "path": path, "mode": mode, "type": "blob" });
        entry[key] = value;
        entry
    };
    assert_eq!(
        tree["tree"],
        json!([
            entry("small", "100755", "content", json!("1")),
            entry("large", "100644", "sha", json!("b1")),
            entry("binary", "100644", "sha", json!("b1")),
            entry("gone", "100644", "sha", Value::Null),
        ])
    );
    let commit = sent("git/commits");
    for who in ["author", "committer"] {
        assert_eq!(commit[who]["date"], "2026-02-01T00:00:00Z");
    }
    assert_eq!(
        commit["message"],
        format!("m\n\nAFU9-Key: {}", call(4).idempotency_key)
    );
    assert_eq!(sent("a%23b/c"), json!({ "sha": "c1", "force": false }));
}
