//! What tests do to a running simulation, and read from it, without HTTP.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use chrono::Utc;
use serde::{Deserialize, Serialize};

use super::config::{IssueSeed, RepositorySeed, TokenSeed};
use super::delivery::{self, Delivered, Delivery};
use super::effect::Effect;
use super::fault::{ActiveFault, Fault};
use super::repository::issue::NewIssue;
use super::repository::{Push, Repository, put_file, signature};
use super::simulation::{Simulation, locked};
use super::stats::Stats;

/// A repository at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryState {
    /// Branch to commit id.
    pub branches: BTreeMap<String, String>,
    /// By number.
    pub pull_requests: Vec<PullRequestState>,
    /// By number, without pull requests.
    pub issues: Vec<IssueState>,
}

/// A pull request at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRequestState {
    /// Shared with issues.
    pub number: u64,
    /// The title.
    pub title: String,
    /// `open` or `closed`.
    pub state: String,
    /// A branch.
    pub head: String,
    /// A branch.
    pub base: String,
    /// A commit id.
    pub head_sha: String,
    /// Whether it is merged.
    pub merged: bool,
    /// Commits of the head that the base lacks.
    pub commits: usize,
    /// Comments in its conversation.
    pub comments: usize,
}

/// An issue at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssueState {
    /// Shared with pull requests.
    pub number: u64,
    /// The title.
    pub title: String,
    /// `open` or `closed`.
    pub state: String,
    /// In the order of their addition.
    pub labels: Vec<String>,
    /// Their bodies, oldest first.
    pub comments: Vec<String>,
}

/// Access to a running simulation; cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    simulation: Arc<Simulation>,
}

impl Handle {
    pub(crate) fn new(simulation: Arc<Simulation>) -> Self {
        Self { simulation }
    }

    /// Where the API is, without a slash at the end.
    pub fn base_url(&self) -> &str {
        &self.simulation.base_url
    }

    /// All effects that the bounded log still has, oldest first.
    pub fn effects(&self) -> Vec<Effect> {
        self.effects_since(0)
    }

    /// The effects with a number above `seq`, oldest first.
    pub fn effects_since(&self, seq: u64) -> Vec<Effect> {
        locked(&self.simulation.effects).since(seq)
    }

    /// The counters since the start or the last reset.
    pub fn stats(&self) -> Stats {
        self.simulation.stats()
    }

    /// The repository `owner/name`.
    ///
    /// # Errors
    /// When it does not exist.
    pub fn state(&self, repo: &str) -> Result<RepositoryState> {
        let repository = self.repository(repo)?;
        Ok(state_of(&locked(&repository)))
    }

    /// Creates a repository.
    ///
    /// # Errors
    /// When the name is malformed or taken.
    pub fn add_repository(&self, seed: &RepositorySeed) -> Result<()> {
        self.simulation.add_repository(seed)
    }

    /// Opens an issue and returns its number.
    ///
    /// # Errors
    /// When the repository does not exist.
    pub fn add_issue(&self, repo: &str, issue: IssueSeed) -> Result<u64> {
        let repository = self.repository(repo)?;
        let number = open_issue(&mut locked(&repository), issue);
        Ok(number)
    }

    /// Commits text files to a branch, as somebody else would, and returns the commit's id. A branch
    /// that does not exist is created from the default branch.
    ///
    /// # Errors
    /// When the repository does not exist or a path is malformed.
    pub fn push(
        &self,
        repo: &str,
        branch: &str,
        files: &[(&str, &str)],
        message: &str,
    ) -> Result<String> {
        let repository = self.repository(repo)?;
        let mut repository = locked(&repository);
        if repository.branch(branch).is_none() {
            let default = repository.place.default_branch.clone();
            let tip = repository
                .branch(&default)
                .context("the default branch exists")?;
            repository.set_ref(&format!("refs/heads/{branch}"), tip);
        }
        let mut edits = Vec::with_capacity(files.len());
        for (path, content) in files {
            let content = Bytes::from(content.as_bytes().to_vec());
            let oid = repository.objects.insert_blob(content).oid;
            edits.push(put_file(path, oid));
        }
        let by = signature("octocat", Utc::now());
        let author = by.clone();
        let push = Push {
            branch,
            edits: &edits,
            message,
            author,
            committer: by,
        };
        let oid = repository
            .push(&push)
            .map_err(|error| anyhow!("push to {branch}: {error:?}"))?;
        Ok(oid.to_string())
    }

    /// Switches a fault on and returns its id.
    ///
    /// # Errors
    /// When a value of the fault is out of range.
    pub fn add_fault(&self, fault: Fault) -> Result<u64> {
        if let Some(mistake) = fault.mistake() {
            return Err(anyhow!("{mistake}"));
        }
        Ok(locked(&self.simulation.faults).add(fault))
    }

    /// Switches one fault off; whether it was on.
    pub fn remove_fault(&self, id: u64) -> bool {
        locked(&self.simulation.faults).remove(id)
    }

    /// Switches all faults off.
    pub fn clear_faults(&self) {
        locked(&self.simulation.faults).clear();
    }

    /// The faults that are on, with what remains of them.
    pub fn faults(&self) -> Vec<ActiveFault> {
        locked(&self.simulation.faults).list()
    }

    /// Adds a token; one with the same value is replaced.
    pub fn add_token(&self, token: TokenSeed) {
        let mut tokens = self
            .simulation
            .tokens
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        tokens.add(token, Utc::now());
    }

    /// Makes every token of this name invalid; whether there was one. The name of the tokens of an
    /// installation is `installation-<id>`.
    pub fn revoke_token(&self, name: &str) -> bool {
        let mut tokens = self
            .simulation
            .tokens
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        tokens.revoke(name)
    }

    /// Returns everything to the start.
    ///
    /// # Errors
    /// Not for a simulation that started.
    pub fn reset(&self) -> Result<()> {
        self.simulation.reset()
    }

    /// Sends a webhook to a loopback URL and returns the answer. Safe to cancel; the receiver may
    /// have got the delivery nevertheless.
    ///
    /// # Errors
    /// When the URL is not on the loopback interface, the issue does not exist, or nothing answers.
    pub async fn deliver(&self, delivery: &Delivery) -> Result<Delivered> {
        delivery::send(&self.simulation, delivery).await
    }

    fn repository(&self, repo: &str) -> Result<Arc<Mutex<Repository>>> {
        self.simulation
            .repository(repo)
            .map_err(|_| anyhow!("repository {repo} does not exist"))
    }
}

/// Opens an issue that nobody asked for by HTTP, so it is not in the log of effects.
pub(crate) fn open_issue(repository: &mut Repository, issue: IssueSeed) -> u64 {
    let new = NewIssue {
        title: issue.title,
        body: Some(issue.body),
        labels: issue.labels,
        assignees: Vec::new(),
        author: "octocat".to_owned(),
        now: Utc::now(),
    };
    repository.open_issue(new).number
}

pub(crate) fn state_of(repository: &Repository) -> RepositoryState {
    let branch = |(name, oid): (&String, &super::git::Oid)| {
        Some((
            name.strip_prefix("refs/heads/")?.to_owned(),
            oid.to_string(),
        ))
    };
    let pull_requests = repository.pulls().map(|(issue, pull)| PullRequestState {
        number: issue.number,
        title: issue.title.clone(),
        state: issue.state.as_str().to_owned(),
        head: pull.head.clone(),
        base: pull.base.clone(),
        head_sha: pull.head_sha.to_string(),
        merged: pull.merged.is_some(),
        commits: repository.pull_divergence(pull).ahead.len(),
        comments: issue.comments.len(),
    });
    let issues = repository
        .issues
        .values()
        .filter(|issue| issue.pull.is_none());
    let issues = issues.map(|issue| IssueState {
        number: issue.number,
        title: issue.title.clone(),
        state: issue.state.as_str().to_owned(),
        labels: issue.labels.clone(),
        comments: issue
            .comments
            .iter()
            .map(|comment| comment.body.clone())
            .collect(),
    });
    RepositoryState {
        branches: repository.refs.iter().filter_map(branch).collect(),
        pull_requests: pull_requests.collect(),
        issues: issues.collect(),
    }
}
