//! `POST /api/v1/dead-letters/bulk {action, filter, dryRun?, all?, limit?, cursor?, note?}`: one wish about
//! many open dead letters, the newest first.
//!
//! `action` is replay or discard, which needs `note`; `filter` has at least one of `reason`, `kind`,
//! `tool`, `workflow`, `execution`, `since` and `until`, or `all` is true.
//!
//! A dry run, which it is unless `dryRun` is false, answers `{matched, exact, sample}`: how many match in
//! all, counted up to 20,000, and not exact beyond. Else `{matched, applied, unchanged, refused, pending,
//! failed, failures: [{id, code}]}`, where `matched` is how many of them this request was about, at most
//! `limit`. `nextCursor` says that others may match too: with it as `cursor`, the next request is about
//! those behind.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use futures::{StreamExt, stream};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::auth::{Allowed, Operate};
use super::list_dead_letters::{Wanted, cursor_text, filter};
use super::replay_dead_letter::{self, Wish};
use super::{body, bulk_report, discard_dead_letter, malformed, no_database, stored_problem, wish};
use crate::app::App;
use crate::control::CONTROL_PATIENCE;
use crate::problem::Problem;
use crate::stored::{LetterCursor, LetterEntry, LetterFilter, LetterState, MAX_LETTERS};

/// Most dead letters one request is about: more would not be decided while somebody waits.
const MAX_AT_ONCE: usize = 500;

/// Most dead letters a dry run counts.
const MAX_COUNTED: u32 = 20_000;

/// Dead letters shown by a dry run.
const SAMPLE: u32 = 20;

/// Wishes under way at once: each uses a connection to the database now and then, and there are few.
const AT_ONCE: usize = 8;

/// How long outcomes are waited for, all in all. What is not decided by then is pending.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Request {
    action: Action,
    #[serde(default)]
    filter: Wanted,
    /// Whether a filter that says nothing is meant.
    #[serde(default)]
    all: bool,
    #[serde(default = "yes")]
    dry_run: bool,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    cursor: Option<String>,
    #[serde(default)]
    note: Option<String>,
}

const fn yes() -> bool {
    true
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Replay,
    Discard,
}

impl Action {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Discard => "discard",
        }
    }
}

pub(super) async fn bulk(
    State(app): State<Arc<App>>,
    caller: Allowed<Operate>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let request: Request = body::json(&app, &headers, body).await?;
    let (wanted, limit) = wanted(&request)?;
    if request.dry_run {
        return count(&app, request.action, &wanted).await.map(Json);
    }
    let note = match request.action {
        Action::Replay => wish::reason(request.note)?,
        Action::Discard => discard_dead_letter::note(request.note)?,
    };
    let (letters, next) = select(&app, wanted, limit).await?;
    let mut wishes = Vec::with_capacity(letters.len());
    for letter in letters {
        let action = request.action.as_str();
        let path = format!("/api/v1/dead-letters/bulk/{action}/{}", letter.id);
        let wish = Wish::new(&caller, &path, &headers, &Value::Null, note.clone())?;
        wishes.push((letter, wish));
    }
    let deadline = Instant::now() + PATIENCE;
    let carried: Vec<_> = stream::iter(wishes)
        .map(|(letter, wish)| {
            let app = &app;
            async move {
                let left = deadline.saturating_duration_since(Instant::now());
                let patience = CONTROL_PATIENCE.min(left);
                let carried = match request.action {
                    Action::Replay => {
                        let replayed =
                            replay_dead_letter::carry_out(app, &letter, &wish, None, patience);
                        replayed.await.map(|(carried, _)| carried)
                    }
                    Action::Discard => discard_dead_letter::carry_out(app, &letter, &wish).await,
                };
                (letter.id, carried)
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    bulk_report::report(request.action.as_str(), &carried, next.map(cursor_text)).map(Json)
}

/// Which dead letters are meant, and how many at most.
fn wanted(request: &Request) -> Result<(LetterFilter, usize), Problem> {
    let limit = request.limit.unwrap_or(MAX_AT_ONCE);
    if !(1..=MAX_AT_ONCE).contains(&limit) {
        return Err(malformed(format!(
            "`limit` must be a number from 1 to {MAX_AT_ONCE}"
        )));
    }
    let open = Some(LetterState::Open);
    let wanted = filter(&request.filter, open, request.cursor.as_deref())?;
    let unlimited = LetterFilter {
        state: open,
        before: wanted.before,
        ..LetterFilter::default()
    };
    if wanted == unlimited && !request.all {
        return Err(malformed(
            "`filter` must say something; `all: true` is for every open dead letter there is",
        ));
    }
    Ok((wanted, limit))
}

async fn count(app: &App, action: Action, wanted: &LetterFilter) -> Result<Value, Problem> {
    let none = || no_database("dead letters come");
    let counted = app.stored.count_letters(wanted, MAX_COUNTED).await;
    let matched = counted.map_err(stored_problem)?.ok_or_else(none)?;
    let sample = app.stored.letters(wanted, SAMPLE).await;
    let sample = sample.map_err(stored_problem)?.ok_or_else(none)?;
    Ok(json!({
        "dryRun": true,
        "action": action.as_str(),
        "matched": matched,
        "exact": matched < u64::from(MAX_COUNTED),
        "sample": sample.iter().map(|letter| letter.id).collect::<Vec<_>>(),
    }))
}

/// Those that are meant, and where the next request goes on if there may be others.
async fn select(
    app: &App,
    mut wanted: LetterFilter,
    limit: usize,
) -> Result<(Vec<LetterEntry>, Option<LetterCursor>), Problem> {
    let mut found: Vec<LetterEntry> = Vec::new();
    loop {
        let left = u32::try_from(limit - found.len()).unwrap_or(MAX_LETTERS);
        let page_size = left.min(MAX_LETTERS);
        let page = app.stored.letters(&wanted, page_size).await;
        let page = page
            .map_err(stored_problem)?
            .ok_or_else(|| no_database("dead letters come"))?;
        let full = page.len() >= page_size as usize;
        found.extend(page);
        wanted.before = found.last().map(LetterCursor::from);
        if !full {
            return Ok((found, None));
        }
        if found.len() >= limit {
            return Ok((found, wanted.before));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_done_to_everything_by_accident() {
        let read = |body: Value| {
            let request: Request = serde_json::from_value(body).expect("readable");
            (request.dry_run, wanted(&request))
        };
        let (dry_run, asked) = read(json!({"action": "discard", "filter": {"tool": "test.fail"}}));
        let (filter, limit) = asked.expect("valid");
        assert!(dry_run, "unless it is said otherwise");
        assert_eq!(
            (filter.state, limit),
            (Some(LetterState::Open), MAX_AT_ONCE)
        );
        assert!(read(json!({"action": "replay", "all": true})).1.is_ok());
        let none = "1.00000000-0000-0000-0000-000000000000";
        for bad in [
            json!({"action": "replay"}),
            json!({"action": "replay", "filter": {}, "cursor": none}),
            json!({"action": "replay", "filter": {"reason": "odd"}}),
            json!({"action": "replay", "filter": {"since": "yesterday"}}),
            json!({"action": "replay", "all": true, "limit": 0}),
            json!({"action": "replay", "all": true, "limit": MAX_AT_ONCE + 1}),
            json!({"action": "replay", "all": true, "cursor": "1"}),
        ] {
            assert!(read(bad.clone()).1.is_err(), "{bad}");
        }
    }
}
