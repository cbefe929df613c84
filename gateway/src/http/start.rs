//! What every request that starts an execution has in common: which version may be started, what of
//! its input does not fit, and the answer.

use std::sync::Arc;

use afu9_engine::Workflow;
use afu9_engine::submit::{self, SubmitError as Unfit};
use afu9_schemas::ExecutionId;
use afu9_schemas::message::{Repository, Start};
use afu9_schemas::view::ExecutionStatus;
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{MAX_TEXT_BYTES, malformed, shown};
use crate::app::App;
use crate::definitions::{Known, NotRunnable};
use crate::problem::{Kind, Problem};
use crate::submission::{NameAge, SubmitError, Submitted};

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What is answered: the execution that was started, now or before.
pub(super) struct Accepted {
    pub(super) execution: ExecutionId,
    pub(super) workflow: String,
    pub(super) version: u32,
    pub(super) status: ExecutionStatus,
    pub(super) replayed: bool,
    /// What else is told of it.
    pub(super) more: Map<String, Value>,
}

impl IntoResponse for Accepted {
    fn into_response(self) -> Response {
        let this = format!("/api/executions/{}", self.execution);
        let mut body = json!({
            "executionId": self.execution,
            "workflow": self.workflow,
            "version": self.version,
            "status": self.status.as_str(),
            "links": {"self": this},
        });
        if let Some(body) = body.as_object_mut() {
            body.extend(self.more);
        }
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

/// The newest version of `name`, if executions of the workflow may be started.
pub(super) async fn enabled(app: &App, name: &str) -> Result<Arc<Known>, Problem> {
    let newest = app.definitions.newest(name).await;
    let known = newest
        .map_err(|error| Problem::broker(&error))?
        .ok_or_else(|| unknown_workflow(name))?;
    if !known.record.enabled {
        let by = known.record.switched.as_ref();
        let by = by.map(|last| format!(" by {} since {}", last.by, last.at));
        return Err(Problem::new(
            Kind::WorkflowDisabled,
            format!(
                "the workflow `{name}` is disabled{}",
                by.unwrap_or_default()
            ),
            "POST /api/workflows/{name}/enable lets it be started again",
        ));
    }
    Ok(known)
}

pub(super) fn unknown_workflow(name: &str) -> Problem {
    Problem::new(
        Kind::UnknownWorkflow,
        format!("there is no workflow `{}`", shown(name)),
        "GET /api/workflows lists them; PUT /api/workflows/{name} adds one",
    )
}

/// What executions of a version run, or why none can be started.
pub(super) fn runnable<'a>(app: &App, known: &'a Known) -> Result<&'a Arc<Workflow>, Problem> {
    let name = &known.record.workflow.name;
    known
        .runnable(app.config.allow_test_kind)
        .map_err(|why| match why {
            NotRunnable::TestTools => test_tools(name),
            NotRunnable::Unreadable => Problem::new(
                Kind::WorkflowUnreadable,
                format!("this version of the gateway cannot read the workflow `{name}`"),
                "upgrade the gateway to the version with which the workflow was applied",
            ),
        })
}

pub(super) fn test_tools(name: &str) -> Problem {
    Problem::new(
        Kind::TestTools,
        format!("the workflow `{name}` uses tools of the test kind"),
        "use other tools, or allow the test kind in the configuration of a test system",
    )
}

/// Fills in what the definition says about a submission; see [`submit::prepare`].
pub(super) fn prepare(workflow: &Workflow, start: &mut Start) -> Result<(), Problem> {
    submit::prepare(workflow, start).map_err(|error| match &error {
        Unfit::Input(unfit) => {
            let mistakes: Vec<Value> = unfit
                .mistakes
                .iter()
                .map(|mistake| match mistake.split_once(": ") {
                    Some((path, message)) => json!({"path": path, "message": message}),
                    None => json!({"path": "/", "message": mistake}),
                })
                .collect();
            Problem::new(
                Kind::InputInvalid,
                format!(
                    "the input does not fit the workflow's inputSchema in {} place(s)",
                    mistakes.len()
                ),
                "correct every entry of `errors` and send it again",
            )
            .with("errors", Value::Array(mistakes))
        }
        Unfit::Key(key) => Problem::new(
            Kind::KeyInvalid,
            key.to_string(),
            "give the input, or the repository, from which the workflow works out its key",
        ),
    })
}

/// Submits `start`: under `name`, where the caller gave a key, as the one execution of that name;
/// else as a new one. Returns the execution and, where it was there before, how it fares.
pub(super) async fn submit(
    app: &App,
    name: Option<(String, String)>,
    start: Start,
) -> Result<Accepted, Problem> {
    let (workflow, version) = (start.workflow.name.clone(), start.workflow.version);
    let accepted = |execution| Accepted {
        execution,
        workflow,
        version,
        status: ExecutionStatus::Pending,
        replayed: false,
        more: Map::new(),
    };
    let Some((name, content)) = name else {
        let execution = app.new_execution(&start);
        let stored = app.submit(execution, start).await;
        stored.map_err(|error| Problem::publish(&error))?;
        return Ok(accepted(execution));
    };
    match app
        .submit_once(&name, &content, NameAge::Any, start)
        .await
        .map_err(|error| submit_problem(&error))?
    {
        Submitted::New(execution) => Ok(accepted(execution)),
        Submitted::Before(summary) => Ok(Accepted {
            execution: summary.id,
            workflow: summary.workflow,
            version: summary.version,
            status: summary.status,
            replayed: true,
            more: Map::new(),
        }),
        Submitted::OtherContent => Err(Problem::new(
            Kind::IdempotencyConflict,
            "this Idempotency-Key was used for a request with another content",
            "use a new key for a new request",
        )),
    }
}

fn submit_problem(error: &SubmitError) -> Problem {
    match error {
        SubmitError::Claim(error) => Problem::request(error),
        SubmitError::Past(error) => Problem::internal(error),
        SubmitError::PastAway => Problem::new(
            Kind::DatabaseUnavailable,
            "whether this Idempotency-Key has started an execution cannot be looked up now",
            "try again with the same key",
        ),
        SubmitError::Store(error) => Problem::publish(error),
    }
}

/// `"owner/name"`, or an object.
pub(super) fn repository(value: &Value) -> Result<Repository, Problem> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
