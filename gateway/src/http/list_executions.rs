//! `GET /api/executions`: live and past executions, newest first.
//!
//! `?status=&workflow=&triggeredBy=&startedAfter=&startedBefore=&limit=&cursor=`, and one of `key`,
//! `parent` and `rerunOf`.

use std::sync::Arc;

use afu9_schemas::view::ExecutionStatus;
use afu9_schemas::{ExecutionId, Timestamp};
use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::auth::{Allowed, Read};
use super::malformed;
use crate::app::App;
use crate::executions::{Cursor, Filter, Relation, summary_json};
use crate::problem::Problem;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Wanted {
    status: Option<String>,
    workflow: Option<String>,
    triggered_by: Option<String>,
    started_after: Option<String>,
    started_before: Option<String>,
    key: Option<String>,
    parent: Option<String>,
    rerun_of: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    _caller: Allowed<Read>,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(wanted) = wanted.map_err(|_| {
        malformed(
            "the query may have `status`, `workflow`, `triggeredBy`, `startedAfter`, \
             `startedBefore`, `key`, `parent`, `rerunOf`, `limit` and `cursor`, each once",
        )
    })?;
    let filter = filter(wanted)?;
    let listing = app
        .list(&filter)
        .await
        .map_err(|error| Problem::internal(&error))?;
    Ok(Json(json!({
        "executions": listing.page.executions.iter().map(summary_json).collect::<Vec<_>>(),
        "total": listing.total,
        "nextCursor": listing.page.next.map(Cursor::to_text),
        "incomplete": listing.incomplete,
    })))
}

fn filter(wanted: Wanted) -> Result<Filter, Problem> {
    let status = wanted.status.as_deref().map(status).transpose()?;
    let relation = relation(&wanted)?;
    let limit = match wanted.limit.as_deref() {
        None => Filter::DEFAULT_LIMIT,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=Filter::MAX_LIMIT).contains(limit))
            .ok_or_else(|| {
                malformed(format!(
                    "`limit` must be a number from 1 to {}",
                    Filter::MAX_LIMIT
                ))
            })?,
    };
    let before = wanted
        .cursor
        .as_deref()
        .map(|text| {
            Cursor::from_text(text)
                .ok_or_else(|| malformed("`cursor` must be the `nextCursor` of another page"))
        })
        .transpose()?;
    let started_after = instant("startedAfter", wanted.started_after)?;
    let started_before = instant("startedBefore", wanted.started_before)?.map(Cursor::before);
    Ok(Filter {
        statuses: status.into_iter().collect(),
        workflow: wanted.workflow,
        triggered_by: wanted.triggered_by,
        started_after,
        relation,
        limit,
        // The further back.
        before: before.into_iter().chain(started_before).min(),
        ..Filter::default()
    })
}

/// An instant as a caller gives it.
pub(super) fn instant(name: &str, text: Option<String>) -> Result<Option<Timestamp>, Problem> {
    match text {
        None => Ok(None),
        Some(text) => Timestamp::parse(&text)
            .map(Some)
            .ok_or_else(|| malformed(format!("`{name}` must be an instant of RFC 3339"))),
    }
}

fn relation(wanted: &Wanted) -> Result<Option<Relation>, Problem> {
    let id = |name: &str, text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => text
            .parse::<ExecutionId>()
            .map(Some)
            .map_err(|_| malformed(format!("`{name}` must be the id of an execution"))),
    };
    let parent = id("parent", &wanted.parent)?.map(Relation::Parent);
    let rerun_of = id("rerunOf", &wanted.rerun_of)?.map(Relation::RerunOf);
    let key = wanted.key.clone().map(Relation::Key);
    let mut given = [key, parent, rerun_of].into_iter().flatten();
    let relation = given.next();
    if given.next().is_some() {
        return Err(malformed(
            "only one of `key`, `parent` and `rerunOf` can be given",
        ));
    }
    Ok(relation)
}

/// The status with this name.
pub(super) fn status(name: &str) -> Result<ExecutionStatus, Problem> {
    use ExecutionStatus::{Cancelled, Completed, Failed, Paused, Pending, Running};
    [Pending, Running, Paused, Completed, Failed, Cancelled]
        .into_iter()
        .find(|status| status.as_str() == name)
        .ok_or_else(|| {
            malformed("`status` must be pending, running, paused, completed, failed or cancelled")
        })
}
