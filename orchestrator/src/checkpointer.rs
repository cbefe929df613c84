//! Writing a checkpoint while the loop goes on.

use std::sync::Arc;

use afu9_broker::kv::{CheckpointHead, CheckpointStore, Mark, Poison, SegmentRef, Swap, WorkSeen};
use afu9_broker::{Broker, RequestError};
use afu9_engine::checkpoint::Segment;
use afu9_schemas::{InstanceId, Partition, Timestamp, codec};
use bytes::Bytes;
use futures::future::BoxFuture;

/// After this many segments one that holds everything replaces them: each is a read at recovery.
const MAX_SEGMENTS: usize = 24;

/// Segments after the first may together be this many times as large as it: then replacing them
/// costs, spread over the writes, no more than they did.
const MAX_GROWTH: u64 = 2;

/// Below this size replacing is cheap in any case, and nothing is gained by doing it earlier.
const MIN_GROWTH_BYTES: u64 = 1024 * 1024;

/// How a checkpoint came out.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It counts.
    Stored {
        head: CheckpointHead,
        revision: u64,
        /// Up to where the log was dropped with it.
        dropped: u64,
    },
    /// Another owner has written since: this one must stop.
    Fenced,
    /// It does not count. What it would have held is still to be written.
    Failed {
        delta: Segment,
        error: Arc<RequestError>,
    },
}

/// Up to where a checkpoint covers the log.
#[derive(Debug, Clone)]
pub(crate) struct Covered {
    /// Position of the last input.
    pub(crate) floor: u64,
    /// When the latest one was stored.
    pub(crate) at: Option<Timestamp>,
    /// The server process that is known to have all of it, so that it can be dropped there. Of another one
    /// that lost the end of its log it would be what came instead.
    pub(crate) known_to: Option<String>,
}

/// The checkpoint of one partition, as its owner knows it.
#[derive(Debug, Clone)]
pub(crate) struct Checkpointer {
    broker: Broker,
    store: CheckpointStore,
    partition: Partition,
    owner: InstanceId,
    epoch: u64,
    written: u64,
    pub(crate) head: CheckpointHead,
    pub(crate) revision: u64,
    /// Up to where the log is dropped, as far as this owner did it.
    pub(crate) dropped: u64,
}

impl Checkpointer {
    pub(crate) fn new(
        broker: Broker,
        store: CheckpointStore,
        partition: Partition,
        owner: InstanceId,
        epoch: u64,
        (head, revision): (CheckpointHead, u64),
    ) -> Self {
        Self {
            broker,
            store,
            partition,
            owner,
            epoch,
            written: 0,
            head,
            revision,
            dropped: 0,
        }
    }

    /// Whether the next checkpoint should hold everything rather than what changed.
    pub(crate) fn wants_full(&self) -> bool {
        let mut sizes = self.head.segments.iter().map(|segment| segment.bytes);
        let first = sizes.next().unwrap_or(0);
        let rest: u64 = sizes.sum();
        self.head.segments.len() >= MAX_SEGMENTS
            || rest > (first * MAX_GROWTH).max(MIN_GROWTH_BYTES)
    }

    /// Begins to write `segment` as the state at the end of what is covered.
    pub(crate) fn write(
        &mut self,
        segment: Segment,
        full: bool,
        covered: Covered,
        work: Vec<WorkSeen>,
    ) -> BoxFuture<'static, Outcome> {
        self.written += 1;
        let id = format!("{}-{}.{}", self.epoch, self.owner, self.written);
        let this = self.clone();
        let encoded = if segment.is_empty() && !full {
            None
        } else {
            Some(codec::encode(&segment))
        };
        Box::pin(async move {
            let content = match encoded.transpose() {
                Ok(content) => content,
                Err(error) => {
                    let error = Arc::new(RequestError::other("encoding a checkpoint", error));
                    return Outcome::Failed {
                        delta: segment,
                        error,
                    };
                }
            };
            match this.store(&id, content, full, covered, work).await {
                Ok(outcome) => outcome,
                Err(error) => Outcome::Failed {
                    delta: segment,
                    error: Arc::new(error),
                },
            }
        })
    }

    async fn store(
        &self,
        id: &str,
        content: Option<Bytes>,
        full: bool,
        covered: Covered,
        work: Vec<WorkSeen>,
    ) -> Result<Outcome, RequestError> {
        let mut segments = if full {
            Vec::new()
        } else {
            self.head.segments.clone()
        };
        if let Some(content) = content {
            segments.push(self.store.put_segment(id, content).await?);
        }
        let mut head = CheckpointHead {
            owner: self.owner,
            epoch: self.epoch,
            floor: covered.floor,
            floor_at: covered.at,
            segments,
            server: self.broker.server_id(),
            work,
            claims: if covered.floor == self.head.floor {
                self.head.claims
            } else {
                0
            },
            mark: self.head.mark,
            poison: self.head.poison.clone(),
        };
        head.prune();
        let Some(revision) = self.replace(&head).await? else {
            return Ok(Outcome::Fenced);
        };
        self.remove_replaced(&head).await;
        let dropped = self.drop_covered(&covered).await;
        Ok(Outcome::Stored {
            head,
            revision,
            dropped,
        })
    }

    /// Replaces the head alone, while no checkpoint is being written. Returns false if another owner
    /// has written since.
    pub(crate) async fn note(
        &mut self,
        mark: Option<Mark>,
        poison: Vec<Poison>,
    ) -> Result<bool, RequestError> {
        let mut head = self.head.clone();
        head.mark = mark;
        head.poison = poison;
        let Some(revision) = self.replace(&head).await? else {
            return Ok(false);
        };
        self.head = head;
        self.revision = revision;
        Ok(true)
    }

    /// Writes `head` over the last one. Returns its revision; none if another owner was quicker.
    async fn replace(&self, head: &CheckpointHead) -> Result<Option<u64>, RequestError> {
        match self.store.put_head(head, self.revision).await {
            Ok(Swap::Stored(revision)) => Ok(Some(revision)),
            // Lost to another owner, or to ourselves: an unanswered write that arrived after all.
            Ok(Swap::Lost) | Err(_) => match self.read_back(head).await? {
                ReadBack::Ours(revision) => Ok(Some(revision)),
                ReadBack::Unchanged => Err(RequestError::other(
                    "writing a checkpoint's head",
                    "the server did not take it",
                )),
                ReadBack::Other => Ok(None),
            },
        }
    }

    /// Finds out what became of a head that may or may not have been written.
    async fn read_back(&self, head: &CheckpointHead) -> Result<ReadBack, RequestError> {
        Ok(match self.store.load_head().await? {
            Some((found, revision)) if found == *head => ReadBack::Ours(revision),
            Some((_, revision)) if revision == self.revision => ReadBack::Unchanged,
            None if self.revision == 0 => ReadBack::Unchanged,
            _ => ReadBack::Other,
        })
    }

    /// Removes segments that the new head does not name. What cannot be removed now is swept later.
    async fn remove_replaced(&self, head: &CheckpointHead) {
        let replaced: Vec<SegmentRef> = self
            .head
            .segments
            .iter()
            .filter(|segment| !head.segments.contains(segment))
            .cloned()
            .collect();
        if let Err(error) = self.store.remove(&replaced).await {
            tracing::debug!(partition = %self.partition, %error, "old segments left behind");
        }
    }

    /// Drops what is covered from the log, and returns up to where it is dropped now. What cannot be dropped
    /// is with the next checkpoint.
    async fn drop_covered(&self, covered: &Covered) -> u64 {
        // A request that is made while nobody is connected would reach the next server.
        let is_there = covered.known_to.is_some() && covered.known_to == self.broker.connected_to();
        if covered.floor <= self.dropped || !is_there {
            return self.dropped;
        }
        match self.broker.drop_log(self.partition, covered.floor).await {
            Ok(_) => covered.floor,
            Err(error) => {
                tracing::debug!(partition = %self.partition, %error, "covered inputs left behind");
                self.dropped
            }
        }
    }
}

enum ReadBack {
    Ours(u64),
    Unchanged,
    Other,
}
