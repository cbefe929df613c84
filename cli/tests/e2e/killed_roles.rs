//! SIGKILL of each role but the gateway while executions run: none is lost, and GitHub sees each
//! effect once.

use std::time::Duration;

use anyhow::Result;

use crate::harness::Factory;
use crate::harness::database::Storage;
use crate::harness::definition::{ISSUE_TO_PR, STEPS};
use crate::harness::github::{
    EFFECTS_PER_ISSUE, assert_one_of_each, deliver_all, slow_down, wait_for_effects,
};
use crate::harness::wait;

const EXECUTIONS: u64 = 200;

/// Chooses who is killed when. Another one is another test.
const SEED: u64 = 9;

/// How often each role is killed.
const KILLS_EACH: usize = 2;

const VICTIMS: [&str; 3] = ["orchestrator", "worker", "projector"];

/// A killed worker's jobs come back after 30 s, a killed projector's history after 60 s; the rest is
/// for machines that are busy.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn killed_roles_lose_nothing_and_do_nothing_twice() -> Result<()> {
    let plan = plan(SEED);
    eprintln!("seed {SEED}: {plan:?}");
    let mut factory = Factory::start(Storage::Kept, EXECUTIONS).await?;
    let (api, github) = (factory.api.clone(), factory.github.handle.clone());
    api.apply("issue_to_pr", ISSUE_TO_PR).await?;
    slow_down(&github, 20)?;

    deliver_all(&github, &api, 1..=EXECUTIONS).await?;
    for (victim, effects) in plan {
        wait_for_effects(&github, effects).await?;
        let seen = github.stats().effects_recorded;
        assert!(
            seen < EXECUTIONS * EFFECTS_PER_ISSUE,
            "{victim} was to be killed before the end"
        );
        eprintln!("{victim} killed after {seen} effects");
        factory.kill(victim)?;
        factory.restart(victim)?;
    }

    let ids = wait::until(
        "every delivery to start an execution",
        PATIENCE,
        async || {
            let ids = api.executions_of("issue_to_pr").await?;
            Ok((ids.len() as u64 >= EXECUTIONS).then_some(ids))
        },
    );
    let ids = ids.await?;
    assert_eq!(ids.len() as u64, EXECUTIONS);
    api.wait_until_completed(&ids, PATIENCE).await?;
    assert_one_of_each(&github, 1..=EXECUTIONS)?;
    let database = factory.database();
    for (rows, count) in [
        ("workflow_executions WHERE status = 'completed'", EXECUTIONS),
        ("workflow_executions", EXECUTIONS),
        (
            "workflow_steps WHERE status = 'completed'",
            EXECUTIONS * STEPS,
        ),
        ("workflow_steps", EXECUTIONS * STEPS),
    ] {
        database.wait_for_count(rows, count, PATIENCE).await?;
    }
    factory.finish()
}

/// Who is killed after how many effects: each role several times, spread over the middle of the
/// work, at moments that nobody chose.
fn plan(seed: u64) -> Vec<(&'static str, u64)> {
    let mut state = seed;
    // SplitMix64.
    let mut draw = |below: u64| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % below
    };
    let mut victims = VICTIMS.repeat(KILLS_EACH);
    for index in (1..victims.len()).rev() {
        let other = draw(index as u64 + 1);
        victims.swap(index, usize::try_from(other).expect("small"));
    }
    let slice = EXECUTIONS * EFFECTS_PER_ISSUE / (victims.len() as u64 + 2);
    let after = (1..).map(|number: u64| number * slice + draw(slice));
    victims.into_iter().zip(after).collect()
}
