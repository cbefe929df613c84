//! `afu9 dev`, all roles in one process, without a database: the first minutes of everybody.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::harness::Factory;
use crate::harness::command::afu9;
use crate::harness::database::Storage;
use crate::harness::definition::{ISSUE_TO_PR, STEPS};
use crate::harness::github::{REPOSITORY, assert_one_of_each};
use crate::harness::wait;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn dev_needs_a_nats_server_and_a_token_of_github_only() -> Result<()> {
    let mut factory = Factory::new(Storage::None, 1).await?;
    factory.configure("AFU9_GATEWAY__TOKENS", None);
    factory.configure("AFU9_API__TOKEN", None);
    factory.launch("dev", &["dev"])?;
    factory.wait_until_answering().await?;
    let log = factory.log_of("dev")?;
    let token = log
        .lines()
        .find_map(|line| line.strip_prefix("API token for this run: "));
    let token = token.context("dev prints a token")?.to_owned();
    factory.configure("AFU9_API__TOKEN", Some(&token));
    let api = factory.api.with_token(&token);

    assert_eq!(
        factory.api.get("/api/executions").await?.status,
        401,
        "nobody else may ask"
    );
    let ready = api.get("/api/ready").await?;
    assert_eq!(ready.status, 200, "{ready:?}");
    assert_eq!(ready.json["checks"]["database"]["status"], "not_configured");

    let file = factory.path().join("issue_to_pr.yaml");
    std::fs::write(&file, ISSUE_TO_PR)?;
    let file = file.to_str().context("a path of text")?;
    let arguments = [
        "run",
        file,
        "--repository",
        REPOSITORY,
        "--input",
        "issue_number=1",
        "--output",
        "json",
    ];
    let ran = afu9(factory.environment(), &arguments).await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_one_of_each(&factory.github.handle, 1..=1)?;
    let id = ran.json_lines()?[0]["executionId"]
        .as_str()
        .context("an id")?
        .to_owned();

    // What has ended is known from the stream alone to a process that never saw it run.
    assert!(factory.end("dev")?.success());
    factory.restart("dev")?;
    factory.wait_until_answering().await?;
    let log = factory.log_of("dev")?;
    let mut tokens = log
        .lines()
        .filter_map(|line| line.strip_prefix("API token for this run: "));
    let token = tokens.next_back().context("dev prints a token")?.to_owned();
    factory.configure("AFU9_API__TOKEN", Some(&token));
    let api = factory.api.with_token(&token);
    let shown = wait::until(
        "the execution to be found in the stream",
        PATIENCE,
        async || {
            let shown = api.get(&format!("/api/executions/{id}")).await?;
            Ok((shown.status == 200).then_some(shown.json))
        },
    );
    let shown = shown.await?;
    assert_eq!(shown["metadata"]["source"], "stream", "{shown}");
    assert_eq!(shown["metadata"]["completedSteps"], STEPS, "{shown}");
    let listed = afu9(
        factory.environment(),
        &["--output", "json", "executions", "ls"],
    )
    .await?;
    let listed = listed.json()?;
    assert_eq!(listed["executions"][0]["id"], id.as_str(), "{listed}");
    assert_eq!(listed["executions"][0]["status"], "completed");
    factory.finish()
}
