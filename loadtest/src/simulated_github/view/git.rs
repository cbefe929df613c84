//! Git objects, references, commits and differences as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::git::diff::{self, FileChange};
use super::super::git::{Commit, Mode, Objects, Oid, Signature, TreeEntry};
use super::super::repository::{Place, Repository};
use super::{time, user};

/// GitHub breaks base64 into lines of this length.
const BASE64_LINE: usize = 60;

/// Base64 with a newline after every line.
pub(crate) fn base64_lines(content: &[u8]) -> String {
    let encoded = STANDARD.encode(content);
    let mut lines = String::with_capacity(encoded.len() + encoded.len() / BASE64_LINE + 1);
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(BASE64_LINE.min(rest.len()));
        lines.push_str(line);
        lines.push('\n');
        rest = after;
    }
    lines
}

pub(crate) fn reference(place: &Place, name: &str, oid: Oid) -> Value {
    let short = name.strip_prefix("refs/").unwrap_or(name);
    json!({
        "ref": name,
        "node_id": super::node_id("Ref", super::stable_id(name)),
        "url": place.api(&format!("/git/refs/{short}")),
        "object": {
            "sha": oid.to_string(),
            "type": "commit",
            "url": place.api(&format!("/git/commits/{oid}")),
        },
    })
}

fn person(signature: &Signature) -> Value {
    let date = time(signature.when.to_utc());
    json!({"name": signature.name, "email": signature.email, "date": date})
}

fn verification() -> Value {
    json!({
        "verified": false,
        "reason": "unsigned",
        "signature": null,
        "payload": null,
        "verified_at": null,
    })
}

/// The answer of `/git/commits`.
pub(crate) fn git_commit(place: &Place, oid: Oid, commit: &Commit) -> Value {
    let parents: Vec<Value> = commit
        .parents
        .iter()
        .map(|parent| {
            json!({
                "sha": parent.to_string(),
                "url": place.api(&format!("/git/commits/{parent}")),
                "html_url": place.html(&format!("/commit/{parent}")),
            })
        })
        .collect();
    json!({
        "sha": oid.to_string(),
        "node_id": super::node_id("Commit", super::stable_id(&oid.to_string())),
        "url": place.api(&format!("/git/commits/{oid}")),
        "html_url": place.html(&format!("/commit/{oid}")),
        "author": person(&commit.author),
        "committer": person(&commit.committer),
        "tree": tree_link(place, commit.tree),
        "message": commit.message,
        "parents": parents,
        "verification": verification(),
    })
}

fn tree_link(place: &Place, tree: Oid) -> Value {
    json!({"sha": tree.to_string(), "url": place.api(&format!("/git/trees/{tree}"))})
}

/// The answer of `/commits`, without `stats` and `files`.
pub(crate) fn commit(place: &Place, oid: Oid, commit: &Commit) -> Value {
    let account = |signature: &Signature| {
        let login = signature.email.strip_suffix("@users.noreply.github.com")?;
        Some(user(&place.base_url, login))
    };
    let parents: Vec<Value> = commit
        .parents
        .iter()
        .map(|parent| {
            json!({
                "sha": parent.to_string(),
                "url": place.api(&format!("/commits/{parent}")),
                "html_url": place.html(&format!("/commit/{parent}")),
            })
        })
        .collect();
    json!({
        "sha": oid.to_string(),
        "node_id": super::node_id("Commit", super::stable_id(&oid.to_string())),
        "commit": {
            "author": person(&commit.author),
            "committer": person(&commit.committer),
            "message": commit.message,
            "tree": tree_link(place, commit.tree),
            "url": place.api(&format!("/git/commits/{oid}")),
            "comment_count": 0,
            "verification": verification(),
        },
        "url": place.api(&format!("/commits/{oid}")),
        "html_url": place.html(&format!("/commit/{oid}")),
        "comments_url": place.api(&format!("/commits/{oid}/comments")),
        "author": account(&commit.author),
        "committer": account(&commit.committer),
        "parents": parents,
    })
}

/// Commits of a list, in its order.
pub(crate) fn commits(repository: &Repository, oids: &[Oid]) -> Vec<Value> {
    let view = |oid: &Oid| {
        Some(commit(
            &repository.place,
            *oid,
            repository.objects.commit(*oid)?,
        ))
    };
    oids.iter().filter_map(view).collect()
}

pub(crate) fn tree(
    repository: &Repository,
    oid: Oid,
    entries: impl Iterator<Item = (String, TreeEntry)>,
) -> Value {
    let Repository { place, objects, .. } = repository;
    let entries: Vec<Value> = entries
        .map(|(path, entry)| tree_entry(place, objects, path, &entry))
        .collect();
    let url = place.api(&format!("/git/trees/{oid}"));
    json!({"sha": oid.to_string(), "url": url, "tree": entries, "truncated": false})
}

fn tree_entry(place: &Place, objects: &Objects, path: String, entry: &TreeEntry) -> Value {
    let kind = entry.mode.kind();
    let mut view = json!({
        "path": path,
        "mode": entry.mode.as_str(),
        "type": kind.as_str(),
        "sha": entry.oid.to_string(),
    });
    if let Some(content) = objects.blob(entry.oid) {
        view["size"] = content.len().into();
    }
    if entry.mode != Mode::Submodule {
        view["url"] = place
            .api(&format!("/git/{}s/{}", kind.as_str(), entry.oid))
            .into();
    }
    view
}

/// The files of a difference, and their added and deleted lines.
pub(crate) fn files(
    place: &Place,
    objects: &Objects,
    head: Oid,
    changes: &[FileChange],
) -> (Vec<Value>, usize, usize) {
    let (mut additions, mut deletions) = (0, 0);
    let views = changes
        .iter()
        .map(|change| {
            let patch = diff::patch(objects, change);
            additions += patch.additions;
            deletions += patch.deletions;
            let path = &change.path;
            let blob = change
                .after
                .or(change.before)
                .map(|(_, oid)| oid.to_string());
            let mut view = json!({
                "sha": blob,
                "filename": path,
                "status": change.status(),
                "additions": patch.additions,
                "deletions": patch.deletions,
                "changes": patch.additions + patch.deletions,
                "blob_url": place.html(&format!("/blob/{head}/{path}")),
                "raw_url": place.html(&format!("/raw/{head}/{path}")),
                "contents_url": place.api(&format!("/contents/{path}?ref={head}")),
            });
            if let Some(text) = patch.text.filter(|text| !text.is_empty()) {
                view["patch"] = text.into();
            }
            view
        })
        .collect();
    (views, additions, deletions)
}

/// One entry of a directory or, with `content`, the file itself.
pub(crate) fn content(
    place: &Place,
    at: &str,
    path: &str,
    entry: &TreeEntry,
    objects: &Objects,
) -> Value {
    let oid = entry.oid;
    let (kind, link) = match entry.mode {
        Mode::Directory => ("dir", "trees"),
        Mode::Symlink => ("symlink", "blobs"),
        Mode::Submodule => ("submodule", "commits"),
        Mode::File | Mode::Executable => ("file", "blobs"),
    };
    let url = place.api(&format!("/contents/{path}?ref={at}"));
    let git_url = place.api(&format!("/git/{link}/{oid}"));
    let shown = if kind == "dir" { "tree" } else { "blob" };
    let html_url = place.html(&format!("/{shown}/{at}/{path}"));
    let full_name = place.full_name();
    let raw = format!("https://raw.githubusercontent.com/{full_name}/{at}/{path}");
    json!({
        "name": entry.name,
        "path": path,
        "sha": oid.to_string(),
        "size": objects.blob(oid).map_or(0, |content| content.len()),
        "url": url,
        "html_url": html_url,
        "git_url": git_url,
        "download_url": (kind == "file").then_some(raw),
        "type": kind,
        "_links": {"self": url, "git": git_url, "html": html_url},
    })
}
