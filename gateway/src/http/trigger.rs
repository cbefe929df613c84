//! `POST /api/workflows/{name}/trigger`: starts an execution; answered once its start is stored.

use std::sync::Arc;

use afu9_schemas::definition;
use afu9_schemas::message::{Repository, Start, Trigger, TriggerKind};
use afu9_schemas::view::ExecutionStatus;
use afu9_schemas::{ExecutionId, Lane};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::auth::{self, Allowed};
use super::body;
use crate::app::App;
use crate::definitions::{Known, Tools};
use crate::problem::{Kind, Problem};
use crate::submission::{SubmitError, Submitted};
use crate::traceparent;

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Longest `Idempotency-Key`, `triggeredBy` and name of an owner or a repository, in bytes: the
/// columns of the database are as wide.
const MAX_TEXT_BYTES: usize = 255;

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

/// What is answered.
struct Accepted {
    execution: ExecutionId,
    workflow: String,
    version: u32,
    status: ExecutionStatus,
    replayed: bool,
}

impl IntoResponse for Accepted {
    fn into_response(self) -> Response {
        let this = format!("/api/executions/{}", self.execution);
        let body = json!({
            "executionId": self.execution,
            "workflow": self.workflow,
            "version": self.version,
            "status": self.status.as_str(),
            "links": {"self": this},
        });
        let mut response = (StatusCode::ACCEPTED, Json(body)).into_response();
        let headers = response.headers_mut();
        if let Ok(location) = HeaderValue::from_str(&this) {
            headers.insert(LOCATION, location);
        }
        if self.replayed {
            headers.insert(REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}

async fn carry_out(
    app: &App,
    caller: &str,
    name: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<Accepted, Problem> {
    let idempotency_key = idempotency_key(headers)?;
    let request: Request = body::json(app, headers, body).await?;
    let repository = request.repository.as_ref().map(repository).transpose()?;
    let by = match request.triggered_by {
        Some(by) if !by.is_empty() && by.len() <= MAX_TEXT_BYTES => by,
        Some(_) => {
            return Err(malformed(format!(
                "`triggeredBy` must be 1 to {MAX_TEXT_BYTES} bytes"
            )));
        }
        None => caller.to_owned(),
    };
    let newest = app.definitions.newest(name).await;
    let known = newest.map_err(|error| Problem::broker(&error))?;
    let known = startable(name, known.as_deref(), app.config.allow_test_kind)?;
    let workflow = known.record.workflow.clone();
    let content = idempotency_key
        .map(|_| content_of(name, &request.input, repository.as_ref(), request.lane, &by));
    let start = Start {
        workflow: workflow.clone(),
        input: request.input,
        repository,
        trigger: Trigger {
            kind: TriggerKind::Manual,
            by,
            delivery: None,
        },
        lane: request.lane,
        traceparent: traceparent::of(headers),
    };
    let accepted = |execution| Accepted {
        execution,
        workflow: workflow.name.clone(),
        version: workflow.version,
        status: ExecutionStatus::Pending,
        replayed: false,
    };
    let (Some(key), Some(content)) = (idempotency_key, content) else {
        let execution = ExecutionId::new();
        let stored = app.submit(execution, start).await;
        stored.map_err(|error| Problem::publish(&error))?;
        return Ok(accepted(execution));
    };
    let key = format!("trigger:{caller}:{name}:{key}");
    match app
        .submit_once(&key, &content, start)
        .await
        .map_err(|error| submit_problem(&error))?
    {
        Submitted::New => Ok(accepted(ExecutionId::derived(&key))),
        Submitted::Before(summary) => Ok(Accepted {
            execution: summary.id,
            workflow: summary.workflow,
            version: summary.version,
            status: summary.status,
            replayed: true,
        }),
        Submitted::OtherContent => Err(Problem::new(
            Kind::IdempotencyConflict,
            "this Idempotency-Key was used for a request with another content",
            "use a new key for a new request",
        )),
    }
}

/// The version to start, or why it cannot be.
fn startable<'a>(
    name: &str,
    known: Option<&'a Known>,
    allow_test_kind: bool,
) -> Result<&'a Known, Problem> {
    let Some(known) = known else {
        let shown: String = name.chars().take(MAX_TEXT_BYTES).collect();
        return Err(Problem::new(
            Kind::UnknownWorkflow,
            format!("there is no workflow `{shown}`"),
            "GET /api/workflows lists them; PUT /api/workflows/{name} adds one",
        ));
    };
    if !known.record.enabled {
        return Err(Problem::new(
            Kind::WorkflowDisabled,
            format!("the workflow `{name}` is disabled"),
            "apply the workflow again to enable it",
        ));
    }
    match known.tools {
        Tools::Production => Ok(known),
        Tools::Test if allow_test_kind => Ok(known),
        Tools::Test => Err(Problem::new(
            Kind::TestTools,
            format!("the workflow `{name}` uses tools of the test kind"),
            "use other tools, or allow the test kind in the configuration of a test system",
        )),
        Tools::Unreadable => Err(Problem::new(
            Kind::WorkflowUnreadable,
            format!("this version of the gateway cannot read the workflow `{name}`"),
            "upgrade the gateway to the version with which the workflow was applied",
        )),
    }
}

fn submit_problem(error: &SubmitError) -> Problem {
    match error {
        SubmitError::Claim(error) => Problem::broker(error),
        SubmitError::Past(error) => Problem::internal(error),
        SubmitError::PastAway => Problem::new(
            Kind::DatabaseUnavailable,
            "whether this Idempotency-Key has started an execution cannot be looked up now",
            "try again with the same key",
        ),
        SubmitError::Store(error) => Problem::publish(error),
    }
}

fn malformed(detail: impl Into<String>) -> Problem {
    Problem::new(Kind::Malformed, detail, "send the body as documented")
}

/// 1 to 255 visible ASCII characters.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    value
        .to_str()
        .ok()
        .filter(|key| {
            (1..=MAX_TEXT_BYTES).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic())
        })
        .map(Some)
        .ok_or_else(|| {
            malformed(format!(
                "Idempotency-Key must be 1 to {MAX_TEXT_BYTES} visible ASCII characters"
            ))
        })
}

/// `"owner/name"`, or an object.
fn repository(value: &Value) -> Result<Repository, Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Named {
        owner: String,
        name: String,
        #[serde(default)]
        default_branch: Option<String>,
    }
    let wrong = || malformed("`repository` must be `owner/name` or {owner, name, default_branch?}");
    let named = match value {
        Value::String(text) => {
            let (owner, name) = text.split_once('/').ok_or_else(wrong)?;
            Named {
                owner: owner.to_owned(),
                name: name.to_owned(),
                default_branch: None,
            }
        }
        Value::Object(_) => Named::deserialize(value).map_err(|_| wrong())?,
        _ => return Err(wrong()),
    };
    let valid = |text: &str| {
        (1..=MAX_TEXT_BYTES).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    };
    if !valid(&named.owner) || !valid(&named.name) {
        return Err(wrong());
    }
    let Named {
        owner,
        name,
        default_branch,
    } = named;
    Ok(Repository {
        owner,
        name,
        default_branch,
    })
}

/// What a request says, whatever its layout: the same key with another content is a mistake. The
/// version is left out, so that a request can be repeated while a new one is applied.
fn content_of(
    workflow: &str,
    input: &Value,
    repository: Option<&Repository>,
    lane: Lane,
    by: &str,
) -> String {
    let content = json!({
        "workflow": workflow,
        "input": input,
        "repository": repository,
        "lane": lane,
        "by": by,
    });
    definition::hash(&content).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_what_is_said_not_how() {
        let hash = |text: &str, lane| {
            let input: Value = serde_json::from_str(text).expect("JSON");
            content_of("w", &input, None, lane, "me")
        };
        let one = hash(r#"{"a": 1, "b": [1, 2]}"#, Lane::Bulk);
        assert_eq!(one, hash(r#"{"b":[1,2],"a":1}"#, Lane::Bulk));
        assert_ne!(one, hash(r#"{"b":[2,1],"a":1}"#, Lane::Bulk));
        assert_ne!(one, hash(r#"{"a": 1, "b": [1, 2]}"#, Lane::Interactive));
    }

    #[test]
    fn repositories_are_read_in_both_forms() {
        let text = repository(&json!("acme/shop")).expect("valid");
        assert_eq!((text.owner.as_str(), text.name.as_str()), ("acme", "shop"));
        let object = json!({"owner": "acme", "name": "shop", "default_branch": "trunk"});
        let object = repository(&object).expect("valid");
        assert_eq!(object.default_branch.as_deref(), Some("trunk"));
        for bad in [
            json!("acme"),
            json!("a/b/c"),
            json!("/x"),
            json!({"owner": "a"}),
            json!(["a", "b"]),
        ] {
            assert!(repository(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_are_visible_and_bounded() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(
                "idempotency-key",
                HeaderValue::from_str(value).expect("a header"),
            );
            idempotency_key(&headers)
                .map(|key| key.map(str::to_owned))
                .ok()
        };
        assert_eq!(with("a:b/c"), Some(Some("a:b/c".to_owned())));
        for bad in ["", "a b", &"x".repeat(256)] {
            assert_eq!(with(bad), None, "{bad}");
        }
        assert!(matches!(idempotency_key(&HeaderMap::new()), Ok(None)));
    }
}
