//! The simulated GitHub: how it begins, and what it must have seen at the end.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use afu9_loadtest::simulated_github::{
    Config, Delivered, Delivery, EffectKind, Fault, FaultKind, FaultMatch, Handle, IssueSeed,
    RepositorySeed, TokenSeed,
};
use anyhow::{Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _};

use super::api::Api;
use super::{SECRET, wait};

/// The token that may write.
pub(super) const TOKEN: &str = "sim-token";

/// The repository with the issues.
pub(crate) const REPOSITORY: &str = "octo/factory";

/// Effects that one run of `issue_to_pr` leaves: a branch, a tree, a commit, the branch moved to it,
/// a pull request, a comment.
pub(crate) const EFFECTS_PER_ISSUE: u64 = 6;

/// Webhooks under way at once.
const DELIVERED_AT_ONCE: usize = 16;

pub(super) fn config(issues: u64) -> Config {
    let issue = |number: u64| IssueSeed {
        title: format!("Button {number} does nothing"),
        body: format!("Expected: page {number} opens.\nActual: nothing happens."),
        labels: vec!["afu9".to_owned()],
    };
    let repository = RepositorySeed {
        issues: (1..=issues).map(issue).collect(),
        ..RepositorySeed::demo(REPOSITORY)
    };
    Config {
        repositories: vec![repository],
        tokens: vec![TokenSeed::writer("worker", TOKEN)],
        // Here nobody tests limits.
        primary_limit: 1_000_000,
        ..Config::default()
    }
}

/// The delivery that says that issue `number` was labelled.
pub(crate) fn labeled(api: &Api, number: u64) -> Delivery {
    Delivery::labeled(
        &format!("{}/api/webhooks/github", api.base),
        SECRET,
        REPOSITORY,
        number,
    )
}

/// Delivers one webhook for each of `issues`; all must be accepted.
pub(crate) async fn deliver_all(
    github: &Handle,
    api: &Api,
    issues: RangeInclusive<u64>,
) -> Result<()> {
    futures::stream::iter(issues)
        .map(|number| async move {
            let Delivered { status, body, .. } = github.deliver(&labeled(api, number)).await?;
            ensure!(
                status == 202,
                "the webhook of #{number} was answered {status}: {body}"
            );
            Ok(())
        })
        .buffer_unordered(DELIVERED_AT_ONCE)
        .try_collect()
        .await
}

/// Makes every request take at least `ms`, so that there is always something under way.
pub(crate) fn slow_down(github: &Handle, ms: u64) -> Result<()> {
    let latency = FaultKind::Latency {
        ms,
        jitter_ms: ms / 2,
    };
    github.add_fault(Fault::always(FaultMatch::default(), latency))?;
    Ok(())
}

/// Waits until so many changes were made: until things are well under way.
pub(crate) async fn wait_for_effects(github: &Handle, wanted: u64) -> Result<()> {
    wait::until(
        &format!("{wanted} effects at GitHub"),
        Duration::from_secs(60),
        async || Ok((github.stats().effects_recorded >= wanted).then_some(())),
    )
    .await
}

/// For each of `issues` there is exactly one branch with exactly one commit of ours, one pull request
/// and one comment, each made once; and nothing else.
pub(crate) fn assert_one_of_each(github: &Handle, issues: RangeInclusive<u64>) -> Result<()> {
    let state = github.state(REPOSITORY)?;
    let count = usize::try_from(issues.end() + 1 - issues.start())?;
    assert!(count > 0, "nothing was to be done");
    assert_eq!(
        state.branches.len(),
        1 + count,
        "main, and a branch for each issue"
    );
    assert_eq!(
        state.pull_requests.len(),
        count,
        "a pull request for each issue"
    );
    let mut pulls: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for pull in state.pull_requests {
        pulls.entry(pull.head.clone()).or_default().push(pull);
    }
    for number in issues.clone() {
        let branch = format!("afu9/issue-{number}");
        let [pull] = pulls.get(&branch).map_or(&[][..], Vec::as_slice) else {
            panic!("pull requests of {branch}: {:?}", pulls.get(&branch));
        };
        assert_eq!(pull.commits, 1, "{branch} has one commit of ours");
        assert_eq!(
            (pull.base.as_str(), pull.state.as_str()),
            ("main", "open"),
            "{branch}"
        );
        assert_eq!(
            Some(&pull.head_sha),
            state.branches.get(&branch),
            "{branch}"
        );
        let issue = state
            .issues
            .iter()
            .find(|issue| issue.number == number)
            .expect("an issue");
        let [comment] = &issue.comments[..] else {
            panic!("comments of #{number}: {:?}", issue.comments);
        };
        assert!(
            comment.contains(&format!("#{}:", pull.number)),
            "#{number}: {comment}"
        );
    }
    let mut made: BTreeMap<(&str, String), u64> = BTreeMap::new();
    for effect in github.effects() {
        let what = match effect.kind {
            EffectKind::CreateRef => "branch",
            EffectKind::UpdateRef if !effect.repeated => "move",
            EffectKind::CreatePullRequest => "pull request",
            EffectKind::CreateComment => "comment",
            // Objects that nothing points to have no effect that anybody can see.
            EffectKind::CreateBlob | EffectKind::CreateTree | EffectKind::CreateCommit => continue,
            EffectKind::UpdateRef => continue,
            other => panic!("nobody asked for {other:?} of {}", effect.subject),
        };
        *made.entry((what, effect.subject)).or_default() += 1;
    }
    let twice: Vec<_> = made.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "made more than once: {twice:?}");
    assert_eq!(made.len(), 4 * count, "four visible effects for each issue");
    Ok(())
}
