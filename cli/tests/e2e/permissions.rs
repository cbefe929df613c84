//! The users of `deploy/nats.conf`: each role, with what it is allowed, does all it has to, and tries nothing
//! that it is not.

use std::time::Duration;

use afu9_servers::fixture;
use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::harness::Factory;
use crate::harness::database::Storage;
use crate::harness::definition::ISSUE_TO_PR;
use crate::harness::github::{assert_one_of_each, deliver_all, labeled};
use crate::harness::wait;

const CONFIGURATION: &str = include_str!("../../../deploy/nats.conf");

/// The roles, their users, and what starts them.
const ROLES: [(&str, &str, &[&str]); 4] = [
    ("orchestrator", "orchestrator", &["orchestrator"]),
    ("projector", "projector", &["projector"]),
    ("worker", "worker_github", &["worker", "--kinds", "github"]),
    ("gateway", "gateway", &["gateway"]),
];

const ISSUES: u64 = 3;

/// Larger than what a message may carry: it becomes an artifact.
const LARGE: usize = 400 * 1024;

/// A person decides, and each second something starts by itself. The comment on an issue that is not there is
/// a dead letter.
const GUARDED: &str = "\
name: guarded
steps:
  - { name: gate, approval: {} }
  - { name: say, tool: github.addComment, params: { owner: octo, repo: factory, number: 4711, body: done } }
";

const TICKING: &str = "\
name: ticking
on: [{ schedule: { cron: '* * * * * *' } }]
steps:
  - { name: nap, sleep: { for: 1s } }
";

const PATIENCE: Duration = Duration::from_secs(60);

/// The accounts of the file, with passwords.
fn accounts() -> Result<String> {
    let from = CONFIGURATION.find("accounts {").context("accounts")?;
    let mut text = CONFIGURATION[from..].to_owned();
    for user in [
        "orchestrator",
        "worker_github",
        "projector",
        "gateway",
        "admin",
    ] {
        let variable = format!("$AFU9_NATS_PASSWORD_{}", user.to_ascii_uppercase());
        ensure!(text.contains(&variable), "{variable}");
        text = text.replace(&variable, &format!("\"{}\"", password(user)));
    }
    Ok(text)
}

fn password(user: &str) -> String {
    format!("password of {user}")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_is_allowed_what_it_does_and_does_what_it_is_allowed() -> Result<()> {
    let accounts = accounts()?;
    let nats = move || fixture::nats_process(&accounts);
    let mut factory = Factory::with_nats(Storage::Kept, ISSUES, nats).await?;
    factory.configure("AFU9_WORKER__ALLOW_TEST_KIND", None);
    for (role, user, arguments) in ROLES {
        factory.configure("AFU9_NATS__USER", Some(user));
        factory.configure("AFU9_NATS__PASSWORD", Some(&password(user)));
        factory.launch(role, arguments)?;
        if role == "orchestrator" {
            // It creates the topology. The others may not, and end if they find none.
            wait::until("the topology", PATIENCE, async || {
                let log = factory.log_of(role)?;
                Ok(log.contains("partition owned").then_some(()))
            })
            .await?;
        }
    }
    factory.wait_until_answering().await?;
    let (api, github) = (factory.api.clone(), factory.github.handle.clone());
    for (name, definition) in [
        ("issue_to_pr", ISSUE_TO_PR),
        ("guarded", GUARDED),
        ("ticking", TICKING),
    ] {
        api.apply(name, definition).await?;
    }

    deliver_all(&github, &api, 1..=ISSUES - 1).await?;
    let mut large = labeled(&api, ISSUES);
    large.payload = Some(json!({
        "action": "labeled",
        "issue": { "number": ISSUES },
        "label": { "name": "afu9" },
        "repository": { "name": "factory", "owner": { "login": "octo" } },
        "padding": "x".repeat(LARGE),
    }));
    let answer = github.deliver(&large).await?;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let ids = wait::until("every execution", PATIENCE, async || {
        let ids = api.executions_of("issue_to_pr").await?;
        Ok((ids.len() as u64 == ISSUES).then_some(ids))
    })
    .await?;
    api.wait_until_completed(&ids, PATIENCE).await?;
    assert_one_of_each(&github, 1..=ISSUES)?;

    // Its consumers, watches and presence are made anew after this.
    factory.kill_and_restart_nats()?;

    let body = json!({});
    let first = wait::until("a submission", PATIENCE, async || {
        let answer = api
            .post_once("/api/workflows/guarded/trigger", &body, "once")
            .await?;
        // Until everybody is connected again.
        ensure!([202, 503].contains(&answer.status), "{answer:?}");
        Ok((answer.status == 202).then_some(answer))
    })
    .await?;
    let id = first.json["executionId"]
        .as_str()
        .context("an id")?
        .to_owned();
    let of = |rest: &str| format!("/api/executions/{id}{rest}");
    wait::until("the approval", PATIENCE, async || {
        let answer = api.post(&of("/approve"), &json!({})).await?;
        Ok((answer.status < 300).then_some(()))
    })
    .await?;
    wait::until("a dead letter", PATIENCE, async || {
        let answer = api.get("/api/v1/dead-letters").await?;
        let letters = answer.json["deadLetters"].as_array().map_or(0, Vec::len);
        Ok((letters > 0).then_some(()))
    })
    .await?;
    let other = api.start("guarded", &json!({})).await?;
    wait::until("what it waits for", PATIENCE, async || {
        let answer = api.get(&format!("/api/executions/{other}/explain")).await?;
        Ok((answer.status == 200 && answer.text.contains("approval")).then_some(()))
    })
    .await?;
    let cancelled = api
        .post(&format!("/api/executions/{other}/cancel"), &json!({}))
        .await?;
    assert!(cancelled.status < 300, "{cancelled:?}");
    let ticking = wait::until("the schedule", PATIENCE, async || {
        Ok(Some(api.executions_of("ticking").await?).filter(|ids| !ids.is_empty()))
    })
    .await?;
    api.wait_until_completed(&ticking[..1], PATIENCE).await?;
    let schedules = api.get("/api/v1/schedules").await?;
    let schedule = schedules.json["schedules"][0]["schedule"].as_str();
    let schedule = schedule.with_context(|| schedules.text.clone())?.to_owned();
    for wish in ["pause", "resume"] {
        let path = format!("/api/v1/schedules/ticking/{schedule}/{wish}");
        let answer = api.post(&path, &json!({})).await?;
        assert!(answer.status < 300, "{path}: {answer:?}");
    }

    let refusals: Vec<String> = factory
        .nats
        .log()?
        .lines()
        .filter(|line| line.to_ascii_lowercase().contains("violation"))
        .map(str::to_owned)
        .collect();
    assert!(refusals.is_empty(), "{refusals:#?}");
    factory.finish()
}
