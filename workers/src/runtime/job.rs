//! One message of jobs: from its delivery to its acknowledgement.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use afu9_broker::work::Delivery;
use afu9_schemas::artifact::{ArtifactRef, MAX_INLINE_BYTES, json_size};
use afu9_schemas::error::panic_message;
use afu9_schemas::message::{
    DeadLetter, DeadLetterReason, Input, InputKind, Job, JobResult, Outcome,
};
use afu9_schemas::{ErrorClass, StepError, Timestamp};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use serde_json::Value;
use tracing::Instrument;

use super::{Shared, now};
use crate::tool::{Call, Reply, ToolError};

/// Pause before a message that only a newer worker can read is offered again.
const NOT_FOR_US: Duration = Duration::from_secs(10);

/// Pause before a result that could not be stored is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// The code of a result that the server would not store.
const REFUSED: &str = "result.refused";

/// Whether a job has been answered.
enum Answered {
    Yes,
    /// It shall be done by another worker.
    HandBack,
}

/// Runs the jobs of one message side by side and acknowledges it once every result is stored.
pub(super) async fn run_message(shared: Shared, delivery: Delivery) {
    let jobs = match delivery.decode() {
        Ok(envelope) => envelope.jobs,
        Err(error) if error.is_from_the_future() => {
            tracing::warn!(%error, "job of a newer version handed back");
            acknowledge(delivery.hand_back(NOT_FOR_US).await);
            return;
        }
        Err(error) => {
            Box::pin(set_aside(&shared, &delivery, &error)).await;
            return;
        }
    };
    let mut running: FuturesUnordered<_> =
        jobs.into_iter().map(|job| run_job(&shared, job)).collect();
    let mut sign_of_life = tokio::time::interval(shared.sign_of_life());
    sign_of_life.reset();
    let mut hand_back = false;
    loop {
        tokio::select! {
            answered = running.next() => match answered {
                Some(Answered::Yes) => {}
                Some(Answered::HandBack) => hand_back = true,
                None => break,
            },
            _ = sign_of_life.tick() => acknowledge(delivery.in_progress().await),
        }
    }
    if hand_back {
        acknowledge(delivery.hand_back(Duration::ZERO).await);
    } else {
        acknowledge(delivery.done().await);
    }
}

/// A lost acknowledgement means another delivery, which is harmless.
pub(super) fn acknowledge(sent: Result<(), afu9_broker::RequestError>) {
    if let Err(error) = sent {
        tracing::debug!(%error, "acknowledgement not sent");
    }
}

async fn run_job(shared: &Shared, job: Job) -> Answered {
    let span = tracing::debug_span!(
        "attempt",
        execution = %job.id.execution,
        step = %job.step_name,
        attempt = job.id.attempt,
        tool = %job.tool,
        worker = %shared.config.worker,
    );
    async {
        let started_at = now();
        let Some(outcome) = outcome_of(shared, &job, started_at).await else {
            return Answered::HandBack;
        };
        if let Outcome::Failed { error, .. } = &outcome {
            tracing::debug!(
                code = error.code,
                class = error.class.as_str(),
                "attempt failed"
            );
        }
        let input = Input {
            execution: job.id.execution,
            kind: InputKind::JobResult(Box::new(JobResult {
                step: job.id.step,
                item: job.id.item,
                attempt: job.id.attempt,
                worker: shared.config.worker.clone(),
                started_at,
                ended_at: now(),
                outcome,
            })),
        };
        store_result(shared, &job, input).await
    }
    .instrument(span)
    .await
}

/// The outcome of a job; `None` if it was abandoned because the worker ends.
async fn outcome_of(shared: &Shared, job: &Job, started_at: Timestamp) -> Option<Outcome> {
    if job.deadline.is_some_and(|deadline| deadline <= started_at) {
        return Some(failed(StepError::new(
            ErrorClass::Timeout,
            "step.timeout",
            "the attempt's deadline had passed before a worker was free",
        )));
    }
    let Some(token) = shared
        .in_flight
        .begin(job.id, job.dispatched_at, started_at)
    else {
        return Some(failed(ToolError::cancelled().error));
    };
    let timeout = job
        .deadline
        .map_or(shared.tool_timeout, |deadline| deadline.since(started_at));
    let call = Call {
        job: job.id,
        idempotency_key: job.id.idempotency_key(),
        workflow: job.workflow.clone(),
        dispatched_at: job.dispatched_at,
        state: job.state.clone(),
        cancelled: token.child_token(),
    };
    let cancelled = call.cancelled.clone();
    let tool = AssertUnwindSafe(run_tool(shared, job, call)).catch_unwind();
    let outcome = tokio::select! {
        ended = tokio::time::timeout(timeout, tool) => match ended {
            Ok(Ok(Ok(Reply::Done(output)))) => Some(Outcome::Done(output)),
            Ok(Ok(Ok(Reply::Deferred(deferral)))) => Some(Outcome::Deferred(Box::new(deferral))),
            Ok(Ok(Err(ToolError { error, retry_after }))) => Some(Outcome::Failed {
                error,
                retry_after_ms: retry_after
                    .map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
            }),
            Ok(Err(panic)) => Some(failed(panicked(panic.as_ref()))),
            Err(_elapsed) => {
                cancelled.cancel();
                Some(failed(StepError::new(
                    ErrorClass::Timeout,
                    "tool.timeout",
                    format!("the tool did not end within {} ms", timeout.as_millis()),
                )))
            }
        },
        () = shared.abandon.cancelled() => {
            cancelled.cancel();
            None
        }
    };
    let error = match &outcome {
        Some(Outcome::Failed { error, .. }) => Some(format!("{}: {}", error.code, error.message)),
        _ => None,
    };
    shared.in_flight.end(job.id, error);
    outcome
}

async fn run_tool(shared: &Shared, job: &Job, call: Call) -> Result<Reply<Value>, ToolError> {
    let params = resolve(shared, job.params.clone()).await?;
    let output = match shared.toolbox.call(job.tool.name(), call, params).await? {
        Reply::Done(output) if json_size(&output) > MAX_INLINE_BYTES => output,
        reply => return Ok(reply),
    };
    // Boxed: it is rare, and several times as large as all the rest of what runs a job.
    let content = output.to_string();
    let stored = Box::pin(shared.broker.put_artifact(content.as_bytes())).await;
    stored
        .map(|artifact| Reply::Done(artifact.to_value()))
        .map_err(|error| ToolError {
            error: StepError::new(
                ErrorClass::Retryable,
                "artifact.not_stored",
                "the output is too large for a message and could not be stored as an artifact",
            )
            .with_causes_of(&error),
            retry_after: None,
        })
}

/// Replaces every reference to an artifact by its content.
fn resolve(shared: &Shared, value: Value) -> BoxFuture<'_, Result<Value, ToolError>> {
    Box::pin(async move {
        if let Some(artifact) = ArtifactRef::from_value(&value) {
            let content = shared
                .broker
                .get_artifact(&artifact)
                .await
                .map_err(|error| ToolError {
                    error: StepError::new(
                        ErrorClass::Retryable,
                        "artifact.not_read",
                        format!("artifact {} could not be read", artifact.name),
                    )
                    .with_causes_of(&error),
                    retry_after: None,
                })?;
            return serde_json::from_slice(&content).map_err(|error| {
                ToolError::permanent("artifact.invalid", format!("artifact is not JSON: {error}"))
            });
        }
        Ok(match value {
            Value::Array(items) => {
                let mut resolved = Vec::with_capacity(items.len());
                for item in items {
                    resolved.push(resolve(shared, item).await?);
                }
                Value::Array(resolved)
            }
            Value::Object(fields) => {
                let mut resolved = serde_json::Map::new();
                for (name, field) in fields {
                    resolved.insert(name, resolve(shared, field).await?);
                }
                Value::Object(resolved)
            }
            other => other,
        })
    })
}

/// Stores a result, however long it takes: the attempt has happened. Only the end of the worker
/// breaks off, and then the job is delivered to another one.
async fn store_result(shared: &Shared, job: &Job, mut input: Input) -> Answered {
    loop {
        match shared
            .writer
            .submit_to(job.partition, vec![input.clone()])
            .await
        {
            Ok(()) => return Answered::Yes,
            Err(error) if error.is_retryable() => {
                let error = afu9_broker::error::chain(&*error);
                tracing::warn!(error, "result cannot be stored, trying again");
            }
            Err(error) => {
                // The server will never take it, and no worker would fare better: the attempt fails.
                let error = afu9_broker::error::chain(&*error);
                tracing::error!(error, "result refused");
                if let InputKind::JobResult(result) = &mut input.kind {
                    let again = matches!(
                        &result.outcome,
                        Outcome::Failed { error, .. } if error.code == REFUSED
                    );
                    if again {
                        return Answered::HandBack;
                    }
                    result.outcome = failed(StepError::new(
                        ErrorClass::Permanent,
                        REFUSED,
                        "the result could not be stored: it is too large for a message",
                    ));
                }
                continue;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = shared.abandon.cancelled() => return Answered::HandBack,
        }
    }
}

/// Sets an unreadable message aside, then acknowledges it: on a work queue an acknowledgement
/// removes the message, so that the dead letter comes first.
async fn set_aside(shared: &Shared, delivery: &Delivery, error: &afu9_schemas::codec::DecodeError) {
    let letter = DeadLetter {
        reason: DeadLetterReason::Undecodable,
        kind: Some(shared.toolbox.kind().clone()),
        job: None,
        raw: Some(delivery.raw().to_vec()),
        attempts: Vec::new(),
        error: StepError::new(ErrorClass::Permanent, "job.undecodable", error.to_string())
            .with_causes_of(error),
        at: now(),
        job_id: delivery.message_id().and_then(|id| id.parse().ok()),
        replay_of: None,
    };
    let stored = match afu9_broker::dead_letter::dead_letter_message(&letter) {
        Ok(message) => shared.broker.publish(message).await,
        Err(error) => Err(error),
    };
    match stored {
        Ok(_) => {
            tracing::error!("unreadable job set aside");
            acknowledge(delivery.done().await);
        }
        // Left alone, it is delivered again, and set aside then.
        Err(error) => {
            let error = afu9_broker::error::chain(&error);
            tracing::warn!(error, "unreadable job not set aside yet");
        }
    }
}

fn failed(error: StepError) -> Outcome {
    Outcome::Failed {
        error,
        retry_after_ms: None,
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> StepError {
    let message = panic_message(panic);
    StepError::new(
        ErrorClass::Retryable,
        "tool.panicked",
        format!("the tool panicked: {message}"),
    )
}
