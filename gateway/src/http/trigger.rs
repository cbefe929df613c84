//! `POST /api/workflows/{name}/trigger`: starts an execution; answered once its start is stored.

use std::sync::Arc;

use afu9_schemas::Lane;
use afu9_schemas::definition;
use afu9_schemas::message::{Start, Trigger, TriggerKind};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::auth::{self, Allowed};
use super::start::{self, Accepted};
use super::{MAX_TEXT_BYTES, body, idempotency, malformed};
use crate::app::App;
use crate::problem::Problem;
use crate::traceparent;

/// The highest and, negated, the lowest priority: as in definitions.
const MAX_PRIORITY: i32 = 100;

/// The body of a trigger.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Request {
    #[serde(default = "empty_object")]
    input: Value,
    #[serde(default)]
    repository: Option<Value>,
    #[serde(default)]
    lane: Lane,
    /// 0 is the definition's.
    #[serde(default)]
    priority: i32,
    /// On whose behalf. Where a step is for others to decide than who started the execution, neither
    /// this one nor the token may.
    #[serde(default)]
    triggered_by: Option<String>,
}

fn empty_object() -> Value {
    Value::Object(Map::new())
}

pub(super) async fn trigger(
    State(app): State<Arc<App>>,
    caller: Allowed<auth::Trigger>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let answer = carry_out(&app, &caller.name, &name, &headers, body).await;
    let metrics = &app.metrics;
    let counter = match &answer {
        Ok(accepted) if accepted.replayed => &metrics.triggers_replayed,
        Ok(_) => &metrics.triggers_accepted,
        Err(problem) if problem.status().is_client_error() => &metrics.triggers_refused,
        Err(_) => &metrics.triggers_unavailable,
    };
    counter.add();
    Ok(answer?.into_response())
}

async fn carry_out(
    app: &App,
    caller: &str,
    name: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<Accepted, Problem> {
    let idempotency_key = idempotency::key(headers)?;
    let request: Request = body::json(app, headers, body).await?;
    let repository = request.repository.as_ref().map(start::repository);
    let repository = repository.transpose()?;
    if !(-MAX_PRIORITY..=MAX_PRIORITY).contains(&request.priority) {
        return Err(malformed(format!(
            "`priority` must be a number from -{MAX_PRIORITY} to {MAX_PRIORITY}"
        )));
    }
    let by = match request.triggered_by {
        Some(by) if !by.is_empty() && by.len() <= MAX_TEXT_BYTES => by,
        Some(_) => {
            return Err(malformed(format!(
                "`triggeredBy` must be 1 to {MAX_TEXT_BYTES} bytes"
            )));
        }
        None => caller.to_owned(),
    };
    let known = start::enabled(app, name).await?;
    let workflow = start::runnable(app, &known)?;
    // Whoever may not decide what they start must not become somebody else by saying so.
    let initiator = (by != caller).then(|| caller.to_owned());
    let mut start = Start {
        repository,
        lane: request.lane,
        traceparent: traceparent::of(headers),
        priority: request.priority,
        ..Start::new(
            known.record.workflow.clone(),
            request.input,
            Trigger {
                kind: TriggerKind::Manual,
                by,
                delivery: None,
                depth: 0,
                initiator,
            },
        )
    };
    // Of what was sent: the definition may fill in something else the next time.
    let submission = idempotency_key.map(|key| {
        let content = content_of(name, &start);
        (format!("trigger:{caller}:{name}:{key}"), content)
    });
    start::prepare(workflow, &mut start)?;
    start::submit(app, submission, start).await
}

/// What a request says, whatever its layout: the same key with another content is a mistake. The
/// version is left out, so that a request can be repeated while a new one is applied.
fn content_of(workflow: &str, start: &Start) -> String {
    let mut content = json!({
        "workflow": workflow,
        "input": start.input,
        "repository": start.repository,
        "lane": start.lane,
        "by": start.trigger.by,
    });
    // Earlier versions knew no priority, and their keys still count.
    if start.priority != 0 {
        content["priority"] = json!(start.priority);
    }
    definition::hash(&content).to_string()
}

#[cfg(test)]
mod tests {
    use afu9_schemas::message::WorkflowRef;
    use afu9_schemas::{DefinitionHash, WorkflowId};

    use super::*;

    #[test]
    fn content_is_what_is_said_not_how() {
        let hash = |text: &str, lane, priority| {
            let start = Start {
                lane,
                priority,
                ..Start::new(
                    WorkflowRef {
                        id: WorkflowId::new(),
                        name: "w".to_owned(),
                        version: 1,
                        hash: DefinitionHash::of(b""),
                    },
                    serde_json::from_str(text).expect("JSON"),
                    Trigger {
                        kind: TriggerKind::Manual,
                        by: "me".to_owned(),
                        delivery: None,
                        depth: 0,
                        initiator: None,
                    },
                )
            };
            content_of("w", &start)
        };
        let one = hash(r#"{"a": 1, "b": [1, 2]}"#, Lane::Bulk, 0);
        assert_eq!(one, hash(r#"{"b":[1,2],"a":1}"#, Lane::Bulk, 0));
        assert_ne!(one, hash(r#"{"b":[2,1],"a":1}"#, Lane::Bulk, 0));
        assert_ne!(one, hash(r#"{"a": 1, "b": [1, 2]}"#, Lane::Interactive, 0));
        assert_ne!(one, hash(r#"{"a": 1, "b": [1, 2]}"#, Lane::Bulk, 1));
    }
}
