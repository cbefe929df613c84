//! Jobs that workers took again and again without ever answering: their executions are told, so that none
//! waits for a message that nobody will deliver. The engine has them run once more, alone, and sets aside
//! those that are not survived then either.

use std::time::Duration;

use afu9_broker::dead_letter::{Exhausted, dead_letter_message};
use afu9_broker::log::LogWriter;
use afu9_broker::{Broker, PublishError, RequestError};
use afu9_schemas::error::{ErrorClass, StepError};
use afu9_schemas::message::{DeadLetter, DeadLetterReason};
use tokio_util::sync::CancellationToken;

use crate::owner::{failed, now};
use crate::stats::{Stats, add};

const PAUSE: Duration = Duration::from_secs(1);

/// Runs until `stop`. Every orchestrator runs one; they share the notices.
pub(crate) async fn run(broker: Broker, writer: LogWriter, stats: &Stats, stop: CancellationToken) {
    loop {
        let pass = async {
            let mut notices = broker.exhausted_jobs().await?;
            loop {
                if let Some(exhausted) = notices.next().await? {
                    settle(&broker, &writer, &exhausted, stats).await?;
                    notices.settled(&exhausted).await?;
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            ended = pass => {
                let ended: Result<(), RequestError> = ended;
                if let Err(error) = ended {
                    let error = afu9_broker::error::chain(&error);
                    tracing::debug!(error, "advisories not readable, trying again");
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Tells the executions of the jobs of one message. Doing it twice is harmless.
async fn settle(
    broker: &Broker,
    writer: &LogWriter,
    exhausted: &Exhausted,
    stats: &Stats,
) -> Result<(), RequestError> {
    let deliveries = exhausted.deliveries;
    let Some(jobs) = &exhausted.jobs else {
        if let Some(raw) = &exhausted.raw {
            if exhausted.is_from_the_future() {
                return Err(RequestError::other(
                    "settling a dead job",
                    "it was written by a newer version and is left for a newer process",
                ));
            }
            let letter = DeadLetter {
                reason: DeadLetterReason::Undecodable,
                kind: exhausted.kind(),
                job: None,
                raw: Some(raw.to_vec()),
                attempts: Vec::new(),
                error: lost(format!(
                    "workers took a job {deliveries} times and none could read it"
                )),
                at: now(),
                job_id: None,
                replay_of: None,
            };
            set_aside(broker, &letter, stats).await?;
        }
        return Ok(());
    };
    for job in &jobs.jobs {
        let error = lost(if job.alone {
            format!(
                "workers took the job {deliveries} times, alone, and none answered: it crashes them"
            )
        } else {
            format!(
                "workers took the job {deliveries} times and none answered: they crashed or were lost"
            )
        });
        writer
            .submit_to(job.partition, vec![failed(job.id, error)])
            .await
            .map_err(|error| RequestError::other("telling an execution of its lost job", error))?;
        add(&stats.jobs_lost, 1);
    }
    let jobs = jobs.jobs.len();
    tracing::warn!(jobs, deliveries, "workers were lost with jobs");
    Ok(())
}

fn lost(message: String) -> StepError {
    StepError::new(ErrorClass::WorkerLost, "worker.lost", message)
}

async fn set_aside(
    broker: &Broker,
    letter: &DeadLetter,
    stats: &Stats,
) -> Result<(), RequestError> {
    let failed = |error| RequestError::other("setting a dead job aside", Box::new(error) as Box<_>);
    let message = dead_letter_message(letter).map_err(failed)?;
    match broker.publish(message).await {
        Ok(_) => add(&stats.dead_letters, 1),
        Err(PublishError::Full { .. }) => {
            add(&stats.dead_letters_lost, 1);
            tracing::error!("dead letters are full");
        }
        Err(error) => return Err(failed(error)),
    }
    Ok(())
}
