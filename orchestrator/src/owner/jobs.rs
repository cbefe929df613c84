//! Jobs that may have been lost: published again.

use afu9_broker::Broker;
use afu9_broker::kv::WorkSeen;
use afu9_schemas::message::Job;
use afu9_schemas::{JobId, WorkerKind};
use rustc_hash::FxHashSet;

use super::{Owner, OwnerError, PAUSE};
use crate::stats::add;
use crate::tick::Plan;

impl Owner {
    /// After a reconnection: if jobs may have been lost, publishes again what is still awaited.
    pub(super) async fn repeat_lost_jobs(&mut self) -> Result<(), OwnerError> {
        // Whether it is another server process is not asked: the client tells of the connection before
        // it tells to whom, and repeating what was not lost is harmless.
        tracing::info!(partition = %self.partition, "connected again, awaited jobs are repeated");
        let seen = self.work_seen();
        let lost = Self::lost_kinds(&self.shared.broker, &seen, true).await;
        self.repeat_jobs(&lost).await
    }

    /// Worker kinds whose queue may have lost jobs. Behind another server process that is every one:
    /// in durable mode queues are in memory, in fast mode their tail may be gone. A job that was not
    /// lost is dropped by its id, or its second result changes nothing.
    pub(super) async fn lost_kinds(
        broker: &Broker,
        seen: &[WorkSeen],
        restarted: bool,
    ) -> Vec<WorkerKind> {
        if restarted {
            for kind in &broker.config().kinds {
                while let Err(error) = broker.ensure_work_queue(kind).await {
                    tracing::debug!(%kind, %error, "work queue not answering, trying again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
            return broker.config().kinds.clone();
        }
        let mut lost = Vec::new();
        for WorkSeen { kind, sequence } in seen {
            // It was turned off.
            if !broker.config().kinds.contains(kind) {
                continue;
            }
            loop {
                match broker.work_mark(kind).await {
                    Ok(mark) if mark.last_sequence < *sequence => lost.push(kind.clone()),
                    Ok(_) => {}
                    Err(error) => {
                        tracing::debug!(%kind, %error, "work queue not readable, trying again");
                        if let Err(error) = broker.ensure_work_queue(kind).await {
                            tracing::debug!(%kind, %error, "work queue not answering");
                        }
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                }
                break;
            }
        }
        lost
    }

    pub(super) async fn repeat_jobs(&mut self, kinds: &[WorkerKind]) -> Result<(), OwnerError> {
        for kind in kinds {
            self.work.remove(kind);
            self.unsent.forget(kind);
            let jobs: Vec<_> = self
                .state
                .outstanding_jobs()
                .filter(|job| job.tool.kind() == kind)
                .collect();
            if jobs.is_empty() {
                continue;
            }
            tracing::warn!(partition = %self.partition, %kind, jobs = jobs.len(), "lost jobs repeated");
            self.publish_jobs_again(jobs).await?;
        }
        Ok(())
    }

    /// Publishes the jobs that a former owner's queues had not taken.
    pub(super) async fn publish_left(&mut self, unsent: &[JobId]) -> Result<(), OwnerError> {
        if unsent.is_empty() {
            return Ok(());
        }
        let unsent: FxHashSet<&JobId> = unsent.iter().collect();
        let jobs = self.state.outstanding_jobs();
        let jobs: Vec<_> = jobs.filter(|job| unsent.contains(&job.id)).collect();
        self.publish_jobs_again(jobs).await
    }

    /// A worker kind may have been turned off since its jobs were published.
    pub(super) async fn refuse_jobs_without_queue(&mut self) -> Result<(), OwnerError> {
        let jobs: Vec<_> = self
            .state
            .outstanding_jobs()
            .filter(|job| !self.has_queue(job.tool.kind()))
            .collect();
        if jobs.is_empty() {
            return Ok(());
        }
        self.publish_jobs_again(jobs).await
    }

    /// Publishes jobs again. Those that were not lost are dropped by their id, or their second result
    /// changes nothing.
    pub(super) async fn publish_jobs_again(
        &mut self,
        mut jobs: Vec<Job>,
    ) -> Result<(), OwnerError> {
        jobs.sort_by(|a, b| (a.tool.kind(), a.lane as u8).cmp(&(b.tool.kind(), b.lane as u8)));
        add(&self.shared.stats.jobs_repeated, jobs.len() as u64);
        let mut plan = Plan::default();
        for queue in jobs.chunk_by(|a, b| a.tool.kind() == b.tool.kind() && a.lane == b.lane) {
            let Some(first) = queue.first() else { continue };
            let kind = first.tool.kind().clone();
            plan.add_jobs(&kind, queue.to_vec())
                .map_err(|source| OwnerError::Encode {
                    partition: self.partition,
                    source,
                })?;
        }
        self.publish(plan.jobs).await;
        Ok(())
    }
}
