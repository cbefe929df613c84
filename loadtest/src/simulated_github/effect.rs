//! The log of everything that changed: the witness of tests and of the chaos checker.
//!
//! Invariant: an effect is recorded under the lock of its repository, so the log has the order in
//! which the repository changed. Only what happened is in it, never what was refused.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Older effects are forgotten, and counted. At about 400 bytes each this is 200 MB at most, and more
/// than a load test of an hour makes.
pub const EFFECTS_KEPT: usize = 500_000;

/// What a request did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are those of GitHub's operations")]
pub enum EffectKind {
    CreateBlob,
    CreateTree,
    CreateCommit,
    CreateRef,
    UpdateRef,
    DeleteRef,
    PutContents,
    CreateIssue,
    UpdateIssue,
    AddLabels,
    CreateComment,
    DeleteComment,
    CreatePullRequest,
    UpdatePullRequest,
    MergePullRequest,
    CreateAccessToken,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// From 1, without gaps, until a reset.
    pub seq: u64,
    /// RFC 3339.
    pub at: String,
    /// Of the request.
    pub method: String,
    /// Of the request, without the query.
    pub path: String,
    /// What changed.
    pub kind: EffectKind,
    /// `owner/name`; empty for what belongs to no repository.
    pub repo: String,
    /// The reference, object id, issue (`#1`), pull request (`#2`) or installation.
    pub subject: String,
    /// The `x-github-request-id` of the request.
    pub request_id: String,
    /// The name, not the value, of the token.
    pub token: String,
    /// The client never got the answer, because a fault took it.
    pub response_lost: bool,
    /// The request asked for what already was: nothing changed.
    pub repeated: bool,
    /// The first 16 hexadecimal digits of the SHA-256 of the request's body.
    pub body_digest: String,
    /// The first HTML comment in the body or message, where writers leave their idempotency keys.
    pub marker: Option<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Effects {
    kept: VecDeque<Effect>,
    recorded: u64,
}

impl Effects {
    /// Numbers and keeps an effect.
    pub(crate) fn record(&mut self, mut effect: Effect) {
        self.recorded += 1;
        effect.seq = self.recorded;
        if self.kept.len() == EFFECTS_KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(effect);
    }

    /// The kept effects with a number above `seq`, oldest first.
    pub(crate) fn since(&self, seq: u64) -> Vec<Effect> {
        let skip = usize::try_from(seq.saturating_sub(self.forgotten())).unwrap_or(usize::MAX);
        self.kept.iter().skip(skip).cloned().collect()
    }

    pub(crate) fn recorded(&self) -> u64 {
        self.recorded
    }

    pub(crate) fn forgotten(&self) -> u64 {
        self.recorded - self.kept.len() as u64
    }
}

/// The first HTML comment of a text, without its brackets.
pub(crate) fn marker(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("<!--")?;
    let (comment, _) = rest.split_once("-->")?;
    Some(comment.trim().to_owned())
}
