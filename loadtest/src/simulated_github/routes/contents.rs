//! Files and directories by path.

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::get;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::auth::Area;
use super::super::effect::EffectKind;
use super::super::failure::Failure;
use super::super::git::tree;
use super::super::git::{Kind, Mode, Oid, TreeEntry};
use super::super::repository::{Push, Repository, put_file};
use super::super::target::{Happening, Target};
use super::super::view::git as view;
use super::git_data::{Person, decode_base64, signatures};
use super::{Answer, Routes, ok};

/// A larger file has no content in JSON; the client must ask for the raw one.
const INLINE_LIMIT: usize = 1024 * 1024;

pub(super) fn routes() -> Routes {
    Routes::new()
        .route("/repos/{owner}/{repo}/contents", get(show))
        .route("/repos/{owner}/{repo}/contents/", get(show))
        .route("/repos/{owner}/{repo}/contents/{*path}", get(show).put(put))
}

async fn show(target: Target) -> Answer {
    let repository = target.reading(Area::Contents)?;
    let place = &repository.place;
    let at = target.query("ref").unwrap_or(&place.default_branch);
    let no_commit = || {
        let message = format!("No commit found for the ref {at}");
        Failure::new(StatusCode::NOT_FOUND, message)
    };
    let commit = repository.resolve(at).ok_or_else(no_commit)?;
    let root = repository.tree_of(commit).ok_or_else(no_commit)?;
    let path = target.parameter("path").trim_matches('/');
    if path.is_empty() {
        return ok(directory(&repository, at, path, root));
    }
    let entry = tree::lookup(&repository.objects, root, path).ok_or_else(Failure::not_found)?;
    match (entry.mode.kind(), repository.objects.blob(entry.oid)) {
        (Kind::Tree, _) => ok(directory(&repository, at, path, entry.oid)),
        (Kind::Blob, Some(content)) if target.accepts("raw") => {
            let media = "application/vnd.github.raw+json; charset=utf-8";
            Ok(([("content-type", media)], content.clone()).into_response())
        }
        (_, content) => ok(file(&repository, at, path, &entry, content)),
    }
}

fn directory(repository: &Repository, at: &str, path: &str, tree: Oid) -> Value {
    let Repository { place, objects, .. } = repository;
    let entries = objects.tree(tree).unwrap_or_default().iter().map(|entry| {
        let below = if path.is_empty() {
            entry.name.clone()
        } else {
            format!("{path}/{}", entry.name)
        };
        view::content(place, at, &below, entry, objects)
    });
    Value::Array(entries.collect())
}

fn file(
    repository: &Repository,
    at: &str,
    path: &str,
    entry: &TreeEntry,
    content: Option<&Bytes>,
) -> Value {
    let mut view = view::content(&repository.place, at, path, entry, &repository.objects);
    if let Some(content) = content {
        let is_inline = content.len() <= INLINE_LIMIT;
        let shown = if is_inline {
            view::base64_lines(content)
        } else {
            String::new()
        };
        view["content"] = shown.into();
        view["encoding"] = if is_inline { "base64" } else { "none" }.into();
    }
    view
}

#[derive(Debug, Deserialize)]
struct PutContents {
    message: String,
    content: String,
    sha: Option<String>,
    branch: Option<String>,
    author: Option<Person>,
    committer: Option<Person>,
}

async fn put(target: Target) -> Answer {
    let mut repository = target.writing(Area::Contents)?;
    let request: PutContents = target.payload()?;
    let branch = request
        .branch
        .unwrap_or_else(|| repository.place.default_branch.clone());
    let branch = branch.strip_prefix("refs/heads/").unwrap_or(&branch);
    let path = target.parameter("path");
    let Some(tip) = repository.branch(branch) else {
        return Err(Failure::new(
            StatusCode::NOT_FOUND,
            format!("Branch {branch} not found"),
        ));
    };
    let current = repository
        .tree_of(tip)
        .and_then(|root| tree::lookup(&repository.objects, root, path))
        .map(|entry| entry.oid.to_string());
    let status = match (current, request.sha) {
        (Some(_), None) => return Err(Failure::invalid_request("\"sha\" wasn't supplied.")),
        (Some(current), Some(sha)) if current != sha => {
            return Err(Failure::conflict(format!("{path} does not match {sha}")));
        }
        (Some(_), Some(_)) => StatusCode::OK,
        (None, Some(sha)) => {
            return Err(Failure::conflict(format!("{path} does not match {sha}")));
        }
        (None, None) => StatusCode::CREATED,
    };
    let content = decode_base64(&request.content)
        .ok_or_else(|| Failure::unprocessable("content is not valid Base64"))?;
    let (author, committer) = signatures(&target, request.author, request.committer);
    let blob = repository.objects.insert_blob(Bytes::from(content)).oid;
    let message = &request.message;
    let edits = [put_file(path, blob)];
    let push = Push {
        branch,
        edits: &edits,
        message,
        author,
        committer,
    };
    let commit = repository.push(&push)?;
    let happening = Happening::new(EffectKind::PutContents, format!("{branch}:{path}"));
    target.record(
        &repository,
        Happening {
            text: message,
            ..happening
        },
    );
    let name = path.rsplit('/').next().unwrap_or(path).to_owned();
    let entry = TreeEntry {
        name,
        mode: Mode::File,
        oid: blob,
    };
    let stored = repository
        .objects
        .commit(commit)
        .ok_or_else(Failure::not_found)?;
    let body = json!({
        "content": view::content(&repository.place, branch, path, &entry, &repository.objects),
        "commit": view::git_commit(&repository.place, commit, stored),
    });
    Ok((status, axum::Json(body)).into_response())
}
