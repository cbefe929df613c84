//! The prover's part outside: a job that is gone from its queue must have been answered.
//!
//! A work queue keeps a job until it is acknowledged, and it is acknowledged only after its result is
//! in the log. So a job below the queue's first position, or above its last one because the queue was
//! made anew, that is still waited for some seconds later was lost, and is published again.

use std::collections::BTreeMap;

use afu9_broker::work::WorkMark;
use afu9_schemas::message::{InputEnvelope, InputKind, Job};
use afu9_schemas::{JobId, WorkerKind};
use rustc_hash::FxHashSet;

use super::{Owner, OwnerError, now};
use crate::stats::add;

/// Most executions proven at once: a fraction of a millisecond.
const MAX_PROVEN: usize = 2000;

/// Every so many turns queues are asked for their first position: each is a request.
const LOOK_EVERY: u64 = 5;

impl Owner {
    /// Notes which jobs are answered.
    pub(super) fn note_answers(&mut self, envelope: &InputEnvelope) {
        for input in &envelope.inputs {
            if let InputKind::JobResult(result) = &input.kind {
                self.published.remove(&JobId {
                    execution: input.execution,
                    step: result.step,
                    attempt: result.attempt,
                    item: result.item,
                });
            }
        }
    }

    /// Proves a part of the executions, and repeats jobs that are proven to be lost.
    pub(super) async fn prove(&mut self) -> Result<(), OwnerError> {
        let proof = self.state.prove(MAX_PROVEN, now());
        let stats = &self.shared.stats;
        add(&stats.proven, proof.checked);
        add(&stats.repaired, proof.repaired);
        add(&stats.orphans, proof.orphans.len() as u64);
        for execution in &proof.orphans {
            tracing::error!(partition = %self.partition, %execution, "waits for nothing, woken");
        }
        self.turns += 1;
        if self.turns.is_multiple_of(LOOK_EVERY) && !self.published.is_empty() {
            self.repeat_vanished_jobs().await?;
        }
        Ok(())
    }

    async fn repeat_vanished_jobs(&mut self) -> Result<(), OwnerError> {
        // Attempts end without an answer too (a timeout, a cancellation): those are not waited for.
        let waited_for: FxHashSet<JobId> =
            self.state.outstanding_jobs().map(|job| job.id).collect();
        self.published.retain(|job, _| waited_for.contains(job));
        let mut marks: BTreeMap<WorkerKind, WorkMark> = BTreeMap::new();
        for kind in self.work.keys().cloned().collect::<Vec<_>>() {
            match self.shared.broker.work_mark(&kind).await {
                Ok(mark) => {
                    marks.insert(kind, mark);
                }
                Err(error) => {
                    tracing::debug!(%kind, %error, "work queue not readable");
                    if let Err(error) = self.shared.broker.ensure_work_queue(&kind).await {
                        tracing::debug!(%kind, %error, "work queue not answering");
                    }
                }
            }
        }
        let gone: Vec<Job> = self
            .state
            .outstanding_jobs()
            .filter(|job| {
                let position = self.published.get(&job.id);
                let mark = marks.get(job.tool.kind());
                position.zip(mark).is_some_and(|(position, mark)| {
                    *position < mark.first_sequence || *position > mark.last_sequence
                })
            })
            .collect();
        let (lost, suspects): (Vec<_>, Vec<_>) = gone
            .into_iter()
            .partition(|job| self.lost.contains(&job.id));
        // Their results may be on their way: whoever is still waited for at the next look is lost.
        self.lost = suspects.iter().map(|job| job.id).collect();
        if lost.is_empty() {
            return Ok(());
        }
        tracing::warn!(partition = %self.partition, jobs = lost.len(), "vanished jobs repeated");
        self.publish_jobs_again(lost).await
    }
}
