//! Publishing what a tick decided: nothing goes on before the server has it.

use afu9_broker::PublishError;
use afu9_schemas::error::{ErrorClass, StepError};
use afu9_schemas::{JobId, WorkerKind};

use super::{FULL_PAUSE, Owner, PAUSE, failed};
use crate::stats::add;
use crate::tick::{About, Planned};

impl Owner {
    /// Publishes everything, again and again until the server has it. A full work queue slows the
    /// partition down, it never loses a job.
    pub(super) async fn publish(&mut self, messages: Vec<Planned>) {
        let mut messages = self.refuse_without_queue(messages);
        while !messages.is_empty() {
            let outgoing = messages
                .iter()
                .map(|planned| planned.outgoing.clone())
                .collect();
            let verdicts = self.shared.broker.publish_all(outgoing).await;
            let mut again = Vec::new();
            let mut pause = PAUSE;
            let mut unanswered: Option<WorkerKind> = None;
            for (planned, verdict) in messages.into_iter().zip(verdicts) {
                match (verdict, &planned.about) {
                    (Ok(stored), About::Jobs { kind, jobs }) => {
                        add(&self.shared.stats.jobs, jobs.len() as u64);
                        let last = self.work.entry(kind.clone()).or_default();
                        *last = stored.sequence.max(*last);
                        let published = jobs.iter().map(|job| (*job, stored.sequence));
                        self.published.extend(published);
                    }
                    (Ok(_), About::DeadLetter) => add(&self.shared.stats.dead_letters, 1),
                    (Ok(_), About::History) => {}
                    (Err(error), About::DeadLetter) if is_full(&error) => {
                        // The failed step is in history with everything it had: standing still until
                        // somebody makes room would stop every other execution for its sake.
                        add(&self.shared.stats.dead_letters_lost, 1);
                        tracing::error!(partition = %self.partition, "dead letters are full");
                    }
                    (Err(error), _) if error.is_retryable() => {
                        if is_full(&error) {
                            pause = FULL_PAUSE;
                        } else if let About::Jobs { kind, .. } = &planned.about {
                            unanswered = Some(kind.clone());
                        }
                        again.push(planned);
                    }
                    (Err(error), About::Jobs { jobs, .. }) => self.refused(jobs, &error),
                    (Err(error), _) => {
                        let error = afu9_broker::error::chain(&error);
                        tracing::error!(partition = %self.partition, error, "message refused");
                    }
                }
            }
            messages = again;
            // A queue that does not answer may be gone with the memory of a restarted server.
            if let Some(kind) = unanswered
                && let Err(error) = self.shared.broker.ensure_work_queue(&kind).await
            {
                tracing::debug!(%kind, %error, "work queue not answering");
            }
            if !messages.is_empty() {
                tracing::debug!(partition = %self.partition, left = messages.len(), "publish repeated");
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// The server will never take these jobs: their attempts fail.
    fn refused(&mut self, jobs: &[JobId], error: &PublishError) {
        let why = StepError::new(
            ErrorClass::Permanent,
            "job.refused",
            "the job cannot be queued: it is too large for a message",
        )
        .with_causes_of(error);
        self.fail_jobs(jobs, &why);
    }

    /// Takes out the jobs whose worker kind has no queue here: nobody would ever work on them.
    fn refuse_without_queue(&mut self, messages: Vec<Planned>) -> Vec<Planned> {
        let mut kept = Vec::new();
        for planned in messages {
            match &planned.about {
                About::Jobs { kind, jobs } if !self.has_queue(kind) => {
                    tracing::warn!(partition = %self.partition, %kind, jobs = jobs.len(), "kind is off");
                    let message = format!(
                        "the worker kind `{kind}` is off: no work queue is configured for it; turn it \
                         on in every process, or use other tools"
                    );
                    let why = StepError::new(ErrorClass::Permanent, "job.no_queue", message);
                    self.fail_jobs(jobs, &why);
                }
                _ => kept.push(planned),
            }
        }
        kept
    }

    pub(super) fn has_queue(&self, kind: &WorkerKind) -> bool {
        self.shared.broker.config().kinds.contains(kind)
    }

    fn fail_jobs(&mut self, jobs: &[JobId], why: &StepError) {
        let inputs = jobs.iter().map(|job| failed(*job, why.clone()));
        self.outbox.push(inputs.collect());
    }
}

fn is_full(error: &PublishError) -> bool {
    matches!(error, PublishError::Full { .. })
}
