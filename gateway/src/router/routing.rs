//! One delivery: read it, decide by the routes and by the rules of definitions, carry out the
//! decisions.

use std::sync::Arc;

use afu9_broker::PublishError;
use afu9_broker::dead_letter::dead_letter_message;
use afu9_broker::error::chain;
use afu9_broker::inbox::InboxMessage;
use afu9_engine::Workflow;
use afu9_engine::submit::prepare;
use afu9_schemas::message::{
    DeadLetter, DeadLetterReason, InboxBody, InboxDelivery, Repository, Start, Trigger,
    TriggerKind, WorkflowRef,
};
use afu9_schemas::{ErrorClass, StepError};
use serde_json::Value;

use crate::app::{App, now};
use crate::definitions::{Known, NotRunnable};
use crate::form;
use crate::route::{Decision, decide, decide_by_rules, key, permanent};
use crate::submission::{NameAge, Submitted};

/// What becomes of a delivery.
#[derive(Debug)]
#[must_use]
pub(super) enum Verdict {
    /// Everything it leads to is stored.
    Routed,
    /// It leads to nothing.
    Unmatched,
    /// Something it needs did not answer.
    Again {
        /// What, for the log and for the dead letter after the last try.
        why: String,
    },
    /// A newer AFU-9 wrote it: one that can read it will.
    Newer,
}

/// A failure that no further try can mend, of the route with this name or of the whole delivery.
struct Failure {
    route: Option<String>,
    reason: DeadLetterReason,
    error: StepError,
}

/// Routes one delivery.
pub(super) async fn route(app: &Arc<App>, message: &InboxMessage) -> Verdict {
    let delivery = match &message.delivery {
        Ok(delivery) => delivery,
        Err(error) if error.is_from_the_future() => return Verdict::Newer,
        Err(error) => {
            let failure = Failure {
                route: None,
                reason: DeadLetterReason::Undecodable,
                error: permanent("inbox.undecodable", error.to_string()).with_causes_of(error),
            };
            return bury(app, message, vec![failure], Verdict::Routed).await;
        }
    };
    let decisions = match decisions(app, delivery).await {
        Ok(decisions) => decisions,
        Err(Problem::Mendable(why)) => return Verdict::Again { why },
        Err(Problem::Definite(error)) => {
            let failure = Failure {
                route: None,
                reason: DeadLetterReason::Unroutable,
                error,
            };
            return bury(app, message, vec![failure], Verdict::Routed).await;
        }
    };
    if decisions.is_empty() {
        return Verdict::Unmatched;
    }
    let mut failures = Vec::new();
    for (known, decision) in decisions {
        let failed = match decision {
            Decision::Failed { route, error } => Some((route, error)),
            Decision::Start {
                route,
                workflow,
                input,
                repository,
            } => {
                let known = match known {
                    Some(known) => Some(known),
                    None => match app.definitions.newest(&workflow).await {
                        Ok(known) => known,
                        Err(error) => return Verdict::Again { why: chain(&error) },
                    },
                };
                let known = known.as_deref();
                match start(app, delivery, &route, &workflow, known, input, repository).await {
                    Ok(()) => None,
                    Err(Problem::Definite(error)) => Some((route, error)),
                    // Nothing is a dead letter before the last start is stored: the next try comes
                    // to the same failures.
                    Err(Problem::Mendable(why)) => return Verdict::Again { why },
                }
            }
        };
        if let Some((route, error)) = failed {
            let reason = DeadLetterReason::Unroutable;
            failures.push(Failure {
                route: Some(route),
                reason,
                error,
            });
        }
    }
    bury(app, message, failures, Verdict::Routed).await
}

/// Sets a delivery aside that was tried too often.
///
/// # Errors
/// When the dead letter is not stored.
pub(super) async fn give_up(
    app: &App,
    message: &InboxMessage,
    why: &str,
) -> Result<(), PublishError> {
    let error = StepError::new(
        ErrorClass::Retryable,
        "inbox.tries_exhausted",
        format!(
            "routing was tried {} times; the last time: {why}",
            message.tries
        ),
    );
    let failure = Failure {
        route: None,
        reason: DeadLetterReason::Unroutable,
        error,
    };
    store_dead_letter(app, message, failure).await
}

enum Problem {
    Definite(StepError),
    Mendable(String),
}

/// A decision, and the version it is about where a rule of a definition made it.
type Decided = (Option<Arc<Known>>, Decision);

/// What the routes and the rules of definitions make of a delivery.
async fn decisions(app: &Arc<App>, delivery: &InboxDelivery) -> Result<Vec<Decided>, Problem> {
    match &delivery.body {
        InboxBody::Inline(body) => decisions_of(app, delivery, body),
        InboxBody::Artifact(artifact) => {
            let mendable = |error: &dyn std::error::Error| Problem::Mendable(chain(error));
            let body = app
                .broker
                .get_artifact(artifact)
                .await
                .map_err(|error| mendable(&error))?;
            let (app, delivery) = (Arc::clone(app), delivery.clone());
            // Megabytes of JSON: where they hold up nobody else.
            tokio::task::spawn_blocking(move || decisions_of(&app, &delivery, &body))
                .await
                .map_err(|error| mendable(&error))?
        }
    }
}

fn decisions_of(app: &App, delivery: &InboxDelivery, body: &[u8]) -> Result<Vec<Decided>, Problem> {
    let malformed = |message: String| Problem::Definite(permanent("inbox.malformed", message));
    let content_type = delivery
        .headers
        .iter()
        .find(|(name, _)| name == "content-type")
        .map(|(_, v)| v.as_str());
    let json = form::json_of(content_type, body)
        .ok_or_else(|| malformed("the form has no readable `payload`".to_owned()))?;
    let payload: Value = serde_json::from_slice(&json)
        .map_err(|error| malformed(format!("the body is not JSON: {error}")))?;
    let by_routes = decide(delivery, &payload, &app.config.routes);
    let by_rules = decide_by_rules(delivery, &payload, &app.catalog.started_by_webhook());
    let by_routes = by_routes.into_iter().map(|decision| (None, decision));
    let by_rules = by_rules
        .into_iter()
        .map(|(known, decision)| (Some(known), decision));
    Ok(by_routes.chain(by_rules).collect())
}

/// Starts what a route decided, once.
async fn start(
    app: &App,
    delivery: &InboxDelivery,
    route: &str,
    workflow: &str,
    known: Option<&Known>,
    input: Value,
    repository: Option<Repository>,
) -> Result<(), Problem> {
    let (version, compiled) = startable(app, route, workflow, known).map_err(Problem::Definite)?;
    let mut start = Start {
        repository,
        traceparent: delivery.traceparent.clone(),
        ..Start::new(
            version,
            input,
            Trigger {
                kind: TriggerKind::Webhook,
                by: route.to_owned(),
                delivery: Some(delivery.id.to_string()),
                depth: 0,
                initiator: None,
            },
        )
    };
    prepare(&compiled, &mut start).map_err(|error| {
        let message = format!("route `{route}`: the workflow `{workflow}`: {error}");
        Problem::Definite(permanent(error.code(), message))
    })?;
    // A delivery never has another content: what a changed route would map now does not matter.
    // Claims outlive what a sender offers again by itself, but not dead letters.
    let age = match delivery.replay_of {
        Some(_) => NameAge::Any,
        None => NameAge::Young,
    };
    let name = key(delivery, route);
    match app.submit_once(&name, "", age, start).await {
        Ok(Submitted::New(_)) => app.metrics.routes_started.add(),
        Ok(Submitted::Before(_) | Submitted::OtherContent) => app.metrics.routes_known.add(),
        Err(error) => return Err(Problem::Mendable(chain(&error))),
    }
    Ok(())
}

/// The version to start and what its executions run, or why it cannot be started.
fn startable(
    app: &App,
    route: &str,
    workflow: &str,
    known: Option<&Known>,
) -> Result<(WorkflowRef, Arc<Workflow>), StepError> {
    let failed = |code: &str, why: &str| {
        permanent(
            code,
            format!("route `{route}`: the workflow `{workflow}` {why}"),
        )
    };
    let Some(known) = known else {
        return Err(failed("workflow.unknown", "does not exist"));
    };
    if !known.record.enabled {
        return Err(failed("workflow.disabled", "is disabled"));
    }
    match known.runnable(app.config.allow_test_kind) {
        Ok(compiled) => Ok((known.record.workflow.clone(), Arc::clone(compiled))),
        Err(NotRunnable::TestTools) => {
            Err(failed("workflow.test_tools", "uses tools of the test kind"))
        }
        Err(NotRunnable::Unreadable) => Err(failed(
            "workflow.unreadable",
            "cannot be read by this version of the gateway",
        )),
    }
}

/// Stores a dead letter for each failure; without any, or once they are stored, `done`.
async fn bury(app: &App, message: &InboxMessage, failures: Vec<Failure>, done: Verdict) -> Verdict {
    for failure in failures {
        app.metrics.routes_failed.add();
        tracing::warn!(
            route = failure.route.as_deref().unwrap_or_default(),
            code = failure.error.code,
            reason = failure.error.message,
            "delivery not routed"
        );
        if let Err(error) = store_dead_letter(app, message, failure).await {
            return Verdict::Again { why: chain(&error) };
        }
    }
    done
}

async fn store_dead_letter(
    app: &App,
    message: &InboxMessage,
    failure: Failure,
) -> Result<(), PublishError> {
    let replay_of = message.delivery.as_ref().ok().and_then(|one| one.replay_of);
    let mut outgoing = dead_letter_message(&DeadLetter {
        reason: failure.reason,
        kind: None,
        job: None,
        // The whole delivery as it was stored, so that it can be delivered again.
        raw: Some(message.raw.to_vec()),
        attempts: Vec::new(),
        error: failure.error,
        at: now(),
        job_id: None,
        replay_of,
    })?;
    if let Ok(delivery) = &message.delivery {
        // Stored again after a crash in between, it is the same dead letter.
        let route = failure.route.unwrap_or_default();
        let replay = replay_of.map(|letter| format!(".replay.{letter}"));
        let replay = replay.unwrap_or_default();
        outgoing.message_id = Some(format!("dlq.{}{replay}", key(delivery, &route)));
    }
    app.broker.publish(outgoing).await?;
    app.metrics.dead_letters.add();
    Ok(())
}
