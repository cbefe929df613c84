//! Postgres is never on the path of a running execution: while it is away, everything goes on, and
//! its rows are complete afterwards.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::harness::Factory;
use crate::harness::database::Storage;
use crate::harness::definition::{ISSUE_TO_PR, STEPS};
use crate::harness::github::{assert_one_of_each, slow_down, wait_for_effects};
use crate::harness::wait;

const BEFORE: u64 = 100;

/// Started while Postgres is away.
const MEANWHILE: u64 = 20;

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn executions_go_on_without_postgres_and_its_rows_are_complete_afterwards() -> Result<()> {
    let mut factory = Factory::start(Storage::Mortal, BEFORE + MEANWHILE).await?;
    let (api, github) = (factory.api.clone(), factory.github.handle.clone());
    api.apply("issue_to_pr", ISSUE_TO_PR).await?;
    slow_down(&github, 20)?;
    let mut ids = Vec::new();
    for number in 1..=BEFORE {
        ids.push(api.start_issue(number).await?);
    }
    wait_for_effects(&github, BEFORE).await?;
    let written = "workflow_executions WHERE status = 'completed'";
    factory.database().kill()?;

    for number in BEFORE + 1..=BEFORE + MEANWHILE {
        ids.push(api.start_issue(number).await?);
    }
    let health = api.get("/api/health").await?;
    assert_eq!((health.status, &health.json["status"]), (200, &"ok".into()));
    let ready = api.get("/api/ready").await?;
    assert_eq!(
        (ready.status, &ready.json["ready"]),
        (503, &false.into()),
        "{ready:?}"
    );
    assert_eq!(ready.json["checks"]["database"]["status"], "error");
    assert_eq!(ready.json["checks"]["nats"]["status"], "ok");

    api.wait_until_completed(&ids, PATIENCE).await?;
    for id in &ids {
        let shown = api.get(&format!("/api/executions/{id}")).await?;
        assert_eq!(
            shown.json["metadata"]["source"], "live",
            "only its owner can know {id}"
        );
        assert_eq!(shown.json["metadata"]["completedSteps"], STEPS, "{id}");
    }
    let listed = api.get("/api/executions?limit=200").await?;
    assert_eq!(
        listed.json["incomplete"], true,
        "the list says that somebody did not answer"
    );
    assert_eq!(
        listed.json["executions"].as_array().map(Vec::len),
        Some(ids.len())
    );
    assert_one_of_each(&github, 1..=BEFORE + MEANWHILE)?;

    factory.database().restart()?;
    let all = BEFORE + MEANWHILE;
    let database = factory.database();
    database.wait_for_count(written, all, PATIENCE).await?;
    database
        .wait_for_count("workflow_executions", all, PATIENCE)
        .await?;
    database
        .wait_for_count("workflow_steps", all * STEPS, PATIENCE)
        .await?;
    database
        .wait_for_count("mcp_tool_calls", all * STEPS, PATIENCE)
        .await?;
    wait::until("the gateway to be ready again", PATIENCE, async || {
        let ready = api.get("/api/ready").await?;
        ensure!(matches!(ready.status, 200 | 503), "{ready:?}");
        Ok((ready.status == 200).then_some(()))
    })
    .await?;
    factory.finish()
}
