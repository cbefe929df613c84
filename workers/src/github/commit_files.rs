//! `github.commitFiles`: exactly one commit for each key.
//!
//! The commit carries the key in a trailer, and a branch is only ever moved forward (`force` is
//! false). So there are three cases, and each ends with one commit: the trailer is found before the
//! work begins; the branch moved meanwhile, and the trailer is found then or the next attempt builds
//! on the new head; or the branch takes the commit.
//!
//! The commit's date is that of its parent plus a second, hence the same inputs on the same head
//! are the same commit, byte by byte: two runs at the same time make one object, and the second
//! update of the branch changes nothing. The clock would make them two.

use afu9_schemas::tool::github::{CommitFilesParams, CommitOutput, FileChange, FileEncoding};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::address::{Repository, check_branch, encode, invalid};
use super::client::{Client, Request};
use super::git::{self, Object};
use super::marker;
use crate::{Call, ToolError};

/// How many of the branch's newest commits are searched for the trailer: GitHub's largest page,
/// and more than what others put on top between two attempts, a merge included.
const SEARCH_COMMITS: usize = 100;

/// A text up to this size travels in the tree itself and saves a request.
const INLINE_FILE_MAX_BYTES: usize = 128 << 10;

/// The texts of one tree together: GitHub turns down requests of some tens of megabytes, and
/// escaping can make a text six times as long.
const INLINE_TOTAL_MAX_BYTES: usize = 2 << 20;

/// Name and address under which the commits are made. Without them GitHub would put in the
/// credential's, and the date could not be given.
const AUTHOR_NAME: &str = "afu9";
const AUTHOR_EMAIL: &str = "afu9@users.noreply.github.com";

/// A commit in the list of a branch's commits.
#[derive(Deserialize)]
struct Listed {
    sha: String,
    html_url: String,
    commit: ListedCommit,
}

#[derive(Deserialize)]
struct ListedCommit {
    message: String,
    tree: Object,
    committer: Option<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    date: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct Created {
    sha: String,
    html_url: String,
    message: String,
}

/// What the branch looks like.
enum Branch {
    /// The commit of this key is on it.
    Done(CommitOutput),
    /// It is not; this is the newest commit.
    Head(Listed),
}

/// One call's constants.
struct Work<'a> {
    client: &'a Client,
    call: &'a Call,
    repository: Repository,
    params: &'a CommitFilesParams,
}

/// Adds the commit, or finds it.
///
/// # Errors
/// A permanent `github.conflict` if the branch is not at `expected_head`; a retryable one if it
/// moved meanwhile; a permanent `github.no_changes` if the files are on the branch already; a
/// permanent `params.invalid` for parameters that cannot be a commit; whatever else GitHub's
/// refusal means.
pub(super) async fn run(
    client: &Client,
    call: &Call,
    params: CommitFilesParams,
) -> Result<CommitOutput, ToolError> {
    let repository = Repository::new(&params.owner, &params.repo)?;
    check(&params)?;
    let work = Work {
        client,
        call,
        repository,
        params: &params,
    };
    let head = match work.branch().await? {
        Branch::Done(output) => return Ok(output),
        Branch::Head(head) => head,
    };
    work.check_expected(&head.sha)?;
    let tree = work.create_tree(&head).await?;
    if tree == head.commit.tree.sha {
        // An empty commit would start builds for nothing, and whoever asked for a change should
        // learn that there is none.
        return Err(ToolError::permanent(
            "github.no_changes",
            format!(
                "branch `{}` of {} has these files already",
                params.branch, work.repository
            ),
        ));
    }
    let commit = work.create_commit(&head, &tree).await?;
    work.move_branch(commit).await
}

impl Work<'_> {
    /// Looks at the newest commits of the branch.
    async fn branch(&self) -> Result<Branch, ToolError> {
        let Self {
            client,
            repository,
            params,
            call,
        } = self;
        super::stop_if_cancelled(call)?;
        let Some(reference) = git::branch(client, repository, &params.branch).await? else {
            return Err(ToolError::permanent(
                "github.not_found",
                format!(
                    "{repository} has no branch `{}` that is visible",
                    params.branch
                ),
            ));
        };
        let head = reference.object.sha;
        let path = format!("commits?sha={}&per_page={SEARCH_COMMITS}", encode(&head));
        let request = Request::get(repository.path(&path)).about(self.subject());
        let commits: Vec<Listed> = client.send(repository, request).await?.json()?;
        let key = &call.idempotency_key;
        if let Some(done) = commits
            .iter()
            .find(|c| marker::has_trailer(&c.commit.message, key))
        {
            return Ok(Branch::Done(CommitOutput {
                commit_sha: done.sha.clone(),
                commit_url: done.html_url.clone(),
                message: done.commit.message.clone(),
                files_changed: params.files.len(),
            }));
        }
        commits
            .into_iter()
            .find(|c| c.sha == head)
            .map(Branch::Head)
            .ok_or_else(|| {
                let message = format!(
                    "GitHub lists the commits of {} without its head",
                    self.subject()
                );
                ToolError::retryable("github.bad_response", message)
            })
    }

    fn check_expected(&self, head: &str) -> Result<(), ToolError> {
        match &self.params.expected_head {
            Some(expected) if !expected.eq_ignore_ascii_case(head) => Err(ToolError::permanent(
                "github.conflict",
                format!(
                    "{} is at {head}, not at the expected {expected:.80}",
                    self.subject()
                ),
            )),
            _ => Ok(()),
        }
    }

    /// The tree of `head` with the files changed. Trees and blobs that no commit uses are garbage
    /// to Git: whatever comes of the call, they are no effect.
    async fn create_tree(&self, head: &Listed) -> Result<String, ToolError> {
        let mut inline_left = INLINE_TOTAL_MAX_BYTES;
        let mut entries = Vec::with_capacity(self.params.files.len());
        for file in &self.params.files {
            let mode = if file.executable { "100755" } else { "100644" };
            let mut entry = json!({ "path": file.path, "mode": mode, "type": "blob" });
            match &file.content {
                None => entry["sha"] = Value::Null,
                Some(text) if fits_inline(file, text, inline_left) => {
                    inline_left -= text.len();
                    entry["content"] = Value::from(text.as_str());
                }
                Some(content) => {
                    entry["sha"] = self.create_blob(content, file.encoding).await?.into();
                }
            }
            entries.push(entry);
        }
        super::stop_if_cancelled(self.call)?;
        let body = json!({ "base_tree": head.commit.tree.sha, "tree": entries });
        let request = Request::post(self.repository.path("git/trees"), &body).about(self.subject());
        let tree: Object = self.client.send(&self.repository, request).await?.json()?;
        Ok(tree.sha)
    }

    async fn create_blob(
        &self,
        content: &str,
        encoding: FileEncoding,
    ) -> Result<String, ToolError> {
        super::stop_if_cancelled(self.call)?;
        let body = json!({ "content": content, "encoding": encoding });
        let request = Request::post(self.repository.path("git/blobs"), &body).about(self.subject());
        let blob: Object = self.client.send(&self.repository, request).await?.json()?;
        Ok(blob.sha)
    }

    async fn create_commit(&self, head: &Listed, tree: &str) -> Result<Created, ToolError> {
        super::stop_if_cancelled(self.call)?;
        let parent_date = head
            .commit
            .committer
            .as_ref()
            .and_then(|c| c.date)
            .unwrap_or_default();
        let date = (parent_date + TimeDelta::seconds(1)).to_rfc3339_opts(SecondsFormat::Secs, true);
        let signature = json!({ "name": AUTHOR_NAME, "email": AUTHOR_EMAIL, "date": date });
        let body = json!({
            "message": marker::with_trailer(&self.params.message, &self.call.idempotency_key),
            "tree": tree,
            "parents": [head.sha],
            "author": signature,
            "committer": signature,
        });
        let request =
            Request::post(self.repository.path("git/commits"), &body).about(self.subject());
        self.client.send(&self.repository, request).await?.json()
    }

    /// The one request of this tool that has an effect.
    async fn move_branch(&self, commit: Created) -> Result<CommitOutput, ToolError> {
        super::stop_if_cancelled(self.call)?;
        let path = format!("git/refs/heads/{}", encode(&self.params.branch));
        let body = json!({ "sha": commit.sha, "force": false });
        let request = Request::patch(self.repository.path(&path), &body).about(self.subject());
        let response = self.client.send(&self.repository, request).await?;
        let moved_meanwhile = response.is_refusal(StatusCode::UNPROCESSABLE_ENTITY, "fast forward")
            || response.is_refusal(StatusCode::UNPROCESSABLE_ENTITY, "fast-forward")
            || response.status() == StatusCode::CONFLICT;
        if !moved_meanwhile {
            response.accepted()?;
            return Ok(CommitOutput {
                commit_sha: commit.sha,
                commit_url: commit.html_url,
                message: commit.message,
                files_changed: self.params.files.len(),
            });
        }
        match self.branch().await? {
            Branch::Done(output) => Ok(output),
            Branch::Head(head) => {
                self.check_expected(&head.sha)?;
                let message = format!(
                    "{} moved to {} while the commit was made",
                    self.subject(),
                    head.sha
                );
                Err(ToolError::retryable("github.conflict", message))
            }
        }
    }

    fn subject(&self) -> String {
        format!("branch `{}` of {}", self.params.branch, self.repository)
    }
}

fn fits_inline(file: &FileChange, text: &str, left: usize) -> bool {
    file.encoding == FileEncoding::Utf8 && text.len() <= INLINE_FILE_MAX_BYTES.min(left)
}

/// Finds what cannot become a commit before anything is sent.
fn check(params: &CommitFilesParams) -> Result<(), ToolError> {
    check_branch("branch", &params.branch)?;
    if params.message.trim().is_empty() {
        return Err(invalid("`message` is empty".to_owned()));
    }
    if params.files.is_empty() {
        return Err(invalid("`files` is empty".to_owned()));
    }
    let mut seen = std::collections::HashSet::new();
    for FileChange {
        path,
        content,
        encoding,
        ..
    } in &params.files
    {
        let part_is_fine =
            |part: &str| !matches!(part, "" | "." | "..") && !part.eq_ignore_ascii_case(".git");
        if path.contains('\0') || !path.split('/').all(part_is_fine) {
            return Err(invalid(format!(
                "`files`: `{path:.300}` is not a path inside a repository"
            )));
        }
        if !seen.insert(path.as_str()) {
            return Err(invalid(format!("`files`: `{path:.300}` is given twice")));
        }
        if let (Some(content), FileEncoding::Base64) = (content, encoding)
            && BASE64_STANDARD.decode(content).is_err()
        {
            return Err(invalid(format!(
                "`files`: the content of `{path:.300}` is not base64"
            )));
        }
    }
    Ok(())
}
