//! `GET /api/events`: what happens from now on, as server-sent events; `GET
//! /api/executions/{id}/events`: of one execution only.
//!
//! | event | data, besides `executionId`, `number`, `at` |
//! |---|---|
//! | `execution_started` | `workflow`, `version`, `triggeredBy`, `status`, `key`, `parent`, `rerunOf` |
//! | `status_changed` | `status`, `by`, `reason`, and `version` where another one goes on |
//! | `step_ended` | `step`, `index`, `item` (of one item only), `role`, `status`, `attempts` |
//! | `execution_ended` | `status`, `error` |
//! | `controlled` | `action`, `by`, `reason`, `scope` (of holds only), `outcome`, `code`, `request` |
//!
//! `?kinds=step_ended,execution_ended` chooses; all of them by default. The stream opens with the
//! comment `: ready`, from which on nothing is missed as long as the connection lives. After a crash
//! of an orchestrator events may come twice, with the same number; `controlled` has the number 0 and
//! is known by its `request`.

use std::sync::Arc;
use std::time::Duration;

use afu9_broker::history::HistoryConsumer;
use afu9_schemas::ExecutionId;
use afu9_schemas::message::{
    ControlAction, ControlOutcome, ControlRecord, HistoryEvent, HistoryKind,
};
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use futures::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::auth::{Allowed, Read};
use super::shell::overloaded;
use super::show_execution;
use crate::app::App;
use crate::problem::{Kind, Problem};

/// A comment is sent this often when nothing happens, so that everything between us and the reader
/// sees a living connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Batches of history read at once.
const READ_AT_ONCE: usize = 64;

/// The names of the kinds of events.
const KINDS: [&str; 5] = [
    "execution_started",
    "status_changed",
    "step_ended",
    "execution_ended",
    "controlled",
];

#[derive(Debug, Deserialize)]
pub(super) struct Parameters {
    kinds: Option<String>,
}

pub(super) async fn follow(
    State(app): State<Arc<App>>,
    _caller: Allowed<Read>,
    Query(parameters): Query<Parameters>,
) -> Result<Response, Problem> {
    stream_of(&app, &parameters, None).await
}

pub(super) async fn follow_one(
    State(app): State<Arc<App>>,
    _caller: Allowed<Read>,
    Path(id): Path<String>,
    Query(parameters): Query<Parameters>,
) -> Result<Response, Problem> {
    let (view, _) = show_execution::find(&app, &id).await?;
    stream_of(&app, &parameters, Some(view.summary.id)).await
}

async fn stream_of(
    app: &App,
    parameters: &Parameters,
    execution: Option<ExecutionId>,
) -> Result<Response, Problem> {
    let kinds = kinds(parameters.kinds.as_deref())?;
    let permit = Arc::clone(&app.streams)
        .try_acquire_owned()
        .map_err(|_| overloaded())?;
    let history = app.broker.follow_history().await.map_err(|error| {
        let error = afu9_broker::error::chain(&error);
        tracing::warn!(error, "history cannot be followed");
        Problem::new(
            Kind::BrokerUnavailable,
            "history cannot be followed just now",
            "try again; if it stays, see `nats` in /api/ready",
        )
    })?;
    let closing = app.closing.clone();
    let follower = Follower {
        history,
        kinds,
        execution,
        closing,
        opened: false,
        _permit: permit,
    };
    let body = stream::unfold(follower, |mut follower| async {
        let chunk = follower.next().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), follower))
    });
    Response::builder()
        .header(CONTENT_TYPE, "text/event-stream")
        .header(CACHE_CONTROL, "no-store")
        .header("x-accel-buffering", "no")
        .body(Body::from_stream(body))
        .map_err(|error| Problem::internal(&error))
}

fn kinds(text: Option<&str>) -> Result<Vec<&'static str>, Problem> {
    let Some(text) = text else {
        return Ok(KINDS.to_vec());
    };
    text.split(',')
        .map(|name| {
            KINDS
                .into_iter()
                .find(|kind| *kind == name.trim())
                .ok_or_else(|| {
                    Problem::new(
                        Kind::Malformed,
                        "`kinds` names a kind of event that does not exist",
                        format!("use one or more of {}", KINDS.join(", ")),
                    )
                })
        })
        .collect()
}

struct Follower {
    history: HistoryConsumer,
    kinds: Vec<&'static str>,
    /// Only its events.
    execution: Option<ExecutionId>,
    closing: CancellationToken,
    opened: bool,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    /// The next piece of the stream; `None` ends it.
    async fn next(&mut self) -> Option<Bytes> {
        if !self.opened {
            self.opened = true;
            return Some(Bytes::from_static(b": ready\n\n"));
        }
        loop {
            let batch = tokio::select! {
                () = self.closing.cancelled() => return None,
                batch = self.history.next_batch(READ_AT_ONCE) => batch,
                () = tokio::time::sleep(KEEP_ALIVE) => {
                    return Some(Bytes::from_static(b": keep-alive\n\n"));
                }
            };
            // The reader connects anew, and knows by that that it may have missed something.
            let batch = batch.ok()?;
            let mut text = String::new();
            for message in &batch {
                // Unreadable history is the projector's to report.
                for event in message.decode().into_iter().flat_map(|batch| batch.events) {
                    self.write(&event, &mut text);
                }
            }
            if !text.is_empty() {
                return Some(Bytes::from(text));
            }
        }
    }

    fn write(&self, event: &HistoryEvent, text: &mut String) {
        let kind = kind_of(&event.kind);
        let wanted = self
            .execution
            .is_none_or(|id| subject_of(event) == Some(id));
        if !wanted || !self.kinds.contains(&kind) {
            return;
        }
        text.push_str("event: ");
        text.push_str(kind);
        text.push_str("\ndata: ");
        text.push_str(&data_of(event).to_string());
        text.push_str("\n\n");
    }
}

/// The execution an event is about.
fn subject_of(event: &HistoryEvent) -> Option<ExecutionId> {
    match &event.kind {
        HistoryKind::Controlled(record) => record.execution,
        _ => event.execution,
    }
}

fn kind_of(kind: &HistoryKind) -> &'static str {
    match kind {
        HistoryKind::ExecutionStarted(_) => "execution_started",
        HistoryKind::StepEnded(_) => "step_ended",
        HistoryKind::ExecutionEnded(_) => "execution_ended",
        HistoryKind::DefinitionApplied(_) => "definition_applied",
        HistoryKind::StatusChanged(_) => "status_changed",
        HistoryKind::Controlled(_) => "controlled",
    }
}

fn data_of(event: &HistoryEvent) -> Value {
    let mut data = json!({
        "executionId": subject_of(event),
        "number": event.number,
        "at": event.at.to_string(),
    });
    match &event.kind {
        HistoryKind::ExecutionStarted(started) => {
            data["workflow"] = json!(started.workflow.name);
            data["version"] = json!(started.workflow.version);
            data["triggeredBy"] = json!(started.trigger.by);
            data["status"] = json!(started.status);
            data["key"] = json!(started.key);
            data["parent"] = json!(started.parent.map(|parent| parent.execution));
            data["rerunOf"] = json!(started.rerun_of);
            data["rerunReason"] = json!(started.rerun_reason);
        }
        HistoryKind::StepEnded(step) => {
            data["step"] = json!(step.name);
            data["index"] = json!(step.index);
            if let Some(item) = step.item {
                data["item"] = json!(item);
            }
            data["role"] = json!(step.role.as_str());
            data["status"] = json!(step.status);
            data["attempts"] = json!(step.attempts.len());
        }
        HistoryKind::ExecutionEnded(ended) => {
            data["status"] = json!(ended.status);
            data["error"] = json!(ended.error);
        }
        HistoryKind::StatusChanged(changed) => {
            data["status"] = json!(changed.status);
            data["by"] = json!(changed.by);
            data["reason"] = json!(changed.reason);
            if let Some(workflow) = &changed.workflow {
                data["version"] = json!(workflow.version);
            }
        }
        HistoryKind::Controlled(record) => controlled(record, &mut data),
        HistoryKind::DefinitionApplied(_) => {}
    }
    data
}

fn controlled(record: &ControlRecord, data: &mut Value) {
    let control = &record.control;
    data["action"] = json!(control.action.as_str());
    data["by"] = json!(control.by);
    data["reason"] = json!(control.reason);
    data["request"] = json!(control.request);
    if let ControlAction::Hold(scope) | ControlAction::Release(scope) = &control.action {
        data["scope"] = json!(scope);
    }
    let (outcome, code) = match &record.outcome {
        ControlOutcome::Applied => ("applied", None),
        ControlOutcome::Unchanged => ("unchanged", None),
        ControlOutcome::Refused { code, .. } => ("refused", Some(code)),
    };
    data["outcome"] = json!(outcome);
    data["code"] = json!(code);
}
