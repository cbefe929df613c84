//! `GET /api/executions/{id}/steps/{step}/items?limit=&after=`: the items of a step that have ended,
//! in their order. The step is named, or given by its position.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::auth::{Allowed, Read};
use super::{malformed, no_database, page_limit, show_execution, shown, stored_problem};
use crate::app::App;
use crate::executions::item_json;
use crate::problem::{Kind, Problem};
use crate::stored::ItemFilter;

/// The usual page.
const DEFAULT_LIMIT: u32 = 50;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
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
        page.map_err(|_| malformed("the query may have `limit` and the number `after`"))?;
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
        "items": items.iter().map(item_json).collect::<Vec<_>>(),
        "nextAfter": next,
    })))
}
