//! References and branches.

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::{get, patch, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::auth::Area;
use super::super::effect::EffectKind;
use super::super::failure::Failure;
use super::super::git::Oid;
use super::super::page::Page;
use super::super::repository::Repository;
use super::super::repository::refs::Movement;
use super::super::target::{Happening, Target};
use super::super::view::git as view;
use super::{Answer, Routes, created, ok};

pub(super) fn routes() -> Routes {
    Routes::new()
        .route("/repos/{owner}/{repo}/git/ref/{*name}", get(show))
        .route(
            "/repos/{owner}/{repo}/git/matching-refs/{*name}",
            get(matching),
        )
        .route("/repos/{owner}/{repo}/git/refs", post(create))
        .route(
            "/repos/{owner}/{repo}/git/refs/{*name}",
            patch(update).delete(delete),
        )
        .route("/repos/{owner}/{repo}/branches", get(branches))
        .route("/repos/{owner}/{repo}/branches/{*name}", get(branch))
}

fn full_name(target: &Target) -> String {
    format!("refs/{}", target.parameter("name"))
}

async fn show(target: Target) -> Answer {
    let repository = target.reading(Area::Contents)?;
    let name = full_name(&target);
    let oid = repository.refs.get(&name).ok_or_else(Failure::not_found)?;
    ok(view::reference(&repository.place, &name, *oid))
}

async fn matching(target: Target) -> Answer {
    let repository = target.reading(Area::Contents)?;
    let prefix = full_name(&target);
    let found: Vec<(&String, &Oid)> = repository
        .refs
        .range(prefix.clone()..)
        .take_while(|(name, _)| name.starts_with(&prefix))
        .collect();
    let place = &repository.place;
    let view = |(name, oid): &(&String, &Oid)| view::reference(place, name, **oid);
    Ok(Page::of(&target).respond(&target, &found, view))
}

#[derive(Debug, Deserialize)]
struct CreateRef {
    #[serde(rename = "ref")]
    name: String,
    sha: String,
}

async fn create(target: Target) -> Answer {
    let mut repository = target.writing(Area::Contents)?;
    let CreateRef { name, sha } = target.payload()?;
    let oid = repository.create_ref(&name, &sha)?;
    target.record(&repository, Happening::new(EffectKind::CreateRef, &name));
    created(view::reference(&repository.place, &name, oid))
}

#[derive(Debug, Deserialize)]
struct UpdateRef {
    sha: String,
    #[serde(default)]
    force: bool,
}

async fn update(target: Target) -> Answer {
    let mut repository = target.writing(Area::Contents)?;
    let UpdateRef { sha, force } = target.payload()?;
    let name = full_name(&target);
    let movement = if force {
        Movement::Forced
    } else {
        Movement::FastForward
    };
    let (oid, is_new) = repository.update_ref(&name, &sha, movement)?;
    let happening = Happening::new(EffectKind::UpdateRef, &name);
    target.record(
        &repository,
        Happening {
            is_new,
            ..happening
        },
    );
    ok(view::reference(&repository.place, &name, oid))
}

async fn delete(target: Target) -> Answer {
    let mut repository = target.writing(Area::Contents)?;
    let name = full_name(&target);
    repository.delete_ref(&name)?;
    target.record(&repository, Happening::new(EffectKind::DeleteRef, name));
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn branches(target: Target) -> Answer {
    let repository = target.reading(Area::Contents)?;
    let short =
        |(name, oid): (&String, &Oid)| Some((name.strip_prefix("refs/heads/")?.to_owned(), *oid));
    let found: Vec<(String, Oid)> = repository.refs.iter().filter_map(short).collect();
    let place = &repository.place;
    Ok(Page::of(&target).respond(&target, &found, |(name, oid)| {
        let commit = json!({"sha": oid.to_string(), "url": place.api(&format!("/commits/{oid}"))});
        json!({"name": name, "commit": commit, "protected": false})
    }))
}

async fn branch(target: Target) -> Answer {
    let repository = target.reading(Area::Contents)?;
    let name = target.parameter("name");
    branch_view(&repository, name).map_or_else(
        || Err(Failure::new(StatusCode::NOT_FOUND, "Branch not found")),
        ok,
    )
}

fn branch_view(repository: &Repository, name: &str) -> Option<Value> {
    let place = &repository.place;
    let oid = repository.branch(name)?;
    let commit = view::commit(place, oid, repository.objects.commit(oid)?);
    let links = json!({
        "self": place.api(&format!("/branches/{name}")),
        "html": place.html(&format!("/tree/{name}")),
    });
    Some(json!({
        "name": name,
        "commit": commit,
        "_links": links,
        "protected": false,
        "protection": {
            "enabled": false,
            "required_status_checks": {"enforcement_level": "off", "contexts": [], "checks": []},
        },
        "protection_url": place.api(&format!("/branches/{name}/protection")),
    }))
}
