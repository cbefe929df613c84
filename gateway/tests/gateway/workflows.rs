//! Applying, validating and reading definitions.

use reqwest::Method;
use serde_json::json;

use crate::support::{ECHO, answer, config, world};

/// Wrong in five ways.
const FIVE: &str = "name: w\nsteps:\n  - name: Bad Name\n    tool: test.noop\n  - name: b\n    \
                    tool: github.getIsue\n  - name: c\n    tool: test.echo\n    params: { vaule: 1 }\n    \
                    retry: { maxAttempts: 99 }\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_wrong_in_five_ways_has_five_errors_with_their_place() {
    let world = world().await;
    let gateway = world.gateway(config()).await;
    let validate = |body: &'static str| {
        answer(
            gateway
                .admin(Method::POST, "/api/workflows/validate")
                .body(body),
        )
    };
    let answer = validate(FIVE).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["valid"], false);
    let errors = answer.body["errors"].as_array().expect("a list").clone();
    let places: Vec<_> = errors
        .iter()
        .map(|e| (e["line"].clone(), e["path"].clone()))
        .collect();
    let expected = [
        (json!(3), json!("/steps/0/name")),
        (json!(6), json!("/steps/1/tool")),
        (json!(9), json!("/steps/2/params")),
        (json!(9), json!("/steps/2/params/vaule")),
        (json!(10), json!("/steps/2/retry/maxAttempts")),
    ];
    assert_eq!(places, expected, "{errors:#?}");
    assert!(
        errors
            .iter()
            .all(|e| e["column"].is_u64() && e["message"].is_string())
    );

    let refused = gateway.put("w", FIVE).await;
    refused.expect_problem(422, "definition.invalid", "POLICY");
    assert_eq!(refused.body["errors"], json!(errors));
    gateway
        .get("/api/workflows/w")
        .await
        .expect_problem(404, "workflow.unknown", "STATE");

    let valid = validate(r#"{"name": "w", "steps": [{"name": "a", "tool": "test.noop"}]}"#).await;
    assert_eq!(valid.body, json!({"valid": true, "errors": []}));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_content_is_a_new_version_and_is_seen_at_once() {
    let world = world().await;
    let (gateway, other) = (world.gateway(config()).await, world.gateway(config()).await);
    let first = gateway.put("echo", ECHO).await;
    assert_eq!(first.status, 201);
    assert_eq!(
        (&first.body["version"], &first.body["created"]),
        (&json!(1), &json!(true))
    );
    let again = gateway.put("echo", ECHO).await;
    assert_eq!(again.status, 200);
    assert_eq!(
        (&again.body["version"], &again.body["created"]),
        (&json!(1), &json!(false))
    );
    assert_eq!(other.get("/api/workflows/echo").await.body["version"], 1);

    let changed = ECHO.replace("${input}", "${input.x}");
    assert_eq!(gateway.put("echo", &changed).await.body["version"], 2);
    let got = gateway.get("/api/workflows/echo").await;
    assert_eq!(
        got.body["version"], 2,
        "what was applied here is seen here at once"
    );
    assert_eq!(got.body["appliedBy"], "admin");
    assert_eq!(got.body["enabled"], true);
    assert_eq!(
        got.body["definition"]["steps"][0]["params"]["value"],
        "${input.x}"
    );
    let tag = format!("\"{}\"", got.body["hash"].as_str().expect("a hash"));
    assert_eq!(got.header("etag"), Some(tag.as_str()));
    crate::support::eventually("another gateway sees it", async || {
        other.get("/api/workflows/echo").await.body["version"] == 2
    })
    .await;

    let list = gateway.get("/api/workflows").await;
    assert_eq!(list.body["total"], 1);
    let listed = &list.body["workflows"][0];
    assert_eq!(
        (&listed["name"], &listed["version"]),
        (&json!("echo"), &json!(2))
    );
    for member in ["id", "definition", "enabled", "updated_at"] {
        assert!(!listed[member].is_null(), "{member}");
    }

    let misnamed = gateway.put("other", ECHO).await;
    misnamed.expect_problem(422, "definition.invalid", "POLICY");
    assert_eq!(misnamed.body["errors"][0]["path"], "/name");
    gateway.stop().await;
    other.stop().await;
}
