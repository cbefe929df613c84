//! Commits as people see them, and comparisons.

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde_json::{Value, json};

use super::super::auth::Area;
use super::super::failure::Failure;
use super::super::git::{Oid, diff, history};
use super::super::page::Page;
use super::super::repository::Repository;
use super::super::target::Target;
use super::super::view::git as view;
use super::{Answer, Routes, ok};

/// GitHub shows at most so many commits of a comparison.
const COMPARED_COMMITS: usize = 250;

pub(super) fn routes() -> Routes {
    Routes::new()
        .route("/repos/{owner}/{repo}/commits", get(list))
        .route("/repos/{owner}/{repo}/commits/{*name}", get(show))
        .route("/repos/{owner}/{repo}/compare/{*range}", get(compare))
}

async fn list(target: Target) -> Answer {
    let repository = target.reading(Area::Contents)?;
    let from = target
        .query("sha")
        .unwrap_or(&repository.place.default_branch);
    let head = repository.resolve(from).ok_or_else(Failure::not_found)?;
    let page = Page::of(&target);
    let mut found = history::log(&repository.objects, head, page.skip(), page.size() + 1);
    let has_next = found.len() > page.size();
    found.truncate(page.size());
    let body = axum::Json(view::commits(&repository, &found)).into_response();
    Ok(page.with_links(&target, body, None, has_next))
}

async fn show(target: Target) -> Answer {
    let repository = target.reading(Area::Contents)?;
    let name = target.parameter("name");
    let absent = || Failure::unprocessable(format!("No commit found for SHA: {name}"));
    let oid = repository.resolve(name).ok_or_else(absent)?;
    let commit = repository.objects.commit(oid).ok_or_else(absent)?;
    let before = commit
        .parents
        .first()
        .and_then(|parent| repository.tree_of(*parent));
    let changes = diff::changes(&repository.objects, before, Some(commit.tree));
    if target.accepts("sha") {
        let media = "application/vnd.github.sha; charset=utf-8";
        return Ok(([("content-type", media)], oid.to_string()).into_response());
    }
    if target.accepts("diff") {
        return Ok(diff_answer(diff::unified(&repository.objects, &changes)));
    }
    let mut body = view::commit(&repository.place, oid, commit);
    let (files, additions, deletions) =
        view::files(&repository.place, &repository.objects, oid, &changes);
    let total = additions + deletions;
    body["stats"] = json!({"total": total, "additions": additions, "deletions": deletions});
    body["files"] = files.into();
    ok(body)
}

pub(super) fn diff_answer(text: String) -> Response {
    let media = "application/vnd.github.diff; charset=utf-8";
    ([("content-type", media)], text).into_response()
}

async fn compare(target: Target) -> Answer {
    let repository = target.reading(Area::Contents)?;
    let range = target.parameter("range");
    let (base, head) = range.split_once("...").ok_or_else(Failure::not_found)?;
    let resolve = |text: &str| repository.resolve(repository.head_branch(text)?);
    let (base_oid, head_oid) = match (resolve(base), resolve(head)) {
        (Some(base), Some(head)) => (base, head),
        _ => return Err(Failure::not_found()),
    };
    let between = history::divergence(&repository.objects, base_oid, head_oid);
    let Some(merge_base) = between.merge_base else {
        let message = format!("No common ancestor between {base} and {head}.");
        return Err(Failure::new(StatusCode::NOT_FOUND, message));
    };
    let objects = &repository.objects;
    let before = repository.tree_of(merge_base);
    let changes = diff::changes(objects, before, repository.tree_of(head_oid));
    if target.accepts("diff") {
        return Ok(diff_answer(diff::unified(objects, &changes)));
    }
    let status = match (between.ahead.is_empty(), between.behind.is_empty()) {
        (true, true) => "identical",
        (false, true) => "ahead",
        (true, false) => "behind",
        (false, false) => "diverged",
    };
    let commits: Vec<Oid> = between
        .ahead
        .iter()
        .rev()
        .take(COMPARED_COMMITS)
        .copied()
        .collect();
    let (files, _, _) = view::files(&repository.place, objects, head_oid, &changes);
    ok(json!({
        "url": repository.place.api(&format!("/compare/{range}")),
        "html_url": repository.place.html(&format!("/compare/{range}")),
        "base_commit": one(&repository, base_oid),
        "merge_base_commit": one(&repository, merge_base),
        "status": status,
        "ahead_by": between.ahead.len(),
        "behind_by": between.behind.len(),
        "total_commits": between.ahead.len(),
        "commits": view::commits(&repository, &commits),
        "files": files,
    }))
}

fn one(repository: &Repository, oid: Oid) -> Value {
    let commit = repository.objects.commit(oid);
    commit.map_or(Value::Null, |commit| {
        view::commit(&repository.place, oid, commit)
    })
}
