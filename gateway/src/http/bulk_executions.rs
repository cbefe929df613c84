//! `POST /api/executions/bulk {action, filter, dryRun?, limit?, reason?, signal?}`: one wish about many
//! executions.
//!
//! `action` is cancel, pause, resume, retry or signal (with `signal: {name, payload?}`); `filter` has
//! at least one of `status`, `workflow`, `key`, `triggeredBy`, `startedAfter` and `startedBefore`.
//! Without a status it is about all that the action can change. A dry run answers `{matched, sample}`,
//! else `{matched, applied, unchanged, refused, pending, failed, failures: [{id, code}]}`; `more` says
//! that others match too.

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
use super::{body, idempotency, instant, list_executions, malformed, wish};
use crate::app::App;
use crate::bulk::{MAX_EXECUTIONS, One, Selected, Selection};
use crate::control::Carried;
use crate::problem::Problem;

/// Executions shown by a dry run.
const SAMPLE: usize = 20;

/// Failures told one by one.
const MAX_FAILURES: usize = 50;

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
    reason: Option<String>,
    #[serde(default)]
    signal: Option<Signal>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Cancel,
    Pause,
    Resume,
    Retry,
    Signal,
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
    let reason = wish::reason(request.reason)?;
    let content = json!(request.signal);
    let action = request.action.wish(request.signal)?;
    let selection = selection(request.action, request.filter, request.limit)?;
    let selected = Box::pin(app.select(&selection)).await;
    let selected = selected.map_err(|error| Problem::internal(&error))?;
    if request.dry_run {
        return Ok(Json(json!({
            "dryRun": true,
            "action": action.as_str(),
            "matched": selected.ids.len(),
            "sample": selected.ids.iter().take(SAMPLE).collect::<Vec<_>>(),
            "more": selected.more,
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
    report(action.as_str(), &selected, &carried).map(Json)
}

impl Action {
    /// The wish about each execution.
    fn wish(self, signal: Option<Signal>) -> Result<ControlAction, Problem> {
        match (self, signal) {
            (Self::Cancel, None) => Ok(ControlAction::Cancel),
            (Self::Pause, None) => Ok(ControlAction::Pause),
            (Self::Resume, None) => Ok(ControlAction::Resume),
            (Self::Retry, None) => Ok(ControlAction::Retry {
                step: None,
                params: None,
            }),
            (Self::Signal, Some(Signal { name, payload })) => {
                wish::text("signal.name", &name)?;
                if json_size(&payload) > MAX_PAYLOAD_BYTES {
                    return Err(malformed(format!(
                        "`signal.payload` has more than {MAX_PAYLOAD_BYTES} bytes"
                    )));
                }
                Ok(ControlAction::Signal { name, payload })
            }
            (Self::Signal, None) => Err(malformed("a signal needs `signal: {name, payload?}`")),
            (_, Some(_)) => Err(malformed("`signal` is for the action `signal` only")),
        }
    }

    /// In which status an execution must be for it to change anything.
    const fn statuses(self) -> &'static [ExecutionStatus] {
        use ExecutionStatus::{Failed, Paused, Pending, Running};
        match self {
            Self::Cancel | Self::Signal => &[Running, Pending, Paused],
            Self::Pause => &[Running, Pending],
            Self::Resume => &[Paused],
            Self::Retry => &[Failed],
        }
    }
}

fn selection(action: Action, wanted: Wanted, limit: Option<usize>) -> Result<Selection, Problem> {
    let Wanted {
        status,
        workflow,
        key,
        triggered_by,
        started_after,
        started_before,
    } = wanted;
    let all = [
        &status,
        &workflow,
        &key,
        &triggered_by,
        &started_after,
        &started_before,
    ];
    if all.into_iter().all(Option::is_none) {
        return Err(malformed(
            "`filter` must say something: an empty one would mean every execution there is",
        ));
    }
    let can_change = action.statuses();
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
    let limit = limit.unwrap_or(MAX_EXECUTIONS);
    if !(1..=MAX_EXECUTIONS).contains(&limit) {
        return Err(malformed(format!(
            "`limit` must be a number from 1 to {MAX_EXECUTIONS}"
        )));
    }
    Ok(Selection {
        statuses,
        workflow,
        key,
        triggered_by,
        started_after: instant("startedAfter", started_after.as_deref())?,
        started_before: instant("startedBefore", started_before.as_deref())?,
        limit,
    })
}

/// What came of all of them; a problem only if none may have been stored.
fn report(action: &str, selected: &Selected, carried: &[One]) -> Result<Value, Problem> {
    let count = |wanted: &dyn Fn(&Carried) -> bool| {
        let stored = carried.iter().filter_map(|(_, one)| one.as_ref().ok());
        stored.filter(|one| wanted(one)).count()
    };
    let errors = || carried.iter().filter_map(|(_, one)| one.as_ref().err());
    let failed = errors().count();
    if let Some(error) = errors().next()
        && failed == carried.len()
    {
        return Err(error.problem());
    }
    let failures: Vec<Value> = carried
        .iter()
        .filter_map(|(id, one)| match one {
            Ok(Carried::Refused { code, .. }) => Some(json!({"id": id, "code": code})),
            Ok(_) => None,
            Err(error) => Some(json!({"id": id, "code": error.problem().code()})),
        })
        .take(MAX_FAILURES)
        .collect();
    Ok(json!({
        "dryRun": false,
        "action": action,
        "matched": selected.ids.len(),
        "applied": count(&|one| *one == Carried::Applied),
        "unchanged": count(&|one| *one == Carried::Unchanged),
        "refused": count(&|one| matches!(one, Carried::Refused { .. })),
        "pending": count(&|one| *one == Carried::Pending),
        "failed": failed,
        "failures": failures,
        "more": selected.more,
        "incomplete": selected.incomplete,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: Value) -> Result<Selection, Problem> {
        let request: Request = serde_json::from_value(body).expect("readable");
        request.action.wish(request.signal)?;
        selection(request.action, request.filter, request.limit)
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
            json!({"action": "cancel", "filter": {"key": "k"}, "signal": {"name": "s"}}),
            json!({"action": "signal", "filter": {"key": "k"}}),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }
}
