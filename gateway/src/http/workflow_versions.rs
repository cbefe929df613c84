//! `GET /api/workflows/{name}/versions?limit=&before=`: the versions of a workflow, newest first,
//! without their definitions; `GET /api/workflows/{name}/versions/{version}`: one with it, by its
//! number or as `latest`.

use std::sync::Arc;

use afu9_broker::RequestError;
use afu9_schemas::message::DefinitionRecord;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::auth::{Allowed, Read};
use super::start::unknown_workflow;
use super::{malformed, page_limit};
use crate::app::App;
use crate::problem::{Kind, Problem};

/// The usual and the longest page.
const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 100;

/// Versions read side by side: a definition may be half a megabyte, though none is shown.
const READ_AT_ONCE: usize = 8;

/// A version as a caller names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Latest,
    Number(u32),
}

impl serde::Serialize for Wanted {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Latest => serializer.serialize_str("latest"),
            Self::Number(number) => serializer.serialize_u32(*number),
        }
    }
}

impl Wanted {
    const FORM: &str = "a version is a number from 1, or `latest`";

    /// Reads a number or `latest`.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        match text {
            "latest" => Some(Self::Latest),
            _ => text.parse().ok().filter(|n| *n > 0).map(Self::Number),
        }
    }

    /// As a part of what a caller sent, whichever way.
    pub(super) fn content(self) -> Value {
        match self {
            Self::Latest => json!("latest"),
            Self::Number(number) => json!(number),
        }
    }
}

impl<'de> Deserialize<'de> for Wanted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        Self::from_text(&text).ok_or_else(|| serde::de::Error::custom(Self::FORM))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    limit: Option<String>,
    before: Option<String>,
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    _caller: Allowed<Read>,
    Path(name): Path<String>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(page) =
        page.map_err(|_| malformed("the query may have `limit` and `before`, each once"))?;
    let limit = page_limit(page.limit.as_deref(), DEFAULT_LIMIT, MAX_LIMIT)?;
    let newest = find(&app, &name, Wanted::Latest).await?;
    let total = newest.workflow.version;
    let last = match page.before.as_deref() {
        None => total,
        Some(text) => match Wanted::from_text(text) {
            Some(Wanted::Number(before)) => total.min(before - 1),
            _ => return Err(malformed("`before` must be the number of a version")),
        },
    };
    let first = last.saturating_sub(limit - 1).max(1);
    let records: Vec<Option<DefinitionRecord>> = stream::iter((first..=last).rev())
        .map(|version| app.definitions.version(&name, version))
        .buffered(READ_AT_ONCE)
        .try_collect()
        .await
        .map_err(|error: RequestError| Problem::broker(&error))?;
    let versions: Vec<Value> = records
        .iter()
        .flatten()
        .map(|record| summary(record, total))
        .collect();
    Ok(Json(json!({
        "name": name,
        "versions": versions,
        "total": total,
        "nextBefore": (first > 1 && last >= first).then_some(first),
    })))
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    _caller: Allowed<Read>,
    Path((name, version)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let wanted = Wanted::from_text(&version).ok_or_else(|| malformed(Wanted::FORM))?;
    let newest = find(&app, &name, Wanted::Latest).await?;
    let record = match wanted {
        Wanted::Latest => newest.clone(),
        Wanted::Number(_) => find(&app, &name, wanted).await?,
    };
    let mut body = summary(&record, newest.workflow.version);
    body["id"] = json!(record.workflow.id);
    body["name"] = json!(record.workflow.name);
    body["description"] = json!(record.definition.get("description"));
    body["definition"] = record.definition;
    Ok(Json(body))
}

fn summary(record: &DefinitionRecord, newest: u32) -> Value {
    let workflow = &record.workflow;
    json!({
        "version": workflow.version,
        "hash": workflow.hash,
        "appliedAt": record.applied_at.to_string(),
        "appliedBy": record.applied_by,
        "newest": workflow.version == newest,
    })
}

/// The version a caller means.
pub(super) async fn find(
    app: &App,
    name: &str,
    wanted: Wanted,
) -> Result<DefinitionRecord, Problem> {
    let newest = app.definitions.newest(name).await;
    let newest = newest
        .map_err(|error| Problem::broker(&error))?
        .ok_or_else(|| unknown_workflow(name))?;
    let version = match wanted {
        Wanted::Latest => return Ok(newest.record.clone()),
        Wanted::Number(version) => version,
    };
    let found = app.definitions.version(name, version).await;
    found
        .map_err(|error| Problem::broker(&error))?
        .ok_or_else(|| {
            Problem::new(
                Kind::UnknownVersion,
                format!("there is no version {version} of the workflow `{name}`"),
                "GET /api/workflows/{name}/versions lists them",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_number_or_the_latest() {
        let read = |text: &str| serde_json::from_str::<Wanted>(text).ok();
        assert_eq!(read("3"), Some(Wanted::Number(3)));
        assert_eq!(read("\"3\""), Some(Wanted::Number(3)));
        assert_eq!(read("\"latest\""), Some(Wanted::Latest));
        for bad in ["0", "-1", "1.5", "\"newest\"", "null", "[1]"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
