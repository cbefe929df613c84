//! `POST /api/executions/bulk {action, filter, dryRun?, limit?, cursor?, reason?, signal?, version?}`: one
//! wish about many executions, the newest first.
//!
//! `action` is cancel, pause, resume, retry, signal (with `signal: {name, payload?}`) or move (with
//! `version`, a number or `latest`, and `filter.workflow`); `filter` has at least one of `status`,
//! `workflow`, `key`, `triggeredBy`, `startedAfter` and `startedBefore`. Without a status it is about all
//! that the action can change.
//!
//! A dry run answers `{matched, exact, sample}`: how many match in all, counted up to 20,000, and not
//! exact beyond. Else `{matched, applied, unchanged, refused, pending, failed, failures: [{id, code}]}`,
//! where `matched` is how many of them this request was about, at most `limit`. `nextCursor` says that
//! others match too: with it as `cursor`, the next request is about those behind. `incomplete` says that
//! somebody did not answer, so that others may match.

use std::sync::Arc;

use afu9_schemas::artifact::json_size;
use afu9_schemas::message::{Control, ControlAction};
use afu9_schemas::view::ExecutionStatus;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::auth::{Allowed, Operate};
use super::workflow_versions::{self, Wanted as Version};
use super::{body, bulk_report, idempotency, instant, list_executions, malformed, wish};
use crate::app::App;
use crate::bulk::{MAX_COUNTED, MAX_EXECUTIONS, Selection};
use crate::executions::Cursor;
use crate::problem::Problem;

/// Executions shown by a dry run.
const SAMPLE: usize = 20;

/// Largest payload of a signal to many: the log gets it once for each.
const MAX_PAYLOAD_BYTES: usize = 16 * 1024;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Request {
    action: Action,
    filter: Wanted,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    cursor: Option<String>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    signal: Option<Signal>,
    #[serde(default)]
    version: Option<Version>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Cancel,
    Pause,
    Resume,
    Retry,
    Signal,
    Move,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Wanted {
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    workflow: Option<String>,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    triggered_by: Option<String>,
    #[serde(default)]
    started_after: Option<String>,
    #[serde(default)]
    started_before: Option<String>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Signal {
    name: String,
    #[serde(default)]
    payload: Value,
}

pub(super) async fn bulk(
    State(app): State<Arc<App>>,
    caller: Allowed<Operate>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let request: Request = body::json(&app, &headers, body).await?;
    let reason = wish::reason(request.reason.clone())?;
    let mut selection = selection(&request)?;
    let content = json!({ "signal": request.signal, "version": request.version });
    let action = wish(
        &app,
        request.action,
        request.signal,
        request.version,
        &selection,
    )
    .await?;
    if request.dry_run {
        selection.limit = MAX_COUNTED;
    }
    let selected = Box::pin(app.select(&selection)).await;
    let selected = selected.map_err(|error| Problem::internal(&error))?;
    if request.dry_run {
        return Ok(Json(json!({
            "dryRun": true,
            "action": action.as_str(),
            "matched": selected.ids.len(),
            "exact": selected.next.is_none() && !selected.incomplete,
            "sample": selected.ids.iter().take(SAMPLE).collect::<Vec<_>>(),
            "incomplete": selected.incomplete,
        })));
    }
    let mut wishes = Vec::with_capacity(selected.ids.len());
    for id in &selected.ids {
        let path = format!("/api/executions/bulk/{}/{id}", action.as_str());
        let (name, content) = idempotency::request(&caller.name, &path, &headers, &content)?;
        let control = Control {
            request: name,
            by: caller.name.clone(),
            scopes: caller.scopes(),
            reason: reason.clone(),
            reply_to: None,
            content,
            action: action.clone(),
        };
        wishes.push((*id, control));
    }
    let carried = Box::pin(app.control_all(wishes)).await;
    let carried: Vec<_> = carried
        .into_iter()
        .map(|(id, one)| (id, one.map_err(|error| error.problem())))
        .collect();
    let next = selected.next.map(Cursor::to_text);
    let mut report = bulk_report::report(action.as_str(), &carried, next)?;
    report["incomplete"] = json!(selected.incomplete);
    Ok(Json(report))
}

/// The wish about each execution.
async fn wish(
    app: &App,
    action: Action,
    signal: Option<Signal>,
    version: Option<Version>,
    selection: &Selection,
) -> Result<ControlAction, Problem> {
    match (action, signal, version) {
        (Action::Cancel, None, None) => Ok(ControlAction::Cancel),
        (Action::Pause, None, None) => Ok(ControlAction::Pause),
        (Action::Resume, None, None) => Ok(ControlAction::Resume),
        (Action::Retry, None, None) => Ok(ControlAction::Retry {
            step: None,
            params: None,
            failed: None,
        }),
        (Action::Signal, Some(Signal { name, payload }), None) => {
            wish::text("signal.name", &name)?;
            if json_size(&payload) > MAX_PAYLOAD_BYTES {
                return Err(malformed(format!(
                    "`signal.payload` has more than {MAX_PAYLOAD_BYTES} bytes"
                )));
            }
            Ok(ControlAction::Signal { name, payload })
        }
        (Action::Move, None, Some(version)) => {
            let name = selection.workflow.as_deref().ok_or_else(|| {
                malformed("a move needs `filter.workflow`: a version is one of a workflow")
            })?;
            let record = workflow_versions::find(app, name, version).await?;
            Ok(ControlAction::Move {
                to: record.workflow,
            })
        }
        (Action::Signal, None, _) => Err(malformed("a signal needs `signal: {name, payload?}`")),
        (Action::Move, _, None) => Err(malformed("a move needs `version`, a number or `latest`")),
        (_, Some(_), _) => Err(malformed("`signal` is for the action `signal` only")),
        (_, _, Some(_)) => Err(malformed("`version` is for the action `move` only")),
    }
}

impl Action {
    /// In which status an execution must be for it to change anything.
    const fn statuses(self) -> &'static [ExecutionStatus] {
        use ExecutionStatus::{Failed, Paused, Pending, Running};
        match self {
            Self::Cancel | Self::Signal | Self::Move => &[Running, Pending, Paused],
            Self::Pause => &[Running, Pending],
            Self::Resume => &[Paused],
            Self::Retry => &[Failed],
        }
    }
}

fn selection(request: &Request) -> Result<Selection, Problem> {
    let Wanted {
        status,
        workflow,
        key,
        triggered_by,
        started_after,
        started_before,
    } = &request.filter;
    let all = [
        status,
        workflow,
        key,
        triggered_by,
        started_after,
        started_before,
    ];
    if all.into_iter().all(Option::is_none) {
        return Err(malformed(
            "`filter` must say something: an empty one would mean every execution there is",
        ));
    }
    let can_change = request.action.statuses();
    let statuses = match status.as_deref().map(list_executions::status).transpose()? {
        None => can_change.to_vec(),
        Some(status) if can_change.contains(&status) => vec![status],
        Some(status) => {
            let names: Vec<&str> = can_change.iter().map(|status| status.as_str()).collect();
            return Err(malformed(format!(
                "nothing can be done so with executions that are {}; they must be {}",
                status.as_str(),
                names.join(", ")
            )));
        }
    };
    let limit = request.limit.unwrap_or(MAX_EXECUTIONS);
    if !(1..=MAX_EXECUTIONS).contains(&limit) {
        return Err(malformed(format!(
            "`limit` must be a number from 1 to {MAX_EXECUTIONS}"
        )));
    }
    let cursor = request.cursor.as_deref().map(|text| {
        Cursor::from_text(text)
            .ok_or_else(|| malformed("`cursor` must be the `nextCursor` of another request"))
    });
    let started_before = instant("startedBefore", started_before.as_deref())?.map(Cursor::before);
    Ok(Selection {
        statuses,
        workflow: workflow.clone(),
        key: key.clone(),
        triggered_by: triggered_by.clone(),
        started_after: instant("startedAfter", started_after.as_deref())?,
        // The further back.
        before: cursor.transpose()?.into_iter().chain(started_before).min(),
        limit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: Value) -> Result<Selection, Problem> {
        let request: Request = serde_json::from_value(body).expect("readable");
        selection(&request)
    }

    #[test]
    fn a_filter_must_say_something_and_the_status_must_fit_the_action() {
        use ExecutionStatus::{Failed, Paused};
        let resume = json!({"action": "resume", "filter": {"workflow": "w"}});
        assert_eq!(read(resume).expect("valid").statuses, [Paused]);
        let retry = json!({"action": "retry", "filter": {"status": "failed"}, "limit": 5});
        let retry = read(retry).expect("valid");
        assert_eq!((retry.statuses, retry.limit), (vec![Failed], 5));
        for bad in [
            json!({"action": "cancel", "filter": {}}),
            json!({"action": "cancel", "filter": {"status": "completed"}}),
            json!({"action": "cancel", "filter": {"status": "odd"}}),
            json!({"action": "cancel", "filter": {"key": "k"}, "limit": 0}),
            json!({"action": "cancel", "filter": {"key": "k"}, "limit": MAX_EXECUTIONS + 1}),
            json!({"action": "cancel", "filter": {"startedAfter": "yesterday"}}),
            json!({"action": "cancel", "filter": {"key": "k"}, "cursor": "1"}),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }
}
