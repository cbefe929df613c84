//! `POST /api/v1/dead-letters/{id}/replay {params?, note?}`: what the dead letter is about is tried again.
//!
//! - An attempt at a step: another attempt of the same execution at that step, with `params` in place of
//!   its parameters if there are any. It is the wish `retry`, and takes effect once: as soon as the step
//!   has been tried again, by this or by another wish, the dead letter counts as replayed.
//! - A webhook delivery: it is routed again, and starts what it has not started yet.
//! - A trigger of a definition: what it could not start is started by the newest version.
//!
//! `200 {id, state, action, outcome: "applied" | "unchanged", request, executionId?}`; `202 {…, outcome:
//! "pending"}` where nobody said in time what came of the wish: the dead letter stays open, and its
//! replay can be repeated.

use std::sync::Arc;
use std::time::Duration;

use afu9_schemas::codec;
use afu9_schemas::message::{
    Control, ControlAction, ControlOutcome, DeadLetter, DeadLetterReason, InboxDelivery, Unstarted,
};
use afu9_schemas::{ExecutionId, JobId, RequestId};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::auth::{Allowed, Caller, Operate};
use super::{
    body, idempotency, malformed, show_dead_letter, start_unstarted, stored_problem, wish,
};
use crate::app::{App, now};
use crate::control::{CONTROL_PATIENCE, Carried};
use crate::problem::{Kind, Problem};
use crate::stored::{LetterEntry, LetterState, Settlement};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    #[serde(default)]
    params: Option<Value>,
    #[serde(default)]
    note: Option<String>,
}

/// Somebody's wish about one dead letter.
#[derive(Debug)]
pub(super) struct Wish {
    /// Who wishes it.
    by: String,
    scopes: Vec<String>,
    note: Option<String>,
    request: RequestId,
    /// See [`Control::content`].
    content: Option<u64>,
}

impl Wish {
    /// The wish that `caller` expresses at `path`; see [`idempotency::request`].
    pub(super) fn new(
        caller: &Caller,
        path: &str,
        headers: &HeaderMap,
        content: &Value,
        note: Option<String>,
    ) -> Result<Self, Problem> {
        let (request, content) = idempotency::request(&caller.name, path, headers, content)?;
        Ok(Self {
            by: caller.name.clone(),
            scopes: caller.scopes(),
            note,
            request,
            content,
        })
    }
}

pub(super) async fn replay(
    State(app): State<Arc<App>>,
    caller: Allowed<Operate>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let sent: Request = body::json(&app, &headers, body).await?;
    let note = wish::reason(sent.note)?;
    let entry = show_dead_letter::find(&app, &id).await?;
    let path = format!("/api/v1/dead-letters/{}/replay", entry.id);
    let content = json!({ "params": sent.params });
    let wish = Wish::new(&caller, &path, &headers, &content, note)?;
    let (carried, execution) =
        carry_out(&app, &entry, &wish, sent.params, CONTROL_PATIENCE).await?;
    let entry = LetterEntry { execution, ..entry };
    Ok(answer(
        &entry,
        "replay",
        LetterState::Replayed,
        &carried,
        &wish,
    ))
}

/// What came of a wish about a dead letter.
pub(super) fn answer(
    entry: &LetterEntry,
    action: &str,
    state: LetterState,
    carried: &Carried,
    wish: &Wish,
) -> Response {
    let pending = *carried == Carried::Pending;
    let state = if pending { LetterState::Open } else { state };
    let body = json!({
        "id": entry.id,
        "state": state.as_str(),
        "action": action,
        "outcome": carried.as_str(),
        "request": wish.request,
        "executionId": entry.execution,
        "links": {"self": format!("/api/v1/dead-letters/{}", entry.id)},
    });
    let status = if pending {
        StatusCode::ACCEPTED
    } else {
        StatusCode::OK
    };
    (status, Json(body)).into_response()
}

/// How a dead letter is replayed.
#[derive(Debug)]
pub(super) enum How {
    /// Another attempt at the step of this one.
    Retry(JobId),
    /// Routing the delivery again.
    Redeliver(Box<InboxDelivery>),
    /// Starting what a trigger could not start.
    Start(Box<Unstarted>),
}

/// Why a dead letter cannot be replayed, and what can be done instead.
#[derive(Debug)]
pub(super) struct Never {
    pub(super) why: &'static str,
    pub(super) next: &'static str,
}

impl How {
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Retry(_) => "retry",
            Self::Redeliver(_) => "redeliver",
            Self::Start(_) => "start",
        }
    }

    /// How `entry` is replayed, of which `letter` is all that there is.
    pub(super) fn of(entry: &LetterEntry, letter: Option<&DeadLetter>) -> Result<Self, Never> {
        if let (Some(execution), Some(step), Some(attempt)) =
            (entry.execution, entry.step_index, entry.attempt)
        {
            return Ok(Self::Retry(JobId {
                execution,
                step,
                attempt,
                item: entry.item,
            }));
        }
        if entry.reason == DeadLetterReason::Unwritable.as_str() {
            return Err(Never {
                why: "it is a batch of history: what it tells has happened, and cannot be done again",
                next: "read what it tells, and discard it with a note",
            });
        }
        if entry.reason == DeadLetterReason::Poison.as_str() {
            return Err(Never {
                why: "it is an input that brought its orchestrator down",
                next: "retry or rerun the execution that its error names, once the defect is mended",
            });
        }
        if entry.kind.is_some() {
            return Err(Never {
                why: "its message does not say which job it was",
                next: "the step was tried again when its time was over; discard the dead letter",
            });
        }
        let raw = letter.and_then(|letter| letter.raw.as_deref());
        if entry.reason == DeadLetterReason::Unstarted.as_str() {
            // It would start itself again, without an end.
            let is_circle = entry.error_code == "trigger.too_deep";
            let cause = raw.filter(|_| !is_circle).map(serde_json::from_slice);
            return match cause {
                Some(Ok(cause)) => Ok(Self::Start(Box::new(cause))),
                Some(Err(_)) | None => Err(Never {
                    why: "what a trigger had to go by is not there, or would start executions in a circle",
                    next: "mend the definition, and discard the dead letter",
                }),
            };
        }
        match raw.and_then(|raw| codec::decode(raw).ok()) {
            Some(delivery) => Ok(Self::Redeliver(Box::new(delivery))),
            None => Err(Never {
                why: "the delivery cannot be read",
                next: "have its sender deliver it again, and discard the dead letter",
            }),
        }
    }
}

/// Replays a dead letter, and settles it when that has taken effect.
///
/// Returns what came of it, and the execution that it is about, or that was started.
pub(super) async fn carry_out(
    app: &App,
    entry: &LetterEntry,
    wish: &Wish,
    params: Option<Value>,
    patience: Duration,
) -> Result<(Carried, Option<ExecutionId>), Problem> {
    if let Some(settled) = &entry.settled {
        let carried = already(settled, LetterState::Replayed, wish)?;
        if entry.execution.is_none() {
            // It may not be on record.
            tell(app, wish, ControlAction::Replay(entry.id)).await?;
        }
        return Ok((carried, entry.execution));
    }
    if let Some(params) = &params
        && !params.is_object()
    {
        return Err(malformed("`params` must be an object"));
    }
    // Where the row says it all, the message is not needed.
    let letter = match entry.attempt {
        Some(_) => None,
        None => show_dead_letter::message(app, entry).await?,
    };
    let letter: Option<DeadLetter> = letter.and_then(|raw| codec::decode(&raw).ok());
    let how = How::of(entry, letter.as_ref()).map_err(|Never { why, next }| {
        Problem::new(
            Kind::NotReplayable,
            format!("this dead letter cannot be replayed: {why}"),
            next,
        )
    })?;
    let carried = match how {
        How::Retry(job) => retry(app, entry, job, wish, params, patience).await?,
        How::Redeliver(_) | How::Start(_) if params.is_some() => {
            return Err(malformed(
                "`params` are for a step; others are done again as they were to be done",
            ));
        }
        How::Redeliver(delivery) => redeliver(app, entry, *delivery, wish).await?,
        How::Start(cause) => {
            let started = start_unstarted::start(app, &cause).await?;
            let carried = settle(app, entry, LetterState::Replayed, wish).await?;
            tell(app, wish, ControlAction::Replay(entry.id)).await?;
            return Ok((carried, Some(started)));
        }
    };
    Ok((carried, entry.execution))
}

async fn retry(
    app: &App,
    entry: &LetterEntry,
    job: JobId,
    wish: &Wish,
    params: Option<Value>,
    patience: Duration,
) -> Result<Carried, Problem> {
    let action = ControlAction::Retry {
        step: None,
        params,
        failed: Some(job),
    };
    let control = control(wish, action.clone());
    let carried = app.control(job.execution, control, patience).await;
    let carried = match carried.map_err(|error| error.problem())? {
        // Somebody had it tried again: that is what was wished.
        Carried::Refused { code, .. } if code == SUPERSEDED => Carried::Unchanged,
        Carried::Refused { code, message } => {
            wish::explain_refusal(app, job.execution, &action, &code, message).await?
        }
        carried => carried,
    };
    if carried == Carried::Pending {
        return Ok(carried);
    }
    match settle(app, entry, LetterState::Replayed, wish).await {
        // It took effect, whoever settled the dead letter meanwhile.
        Err(problem) if carried == Carried::Applied && problem.status() == StatusCode::CONFLICT => {
            Ok(carried)
        }
        settled => settled.map(|_| carried),
    }
}

/// The engine's code where the step has been tried again since.
const SUPERSEDED: &str = "retry.superseded";

async fn redeliver(
    app: &App,
    entry: &LetterEntry,
    delivery: InboxDelivery,
    wish: &Wish,
) -> Result<Carried, Problem> {
    let again = InboxDelivery {
        replay_of: Some(entry.id),
        ..delivery
    };
    // First: a delivery that is routed twice starts everything once.
    let stored = app.broker.redeliver(&again).await;
    stored.map_err(|error| Problem::publish(&error))?;
    let carried = settle(app, entry, LetterState::Replayed, wish).await?;
    tell(app, wish, ControlAction::Replay(entry.id)).await?;
    Ok(carried)
}

/// Notes what became of a dead letter, unless somebody was quicker.
pub(super) async fn settle(
    app: &App,
    entry: &LetterEntry,
    state: LetterState,
    wish: &Wish,
) -> Result<Carried, Problem> {
    let settlement = Settlement {
        state,
        by: wish.by.clone(),
        at: now(),
        note: wish.note.clone(),
        request: wish.request,
    };
    let settled = app.stored.settle_letter(entry.id, &settlement).await;
    if settled.map_err(stored_problem)? {
        return Ok(Carried::Applied);
    }
    let found = show_dead_letter::find(app, &entry.id.to_string()).await?;
    match &found.settled {
        Some(settled) => already(settled, state, wish),
        None => Ok(Carried::Unchanged),
    }
}

/// A dead letter that is settled stays so. The request that did it may be repeated.
pub(super) fn already(
    settled: &Settlement,
    wanted: LetterState,
    wish: &Wish,
) -> Result<Carried, Problem> {
    if settled.request == wish.request && settled.state == wanted {
        return Ok(Carried::Unchanged);
    }
    let (code, what) = match settled.state {
        LetterState::Discarded => ("dead_letter.discarded", "discarded"),
        LetterState::Open | LetterState::Replayed => ("dead_letter.replayed", "replayed"),
    };
    Err(Problem::new(
        Kind::DeadLetterSettled,
        format!("{} has {what} it at {}", settled.by, settled.at),
        "GET /api/executions/{id} shows what came of it; if it failed again, that is another dead letter",
    )
    .coded(code)
    .with("by", json!(settled.by))
    .with("at", json!(settled.at.to_string())))
}

/// Puts a wish on record that is no input of an execution.
pub(super) async fn tell(app: &App, wish: &Wish, action: ControlAction) -> Result<(), Problem> {
    let told = app.tell(
        control(wish, action),
        &ControlOutcome::Applied,
        None,
        Vec::new(),
    );
    told.await.map_err(|error| Problem::publish(&error))
}

fn control(wish: &Wish, action: ControlAction) -> Control {
    Control {
        request: wish.request,
        by: wish.by.clone(),
        scopes: wish.scopes.clone(),
        reason: wish.note.clone(),
        reply_to: None,
        content: wish.content,
        action,
    }
}
