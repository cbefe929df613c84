//! Several orchestrators and workers share the work; one that goes away, in order or not, leaves it
//! to the others.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::harness::Factory;
use crate::harness::database::Storage;
use crate::harness::definition::{ISSUE_TO_PR, STEPS};
use crate::harness::github::{EFFECTS_PER_ISSUE, assert_one_of_each, slow_down, wait_for_effects};
use crate::harness::leases::{Leases, shares};

const EXECUTIONS: u64 = 100;

const PATIENCE: Duration = Duration::from_secs(60);

/// Some of them, so that a worker that ends has left work to others.
const WORKERS: [&str; 3] = ["worker-1", "worker-2", "worker-3"];

#[tokio::test(flavor = "multi_thread")]
async fn work_moves_from_roles_that_go_to_roles_that_stay() -> Result<()> {
    let mut factory = Factory::new(Storage::None, EXECUTIONS).await?;
    for name in ["orchestrator-1", "orchestrator-2"] {
        factory.launch(name, &["orchestrator"])?;
    }
    for name in WORKERS {
        factory.launch(name, &["worker", "--kinds", "github"])?;
    }
    factory.launch("gateway", &["gateway"])?;
    factory.wait_until_answering().await?;
    let (api, github) = (factory.api.clone(), factory.github.handle.clone());
    api.apply("issue_to_pr", ISSUE_TO_PR).await?;
    slow_down(&github, 30)?;
    let mut leases = Leases::open(&factory.nats.url).await?;
    let both = leases.wait_until_shared().await?;

    let mut ids = Vec::new();
    for number in 1..=EXECUTIONS {
        ids.push(api.start_issue_somewhere(number).await?);
    }
    let all = EXECUTIONS * EFFECTS_PER_ISSUE;
    wait_for_effects(&github, all / 5).await?;
    let drained = factory.end("worker-2")?;
    assert_eq!(
        drained.code(),
        Some(0),
        "a worker that is told to end drains"
    );
    assert!(
        github.stats().effects_recorded < all,
        "the worker ended before the work did"
    );
    factory.kill("orchestrator-1")?;
    let one = leases.wait_until("one owner of everything", |owners| {
        shares(owners).len() == 1
    });
    let one = one.await?;
    assert!(
        shares(&one)
            .keys()
            .all(|owner| both.values().any(|before| before == owner))
    );

    api.wait_until_completed(&ids, PATIENCE).await?;
    assert_one_of_each(&github, 1..=EXECUTIONS)?;
    let mut workers = BTreeSet::new();
    for id in &ids {
        let shown = api.get(&format!("/api/executions/{id}")).await?.json;
        assert_eq!(shown["metadata"]["completedSteps"], STEPS, "{id}");
        for step in shown["steps"].as_array().into_iter().flatten() {
            assert_eq!(
                step["retryCount"], 0,
                "an orderly end fails no attempt: {step}"
            );
            let worker = step["attempts"][0]["worker"].as_str().context("a worker")?;
            workers.insert(worker.to_owned());
        }
    }
    assert_eq!(
        workers.len(),
        WORKERS.len(),
        "each worker had its share: {workers:?}"
    );
    factory.finish()
}
