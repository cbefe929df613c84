//! The tools against a simulated GitHub: one effect, whatever happens to the requests.

use afu9_loadtest::simulated_github::{
    Access, AppSeed, Config as SimulationConfig, EffectKind, Fault, FaultKind, FaultMatch,
    IssueState, Moment, RepositorySeed, RepositoryState, Running, TokenSeed, Visibility, serve,
};
use afu9_schemas::ErrorClass;
use futures::future::join_all;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{call, github_app, github_with};
use crate::github::Github;
use crate::github::address::Repository;
use crate::github::client::Request;
use crate::{Call, ToolError};

const TOKEN: &str = "sim-token";
const REPO: &str = "octo/factory";

/// A branch with a commit that `main` does not have, and a character that needs encoding.
const WORK: &str = "afu9/issue-1#work";

struct World {
    simulation: Running,
    github: Github,
}

impl World {
    async fn new() -> Self {
        Self::with(SimulationConfig::demo(), |base_url| {
            github_with(base_url, TOKEN)
        })
        .await
    }

    async fn with(config: SimulationConfig, connect: impl FnOnce(&str) -> Github) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let simulation = serve(listener, config, CancellationToken::new())
            .await
            .unwrap();
        let github = connect(&simulation.base_url);
        let world = Self { simulation, github };
        world.push(WORK, "prepared.txt", "by somebody else");
        world
    }

    async fn run(&self, tool: &str, call: Call, params: Value) -> Result<Value, ToolError> {
        self.github.toolbox().run(tool, call, params).await
    }

    /// The tool on several workers at once, none of which writes before all have looked.
    async fn run_at_once(
        &self,
        tool: &str,
        calls: Vec<Call>,
        params: &Value,
    ) -> Vec<Result<Value, ToolError>> {
        for method in ["POST", "PATCH"] {
            let matching = FaultMatch {
                method: Some(method.to_owned()),
                ..FaultMatch::default()
            };
            let late = FaultKind::Latency {
                ms: 30,
                jitter_ms: 0,
            };
            self.simulation
                .handle
                .add_fault(Fault::always(matching, late))
                .unwrap();
        }
        let runs = calls.into_iter().map(|call| async move {
            let worker = github_with(&self.simulation.base_url, TOKEN);
            worker.toolbox().run(tool, call, params.clone()).await
        });
        let results = join_all(runs).await;
        self.simulation.handle.clear_faults();
        results
    }

    /// A request that no tool makes.
    async fn send(&self, request: Request) {
        let repository = Repository::new("octo", "factory").unwrap();
        self.github
            .client
            .send(&repository, request)
            .await
            .unwrap()
            .accepted()
            .unwrap();
    }

    fn fault(&self, fault: Fault) {
        self.simulation.handle.add_fault(fault).unwrap();
    }

    fn push(&self, branch: &str, path: &str, content: &str) -> String {
        self.simulation
            .handle
            .push(REPO, branch, &[(path, content)], "by somebody else")
            .unwrap()
    }

    fn state(&self) -> RepositoryState {
        self.simulation.handle.state(REPO).unwrap()
    }

    fn issue(&self) -> IssueState {
        self.state()
            .issues
            .into_iter()
            .find(|issue| issue.number == 1)
            .unwrap()
    }

    /// How often something really changed.
    fn count(&self, kind: EffectKind) -> usize {
        let effects = self.simulation.handle.effects();
        effects
            .iter()
            .filter(|effect| effect.kind == kind && !effect.repeated)
            .count()
    }
}

/// `params` for the repository of the simulation.
fn here(mut params: Value) -> Value {
    params["owner"] = json!("octo");
    params["repo"] = json!("factory");
    params
}

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

/// GitHub's answer to whoever came second.
fn too_late(message: &str, moment: Moment) -> FaultKind {
    let body = Some(json!({ "message": message }).to_string());
    FaultKind::Status {
        status: 422,
        body,
        moment,
    }
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
