//! Pull requests between branches of one repository, and merging them.

use chrono::{DateTime, Utc};

use super::super::failure::Failure;
use super::super::git::history::{self, Divergence};
use super::super::git::merge::merge_trees;
use super::super::git::{Commit, Oid, Signature};
use super::issue::NewIssue;
use super::{Issue, IssueState, Repository, signature};

/// What makes an issue a pull request.
#[derive(Debug, Clone)]
pub(crate) struct PullRequest {
    /// A branch.
    pub(crate) head: String,
    /// A branch.
    pub(crate) base: String,
    /// Follows the branch while the pull request is open.
    pub(crate) head_sha: Oid,
    /// The base when the pull request was opened.
    pub(crate) base_sha: Oid,
    pub(crate) is_draft: bool,
    pub(crate) merged: Option<Merged>,
}

#[derive(Debug, Clone)]
pub(crate) struct Merged {
    pub(crate) at: DateTime<Utc>,
    pub(crate) by: String,
    pub(crate) commit: Oid,
}

#[derive(Debug)]
pub(crate) struct NewPull {
    pub(crate) issue: NewIssue,
    pub(crate) head: String,
    pub(crate) base: String,
    pub(crate) is_draft: bool,
}

/// How the commits of the head get into the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MergeMethod {
    Merge,
    Squash,
    Rebase,
}

#[derive(Debug)]
pub(crate) struct MergeRequest {
    pub(crate) method: MergeMethod,
    pub(crate) title: Option<String>,
    pub(crate) message: Option<String>,
    /// What the head must be.
    pub(crate) expected_head: Option<String>,
    pub(crate) login: String,
}

impl Repository {
    /// The branch meant by `branch` or `owner:branch`, if it is one of this repository.
    pub(crate) fn head_branch<'a>(&self, text: &'a str) -> Option<&'a str> {
        match text.split_once(':') {
            None => Some(text),
            Some((owner, branch)) if owner.eq_ignore_ascii_case(&self.place.owner) => Some(branch),
            Some(_) => None,
        }
    }

    /// # Errors
    /// 422 for a head or base that is no branch, a head without commits of its own, or a pull
    /// request that is already open.
    pub(crate) fn open_pull(&mut self, new: NewPull) -> Result<u64, Failure> {
        let invalid = |field| Failure::invalid_field("PullRequest", field, "invalid");
        let head = self
            .head_branch(&new.head)
            .ok_or_else(|| invalid("head"))?
            .to_owned();
        let head_sha = self.branch(&head).ok_or_else(|| invalid("head"))?;
        let base_sha = self.branch(&new.base).ok_or_else(|| invalid("base"))?;
        let between = history::divergence(&self.objects, base_sha, head_sha);
        if between.merge_base.is_none() {
            let base = &new.base;
            let message = format!("The {head} branch has no history in common with {base}");
            return Err(Failure::custom("PullRequest", message));
        }
        if between.ahead.is_empty() {
            let message = format!("No commits between {} and {head}", new.base);
            return Err(Failure::custom("PullRequest", message));
        }
        let is_taken = self
            .pulls_of(&head)
            .any(|(issue, pull)| issue.state == IssueState::Open && pull.base == new.base);
        if is_taken {
            let owner = &self.place.owner;
            let message = format!("A pull request already exists for {owner}:{head}.");
            return Err(Failure::custom("PullRequest", message));
        }
        let pull = PullRequest {
            head: head.clone(),
            base: new.base,
            head_sha,
            base_sha,
            is_draft: new.is_draft,
            merged: None,
        };
        let issue = self.open_issue(new.issue);
        issue.pull = Some(pull);
        let number = issue.number;
        self.pulls_by_head.entry(head).or_default().push(number);
        Ok(number)
    }

    /// # Errors
    /// 404 for what is not a pull request.
    pub(crate) fn pull(&self, number: u64) -> Result<(&Issue, &PullRequest), Failure> {
        let issue = self.issue(number)?;
        let pull = issue.pull.as_ref().ok_or_else(Failure::not_found)?;
        Ok((issue, pull))
    }

    /// The pull requests of a head branch, oldest first.
    pub(crate) fn pulls_of(&self, head: &str) -> impl Iterator<Item = (&Issue, &PullRequest)> {
        let numbers = self
            .pulls_by_head
            .get(head)
            .map(Vec::as_slice)
            .unwrap_or_default();
        numbers.iter().filter_map(|number| self.pull(*number).ok())
    }

    /// All pull requests, oldest first.
    pub(crate) fn pulls(&self) -> impl DoubleEndedIterator<Item = (&Issue, &PullRequest)> {
        self.issues
            .values()
            .filter_map(|issue| Some((issue, issue.pull.as_ref()?)))
    }

    /// The tip of the base: where it is now, or where it was when its branch is gone.
    pub(crate) fn base_tip(&self, pull: &PullRequest) -> Oid {
        if pull.merged.is_some() {
            return pull.base_sha;
        }
        self.branch(&pull.base).unwrap_or(pull.base_sha)
    }

    /// What a pull request would bring into its base.
    pub(crate) fn pull_divergence(&self, pull: &PullRequest) -> Divergence {
        history::divergence(&self.objects, self.base_tip(pull), pull.head_sha)
    }

    /// The tree after the merge; `None` on a conflict.
    pub(crate) fn merged_tree(&mut self, base: Oid, head: Oid) -> Option<Oid> {
        let ancestor = history::divergence(&self.objects, base, head).merge_base?;
        let (before, ours, theirs) = (
            self.tree_of(ancestor)?,
            self.tree_of(base)?,
            self.tree_of(head)?,
        );
        merge_trees(&mut self.objects, before, ours, theirs)
    }

    /// The commit that the base now points to.
    ///
    /// # Errors
    /// 404, 405 if closed, merged, a draft or in conflict, 409 if the head is not the expected one.
    pub(crate) fn merge_pull(
        &mut self,
        number: u64,
        request: &MergeRequest,
    ) -> Result<Oid, Failure> {
        let (issue, pull) = self.pull(number)?;
        let not_mergeable =
            |message: &str| Failure::new(axum::http::StatusCode::METHOD_NOT_ALLOWED, message);
        if issue.state == IssueState::Closed {
            return Err(not_mergeable("Pull Request is not mergeable"));
        }
        if pull.is_draft {
            return Err(not_mergeable("Pull Request is still a draft"));
        }
        let head_sha = pull.head_sha;
        if request
            .expected_head
            .as_ref()
            .is_some_and(|sha| *sha != head_sha.to_string())
        {
            let message = "Head branch was modified. Review and try the merge again.";
            return Err(Failure::conflict(message));
        }
        let (title, body) = (issue.title.clone(), issue.body.clone());
        let (head, base) = (pull.head.clone(), pull.base.clone());
        let base_sha = self.base_tip(pull);
        let now = Utc::now();
        let by = signature(&request.login, now);
        let web = Signature {
            name: "GitHub".to_owned(),
            email: "noreply@github.com".to_owned(),
            when: now.fixed_offset(),
        };
        let conflict = || not_mergeable("Pull Request is not mergeable");
        let tree = self.merged_tree(base_sha, head_sha).ok_or_else(conflict)?;
        let message = |title: String, body: Option<String>| {
            let title = request.title.clone().unwrap_or(title);
            match request
                .message
                .clone()
                .or(body)
                .filter(|body| !body.is_empty())
            {
                Some(body) => format!("{title}\n\n{body}"),
                None => title,
            }
        };
        let commit = match request.method {
            MergeMethod::Merge => {
                let owner = &self.place.owner;
                let default = format!("Merge pull request #{number} from {owner}/{head}");
                let message = message(default, Some(title));
                let parents = vec![base_sha, head_sha];
                let commit = Commit {
                    tree,
                    parents,
                    author: by,
                    committer: web,
                    message,
                };
                self.objects.insert_commit(commit).oid
            }
            MergeMethod::Squash => {
                let message = message(format!("{title} (#{number})"), body);
                let parents = vec![base_sha];
                let commit = Commit {
                    tree,
                    parents,
                    author: by,
                    committer: web,
                    message,
                };
                self.objects.insert_commit(commit).oid
            }
            MergeMethod::Rebase => self.rebase(base_sha, head_sha, &web).ok_or_else(conflict)?,
        };
        self.set_ref(&format!("refs/heads/{base}"), commit);
        let issue = self.touch_issue(number)?;
        issue.set_state(IssueState::Closed, None);
        issue.state_reason = None;
        if let Some(pull) = &mut issue.pull {
            pull.base_sha = base_sha;
            pull.merged = Some(Merged {
                at: issue.updated_at,
                by: request.login.clone(),
                commit,
            });
        }
        Ok(commit)
    }

    /// Makes the head's own commits again on top of the base; `None` on a conflict.
    fn rebase(&mut self, base: Oid, head: Oid, committer: &Signature) -> Option<Oid> {
        let own = history::divergence(&self.objects, base, head).ahead;
        let mut tip = base;
        for oid in own.into_iter().rev() {
            let original = self.objects.commit(oid)?.clone();
            let before = match original.parents.first() {
                Some(parent) => self.tree_of(*parent)?,
                None => self.objects.insert_tree(Vec::new()).oid,
            };
            let ours = self.tree_of(tip)?;
            let tree = merge_trees(&mut self.objects, before, ours, original.tree)?;
            let committer = committer.clone();
            let commit = Commit {
                tree,
                parents: vec![tip],
                committer,
                ..original
            };
            tip = self.objects.insert_commit(commit).oid;
        }
        Some(tip)
    }

    /// Open pull requests follow their head branch.
    pub(super) fn follow_head(&mut self, branch: &str, oid: Oid) {
        for number in self.pulls_by_head.get(branch).into_iter().flatten() {
            if let Some(issue) = self.issues.get_mut(number)
                && issue.state == IssueState::Open
                && let Some(pull) = &mut issue.pull
            {
                pull.head_sha = oid;
            }
        }
    }

    /// GitHub closes the open pull requests of a deleted head or base branch.
    pub(super) fn close_pulls_of(&mut self, branch: &str) {
        for issue in self.issues.values_mut() {
            let is_affected = issue
                .pull
                .as_ref()
                .is_some_and(|pull| pull.head == branch || pull.base == branch);
            if is_affected && issue.state == IssueState::Open {
                issue.set_state(IssueState::Closed, None);
                issue.state_reason = None;
            }
        }
    }
}
