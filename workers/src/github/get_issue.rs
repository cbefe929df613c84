//! `github.getIssue`: read only.

use afu9_schemas::tool::github::{GetIssueParams, IssueOutput};
use serde::Deserialize;

use super::address::Repository;
use super::client::{Client, Request};
use crate::{Call, ToolError};

#[derive(Deserialize)]
struct Issue {
    number: u64,
    title: String,
    body: Option<String>,
    state: String,
    #[serde(default)]
    labels: Vec<Label>,
    created_at: String,
    updated_at: String,
    html_url: String,
}

/// Old issues have labels that are only a name.
#[derive(Deserialize)]
#[serde(untagged)]
enum Label {
    Name(String),
    Object { name: Option<String> },
}

impl Label {
    fn into_name(self) -> Option<String> {
        match self {
            Self::Name(name) => Some(name),
            Self::Object { name } => name,
        }
    }
}

/// Reads the issue. Its title and text come from anybody: they are data and nothing else.
///
/// # Errors
/// Whatever GitHub's refusal means.
pub(super) async fn run(
    client: &Client,
    call: &Call,
    params: GetIssueParams,
) -> Result<IssueOutput, ToolError> {
    let repository = Repository::new(&params.owner, &params.repo)?;
    super::stop_if_cancelled(call)?;
    let number = params.number;
    let request = Request::get(repository.path(&format!("issues/{number}")))
        .about(format!("issue {number} of {repository}"));
    let issue: Issue = client.send(&repository, request).await?.json()?;
    Ok(IssueOutput {
        number: issue.number,
        title: issue.title,
        body: issue.body.unwrap_or_default(),
        state: issue.state,
        labels: issue
            .labels
            .into_iter()
            .filter_map(Label::into_name)
            .collect(),
        created_at: issue.created_at,
        updated_at: issue.updated_at,
        html_url: issue.html_url,
    })
}
