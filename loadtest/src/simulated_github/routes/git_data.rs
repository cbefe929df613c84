//! Blobs, trees and commits as objects of git.

use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, FixedOffset, SubsecRound as _, Utc};
use serde::{Deserialize, Deserializer};
use serde_json::json;

use super::super::auth::Area;
use super::super::effect::EffectKind;
use super::super::failure::Failure;
use super::super::git::tree::{self, Change, Edit};
use super::super::git::{Commit, Kind, Mode, Oid, Signature};
use super::super::repository::{Repository, signature};
use super::super::target::{Happening, Target};
use super::super::view::git as view;
use super::super::view::node_id;
use super::{Answer, Routes, created, ok};

pub(super) fn routes() -> Routes {
    Routes::new()
        .route("/repos/{owner}/{repo}/git/blobs", post(create_blob))
        .route("/repos/{owner}/{repo}/git/blobs/{sha}", get(show_blob))
        .route("/repos/{owner}/{repo}/git/trees", post(create_tree))
        .route("/repos/{owner}/{repo}/git/trees/{*sha}", get(show_tree))
        .route("/repos/{owner}/{repo}/git/commits", post(create_commit))
        .route("/repos/{owner}/{repo}/git/commits/{sha}", get(show_commit))
}

fn oid(target: &Target) -> Result<Oid, Failure> {
    target
        .parameter("sha")
        .parse()
        .map_err(|_| Failure::not_found())
}

#[derive(Debug, Deserialize)]
struct CreateBlob {
    content: String,
    #[serde(default)]
    encoding: Encoding,
}

#[derive(Debug, Default, Deserialize)]
enum Encoding {
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    #[serde(rename = "base64")]
    Base64,
}

async fn create_blob(target: Target) -> Answer {
    let mut repository = target.writing(Area::Contents)?;
    let request: CreateBlob = target.payload()?;
    let content = match request.encoding {
        Encoding::Utf8 => request.content.into_bytes(),
        Encoding::Base64 => decode_base64(&request.content)
            .ok_or_else(|| Failure::unprocessable("content is not valid Base64"))?,
    };
    let blob = repository.objects.insert_blob(Bytes::from(content));
    let happening = Happening::new(EffectKind::CreateBlob, blob.oid);
    target.record(
        &repository,
        Happening {
            is_new: blob.is_new,
            ..happening
        },
    );
    let url = repository.place.api(&format!("/git/blobs/{}", blob.oid));
    created(json!({"sha": blob.oid.to_string(), "url": url}))
}

/// Base64 may be broken into lines.
pub(super) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let compact: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD.decode(compact).ok()
}

async fn show_blob(target: Target) -> Answer {
    let repository = target.reading(Area::Contents)?;
    let oid = oid(&target)?;
    let content = repository
        .objects
        .blob(oid)
        .ok_or_else(Failure::not_found)?;
    ok(json!({
        "sha": oid.to_string(),
        "node_id": node_id("Blob", 0),
        "size": content.len(),
        "url": repository.place.api(&format!("/git/blobs/{oid}")),
        "content": view::base64_lines(content),
        "encoding": "base64",
    }))
}

/// Accepts a tree, or anything that leads to a commit.
async fn show_tree(target: Target) -> Answer {
    let repository = target.reading(Area::Contents)?;
    let root = find_tree(&repository, target.parameter("sha")).ok_or_else(Failure::not_found)?;
    let view = if target.query("recursive").is_some() {
        view::tree(
            &repository,
            root,
            tree::walk(&repository.objects, root).into_iter(),
        )
    } else {
        level(&repository, root)
    };
    ok(view)
}

fn level(repository: &Repository, root: Oid) -> serde_json::Value {
    let entries = repository.objects.tree(root).unwrap_or_default();
    view::tree(
        repository,
        root,
        entries
            .iter()
            .map(|entry| (entry.name.clone(), entry.clone())),
    )
}

fn find_tree(repository: &Repository, text: &str) -> Option<Oid> {
    let tree = text
        .parse()
        .ok()
        .filter(|oid| repository.objects.tree(*oid).is_some());
    tree.or_else(|| repository.tree_of(repository.resolve(text)?))
}

#[derive(Debug, Deserialize)]
struct CreateTree {
    base_tree: Option<String>,
    tree: Vec<NewEntry>,
}

#[derive(Debug, Deserialize)]
struct NewEntry {
    path: String,
    mode: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    /// `Some(None)` is the null that deletes.
    #[serde(default, deserialize_with = "present")]
    sha: Option<Option<String>>,
    content: Option<String>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

async fn create_tree(target: Target) -> Answer {
    let mut repository = target.writing(Area::Contents)?;
    let request: CreateTree = target.payload()?;
    if request.tree.is_empty() {
        return Err(Failure::unprocessable("Invalid tree info"));
    }
    let base = match &request.base_tree {
        None => None,
        Some(text) => {
            let is_not_a_tree = || Failure::unprocessable("base_tree is not a valid tree oid");
            Some(find_tree(&repository, text).ok_or_else(is_not_a_tree)?)
        }
    };
    let mut edits = Vec::with_capacity(request.tree.len());
    for entry in request.tree {
        edits.push(edit(&mut repository, entry)?);
    }
    let tree = repository.build_tree(base, &edits)?;
    let happening = Happening::new(EffectKind::CreateTree, tree.oid);
    target.record(
        &repository,
        Happening {
            is_new: tree.is_new,
            ..happening
        },
    );
    created(level(&repository, tree.oid))
}

fn edit(repository: &mut Repository, entry: NewEntry) -> Result<Edit, Failure> {
    let invalid = |message: &str| Failure::unprocessable(message);
    let mode = Mode::parse(&entry.mode).ok_or_else(|| {
        invalid("Must supply a valid tree.mode (100644, 100755, 040000, 160000, or 120000)")
    })?;
    let kind = mode.kind();
    if entry
        .kind
        .as_deref()
        .is_some_and(|named| named != kind.as_str())
    {
        return Err(invalid("tree.type does not fit tree.mode"));
    }
    let change = match (entry.sha, entry.content) {
        (Some(Some(_)), Some(_)) | (None, None) => {
            return Err(invalid("Must supply either tree.sha or tree.content"));
        }
        (Some(None), _) => Change::Remove,
        (Some(Some(sha)), None) => {
            let stored = |oid: &Oid| match kind {
                Kind::Blob => repository.objects.blob(*oid).is_some(),
                Kind::Tree => repository.objects.tree(*oid).is_some(),
                Kind::Commit => true,
            };
            let oid = sha.parse().ok().filter(stored).ok_or_else(|| {
                let kind = kind.as_str();
                Failure::unprocessable(format!("tree.sha {sha} is not a valid {kind}"))
            })?;
            Change::Put { mode, oid }
        }
        (None, Some(content)) if kind == Kind::Blob => {
            let oid = repository
                .objects
                .insert_blob(Bytes::from(content.into_bytes()))
                .oid;
            Change::Put { mode, oid }
        }
        (None, Some(_)) => return Err(invalid("tree.content needs the mode of a file")),
    };
    Ok(Edit {
        path: entry.path,
        change,
    })
}

/// An author or committer, as clients name them.
#[derive(Debug, Deserialize)]
pub(super) struct Person {
    name: String,
    email: String,
    date: Option<DateTime<FixedOffset>>,
}

impl Person {
    pub(super) fn signature(self) -> Signature {
        let when = self
            .date
            .unwrap_or_else(|| Utc::now().fixed_offset())
            .trunc_subsecs(0);
        Signature {
            name: self.name,
            email: self.email,
            when,
        }
    }
}

/// Author and committer: the committer is the author, the author is the caller, unless given.
pub(super) fn signatures(
    target: &Target,
    author: Option<Person>,
    committer: Option<Person>,
) -> (Signature, Signature) {
    let caller = || signature(target.context.caller.login(), Utc::now());
    let author = author.map_or_else(caller, Person::signature);
    let committer = committer.map_or_else(|| author.clone(), Person::signature);
    (author, committer)
}

#[derive(Debug, Deserialize)]
struct CreateCommit {
    message: String,
    tree: String,
    #[serde(default)]
    parents: Vec<String>,
    author: Option<Person>,
    committer: Option<Person>,
}

async fn create_commit(target: Target) -> Answer {
    let mut repository = target.writing(Area::Contents)?;
    let request: CreateCommit = target.payload()?;
    let stored_tree = |oid: &Oid| repository.objects.tree(*oid).is_some();
    let tree = request.tree.parse().ok().filter(stored_tree);
    let tree = tree.ok_or_else(|| Failure::unprocessable("Tree SHA does not exist"))?;
    let mut parents = Vec::with_capacity(request.parents.len());
    for parent in &request.parents {
        let oid = parent
            .parse()
            .ok()
            .filter(|oid| repository.objects.commit(*oid).is_some());
        let absent =
            || Failure::unprocessable("Parent SHA does not exist or is not a commit object");
        parents.push(oid.ok_or_else(absent)?);
    }
    let (author, committer) = signatures(&target, request.author, request.committer);
    let message = request.message;
    let commit = Commit {
        tree,
        parents,
        author,
        committer,
        message,
    };
    let inserted = repository.objects.insert_commit(commit.clone());
    let happening = Happening {
        kind: EffectKind::CreateCommit,
        subject: inserted.oid.to_string(),
        is_new: inserted.is_new,
        text: &commit.message,
    };
    target.record(&repository, happening);
    created(view::git_commit(&repository.place, inserted.oid, &commit))
}

async fn show_commit(target: Target) -> Answer {
    let repository = target.reading(Area::Contents)?;
    let oid = oid(&target)?;
    let commit = repository
        .objects
        .commit(oid)
        .ok_or_else(Failure::not_found)?;
    ok(view::git_commit(&repository.place, oid, commit))
}
