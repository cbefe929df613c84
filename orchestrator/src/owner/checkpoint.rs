//! When a checkpoint is written, and what comes of it.

use afu9_broker::kv::WorkSeen;
use afu9_schemas::WorkerKind;

use super::{Owner, OwnerError};
use crate::checkpointer::Outcome;
use crate::stats::add;

impl Owner {
    pub(super) fn begin_checkpoint(&mut self) {
        let nothing_new = !self.state.is_dirty() && !self.outbox.wants_saving();
        if nothing_new && self.state.floor() == self.checkpointer.head.floor {
            return;
        }
        let full = self.checkpointer.wants_full();
        let mut segment = if full {
            self.state.take_full()
        } else {
            self.state.take_delta()
        };
        segment.outgoing = self.outbox.save(full);
        let floor = self.state.floor();
        let work = self.work_seen();
        self.writing = Some(self.checkpointer.write(segment, full, floor, work));
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
            Outcome::Stored { head, revision } => {
                add(&self.shared.stats.checkpoints, 1);
                self.checkpointer.head = head;
                self.checkpointer.revision = revision;
                Ok(())
            }
            Outcome::Fenced => Err(OwnerError::Fenced(self.partition)),
            Outcome::Failed { delta, error } => {
                let error = afu9_broker::error::chain(&*error);
                tracing::warn!(partition = %self.partition, error, "checkpoint not written");
                self.state.put_back(delta);
                self.outbox.not_saved();
                Ok(())
            }
        }
    }

    pub(super) async fn last_checkpoint(&mut self) -> Result<(), OwnerError> {
        if let Some(writing) = self.writing.take() {
            let outcome = writing.await;
            self.checkpoint_written(outcome)?;
        }
        self.begin_checkpoint();
        if let Some(writing) = self.writing.take() {
            let outcome = writing.await;
            self.checkpoint_written(outcome)?;
        }
        Ok(())
    }
}
