//! What GitHub refuses, and when to come back.

use afu9_loadtest::simulated_github::{
    Access, Config as SimulationConfig, EffectKind, Fault, FaultKind, Moment, RepositorySeed,
    TokenSeed, Visibility,
};
use afu9_schemas::ErrorClass;
use serde_json::json;

use super::{REPO, TOKEN, World, here};
use crate::github::tests::{call, github_with};

#[tokio::test]
async fn refusals_are_what_they_are() {
    let mut config = SimulationConfig::demo();
    let secret = RepositorySeed {
        visibility: Visibility::Private,
        ..RepositorySeed::demo("octo/secret")
    };
    config.repositories.push(secret);
    config.tokens.push(TokenSeed::with_access(
        "reader",
        "reader",
        [(REPO, Access::Read)],
    ));
    let world = World::with(config, |base_url| github_with(base_url, "reader")).await;
    let issue = here(json!({ "number": 1 }));
    let hidden = json!({ "owner": "octo", "repo": "secret", "number": 1 });
    let branch = here(json!({ "branch": "x", "from": "main" }));
    for (tool, params, code) in [
        (
            "getIssue",
            here(json!({ "number": 999 })),
            "github.not_found",
        ),
        ("getIssue", hidden, "github.not_found"),
        ("createBranch", branch, "github.forbidden"),
        (
            "addComment",
            here(json!({ "number": 1, "body": "x" })),
            "github.forbidden",
        ),
    ] {
        let error = world.run(tool, call(1), params).await.unwrap_err().error;
        assert_eq!(
            (error.class, error.code.as_str()),
            (ErrorClass::Permanent, code),
            "{tool}"
        );
    }
    let stranger = github_with(&world.simulation.base_url, "ghp_unknown");
    let error = stranger
        .toolbox()
        .run("getIssue", call(1), issue)
        .await
        .unwrap_err()
        .error;
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Permanent, "github.unauthorized")
    );
    assert!(!error.message.contains("ghp_unknown"));
    assert_eq!(
        world.count(EffectKind::CreateRef) + world.count(EffectKind::CreateComment),
        0
    );
}

#[tokio::test]
async fn limits_and_failures_tell_when_to_come_back() {
    let world = World::new().await;
    let issue = here(json!({ "number": 1 }));
    let status = |status| FaultKind::Status {
        status,
        body: None,
        moment: Moment::BeforeEffect,
    };
    let html = FaultKind::Status {
        status: 504,
        body: Some("<html>gateway timeout</html>".to_owned()),
        moment: Moment::BeforeEffect,
    };
    for (kind, class, code, wait) in [
        (
            FaultKind::SecondaryLimit {
                retry_after_s: 7,
                status: 403,
            },
            ErrorClass::RateLimited,
            "github.secondary_rate_limit",
            Some(7..=7),
        ),
        (
            FaultKind::SecondaryLimit {
                retry_after_s: 9,
                status: 429,
            },
            ErrorClass::RateLimited,
            "github.secondary_rate_limit",
            Some(9..=9),
        ),
        (
            FaultKind::PrimaryLimit { reset_after_s: 100 },
            ErrorClass::RateLimited,
            "github.rate_limit",
            Some(99..=102),
        ),
        (
            status(500),
            ErrorClass::Retryable,
            "github.unavailable",
            None,
        ),
        (html, ErrorClass::Retryable, "github.unavailable", None),
        (status(409), ErrorClass::Retryable, "github.conflict", None),
        (status(422), ErrorClass::Permanent, "github.invalid", None),
        (
            FaultKind::DropBeforeEffect,
            ErrorClass::Retryable,
            "github.network",
            None,
        ),
    ] {
        world.fault(Fault::once("GET", "/issues/1", kind.clone()));
        let error = world
            .run("getIssue", call(1), issue.clone())
            .await
            .unwrap_err();
        assert_eq!(
            (error.error.class, error.error.code.as_str()),
            (class, code),
            "{kind:?}"
        );
        let waits = error.retry_after.map(|wait| wait.as_secs());
        assert_eq!(waits.is_some(), wait.is_some(), "{kind:?}");
        assert!(
            wait.is_none_or(|range| range.contains(&waits.unwrap())),
            "{kind:?} {waits:?}"
        );
        world.run("getIssue", call(1), issue.clone()).await.unwrap();
    }
}

#[tokio::test]
async fn the_hourly_limit_itself_is_recognised() {
    let config = SimulationConfig {
        primary_limit: 1,
        ..SimulationConfig::demo()
    };
    let world = World::with(config, |base_url| github_with(base_url, TOKEN)).await;
    world
        .run("getIssue", call(1), here(json!({ "number": 1 })))
        .await
        .unwrap();
    let error = world
        .run("getIssue", call(1), here(json!({ "number": 1 })))
        .await
        .unwrap_err();
    assert_eq!(error.error.code, "github.rate_limit");
    assert!((3590..=3660).contains(&error.retry_after.unwrap().as_secs()));
    // The limit says nothing against the credential.
    let checks = world.github.check().await;
    assert!(
        checks.iter().all(|check| check.message.is_none()),
        "{checks:?}"
    );
}
