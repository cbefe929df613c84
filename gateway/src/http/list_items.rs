//! `GET /api/executions/{id}/steps/{step}/items?status=&limit=&after=`: the items of a step that have
//! ended, in their order. The step is named, or given by its position.
//!
//! While the step runs, `counts` says how many are in progress, and `endedOnly` that those are not
//! among `items`: what each of them waits for, `…/explain` says.

use std::sync::Arc;

use afu9_schemas::view::StepStatus;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::auth::{Allowed, Read};
use super::{malformed, no_database, page_limit, show_execution, shown, stored_problem};
use crate::app::App;
use crate::executions::{counts_json, item_json};
use crate::problem::{Kind, Problem};
use crate::stored::ItemFilter;

/// The usual page.
const DEFAULT_LIMIT: u32 = 50;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    status: Option<String>,
    limit: Option<String>,
    after: Option<u32>,
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    _caller: Allowed<Read>,
    Path((id, step)): Path<(String, String)>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(page) =
        page.map_err(|_| malformed("the query may have `status`, `limit` and the number `after`"))?;
    let status = page.status.as_deref().map(status).transpose()?;
    let limit = page_limit(page.limit.as_deref(), DEFAULT_LIMIT, ItemFilter::MAX_LIMIT)?;
    let (view, _) = show_execution::find(&app, &id).await?;
    let known = view
        .steps
        .iter()
        .find(|known| known.name == step || known.index.to_string() == step);
    let Some(known) = known else {
        return Err(Problem::new(
            Kind::NoSuchResource,
            format!("the execution has no step `{}`", shown(&step)),
            "GET /api/executions/{id} shows its steps",
        ));
    };
    let filter = ItemFilter {
        execution: view.summary.id,
        step: known.index,
        status,
        limit: Some(limit),
        after: page.after,
    };
    let items = app.stored.items(&filter).await.map_err(stored_problem)?;
    let items = items.ok_or_else(|| no_database("items are shown"))?;
    let full = items.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let next = items.last().filter(|_| full).and_then(|last| last.item);
    Ok(Json(json!({
        "executionId": view.summary.id,
        "step": known.name,
        "index": known.index,
        "counts": known.items.map(counts_json),
        "endedOnly": true,
        "items": items.iter().map(item_json).collect::<Vec<_>>(),
        "nextAfter": next,
    })))
}

/// How an item can have ended.
fn status(text: &str) -> Result<StepStatus, Problem> {
    [StepStatus::Completed, StepStatus::Failed]
        .into_iter()
        .find(|status| status.as_str() == text)
        .ok_or_else(|| {
            malformed("`status` must be completed or failed: only ended items are listed")
        })
}
