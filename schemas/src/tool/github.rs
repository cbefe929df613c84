//! Contracts of the GitHub tools.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Effect, ToolContract};

/// Parameters of `github.getIssue`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetIssueParams {
    /// Login of the repository's owner.
    pub owner: String,
    /// Name of the repository, without the owner.
    pub repo: String,
    /// Number of the issue.
    pub number: u64,
}

/// Output of `github.getIssue`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct IssueOutput {
    /// Number of the issue.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// Its text, empty if it has none.
    pub body: String,
    /// `open` or `closed`.
    pub state: String,
    /// Names of its labels.
    pub labels: Vec<String>,
    /// When it was opened, RFC 3339.
    pub created_at: String,
    /// When it was last changed, RFC 3339.
    pub updated_at: String,
    /// Its page.
    pub html_url: String,
}

/// Parameters of `github.createBranch`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateBranchParams {
    /// Login of the repository's owner.
    pub owner: String,
    /// Name of the repository, without the owner.
    pub repo: String,
    /// Name of the new branch, without `refs/heads/`.
    #[schemars(length(min = 1, max = 244))]
    pub branch: String,
    /// The branch or commit it begins at.
    pub from: String,
}

/// Output of `github.createBranch`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct BranchOutput {
    /// The full ref, `refs/heads/…`.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The commit it points to.
    pub sha: String,
    /// The ref's address in GitHub's API.
    pub url: String,
    /// Name of the branch.
    pub branch: String,
    /// False if it was already there, without commits of its own.
    pub created: bool,
}

/// Parameters of `github.commitFiles`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommitFilesParams {
    /// Login of the repository's owner.
    pub owner: String,
    /// Name of the repository, without the owner.
    pub repo: String,
    /// The branch that gets the commit.
    pub branch: String,
    /// The commit message.
    #[schemars(length(min = 1))]
    pub message: String,
    /// The files that change.
    #[schemars(length(min = 1, max = 1000))]
    pub files: Vec<FileChange>,
    /// The commit the branch must point to; without it, whatever it points to.
    #[serde(default)]
    pub expected_head: Option<String>,
}

/// One file of a commit.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileChange {
    /// Path from the root of the repository, without a leading `/`.
    #[schemars(length(min = 1))]
    pub path: String,
    /// The whole new content; absent to delete the file.
    #[serde(default)]
    pub content: Option<String>,
    /// How `content` is written.
    #[serde(default)]
    pub encoding: FileEncoding,
    /// Make the file executable.
    #[serde(default)]
    pub executable: bool,
}

/// How a file's content is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FileEncoding {
    /// As text.
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    /// Base64, for anything that is not text.
    #[serde(rename = "base64")]
    Base64,
}

/// Output of `github.commitFiles`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct CommitOutput {
    /// The commit.
    pub commit_sha: String,
    /// Its page.
    pub commit_url: String,
    /// Its message.
    pub message: String,
    /// How many files were given.
    pub files_changed: usize,
}

/// Parameters of `github.createPullRequest`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreatePullRequestParams {
    /// Login of the repository's owner.
    pub owner: String,
    /// Name of the repository, without the owner.
    pub repo: String,
    /// The title.
    #[schemars(length(min = 1))]
    pub title: String,
    /// The branch with the changes.
    pub head: String,
    /// The branch that shall get them.
    pub base: String,
    /// The text.
    #[serde(default)]
    pub body: Option<String>,
    /// Open it as a draft.
    #[serde(default)]
    pub draft: bool,
    /// Labels it shall have.
    #[serde(default)]
    pub labels: Vec<String>,
}

/// Output of `github.createPullRequest`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PullRequestOutput {
    /// Its number.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// `open` or `closed`.
    pub state: String,
    /// Its page.
    pub html_url: String,
    /// When it was opened, RFC 3339.
    pub created_at: String,
    /// The commit at the tip of its branch.
    pub head_sha: String,
}

/// Parameters of `github.addComment`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddCommentParams {
    /// Login of the repository's owner.
    pub owner: String,
    /// Name of the repository, without the owner.
    pub repo: String,
    /// Number of the issue or pull request.
    pub number: u64,
    /// The text.
    #[schemars(length(min = 1, max = 65000))]
    pub body: String,
}

/// Output of `github.addComment`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct CommentOutput {
    /// The comment's id.
    pub id: u64,
    /// Its page.
    pub html_url: String,
    /// When it was written, RFC 3339.
    pub created_at: String,
}

pub(super) fn contracts() -> Vec<ToolContract> {
    vec![
        ToolContract::new::<GetIssueParams, IssueOutput>(
            "github.getIssue",
            "Reads an issue: title, text, state and labels.",
            Effect::ReadOnly,
            &[],
        ),
        ToolContract::new::<CreateBranchParams, BranchOutput>(
            "github.createBranch",
            "Creates a branch at the tip of another branch or at a commit.",
            Effect::Additive,
            &[],
        ),
        ToolContract::new::<CommitFilesParams, CommitOutput>(
            "github.commitFiles",
            "Adds one commit with any number of changed files to a branch.",
            Effect::Additive,
            &["commitFileChanges"],
        ),
        ToolContract::new::<CreatePullRequestParams, PullRequestOutput>(
            "github.createPullRequest",
            "Opens a pull request from one branch to another.",
            Effect::Additive,
            &[],
        ),
        ToolContract::new::<AddCommentParams, CommentOutput>(
            "github.addComment",
            "Adds a comment to an issue or pull request.",
            Effect::Additive,
            &["addIssueComment", "createIssueComment"],
        ),
    ]
}
