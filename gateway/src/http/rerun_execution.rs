//! `POST /api/executions/{id}/rerun {input?, fromStep?, version?, repository?, reason?}`: a new
//! execution that repeats one that has ended, with the same version and input unless others are given.
//! With `fromStep`, what that step does not depend on being done again is taken over as it was.
//! Answered as a trigger is, with `rerunOf` and the names of the `kept` steps.

use std::collections::BTreeSet;
use std::sync::Arc;

use afu9_engine::Workflow;
use afu9_engine::workflow::NodeAction;
use afu9_schemas::ExecutionId;
use afu9_schemas::definition;
use afu9_schemas::message::{Repository, Rerun, Start, Trigger, TriggerKind};
use afu9_schemas::view::ExecutionView;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::auth::{self, Allowed, Caller};
use super::workflow_versions::Wanted;
use super::{body, computed, idempotency, show_execution, start, wish, workflow_versions};
use crate::app::App;
use crate::definitions::Known;
use crate::problem::{Kind, Problem};
use crate::rerun::{CannotKeep, kept};
use crate::traceparent;

/// Workflows looked at to learn whether a step asks people; one that runs more is taken to ask.
const MAX_CHILDREN_LOOKED_AT: usize = 64;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Request {
    /// Absent is the earlier one; `null` is an input too.
    #[serde(default, deserialize_with = "given")]
    input: Option<Value>,
    #[serde(default)]
    from_step: Option<String>,
    #[serde(default)]
    version: Option<Wanted>,
    #[serde(default)]
    repository: Option<Value>,
    #[serde(default)]
    reason: Option<String>,
}

fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

pub(super) async fn rerun(
    State(app): State<Arc<App>>,
    caller: Allowed<auth::Trigger>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let key = idempotency::key(&headers)?.map(str::to_owned);
    let request: Request = body::json(&app, &headers, body).await?;
    let reason = wish::reason(request.reason.clone())?;
    if let Some(step) = &request.from_step {
        wish::text("fromStep", step)?;
    }
    let view = Box::pin(ended(&app, &id)).await?;
    let of = view.summary.id;
    let submission = key.map(|key| {
        let name = format!("rerun:{}:{of}:{key}", caller.name);
        (name, content_of(of, &request))
    });
    let (start, kept_steps) =
        Box::pin(prepared(&app, &caller, &headers, view, request, reason)).await?;
    let mut accepted = Box::pin(start::submit(&app, submission, start)).await?;
    let execution = accepted.execution;
    tracing::info!(%execution, %of, by = caller.name, "execution repeated");
    accepted.more.insert("rerunOf".to_owned(), json!(of));
    accepted.more.insert("kept".to_owned(), json!(kept_steps));
    Ok(accepted.into_response())
}

/// The execution, which must have ended, with everything that is known of it: the owner leaves out
/// what does not fit into a message, the database does not.
async fn ended(app: &App, id: &str) -> Result<Box<ExecutionView>, Problem> {
    let (view, source) = show_execution::find(app, id).await?;
    let status = view.summary.status;
    if !status.is_terminal() {
        return Err(Problem::new(
            Kind::Refused,
            format!("the execution has not ended: it is {}", status.as_str()),
            "wait for its end, or cancel it first",
        )
        .coded("execution.not_ended")
        .with("executionStatus", json!(status.as_str())));
    }
    show_execution::whole(app, view, source).await
}

/// The start, and the names of the steps it takes over.
async fn prepared(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    view: Box<ExecutionView>,
    request: Request,
    reason: Option<String>,
) -> Result<(Start, Vec<String>), Problem> {
    let name = &view.summary.workflow;
    // Who disabled a workflow wants no execution of any version.
    start::enabled(app, name).await?;
    let wanted = request.version;
    let wanted = wanted.unwrap_or(Wanted::Number(view.summary.version));
    let record = workflow_versions::find(app, name, wanted).await?;
    let known = computed(move || Known::new(record)).await?;
    let workflow = start::runnable(app, &known)?;
    let kept = match &request.from_step {
        None => Vec::new(),
        Some(from) => {
            let asking = Box::pin(asking(app, workflow)).await?;
            kept(workflow, &view, from, &asking).map_err(|error| cannot_keep(&error))?
        }
    };
    let names = kept.iter().map(|step| step.name.clone()).collect();
    let repository = match &request.repository {
        Some(given) => Some(start::repository(given)?),
        None => repository(&view),
    };
    let mut start = Start {
        repository,
        lane: view.lane,
        traceparent: traceparent::of(headers),
        priority: view.priority,
        rerun: Some(Box::new(Rerun {
            of: view.summary.id,
            kept,
            from_step: request.from_step,
            reason,
            scopes: caller.scopes(),
        })),
        ..Start::new(
            known.record.workflow.clone(),
            input(&view, request.input)?,
            Trigger {
                kind: TriggerKind::Rerun,
                by: caller.name.clone(),
                delivery: None,
                depth: 0,
                initiator: None,
            },
        )
    };
    start::prepare(workflow, &mut start)?;
    Ok((start, names))
}

/// The repository of the earlier execution, as its trigger knew it.
fn repository(view: &ExecutionView) -> Option<Repository> {
    let (owner, name) = view.repository.as_deref()?.split_once('/')?;
    Some(Repository {
        owner: owner.to_owned(),
        name: name.to_owned(),
        default_branch: view.default_branch.clone(),
    })
}

/// The steps of `workflow` in which people decide: approvals, and steps that run a workflow which has
/// one, or runs one that has.
async fn asking(app: &App, workflow: &Workflow) -> Result<BTreeSet<u32>, Problem> {
    let mut asking = BTreeSet::new();
    for (index, node) in workflow.numbered() {
        if asks(app, &node.action).await? {
            asking.insert(index);
        }
    }
    Ok(asking)
}

async fn asks(app: &App, action: &NodeAction) -> Result<bool, Problem> {
    let child = |action: &NodeAction| match action {
        NodeAction::Workflow {
            workflow, version, ..
        } => Some((workflow.clone(), *version)),
        _ => None,
    };
    if matches!(action, NodeAction::Approval { .. }) {
        return Ok(true);
    }
    let mut open = Vec::from_iter(child(action));
    let mut seen = BTreeSet::new();
    while let Some((name, version)) = open.pop() {
        if !seen.insert((name.clone(), version)) {
            continue;
        }
        if seen.len() > MAX_CHILDREN_LOOKED_AT {
            return Ok(true);
        }
        let wanted = version.map_or(Wanted::Latest, Wanted::Number);
        let known = match workflow_versions::find(app, &name, wanted).await {
            Ok(record) => computed(move || Known::new(record)).await?,
            // It would ask nobody: it would fail.
            Err(problem) if problem.status() == StatusCode::NOT_FOUND => continue,
            Err(problem) => return Err(problem),
        };
        let Some(workflow) = &known.workflow else {
            return Ok(true);
        };
        for node in &workflow.nodes {
            if matches!(node.action, NodeAction::Approval { .. }) {
                return Ok(true);
            }
            open.extend(child(&node.action));
        }
    }
    Ok(false)
}

/// The given input, or that of the earlier execution.
fn input(view: &ExecutionView, given: Option<Value>) -> Result<Value, Problem> {
    match given {
        Some(input) => Ok(input),
        None if view.truncated && view.input.is_null() => Err(Problem::new(
            Kind::Refused,
            "the input of the execution is not known: it was too large for its orchestrator's answer",
            "give the `input`",
        )
        .coded("rerun.input_lost")),
        None => Ok(view.input.clone()),
    }
}

fn cannot_keep(error: &CannotKeep) -> Problem {
    let kind = match error {
        CannotKeep::UnknownStep(_) => Kind::Malformed,
        _ => Kind::Refused,
    };
    Problem::new(kind, error.to_string(), error.next_action()).coded(error.code())
}

/// What a request says: the same key with another content is a mistake.
fn content_of(of: ExecutionId, request: &Request) -> String {
    let version = request.version.map(Wanted::content);
    definition::hash(&json!({
        "of": of,
        "input": request.input.as_ref().map(|input| json!([input])),
        "fromStep": request.from_step,
        "version": version,
        "repository": request.repository,
    }))
    .to_string()
}
