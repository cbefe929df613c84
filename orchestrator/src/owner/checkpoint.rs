//! When a checkpoint is written, and what comes of it.

use afu9_broker::kv::WorkSeen;
use afu9_schemas::WorkerKind;

use super::{Owner, OwnerError};
use crate::checkpointer::{Covered, Outcome};
use crate::stats::add;

impl Owner {
    pub(super) fn begin_checkpoint(&mut self) {
        let nothing_new =
            !self.state.is_dirty() && !self.outbox.wants_saving() && !self.unsent.wants_saving();
        let floor = self.state.floor();
        let covered = Covered {
            floor,
            at: self.reader.read_at(),
            known_to: self.reader.reaches(floor),
        };
        let nothing_to_drop = self.checkpointer.dropped >= floor || covered.known_to.is_none();
        if nothing_new && floor == self.checkpointer.head.floor && nothing_to_drop {
            return;
        }
        let full = self.checkpointer.wants_full();
        let mut segment = if full {
            self.state.take_full()
        } else {
            self.state.take_delta()
        };
        segment.outgoing = self.outbox.save(full);
        segment.unsent = self.unsent.save(full);
        let work = self.work_seen();
        let recorded = self.records.flush();
        let write = self.checkpointer.write(segment, full, covered, work);
        self.writing = Some(Box::pin(async move {
            recorded.await;
            write.await
        }));
    }

    pub(super) fn work_seen(&self) -> Vec<WorkSeen> {
        let seen = |(kind, sequence): (&WorkerKind, &u64)| WorkSeen {
            kind: kind.clone(),
            sequence: *sequence,
        };
        self.work.iter().map(seen).collect()
    }

    pub(super) fn checkpoint_written(&mut self, outcome: Outcome) -> Result<(), OwnerError> {
        match outcome {
            Outcome::Stored {
                head,
                revision,
                dropped,
            } => {
                add(&self.shared.stats.checkpoints, 1);
                self.checkpointer.head = head;
                self.checkpointer.revision = revision;
                self.checkpointer.dropped = dropped;
                Ok(())
            }
            Outcome::Fenced => Err(OwnerError::Fenced(self.partition)),
            Outcome::Failed { delta, error } => {
                let error = afu9_broker::error::chain(&*error);
                tracing::warn!(partition = %self.partition, error, "checkpoint not written");
                self.state.put_back(delta);
                self.outbox.not_saved();
                self.unsent.not_saved();
                Ok(())
            }
        }
    }

    pub(super) async fn last_checkpoint(&mut self) -> Result<(), OwnerError> {
        self.finish_checkpoint().await?;
        self.begin_checkpoint();
        self.finish_checkpoint().await
    }

    /// Waits until the checkpoint that is being written is.
    pub(super) async fn finish_checkpoint(&mut self) -> Result<(), OwnerError> {
        let Some(mut writing) = self.writing.take() else {
            return Ok(());
        };
        let outcome = loop {
            tokio::select! {
                outcome = &mut writing => break outcome,
                () = self.records.next() => {}
            }
        };
        self.checkpoint_written(outcome)
    }
}
