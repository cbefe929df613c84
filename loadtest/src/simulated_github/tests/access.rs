//! Tokens, permissions, rate limits, headers.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};

use super::super::{Access, Anonymous, AppSeed, RepositorySeed, TokenSeed, Visibility};
use super::*;

fn config() -> Config {
    let secret = RepositorySeed {
        visibility: Visibility::Private,
        ..RepositorySeed::demo("octo/secret")
    };
    let mut config = Config::demo();
    config.repositories.push(secret);
    let reader = [("octo/secret", Access::Read)];
    config
        .tokens
        .push(TokenSeed::with_access("reader", "reader-value", reader));
    config
        .tokens
        .push(TokenSeed::with_access("stranger", "stranger-value", []));
    config.tokens.push(TokenSeed {
        expires_at: Some(DateTime::UNIX_EPOCH),
        ..TokenSeed::writer("old", "old-value")
    });
    config.apps.push(AppSeed::installed_on(77, 5, "octo"));
    config
}

#[tokio::test]
async fn credentials_decide() {
    let mut github = Github::start(config()).await;
    let issue = json!({"title": "t"});
    for value in ["old-value", "unknown"] {
        github.token = value.to_owned();
        assert_eq!(
            github.get(REPO).await.why(),
            (401, "Bad credentials".to_owned())
        );
    }
    github.token = "stranger-value".to_owned();
    assert_eq!(github.get(REPO).await.json()["permissions"]["push"], false);
    assert_eq!(github.get("/repos/octo/secret").await.status, 404);
    assert_eq!(
        github
            .post("/repos/octo/secret/issues", issue.clone())
            .await
            .status,
        404
    );
    let refused = github.post(&format!("{REPO}/issues"), issue.clone()).await;
    assert_eq!(
        refused.why(),
        (
            403,
            "Resource not accessible by personal access token".to_owned()
        )
    );
    github.token = "reader-value".to_owned();
    assert_eq!(github.get("/repos/octo/secret/issues/1").await.status, 200);
    assert_eq!(
        github
            .post("/repos/octo/secret/issues", issue.clone())
            .await
            .status,
        403
    );
    github.token = "sim-token".to_owned();
    assert_eq!(
        github.post("/repos/OCTO/Secret/issues", issue).await.status,
        201
    );
    assert_eq!(github.get("/repos/octo/none").await.status, 404);
    assert_eq!(github.get("/none").await.status, 404);
    assert!(github.handle().revoke_token("sim-token"));
    assert_eq!(github.get(REPO).await.status, 401);
}

#[tokio::test]
async fn without_a_token_little_is_open() {
    let github = Github::demo().await;
    let anonymous = |path: &str| {
        github
            .client
            .get(format!("{}{path}", github.running.base_url))
    };
    for path in ["/", "/zen", "/meta", "/rate_limit"] {
        assert_eq!(github.send(anonymous(path)).await.status, 200, "{path}");
    }
    assert_eq!(github.send(anonymous(REPO)).await.why().0, 401);
    let head = github.client.head(format!("{}/", github.running.base_url));
    assert_eq!(github.send(head).await.status, 200);
    let nameless = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let answer = github
        .send(nameless.get(format!("{}/zen", github.running.base_url)))
        .await;
    assert_eq!(answer.status, 403);

    let open = Config {
        anonymous: Anonymous::MayRead,
        ..config()
    };
    let github = Github::start(open).await;
    let get = |path: &str| {
        github
            .client
            .get(format!("{}{path}", github.running.base_url))
    };
    assert_eq!(github.send(get(REPO)).await.status, 200);
    assert_eq!(github.send(get("/repos/octo/secret")).await.status, 404);
}

#[tokio::test]
async fn the_primary_limit_ends_and_304_is_free() {
    let config = Config {
        primary_limit: 3,
        ..Config::demo()
    };
    let github = Github::start(config).await;
    let first = github.get(REPO).await;
    assert_eq!(
        (
            first.header("x-ratelimit-limit"),
            first.header("x-ratelimit-remaining")
        ),
        ("3", "2")
    );
    assert_eq!(
        (
            first.header("x-ratelimit-used"),
            first.header("x-ratelimit-resource")
        ),
        ("1", "core")
    );
    let tag = first.header("etag");
    for _ in 0..5 {
        let same = github
            .request(Method::GET, REPO)
            .header("if-none-match", tag);
        let same = github.send(same).await;
        assert_eq!(
            (same.status.as_u16(), same.header("x-ratelimit-remaining")),
            (304, "2")
        );
    }
    let limits = github.get("/rate_limit").await.json();
    assert_eq!(limits["resources"]["core"]["remaining"], 2);
    github.get(REPO).await;
    github.get(REPO).await;
    let refused = github.get(REPO).await;
    assert_eq!(
        (
            refused.status.as_u16(),
            refused.header("x-ratelimit-remaining")
        ),
        (403, "0")
    );
    assert!(
        refused
            .why()
            .1
            .starts_with("API rate limit exceeded for user sim-bot")
    );
    let reset: i64 = refused
        .header("x-ratelimit-reset")
        .parse()
        .expect("a number");
    assert!(reset > Utc::now().timestamp());
}

#[tokio::test]
async fn too_many_writes_meet_the_secondary_limit() {
    let config = Config {
        secondary_writes_per_minute: Some(1),
        ..Config::demo()
    };
    let github = Github::start(config).await;
    let comments = format!("{REPO}/issues/1/comments");
    assert_eq!(
        github.post(&comments, json!({"body": "a"})).await.status,
        201
    );
    let refused = github.post(&comments, json!({"body": "b"})).await;
    assert_eq!(refused.status, 403);
    assert!(refused.why().1.contains("secondary rate limit"));
    assert!(
        refused
            .header("retry-after")
            .parse::<u64>()
            .is_ok_and(|seconds| seconds <= 60)
    );
    assert_eq!(github.get(&comments).await.status, 200);
}

fn jwt(issuer: Value, expires_in_s: i64) -> String {
    let now = Utc::now().timestamp();
    let claims = json!({"iss": issuer, "iat": now - 60, "exp": now + expires_in_s});
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!(
        "{}.{}.c2ln",
        part(json!({"alg": "RS256", "typ": "JWT"})),
        part(claims)
    )
}

#[tokio::test]
async fn an_app_gets_tokens_for_its_installation() {
    let mut github = Github::start(config()).await;
    assert_eq!(github.get("/app").await.status, 401);
    for bad in [
        jwt(json!(77), -1),
        jwt(json!(77), 3_600),
        "a.b.c".to_owned(),
    ] {
        github.token = bad;
        assert_eq!(github.get("/app").await.status, 401);
    }
    github.token = jwt(json!(78), 300);
    assert_eq!(github.get("/app").await.status, 404);
    github.token = jwt(json!("77"), 300);
    assert_eq!(github.get("/app").await.json()["slug"], "afu9");
    assert_eq!(github.get("/app/installations").await.json()[0]["id"], 5);
    assert_eq!(
        github.get("/repos/octo/secret/installation").await.json()["id"],
        5
    );
    assert_eq!(github.get(REPO).await.status, 403);
    let path = "/app/installations/5/access_tokens";
    assert_eq!(
        github
            .post("/app/installations/6/access_tokens", json!({}))
            .await
            .status,
        404
    );
    assert_eq!(
        github
            .post(path, json!({"repositories": ["none"]}))
            .await
            .status,
        422
    );
    let asked =
        json!({"repositories": ["factory"], "permissions": BTreeMap::from([("issues", "write")])});
    let granted = github.post(path, asked).await;
    assert_eq!(granted.status, 201);
    assert_eq!(
        granted.json()["repositories"][0]["full_name"],
        "octo/factory"
    );
    github.token = granted.json()["token"]
        .as_str()
        .expect("a token")
        .to_owned();
    assert_eq!(
        github
            .post(&format!("{REPO}/issues"), json!({"title": "t"}))
            .await
            .status,
        201
    );
    assert_eq!(github.get("/repos/octo/secret").await.status, 404);
    let blob = github
        .post(&format!("{REPO}/git/blobs"), json!({"content": "x"}))
        .await;
    assert_eq!(
        blob.why(),
        (403, "Resource not accessible by integration".to_owned())
    );
    assert!(github.handle().revoke_token("installation-5"));
    assert_eq!(github.get(REPO).await.status, 401);
}
