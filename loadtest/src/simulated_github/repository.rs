//! One repository: its objects, references, issues and pull requests.
//!
//! Everything in here is synchronous and runs under the repository's lock; routes translate between
//! HTTP and these operations. Invariants: a reference points to a stored commit; issues and pull
//! requests share one sequence of numbers; at most one open pull request has a given head and base.

pub(crate) mod issue;
pub(crate) mod pull;
pub(crate) mod refs;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::config::{RepositorySeed, Visibility};
use super::failure::Failure;
use super::git::tree::{self, Change, Edit, EditError};
use super::git::{Commit, Inserted, Mode, Objects, Oid, Signature};

pub(crate) use issue::{Comment, Issue, IssueState};
pub(crate) use pull::PullRequest;

/// Where a repository is; enough to build every URL about it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) id: u64,
    /// Of the simulation, without a slash at the end.
    pub(crate) base_url: Arc<str>,
    pub(crate) owner: String,
    pub(crate) name: String,
    pub(crate) visibility: Visibility,
    pub(crate) default_branch: String,
    pub(crate) created_at: DateTime<Utc>,
}

impl Place {
    pub(crate) fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// The URL of `rest` (with a leading slash) in the API.
    pub(crate) fn api(&self, rest: &str) -> String {
        format!("{}/repos/{}/{}{rest}", self.base_url, self.owner, self.name)
    }

    /// The URL of `rest` (with a leading slash) for people.
    pub(crate) fn html(&self, rest: &str) -> String {
        format!("https://github.com/{}/{}{rest}", self.owner, self.name)
    }
}

#[derive(Debug)]
pub(crate) struct Repository {
    pub(crate) place: Place,
    pub(crate) objects: Objects,
    /// Full names, such as `refs/heads/main`.
    pub(crate) refs: BTreeMap<String, Oid>,
    pub(crate) issues: BTreeMap<u64, Issue>,
    pub(crate) pushed_at: DateTime<Utc>,
    next_id: u64,
    /// Numbers of pull requests by head branch, oldest first.
    pulls_by_head: HashMap<String, Vec<u64>>,
}

/// A commit about to be made on a branch.
#[derive(Debug)]
pub(crate) struct Push<'a> {
    pub(crate) branch: &'a str,
    pub(crate) edits: &'a [Edit],
    pub(crate) message: &'a str,
    pub(crate) author: Signature,
    pub(crate) committer: Signature,
}

impl Repository {
    /// # Errors
    /// When a path of a seeded file is malformed.
    pub(crate) fn new(
        place: Place,
        seed: &RepositorySeed,
        now: DateTime<Utc>,
    ) -> Result<Self, Failure> {
        let branch = place.default_branch.clone();
        let mut repository = Self {
            place,
            objects: Objects::default(),
            refs: BTreeMap::new(),
            issues: BTreeMap::new(),
            pushed_at: now,
            next_id: 1,
            pulls_by_head: HashMap::new(),
        };
        let mut edits = Vec::new();
        for (path, content) in &seed.files {
            let oid = repository
                .objects
                .insert_blob(Bytes::from(content.clone().into_bytes()))
                .oid;
            edits.push(put_file(path, oid));
        }
        // A fixed date makes the first commit of equal seeds equal.
        let by = signature("octocat", DateTime::UNIX_EPOCH);
        let push = Push {
            branch: &branch,
            edits: &edits,
            message: "Initial commit",
            author: by.clone(),
            committer: by,
        };
        repository.push(&push)?;
        for issue in &seed.issues {
            let by = "octocat";
            repository.open_issue(issue::NewIssue {
                title: issue.title.clone(),
                body: Some(issue.body.clone()),
                labels: issue.labels.clone(),
                assignees: Vec::new(),
                author: by.to_owned(),
                now,
            });
        }
        Ok(repository)
    }

    /// An id that no other object of any repository has.
    pub(crate) fn fresh_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.place.id * 100_000_000 + id
    }

    /// The commit at the tip of a branch.
    pub(crate) fn branch(&self, name: &str) -> Option<Oid> {
        self.refs.get(&format!("refs/heads/{name}")).copied()
    }

    /// The commit that a client means by a full id, `HEAD`, a branch, a tag or a full reference.
    pub(crate) fn resolve(&self, text: &str) -> Option<Oid> {
        if let Ok(oid) = text.parse::<Oid>() {
            return self.objects.commit(oid).map(|_| oid);
        }
        if text == "HEAD" {
            return self.branch(&self.place.default_branch);
        }
        let short = text.strip_prefix("refs/").unwrap_or(text);
        [
            format!("refs/{short}"),
            format!("refs/heads/{short}"),
            format!("refs/tags/{short}"),
        ]
        .iter()
        .find_map(|name| self.refs.get(name).copied())
    }

    /// The tree of a commit that is known to be stored.
    pub(crate) fn tree_of(&self, commit: Oid) -> Option<Oid> {
        self.objects.commit(commit).map(|commit| commit.tree)
    }

    pub(crate) fn build_tree(
        &mut self,
        base: Option<Oid>,
        edits: &[Edit],
    ) -> Result<Inserted, Failure> {
        tree::build(&mut self.objects, base, edits).map_err(|error| match error {
            EditError::MalformedPath(path) => Failure::unprocessable(format!(
                "tree.path contains a malformed path component: {path}"
            )),
            EditError::AbsentPath(_) => Failure::unprocessable("GitRPC::BadObjectState"),
        })
    }

    /// Makes a commit on a branch, which is created if it does not exist.
    pub(crate) fn push(&mut self, push: &Push<'_>) -> Result<Oid, Failure> {
        let tip = self.branch(push.branch);
        let base = tip.and_then(|tip| self.tree_of(tip));
        let tree = self.build_tree(base, push.edits)?.oid;
        let commit = Commit {
            tree,
            parents: tip.into_iter().collect(),
            author: push.author.clone(),
            committer: push.committer.clone(),
            message: push.message.to_owned(),
        };
        let oid = self.objects.insert_commit(commit).oid;
        self.set_ref(&format!("refs/heads/{}", push.branch), oid);
        Ok(oid)
    }

    pub(crate) fn set_ref(&mut self, name: &str, oid: Oid) {
        self.refs.insert(name.to_owned(), oid);
        self.pushed_at = Utc::now();
        if let Some(branch) = name.strip_prefix("refs/heads/") {
            self.follow_head(branch, oid);
        }
    }
}

pub(crate) fn put_file(path: &str, oid: Oid) -> Edit {
    Edit {
        path: path.to_owned(),
        change: Change::Put {
            mode: Mode::File,
            oid,
        },
    }
}

/// The signature that GitHub makes up for an account.
pub(crate) fn signature(login: &str, when: DateTime<Utc>) -> Signature {
    let email = format!("{login}@users.noreply.github.com");
    Signature {
        name: login.to_owned(),
        email,
        when: when.fixed_offset(),
    }
}
