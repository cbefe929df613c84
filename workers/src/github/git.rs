//! The parts of GitHub's Git database that more than one tool reads.

use http::StatusCode;
use serde::Deserialize;

use super::address::{Repository, encode};
use super::client::{Client, Request};
use crate::ToolError;

#[derive(Debug, Deserialize)]
pub(super) struct Reference {
    #[serde(rename = "ref")]
    pub(super) reference: String,
    #[serde(default)]
    pub(super) url: String,
    pub(super) object: Object,
}

/// Anything of which only the id matters.
#[derive(Debug, Deserialize)]
pub(super) struct Object {
    pub(super) sha: String,
}

/// The branch `branch`, or none if GitHub shows none of that name.
///
/// # Errors
/// Whatever GitHub's refusal means, except a 404.
pub(super) async fn branch(
    client: &Client,
    repository: &Repository,
    branch: &str,
) -> Result<Option<Reference>, ToolError> {
    let path = repository.path(&format!("git/ref/heads/{}", encode(branch)));
    let request = Request::get(path).about(format!("branch `{branch}` of {repository}"));
    let response = client.send(repository, request).await?;
    if response.status() == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    response.json().map(Some)
}
