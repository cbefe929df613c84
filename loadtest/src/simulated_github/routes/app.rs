//! What a GitHub App may do with its JSON web token: find installations, get tokens for them.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::routing::{get, post};
use chrono::{SubsecRound as _, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::auth::{Access, Area, Caller};
use super::super::config::{AppSeed, InstallationSeed, TokenKind, TokenSeed};
use super::super::effect::EffectKind;
use super::super::failure::Failure;
use super::super::repository::Place;
use super::super::simulation::{Simulation, locked};
use super::super::target::{Context, Happening, payload};
use super::super::view;
use super::{Answer, Routes, created, ok};

/// GitHub's installation tokens live an hour.
const TOKEN_LIFETIME: Duration = Duration::from_secs(3_600);

pub(super) fn routes() -> Routes {
    Routes::new()
        .route("/app", get(app))
        .route("/app/installations", get(installations))
        .route("/app/installations/{id}/access_tokens", post(create_token))
        .route(
            "/repos/{owner}/{repo}/installation",
            get(repository_installation),
        )
}

fn caller<'a>(simulation: &'a Simulation, context: &Context) -> Result<&'a AppSeed, Failure> {
    let Caller::App(id) = context.caller else {
        return Err(Failure::unauthorized(
            "A JSON web token could not be decoded",
        ));
    };
    simulation
        .config
        .apps
        .iter()
        .find(|app| app.id == id)
        .ok_or_else(Failure::not_found)
}

async fn app(
    State(simulation): State<Arc<Simulation>>,
    Extension(context): Extension<Arc<Context>>,
) -> Answer {
    let app = caller(&simulation, &context)?;
    ok(json!({
        "id": app.id,
        "client_id": app.client_id,
        "slug": app.slug,
        "name": app.slug,
        "html_url": format!("https://github.com/apps/{}", app.slug),
        "installations_count": app.installations.len(),
        "permissions": app.installations.first().map(|one| &one.permissions),
        "events": ["issues", "pull_request"],
    }))
}

async fn installations(
    State(simulation): State<Arc<Simulation>>,
    Extension(context): Extension<Arc<Context>>,
) -> Answer {
    let app = caller(&simulation, &context)?;
    let views: Vec<Value> = app
        .installations
        .iter()
        .map(|one| installation(&simulation, app, one))
        .collect();
    ok(Value::Array(views))
}

fn installation(simulation: &Simulation, app: &AppSeed, installation: &InstallationSeed) -> Value {
    let base_url = &simulation.base_url;
    let id = installation.id;
    let selection = if installation.repositories.is_some() {
        "selected"
    } else {
        "all"
    };
    json!({
        "id": id,
        "account": view::user(base_url, &installation.account),
        "repository_selection": selection,
        "access_tokens_url": format!("{base_url}/app/installations/{id}/access_tokens"),
        "app_id": app.id,
        "app_slug": app.slug,
        "target_type": "User",
        "permissions": installation.permissions,
        "events": ["issues", "pull_request"],
        "suspended_at": null,
    })
}

fn covers(installation: &InstallationSeed, place: &Place) -> bool {
    installation.account.eq_ignore_ascii_case(&place.owner)
        && installation.repositories.as_ref().is_none_or(|selected| {
            let full_name = place.full_name();
            selected
                .iter()
                .any(|name| name.eq_ignore_ascii_case(&full_name))
        })
}

async fn repository_installation(
    State(simulation): State<Arc<Simulation>>,
    Extension(context): Extension<Arc<Context>>,
    Path((owner, repo)): Path<(String, String)>,
) -> Answer {
    let app = caller(&simulation, &context)?;
    let repository = simulation.repository(&format!("{owner}/{repo}"))?;
    let place = locked(&repository).place.clone();
    let found = app.installations.iter().find(|one| covers(one, &place));
    ok(installation(
        &simulation,
        app,
        found.ok_or_else(Failure::not_found)?,
    ))
}

#[derive(Debug, Default, Deserialize)]
struct CreateToken {
    /// Names without the owner.
    repositories: Option<Vec<String>>,
    permissions: Option<BTreeMap<Area, Access>>,
}

async fn create_token(
    State(simulation): State<Arc<Simulation>>,
    Extension(context): Extension<Arc<Context>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Answer {
    let app = caller(&simulation, &context)?;
    let id: u64 = id.parse().map_err(|_| Failure::not_found())?;
    let installation = app
        .installations
        .iter()
        .find(|one| one.id == id)
        .ok_or_else(Failure::not_found)?;
    let request: CreateToken = payload(&body)?;
    let covered: Vec<Place> = simulation
        .repositories()
        .iter()
        .map(|repository| locked(repository).place.clone())
        .filter(|place| covers(installation, place))
        .collect();
    let selected: Option<Vec<&Place>> = match &request.repositories {
        None => None,
        Some(names) => {
            let find = |name: &String| {
                covered
                    .iter()
                    .find(|place| place.name.eq_ignore_ascii_case(name))
            };
            let found: Option<Vec<&Place>> = names.iter().map(find).collect();
            let message = "There is at least one repository that does not exist or is not \
                           accessible to the parent installation.";
            Some(found.ok_or_else(|| Failure::unprocessable(message))?)
        }
    };
    let permissions = request
        .permissions
        .unwrap_or_else(|| installation.permissions.clone());
    let is_granted = |(area, access): (&Area, &Access)| {
        installation
            .permissions
            .get(area)
            .is_some_and(|granted| granted >= access)
    };
    if !permissions.iter().all(is_granted) {
        let message = "The permissions requested are not granted to this installation.";
        return Err(Failure::unprocessable(message));
    }
    let expires_at = (Utc::now() + TOKEN_LIFETIME).trunc_subsecs(0);
    let number = simulation.token_number();
    let value = format!("ghs_simulated{number:08}for{id}");
    let places = selected.clone().unwrap_or_else(|| covered.iter().collect());
    let access = places
        .iter()
        .map(|place| (place.full_name(), Access::Write))
        .collect();
    let token = TokenSeed {
        // All tokens of an installation share one rate limit, and so one name.
        name: format!("installation-{id}"),
        value: value.clone(),
        login: format!("{}[bot]", app.slug),
        kind: TokenKind::Installation,
        access,
        permissions: Some(permissions.clone()),
        expires_at: Some(expires_at),
        primary_limit: None,
    };
    simulation
        .tokens
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .add(token, Utc::now());
    let happening = Happening::new(EffectKind::CreateAccessToken, id);
    context.record(&simulation, "", happening);
    let mut view = json!({
        "token": value,
        "expires_at": view::time(expires_at),
        "permissions": permissions,
        "repository_selection": if selected.is_some() { "selected" } else { "all" },
    });
    if let Some(selected) = selected {
        let now = Utc::now();
        let views = selected
            .iter()
            .map(|place| view::repository(place, now, Access::Write));
        view["repositories"] = views.collect();
    }
    created(view)
}
