//! `GET /api/events`: what happens from now on, as server-sent events; `GET
//! /api/executions/{id}/events`: what is with one execution, then what happens in it, until it has ended.
//!
//! | event | data, besides `executionId`, `number`, `at` |
//! |---|---|
//! | `execution_started` | `workflow`, `version`, `triggeredBy`, `status`, `key`, `parent`, `rerunOf` |
//! | `status_changed` | `status`, `by`, `reason`, and `version` where another one goes on |
//! | `step_progressed` | of a step whose tool is deferred: `step`, `index`, `item`, `progress`, `next` |
//! | `step_ended` | `step`, `index`, `item` (of one item only), `role`, `status`, `attempts` |
//! | `execution_ended` | `status`, `error` |
//! | `controlled` | `action`, `by`, `reason`, what it was about, `outcome`, `code`, `request` |
//! | `state` | of one execution: `workflow`, `version`, `status`, `startedAt`, `completedAt`, `error`, `steps` |
//! | `missed` | `events`: how many, of all there are; null where nobody knows |
//!
//! `?kinds=step_ended,execution_ended` chooses among the first six; all of them by default. The stream
//! opens with the comment `: ready`, from which on nothing is missed as long as the connection lives
//! and is read; a reader that is too slow gets `missed`, and the `state` again where it follows one
//! execution. That one ends with `execution_ended`, and at once where it had ended. It may tell again
//! what the `state` shows already. After a crash of an orchestrator events may come twice, with the
//! same number; `controlled` has the number 0 and is known by its `request`, `step_progressed` has it too.

use std::sync::Arc;
use std::time::Duration;

use afu9_schemas::ExecutionId;
use afu9_schemas::view::ExecutionView;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use futures::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::auth::{Allowed, Read};
use super::shell::overloaded;
use super::show_execution;
use crate::app::App;
use crate::executions::Found;
use crate::feed::{Batch, ENDED, KINDS, Listener, Missed, event_text};
use crate::problem::{Kind, Problem};

/// A comment is sent this often when nothing happens, so that everything between us and the reader
/// sees a living connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

#[derive(Debug, Deserialize)]
pub(super) struct Parameters {
    kinds: Option<String>,
}

pub(super) async fn follow(
    State(app): State<Arc<App>>,
    _caller: Allowed<Read>,
    Query(parameters): Query<Parameters>,
) -> Result<Response, Problem> {
    let follower = Follower::new(&app, &parameters).await?;
    follower.into_response()
}

pub(super) async fn follow_one(
    State(app): State<Arc<App>>,
    _caller: Allowed<Read>,
    Path(id): Path<String>,
    Query(parameters): Query<Parameters>,
) -> Result<Response, Problem> {
    // First, so that nothing happens between what is shown and what is heard.
    let mut follower = Follower::new(&app, &parameters).await?;
    let (view, _) = show_execution::find(&app, &id).await?;
    follower.execution = Some(view.summary.id);
    follower.tell_state(&view);
    follower.into_response()
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
    app: Arc<App>,
    listener: Listener,
    kinds: Vec<&'static str>,
    /// Only its events, and the stream ends when it has.
    execution: Option<ExecutionId>,
    /// What is sent next.
    text: String,
    ended: bool,
    /// What was missed may have been its end, and nobody could be asked yet.
    is_unsure: bool,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    async fn new(app: &Arc<App>, parameters: &Parameters) -> Result<Self, Problem> {
        let kinds = kinds(parameters.kinds.as_deref())?;
        let permit = Arc::clone(&app.streams)
            .try_acquire_owned()
            .map_err(|_| overloaded())?;
        // Its end ends the stream of an execution, whether it is wanted or not.
        let heard: Vec<_> = kinds.iter().copied().chain([ENDED]).collect();
        let listener = app.feed.listen(&heard).await.ok_or_else(|| {
            Problem::new(
                Kind::BrokerUnavailable,
                "history cannot be followed just now",
                "try again; if it stays, see `nats` in /api/ready",
            )
        })?;
        Ok(Self {
            app: Arc::clone(app),
            listener,
            kinds,
            execution: None,
            text: ": ready\n\n".to_owned(),
            ended: false,
            is_unsure: false,
            _permit: permit,
        })
    }

    fn into_response(self) -> Result<Response, Problem> {
        let body = stream::unfold(self, |mut follower| async {
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

    /// The next piece of the stream; `None` ends it.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if !self.text.is_empty() {
                return Some(Bytes::from(std::mem::take(&mut self.text)));
            }
            if self.ended {
                return None;
            }
            let closing = self.app.closing.clone();
            tokio::select! {
                () = closing.cancelled() => return None,
                heard = self.listener.next() => {
                    let (missed, batch) = heard?;
                    if let Some(missed) = missed {
                        self.tell_missed(missed);
                        self.is_unsure = self.execution.is_some();
                    }
                    if !self.is_unsure || !self.look_again().await {
                        self.tell(&batch);
                    }
                }
                () = tokio::time::sleep(KEEP_ALIVE) => {
                    if !self.is_unsure || !self.look_again().await {
                        self.text.push_str(": keep-alive\n\n");
                    }
                }
            }
        }
    }

    fn tell(&mut self, batch: &Batch) {
        for event in &batch.events {
            let is_ours = self.execution.is_none_or(|id| event.execution == Some(id));
            if !is_ours {
                continue;
            }
            if self.kinds.contains(&event.kind) {
                self.text.push_str(&event.text);
            }
            if self.execution.is_some() && event.kind == ENDED {
                self.ended = true;
                return;
            }
        }
    }

    fn tell_missed(&mut self, missed: Missed) {
        let events = match missed {
            Missed::Events(count) => Some(count),
            Missed::Unknown => None,
        };
        let data = json!({"events": events});
        self.text.push_str(&event_text("missed", &data));
    }

    fn tell_state(&mut self, view: &ExecutionView) {
        self.text.push_str(&event_text("state", &state_of(view)));
        self.ended = view.summary.status.is_terminal();
        self.is_unsure = false;
    }

    /// Tells how the execution is now, if anybody knows. Returns whether it has ended.
    async fn look_again(&mut self) -> bool {
        let Some(id) = self.execution else {
            return false;
        };
        if let Ok(Found::Known(view, _)) = self.app.find(id).await {
            self.tell_state(&view);
        }
        self.ended
    }
}

fn state_of(view: &ExecutionView) -> Value {
    let summary = &view.summary;
    let steps: Vec<Value> = view
        .steps
        .iter()
        .map(|step| {
            json!({
                "step": step.name,
                "index": step.index,
                "role": step.role.as_str(),
                "status": step.status,
                "attempts": step.attempts.len(),
            })
        })
        .collect();
    json!({
        "executionId": summary.id,
        "workflow": summary.workflow,
        "version": summary.version,
        "status": summary.status,
        "startedAt": summary.started_at.to_string(),
        "completedAt": summary.completed_at.map(|at| at.to_string()),
        "error": view.error,
        "steps": steps,
    })
}
