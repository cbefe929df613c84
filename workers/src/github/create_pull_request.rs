//! `github.createPullRequest`: the pull request's text carries the key.
//!
//! GitHub allows one open pull request from one branch to another, so two runs at the same time
//! cannot both open one: the second is refused and finds the first's.

use afu9_schemas::tool::github::{CreatePullRequestParams, PullRequestOutput};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::address::{Repository, check_branch, encode, invalid};
use super::client::{Client, Request};
use super::git::Object;
use super::marker;
use crate::{Call, ToolError};

/// How many pull requests between the same two branches are searched, newest first: GitHub's
/// largest page, and far more than one branch ever gets.
const SEARCH_PULL_REQUESTS: usize = 100;

#[derive(Deserialize)]
struct PullRequest {
    number: u64,
    title: String,
    body: Option<String>,
    state: String,
    html_url: String,
    created_at: String,
    head: Object,
}

/// One call's constants.
struct Work<'a> {
    client: &'a Client,
    call: &'a Call,
    repository: Repository,
    params: &'a CreatePullRequestParams,
    /// `owner:branch`, the form by which GitHub filters.
    head: String,
}

/// Opens the pull request, or finds it, whatever has become of it since; then sees to its labels.
///
/// # Errors
/// A permanent `github.conflict` if somebody else's pull request is open between the branches; a
/// permanent `github.no_changes` if there is nothing to merge; whatever else GitHub's refusal
/// means. An error about labels leaves the pull request open; the next attempt finds it.
pub(super) async fn run(
    client: &Client,
    call: &Call,
    params: CreatePullRequestParams,
) -> Result<PullRequestOutput, ToolError> {
    let repository = Repository::new(&params.owner, &params.repo)?;
    let head = qualified_head(&repository, &params.head)?;
    check_branch("base", &params.base)?;
    if params.title.trim().is_empty() {
        return Err(invalid("`title` is empty".to_owned()));
    }
    let work = Work {
        client,
        call,
        repository,
        params: &params,
        head,
    };
    super::stop_if_cancelled(call)?;
    let pull_request = match work.find("all").await? {
        Found::Ours(found) => found,
        Found::Other(_) | Found::None => {
            super::stop_if_cancelled(call)?;
            work.open().await?
        }
    };
    // No look at `cancelled` from here: a pull request without its labels is half done.
    work.add_labels(pull_request.number).await?;
    Ok(PullRequestOutput {
        number: pull_request.number,
        title: pull_request.title,
        state: pull_request.state,
        html_url: pull_request.html_url,
        created_at: pull_request.created_at,
        head_sha: pull_request.head.sha,
    })
}

/// What there is between the two branches.
enum Found {
    /// The pull request of this key.
    Ours(PullRequest),
    /// Another one; the newest.
    Other(u64),
    None,
}

impl Work<'_> {
    async fn find(&self, state: &str) -> Result<Found, ToolError> {
        let path = format!(
            "pulls?state={state}&head={}&base={}&sort=created&direction=desc&per_page={SEARCH_PULL_REQUESTS}",
            encode(&self.head),
            encode(&self.params.base),
        );
        let request = Request::get(self.repository.path(&path)).about(self.subject());
        let mut listed: Vec<PullRequest> =
            self.client.send(&self.repository, request).await?.json()?;
        let key = &self.call.idempotency_key;
        let ours = |pull: &PullRequest| marker::is_marked(pull.body.as_deref().unwrap_or(""), key);
        Ok(match listed.iter().position(ours) {
            Some(at) => Found::Ours(listed.swap_remove(at)),
            None => listed
                .first()
                .map_or(Found::None, |other| Found::Other(other.number)),
        })
    }

    async fn open(&self) -> Result<PullRequest, ToolError> {
        let Self {
            client,
            repository,
            params,
            call,
            ..
        } = self;
        let body = json!({
            "title": params.title,
            "head": params.head,
            "base": params.base,
            "body": marker::mark(params.body.as_deref().unwrap_or(""), &call.idempotency_key),
            "draft": params.draft,
        });
        let request = Request::post(repository.path("pulls"), &body).about(self.subject());
        let response = client.send(repository, request).await?;
        if response.is_refusal(
            StatusCode::UNPROCESSABLE_ENTITY,
            "pull request already exists",
        ) {
            return self.existing().await;
        }
        if response.is_refusal(StatusCode::UNPROCESSABLE_ENTITY, "no commits between") {
            return Err(ToolError::permanent(
                "github.no_changes",
                format!(
                    "there is nothing to merge in {repository}: `{}` has no commit that `{}` does not have; \
                     commit to the branch before the pull request is opened",
                    params.head, params.base
                ),
            ));
        }
        response.json()
    }

    /// GitHub says that one is open: a run at the same time opened it, or somebody else did.
    async fn existing(&self) -> Result<PullRequest, ToolError> {
        match self.find("open").await? {
            Found::Ours(found) => Ok(found),
            Found::Other(number) => Err(ToolError::permanent(
                "github.conflict",
                format!(
                    "pull request {number} of {} is already open from `{}` to `{}` and is not this step's; \
                     close it or use another branch",
                    self.repository, self.params.head, self.params.base
                ),
            )),
            Found::None => Err(ToolError::retryable(
                "github.conflict",
                format!("{} was there and is gone at the same time", self.subject()),
            )),
        }
    }

    /// Adding a label that is there changes nothing: no look before is needed.
    async fn add_labels(&self, number: u64) -> Result<(), ToolError> {
        if self.params.labels.is_empty() {
            return Ok(());
        }
        let path = self.repository.path(&format!("issues/{number}/labels"));
        let request = Request::post(path, &json!({ "labels": self.params.labels })).about(format!(
            "the labels of pull request {number} of {}",
            self.repository
        ));
        self.client
            .send(&self.repository, request)
            .await?
            .accepted()
    }

    fn subject(&self) -> String {
        let CreatePullRequestParams { head, base, .. } = self.params;
        format!(
            "the pull request from `{head}` to `{base}` of {}",
            self.repository
        )
    }
}

/// `head` as `owner:branch`; a branch of a fork is given like this already.
fn qualified_head(repository: &Repository, head: &str) -> Result<String, ToolError> {
    let (owner, branch) = match head.split_once(':') {
        Some((owner, branch)) => (owner, branch),
        None => (repository.owner(), head),
    };
    check_branch("head", branch)?;
    Repository::new(owner, "any")
        .map_err(|_| invalid(format!("`head`: `{owner:.120}` is not a login")))?;
    Ok(format!("{owner}:{branch}"))
}
