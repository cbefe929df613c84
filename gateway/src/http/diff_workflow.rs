//! `GET /api/workflows/{name}/diff?from=&to=`: what differs between two versions. `to` is the newest
//! where it is absent, `from` the one before `to`.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::auth::{Allowed, Read};
use super::workflow_versions::{Wanted, find};
use super::{computed, malformed};
use crate::app::App;
use crate::diff::diff;
use crate::problem::Problem;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    from: Option<Wanted>,
    to: Option<Wanted>,
}

pub(super) async fn compare(
    State(app): State<Arc<App>>,
    _caller: Allowed<Read>,
    Path(name): Path<String>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(Parameters { from, to }) = parameters.map_err(|_| {
        malformed("the query may have `from` and `to`, each a number from 1 or `latest`")
    })?;
    let to = find(&app, &name, to.unwrap_or(Wanted::Latest)).await?;
    let from = match from {
        Some(from) => find(&app, &name, from).await?,
        None => {
            let before = to.workflow.version.saturating_sub(1).max(1);
            find(&app, &name, Wanted::Number(before)).await?
        }
    };
    let (versions, hashes) = (
        (from.workflow.version, to.workflow.version),
        (from.workflow.hash, to.workflow.hash),
    );
    let differing = computed(move || diff(&from.definition, &to.definition).to_json());
    let mut body = differing.await?;
    body["name"] = json!(name);
    body["from"] = json!({"version": versions.0, "hash": hashes.0});
    body["to"] = json!({"version": versions.1, "hash": hashes.1});
    Ok(Json(body))
}
