//! SIGKILL of the nats-server while executions run: everybody comes back to it, and nothing that it
//! had confirmed is lost or done twice.

use std::time::Duration;

use anyhow::Result;

use crate::harness::Factory;
use crate::harness::database::Storage;
use crate::harness::definition::{ISSUE_TO_PR, STEPS};
use crate::harness::github::{EFFECTS_PER_ISSUE, assert_one_of_each, slow_down, wait_for_effects};

const EXECUTIONS: u64 = 100;

const PATIENCE: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_nats_server_loses_nothing_that_it_confirmed() -> Result<()> {
    let mut factory = Factory::start(Storage::Kept, EXECUTIONS).await?;
    let (api, github) = (factory.api.clone(), factory.github.handle.clone());
    api.apply("issue_to_pr", ISSUE_TO_PR).await?;
    slow_down(&github, 20)?;
    let mut ids = Vec::new();
    for number in 1..=EXECUTIONS {
        ids.push(api.start_issue(number).await?);
    }
    for part in [1, 2] {
        let effects = EXECUTIONS * EFFECTS_PER_ISSUE * part / 4;
        wait_for_effects(&github, effects).await?;
        let seen = github.stats().effects_recorded;
        assert!(
            seen < EXECUTIONS * EFFECTS_PER_ISSUE,
            "nats-server was to be killed before the end"
        );
        eprintln!("nats-server killed after {seen} effects");
        factory.kill_and_restart_nats()?;
    }
    api.wait_until_completed(&ids, PATIENCE).await?;
    assert_one_of_each(&github, 1..=EXECUTIONS)?;
    let database = factory.database();
    let completed = "workflow_executions WHERE status = 'completed'";
    database
        .wait_for_count(completed, EXECUTIONS, PATIENCE)
        .await?;
    database
        .wait_for_count("workflow_steps", EXECUTIONS * STEPS, PATIENCE)
        .await?;
    factory.finish()
}
