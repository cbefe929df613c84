//! Issues, which every pull request is too, and their comments.

use std::cmp::Reverse;

use chrono::{DateTime, SubsecRound as _, Utc};

use super::super::failure::Failure;
use super::{PullRequest, Repository};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IssueState {
    Open,
    Closed,
}

impl IssueState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Comment {
    pub(crate) id: u64,
    pub(crate) body: String,
    pub(crate) author: String,
    pub(crate) created_at: DateTime<Utc>,
}

#[derive(Debug, Clone)]
pub(crate) struct Issue {
    pub(crate) id: u64,
    pub(crate) number: u64,
    pub(crate) title: String,
    pub(crate) body: Option<String>,
    pub(crate) state: IssueState,
    pub(crate) state_reason: Option<String>,
    pub(crate) labels: Vec<String>,
    pub(crate) assignees: Vec<String>,
    pub(crate) author: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) closed_at: Option<DateTime<Utc>>,
    pub(crate) comments: Vec<Comment>,
    pub(crate) pull: Option<PullRequest>,
}

impl Issue {
    pub(crate) fn add_labels(&mut self, labels: Vec<String>) {
        for label in labels {
            if !self.has_label(&label) {
                self.labels.push(label);
            }
        }
    }

    /// Labels are compared without case.
    pub(crate) fn has_label(&self, wanted: &str) -> bool {
        let wanted = wanted.to_lowercase();
        self.labels
            .iter()
            .any(|label| label.to_lowercase() == wanted)
    }

    pub(crate) fn set_state(&mut self, state: IssueState, reason: Option<String>) {
        if self.state != state {
            self.state = state;
            self.closed_at = (state == IssueState::Closed).then(now);
        }
        self.state_reason = match state {
            IssueState::Open => reason,
            IssueState::Closed => Some(reason.unwrap_or_else(|| "completed".to_owned())),
        };
    }
}

/// What an issue starts with.
#[derive(Debug)]
pub(crate) struct NewIssue {
    pub(crate) title: String,
    pub(crate) body: Option<String>,
    pub(crate) labels: Vec<String>,
    pub(crate) assignees: Vec<String>,
    pub(crate) author: String,
    pub(crate) now: DateTime<Utc>,
}

impl NewIssue {
    /// An issue of no repository; the caller numbers it.
    pub(crate) fn numbered(self, id: u64, number: u64) -> Issue {
        let at = self.now.trunc_subsecs(0);
        let mut issue = Issue {
            id,
            number,
            title: self.title,
            body: self.body,
            state: IssueState::Open,
            state_reason: None,
            labels: Vec::new(),
            assignees: self.assignees,
            author: self.author,
            created_at: at,
            updated_at: at,
            closed_at: None,
            comments: Vec::new(),
            pull: None,
        };
        issue.add_labels(self.labels);
        issue
    }
}

/// Which issues a list has.
#[derive(Debug)]
pub(crate) struct Filter {
    /// `None` for all.
    pub(crate) state: Option<IssueState>,
    /// All of them.
    pub(crate) labels: Vec<String>,
    pub(crate) since: Option<DateTime<Utc>>,
    pub(crate) order: Order,
    pub(crate) direction: Direction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Created,
    Updated,
    Comments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Ascending,
    Descending,
}

impl Repository {
    pub(crate) fn open_issue(&mut self, issue: NewIssue) -> &mut Issue {
        let number = self.issues.last_key_value().map_or(1, |(last, _)| last + 1);
        let id = self.fresh_id();
        self.issues
            .entry(number)
            .or_insert(issue.numbered(id, number))
    }

    /// # Errors
    /// 404 for a number that was never given.
    pub(crate) fn issue(&self, number: u64) -> Result<&Issue, Failure> {
        self.issues.get(&number).ok_or_else(Failure::not_found)
    }

    /// The issue, marked as updated.
    pub(crate) fn touch_issue(&mut self, number: u64) -> Result<&mut Issue, Failure> {
        let issue = self
            .issues
            .get_mut(&number)
            .ok_or_else(Failure::not_found)?;
        issue.updated_at = now();
        Ok(issue)
    }

    pub(crate) fn add_comment(
        &mut self,
        number: u64,
        author: &str,
        body: String,
    ) -> Result<Comment, Failure> {
        self.issue(number)?;
        let id = self.fresh_id();
        let issue = self.touch_issue(number)?;
        let created_at = issue.updated_at;
        let comment = Comment {
            id,
            body,
            author: author.to_owned(),
            created_at,
        };
        issue.comments.push(comment.clone());
        Ok(comment)
    }

    /// Removes a comment and returns it with the number of its issue.
    ///
    /// # Errors
    /// 404 for a comment that does not exist (any more).
    pub(crate) fn delete_comment(&mut self, id: u64) -> Result<(u64, Comment), Failure> {
        let found = self.issues.values().find_map(|issue| {
            let place = issue.comments.iter().position(|comment| comment.id == id)?;
            Some((issue.number, place))
        });
        let (number, place) = found.ok_or_else(Failure::not_found)?;
        let comment = self.touch_issue(number)?.comments.remove(place);
        Ok((number, comment))
    }

    /// Issues and pull requests in the order of the filter.
    pub(crate) fn list_issues(&self, filter: &Filter) -> Vec<&Issue> {
        let accepts = |issue: &&Issue| {
            filter.state.is_none_or(|state| issue.state == state)
                && filter.since.is_none_or(|since| issue.updated_at >= since)
                && filter.labels.iter().all(|label| issue.has_label(label))
        };
        let mut found: Vec<&Issue> = self.issues.values().filter(accepts).collect();
        match filter.order {
            Order::Created => {}
            Order::Updated => found.sort_by_key(|issue| (issue.updated_at, issue.number)),
            Order::Comments => {
                found.sort_by_key(|issue| (issue.comments.len(), Reverse(issue.number)))
            }
        }
        if filter.direction == Direction::Descending {
            found.reverse();
        }
        found
    }
}

/// GitHub's times have whole seconds.
fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(0)
}
