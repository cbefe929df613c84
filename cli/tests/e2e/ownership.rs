//! An orchestrator that is killed, or frozen for longer than its leases last: another one takes over, and
//! the one that comes back does no harm.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use crate::harness::Factory;
use crate::harness::database::Storage;
use crate::harness::definition::{ISSUE_TO_PR, STEPS};
use crate::harness::github::{EFFECTS_PER_ISSUE, assert_one_of_each, slow_down, wait_for_effects};
use crate::harness::leases::{Leases, shares};

const PATIENCE: Duration = Duration::from_secs(60);

/// From a SIGKILL until the work of the partitions goes on.
const FAILOVER: Duration = Duration::from_secs(5);

/// What a machine that is busy with other tests may add.
const BUSY: Duration = Duration::from_secs(2);

/// So many that each partition has some.
const PROBES: usize = 24;

const PROBE: &str = r#"{ "name": "probe", "steps": [ { "name": "a", "tool": "test.noop" } ] }"#;

const ISSUES: u64 = 60;

async fn start(storage: Storage, issues: u64, kind: &str) -> Result<(Factory, Leases)> {
    let mut factory = Factory::new(storage, issues).await?;
    for name in ["orchestrator-1", "orchestrator-2"] {
        factory.launch(name, &["orchestrator"])?;
    }
    factory.launch("worker", &["worker", "--kinds", kind])?;
    if factory.database.is_some() {
        factory.launch("projector", &["projector"])?;
    }
    factory.launch("gateway", &["gateway"])?;
    factory.wait_until_answering().await?;
    let mut leases = Leases::open(&factory.nats.url).await?;
    leases.wait_until_shared().await?;
    Ok((factory, leases))
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_of_a_killed_orchestrator_go_on_within_five_seconds() -> Result<()> {
    let (mut factory, _leases) = start(Storage::None, 0, "test").await?;
    let api = factory.api.clone();
    api.apply("probe", PROBE).await?;
    let body = json!({ "input": {} });
    // Whatever happens only once has happened.
    let first = api.start("probe", &body).await?;
    api.wait_until_completed(&[first], PATIENCE).await?;

    factory.kill("orchestrator-1")?;
    let killed = Instant::now();
    let mut ids = Vec::new();
    for _ in 0..PROBES {
        ids.push(api.start_somewhere("probe", &body).await?);
    }
    api.wait_until_completed(&ids, PATIENCE).await?;
    let took = killed.elapsed();
    eprintln!("went on after {took:?}");
    assert!(took <= FAILOVER + BUSY, "{took:?}");
    factory.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orchestrator_that_was_frozen_gives_up_what_others_took_over() -> Result<()> {
    let (mut factory, mut leases) = start(Storage::Kept, ISSUES, "github").await?;
    let (api, github) = (factory.api.clone(), factory.github.handle.clone());
    api.apply("issue_to_pr", ISSUE_TO_PR).await?;
    slow_down(&github, 30)?;
    let mut ids = Vec::new();
    let mut issues = 1..=ISSUES;
    for number in issues.by_ref().take(40) {
        ids.push(api.start_issue_somewhere(number).await?);
    }
    wait_for_effects(&github, 5 * EFFECTS_PER_ISSUE).await?;
    factory.pause("orchestrator-1")?;
    for number in issues.by_ref().take(10) {
        ids.push(api.start_issue_somewhere(number).await?);
    }
    let other = leases.wait_until("one owner of everything", |owners| {
        shares(owners).len() == 1
    });
    let other = other.await?;
    factory.resume("orchestrator-1")?;
    for number in issues {
        ids.push(api.start_issue_somewhere(number).await?);
    }

    api.wait_until_completed(&ids, PATIENCE).await?;
    assert_one_of_each(&github, 1..=ISSUES)?;
    let database = factory.database();
    for (rows, count) in [
        ("workflow_executions WHERE status = 'completed'", ISSUES),
        ("workflow_executions", ISSUES),
        ("workflow_steps WHERE status = 'completed'", ISSUES * STEPS),
        ("workflow_steps", ISSUES * STEPS),
    ] {
        database.wait_for_count(rows, count, PATIENCE).await?;
    }
    // It has given up what it had, and takes its share again.
    let again = leases.wait_until_shared().await?;
    assert!(
        shares(&again)
            .keys()
            .any(|owner| other.values().any(|one| one == owner))
    );
    let log = factory.log_of("orchestrator-1")?;
    assert!(
        log.contains("lease lost") || log.contains("partition lost") || log.contains("given up"),
        "{log}"
    );
    factory.finish()
}
