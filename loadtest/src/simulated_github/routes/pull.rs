//! Pull requests.

use axum::routing::{get, put};
use chrono::Utc;
use serde::Deserialize;
use serde_json::json;

use super::super::auth::Area;
use super::super::effect::EffectKind;
use super::super::failure::Failure;
use super::super::git::diff::{self, FileChange};
use super::super::page::Page;
use super::super::repository::issue::NewIssue;
use super::super::repository::pull::{MergeMethod, MergeRequest, NewPull};
use super::super::repository::{Issue, PullRequest, Repository};
use super::super::target::{Happening, Target};
use super::super::view;
use super::commit::diff_answer;
use super::issue::{require_text, state_filter, update_issue};
use super::{Answer, Routes, created, ok};

pub(super) fn routes() -> Routes {
    Routes::new()
        .route("/repos/{owner}/{repo}/pulls", get(list).post(create))
        .route(
            "/repos/{owner}/{repo}/pulls/{number}",
            get(show).patch(update),
        )
        .route("/repos/{owner}/{repo}/pulls/{number}/files", get(files))
        .route("/repos/{owner}/{repo}/pulls/{number}/commits", get(commits))
        .route("/repos/{owner}/{repo}/pulls/{number}/merge", put(merge))
}

async fn list(target: Target) -> Answer {
    let repository = target.reading(Area::PullRequests)?;
    let state = state_filter(&target)?;
    let base = target.query("base");
    let accepts = |(issue, pull): &(&Issue, &PullRequest)| {
        state.is_none_or(|state| issue.state == state) && base.is_none_or(|base| pull.base == base)
    };
    let mut found: Vec<(&Issue, &PullRequest)> = match target.query("head") {
        // GitHub ignores a head without an owner.
        Some(head) if head.contains(':') => match repository.head_branch(head) {
            Some(branch) => repository.pulls_of(branch).filter(accepts).collect(),
            None => Vec::new(),
        },
        _ => repository.pulls().filter(accepts).collect(),
    };
    if target.query("direction") != Some("asc") {
        found.reverse();
    }
    let view = |(issue, pull): &(&Issue, &PullRequest)| view::pull::pull(&repository, issue, pull);
    Ok(Page::of(&target).respond(&target, &found, view))
}

#[derive(Debug, Deserialize)]
struct CreatePull {
    title: String,
    head: String,
    base: String,
    body: Option<String>,
    #[serde(default)]
    draft: bool,
}

async fn create(target: Target) -> Answer {
    let mut repository = target.writing(Area::PullRequests)?;
    let request: CreatePull = target.payload()?;
    require_text("PullRequest", "title", &request.title)?;
    let text = request.body.clone().unwrap_or_default();
    let issue = NewIssue {
        title: request.title,
        body: request.body,
        labels: Vec::new(),
        assignees: Vec::new(),
        author: target.context.caller.login().to_owned(),
        now: Utc::now(),
    };
    let new = NewPull {
        issue,
        head: request.head,
        base: request.base,
        is_draft: request.draft,
    };
    let number = repository.open_pull(new)?;
    let happening = Happening::new(EffectKind::CreatePullRequest, format!("#{number}"));
    target.record(
        &repository,
        Happening {
            text: &text,
            ..happening
        },
    );
    created(view::pull::detailed(&mut repository, number).ok_or_else(Failure::not_found)?)
}

async fn show(target: Target) -> Answer {
    let mut repository = target.reading(Area::PullRequests)?;
    let number = target.number()?;
    if target.accepts("diff") {
        let changes = changes(&repository, number)?;
        return Ok(diff_answer(diff::unified(&repository.objects, &changes)));
    }
    ok(view::pull::detailed(&mut repository, number).ok_or_else(Failure::not_found)?)
}

async fn update(target: Target) -> Answer {
    let mut repository = target.writing(Area::PullRequests)?;
    let number = target.number()?;
    repository.pull(number)?;
    update_issue(&target, &mut repository, EffectKind::UpdatePullRequest)?;
    ok(view::pull::detailed(&mut repository, number).ok_or_else(Failure::not_found)?)
}

fn changes(repository: &Repository, number: u64) -> Result<Vec<FileChange>, Failure> {
    let (_, pull) = repository.pull(number)?;
    let ancestor = repository.pull_divergence(pull).merge_base;
    let before = ancestor.and_then(|oid| repository.tree_of(oid));
    Ok(diff::changes(
        &repository.objects,
        before,
        repository.tree_of(pull.head_sha),
    ))
}

async fn files(target: Target) -> Answer {
    let repository = target.reading(Area::PullRequests)?;
    let number = target.number()?;
    let changes = changes(&repository, number)?;
    let head = repository.pull(number)?.1.head_sha;
    let (files, _, _) = view::git::files(&repository.place, &repository.objects, head, &changes);
    Ok(Page::of(&target).respond(&target, &files, Clone::clone))
}

async fn commits(target: Target) -> Answer {
    let repository = target.reading(Area::PullRequests)?;
    let (_, pull) = repository.pull(target.number()?)?;
    let mut own = repository.pull_divergence(pull).ahead;
    own.reverse();
    let commits = view::git::commits(&repository, &own);
    Ok(Page::of(&target).respond(&target, &commits, Clone::clone))
}

#[derive(Debug, Deserialize)]
struct Merge {
    commit_title: Option<String>,
    commit_message: Option<String>,
    sha: Option<String>,
    #[serde(default)]
    merge_method: MethodName,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum MethodName {
    #[default]
    Merge,
    Squash,
    Rebase,
}

async fn merge(target: Target) -> Answer {
    // Merging writes to the base branch, so it needs the permission for contents as well.
    drop(target.writing(Area::Contents)?);
    let mut repository = target.writing(Area::PullRequests)?;
    let number = target.number()?;
    let request: Merge = target.payload()?;
    let request = MergeRequest {
        method: match request.merge_method {
            MethodName::Merge => MergeMethod::Merge,
            MethodName::Squash => MergeMethod::Squash,
            MethodName::Rebase => MergeMethod::Rebase,
        },
        title: request.commit_title,
        message: request.commit_message,
        expected_head: request.sha,
        login: target.context.caller.login().to_owned(),
    };
    let commit = repository.merge_pull(number, &request)?;
    let happening = Happening::new(EffectKind::MergePullRequest, format!("#{number}"));
    let text = request.message.as_deref().unwrap_or_default();
    target.record(&repository, Happening { text, ..happening });
    let message = "Pull Request successfully merged";
    ok(json!({"sha": commit.to_string(), "merged": true, "message": message}))
}
