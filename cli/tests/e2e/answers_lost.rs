//! GitHub does what it is asked and its answer is lost, or it fails: the engine's retries find what
//! was done, and nothing is done twice.

use std::time::Duration;

use afu9_loadtest::simulated_github::{Fault, FaultKind, FaultMatch, Handle, Moment};
use anyhow::Result;

use crate::harness::Factory;
use crate::harness::database::Storage;
use crate::harness::definition::{STEPS, stubborn_issue_to_pr};
use crate::harness::github::assert_one_of_each;

const EXECUTIONS: u64 = 50;

const PATIENCE: Duration = Duration::from_secs(60);

/// Reads are struck this often only: a step that reads twice before it writes would otherwise be
/// likely to use up its attempts once in a while.
const READS_STRUCK: u64 = 30;

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_are_found_again_by_the_next_attempt() -> Result<()> {
    let factory = Factory::start(Storage::None, EXECUTIONS).await?;
    let (api, github) = (factory.api.clone(), factory.github.handle.clone());
    api.apply("issue_to_pr", &stubborn_issue_to_pr()).await?;
    for method in ["POST", "PATCH"] {
        strike(&github, method, FaultKind::DropAfterEffect, 0.10, None)?;
        strike(
            &github,
            method,
            bad_gateway(Moment::BeforeEffect),
            0.05,
            None,
        )?;
    }
    strike(
        &github,
        "GET",
        FaultKind::DropAfterEffect,
        0.10,
        Some(READS_STRUCK),
    )?;
    strike(
        &github,
        "GET",
        bad_gateway(Moment::BeforeEffect),
        0.05,
        Some(READS_STRUCK),
    )?;

    let mut ids = Vec::new();
    for number in 1..=EXECUTIONS {
        ids.push(api.start_issue(number).await?);
    }
    api.wait_until_completed(&ids, PATIENCE).await?;
    assert_one_of_each(&github, 1..=EXECUTIONS)?;

    let lost = github
        .effects()
        .iter()
        .filter(|effect| effect.response_lost)
        .count();
    assert!(lost >= 10, "only {lost} answers were lost");
    let mut retries = 0;
    for id in &ids {
        let shown = api.get(&format!("/api/executions/{id}")).await?.json;
        assert_eq!(shown["metadata"]["completedSteps"], STEPS, "{id}");
        for step in shown["steps"].as_array().into_iter().flatten() {
            retries += step["retryCount"].as_u64().unwrap_or_default();
        }
    }
    eprintln!("{lost} answers lost after an effect, {retries} attempts repeated");
    assert!(retries >= lost as u64 / 2, "only {retries} retries");
    factory.finish()
}

fn bad_gateway(moment: Moment) -> FaultKind {
    FaultKind::Status {
        status: 502,
        body: None,
        moment,
    }
}

fn strike(
    github: &Handle,
    method: &str,
    kind: FaultKind,
    probability: f64,
    count: Option<u64>,
) -> Result<()> {
    // Only what is about the repository: the worker's own checks are not the subject here.
    let matching = FaultMatch {
        method: Some(method.to_owned()),
        path_prefix: Some("/repos/".to_owned()),
        ..FaultMatch::default()
    };
    github.add_fault(Fault {
        probability,
        count,
        ..Fault::always(matching, kind)
    })?;
    Ok(())
}
