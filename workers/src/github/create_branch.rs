//! `github.createBranch`: a branch that is there is left alone.

use afu9_schemas::tool::github::{BranchOutput, CreateBranchParams};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::address::{Repository, check_branch, encode};
use super::client::{Client, Request};
use super::git;
use crate::{Call, ToolError};

#[derive(Deserialize)]
struct Comparison {
    status: String,
}

/// Creates the branch, or finds it where a former run, or anybody, put it.
///
/// A branch that is there counts as created if it has no commit of its own: then it is what this
/// call would have made, at most a little older because `from` has moved on between two attempts.
///
/// # Errors
/// A permanent `github.conflict` if the branch is there with commits of its own; a permanent
/// `github.not_found` if `from` is neither a branch nor a commit; whatever else GitHub's refusal
/// means.
pub(super) async fn run(
    client: &Client,
    call: &Call,
    params: CreateBranchParams,
) -> Result<BranchOutput, ToolError> {
    let repository = Repository::new(&params.owner, &params.repo)?;
    check_branch("branch", &params.branch)?;
    check_branch("from", &params.from)?;
    super::stop_if_cancelled(call)?;
    let from = resolve(client, &repository, &params.from).await?;
    super::stop_if_cancelled(call)?;

    let branch = &params.branch;
    let body = json!({ "ref": format!("refs/heads/{branch}"), "sha": from });
    let request = Request::post(repository.path("git/refs"), &body)
        .about(format!("branch `{branch}` of {repository} at {from}"));
    let response = client.send(&repository, request).await?;
    if response.is_refusal(StatusCode::UNPROCESSABLE_ENTITY, "already exists") {
        return existing(client, &repository, branch, &from).await;
    }
    if response.is_refusal(StatusCode::UNPROCESSABLE_ENTITY, "object does not exist") {
        return Err(ToolError::permanent(
            "github.not_found",
            format!(
                "`from`: {repository} has no branch and no commit `{}`",
                params.from
            ),
        ));
    }
    let created: git::Reference = response.json()?;
    Ok(output(created, branch, true))
}

/// The commit that `from` means. A full commit id is taken as it is: GitHub checks it when the
/// branch is created.
async fn resolve(
    client: &Client,
    repository: &Repository,
    from: &str,
) -> Result<String, ToolError> {
    if is_commit_id(from) {
        return Ok(from.to_ascii_lowercase());
    }
    match git::branch(client, repository, from).await? {
        Some(reference) => Ok(reference.object.sha),
        None => Err(ToolError::permanent(
            "github.not_found",
            format!(
                "`from`: {repository} has no branch `{from}` that is visible, and it is not a full commit id"
            ),
        )),
    }
}

async fn existing(
    client: &Client,
    repository: &Repository,
    branch: &str,
    from: &str,
) -> Result<BranchOutput, ToolError> {
    let Some(found) = git::branch(client, repository, branch).await? else {
        return Err(ToolError::retryable(
            "github.conflict",
            format!("branch `{branch}` of {repository} appeared and disappeared at the same time"),
        ));
    };
    if found.object.sha == from {
        return Ok(output(found, branch, false));
    }
    let path = format!("compare/{}...{}", encode(from), encode(&found.object.sha));
    let request = Request::get(repository.path(&path))
        .about(format!("branch `{branch}` of {repository} against {from}"));
    let comparison: Comparison = client.send(repository, request).await?.json()?;
    match comparison.status.as_str() {
        "identical" | "behind" => Ok(output(found, branch, false)),
        _ => Err(ToolError::permanent(
            "github.conflict",
            format!(
                "branch `{branch}` of {repository} is already there with commits that {from} does not have; \
                 choose another name, or delete or merge that branch"
            ),
        )),
    }
}

fn is_commit_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn output(reference: git::Reference, branch: &str, created: bool) -> BranchOutput {
    BranchOutput {
        reference: reference.reference,
        sha: reference.object.sha,
        url: reference.url,
        branch: branch.to_owned(),
        created,
    }
}
