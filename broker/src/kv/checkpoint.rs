//! Checkpoints: a head per partition that lists immutable segments.
//!
//! The head is replaced by compare-and-set, the segments are written before it under names of their
//! own. So a checkpoint is complete or not there, and an owner that lost its partition fails at the
//! head and changes nothing.

use afu9_schemas::{InstanceId, Partition, Timestamp, WorkerKind, codec};
use async_nats::jetstream::kv;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Swap, swap};
use crate::connection::Broker;
use crate::error::RequestError;
use crate::topology::CHECKPOINTS;

/// Size of one piece of a segment, in bytes: below the server's largest message.
const PIECE_BYTES: usize = 512 * 1024;

/// How often a claim that was lost to another writer is tried again.
const MAX_CLAIMS: usize = 8;

/// The head of a partition's checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointHead {
    /// Who wrote it.
    pub owner: InstanceId,
    /// Grows by one with each owner.
    pub epoch: u64,
    /// Position of the last input it covers.
    pub floor: u64,
    /// When the latest of the inputs it covers was stored: a later one is not covered, whatever its
    /// position. Unknown to checkpoints of version 1.
    #[serde(default)]
    pub floor_at: Option<Timestamp>,
    /// Its segments, the oldest first.
    pub segments: Vec<SegmentRef>,
    /// The server process the owner was connected to: another one may have lost what is only in
    /// memory.
    #[serde(default)]
    pub server: String,
    /// Work queues as the owner last saw them.
    #[serde(default)]
    pub work: Vec<WorkSeen>,
    /// How often it was claimed since its floor last moved. More than once means that an owner ended
    /// before it got anywhere.
    #[serde(default)]
    pub claims: u32,
    /// What its owner is about to fold, while it folds with care.
    #[serde(default)]
    pub mark: Option<Mark>,
    /// Inputs above the floor that are set aside, because they bring down whoever folds them. Every
    /// replay finds the same ones here.
    #[serde(default)]
    pub poison: Vec<Poison>,
}

impl CheckpointHead {
    /// Forgets marks of inputs that its floor has passed.
    pub fn prune(&mut self) {
        let floor = self.floor;
        self.mark = self.mark.filter(|mark| mark.place.sequence > floor);
        self.poison.retain(|poison| poison.place.sequence > floor);
    }
}

/// A place in the log: a message, or one input of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Position of the message.
    pub sequence: u64,
    /// Number of the input in it; the message as a whole if absent.
    pub input: Option<u32>,
}

/// What an owner is about to fold: if it is found by the next one, the owner did not survive it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Where.
    pub place: Place,
    /// How often that was begun, this time included.
    pub tries: u32,
}

/// An input that is set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poison {
    /// Where.
    pub place: Place,
    /// How often it was set aside: each time with less that could go wrong.
    pub times: u32,
}

/// A work queue as an owner last saw it: if it is behind that now, it has lost jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkSeen {
    /// Its worker kind.
    pub kind: WorkerKind,
    /// Position of the last job the owner published.
    pub sequence: u64,
}

/// Where a segment is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRef {
    /// The prefix of its keys.
    pub name: String,
    /// How many pieces it has.
    pub pieces: u32,
    /// Its size, in bytes.
    pub bytes: u64,
}

/// The checkpoints of one partition.
#[derive(Debug, Clone)]
pub struct CheckpointStore {
    store: kv::Store,
    partition: Partition,
}

impl Broker {
    /// Opens the checkpoints of `partition`.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn checkpoints(&self, partition: Partition) -> Result<CheckpointStore, RequestError> {
        Ok(CheckpointStore {
            store: self.bucket(CHECKPOINTS).await?,
            partition,
        })
    }
}

impl CheckpointStore {
    fn head_key(&self) -> String {
        format!("{}.head", self.partition)
    }

    fn segment_prefix(&self) -> String {
        format!("{}.segment.", self.partition)
    }

    /// Reads the head alone, with its revision; `None` if there is none yet.
    ///
    /// # Errors
    /// When the server does not answer, or the head cannot be read.
    pub async fn load_head(&self) -> Result<Option<(CheckpointHead, u64)>, RequestError> {
        let failed = |error: async_nats::Error| {
            RequestError::new(
                format!("loading the checkpoint of partition {}", self.partition),
                error,
            )
        };
        let entry = self
            .store
            .entry(self.head_key())
            .await
            .map_err(|error| failed(error.into()))?;
        let Some(entry) = entry.filter(|entry| entry.operation == kv::Operation::Put) else {
            return Ok(None);
        };
        let head = codec::decode(&entry.value).map_err(|error| failed(error.into()))?;
        Ok(Some((head, entry.revision)))
    }

    /// Makes `owner` the writer of the checkpoint: the head is replaced by itself with another owner,
    /// after which a former owner's next write fails. Only then may its leftovers be removed and its
    /// segments be read. Returns the head and its revision.
    ///
    /// # Errors
    /// When the server does not answer, the head cannot be read, or others keep writing it.
    pub async fn claim(
        &self,
        owner: InstanceId,
        epoch: u64,
    ) -> Result<(CheckpointHead, u64), RequestError> {
        for _ in 0..MAX_CLAIMS {
            let (mut head, revision) = self.load_head().await?.unwrap_or((
                CheckpointHead {
                    owner,
                    epoch,
                    floor: 0,
                    floor_at: None,
                    segments: Vec::new(),
                    server: String::new(),
                    work: Vec::new(),
                    claims: 0,
                    mark: None,
                    poison: Vec::new(),
                },
                0,
            ));
            head.owner = owner;
            head.epoch = epoch;
            head.claims = head.claims.saturating_add(1);
            if let Swap::Stored(revision) = self.put_head(&head, revision).await? {
                return Ok((head, revision));
            }
        }
        Err(RequestError::new(
            format!("claiming the checkpoint of partition {}", self.partition),
            "another owner keeps writing it",
        ))
    }

    /// Reads the segments that `head` names, the oldest first.
    ///
    /// # Errors
    /// When the server does not answer, or a segment is not there.
    pub async fn segments(&self, head: &CheckpointHead) -> Result<Vec<Bytes>, RequestError> {
        let failed = |error: async_nats::Error| {
            RequestError::new(
                format!("loading the checkpoint of partition {}", self.partition),
                error,
            )
        };
        let mut segments = Vec::with_capacity(head.segments.len());
        for segment in &head.segments {
            let mut bytes = Vec::new();
            for piece in 0..segment.pieces {
                let key = format!("{}.{piece}", segment.name);
                let found = self
                    .store
                    .get(&key)
                    .await
                    .map_err(|error| failed(error.into()))?;
                let found = found.ok_or_else(|| failed(format!("{key} is missing").into()))?;
                bytes.extend_from_slice(&found);
            }
            segments.push(Bytes::from(bytes));
        }
        Ok(segments)
    }

    /// Stores a segment. It counts only once a head names it.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn put_segment(&self, id: &str, content: Bytes) -> Result<SegmentRef, RequestError> {
        let name = format!("{}{id}", self.segment_prefix());
        let bytes = content.len() as u64;
        let mut pieces = 0_u32;
        let mut rest = content;
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(PIECE_BYTES));
            let key = format!("{name}.{pieces}");
            self.store
                .put(&key, piece)
                .await
                .map_err(|error| RequestError::new(format!("writing {key}"), error))?;
            pieces += 1;
        }
        Ok(SegmentRef {
            name,
            pieces,
            bytes,
        })
    }

    /// Replaces the head, if it is still at `expected` (0 means that there is none).
    ///
    /// # Errors
    /// When the server refuses or does not answer. The head may have been replaced all the same.
    pub async fn put_head(
        &self,
        head: &CheckpointHead,
        expected: u64,
    ) -> Result<Swap, RequestError> {
        let payload = codec::encode(head)
            .map_err(|error| RequestError::new("writing a checkpoint's head", error))?;
        swap(&self.store, &self.head_key(), payload, expected).await
    }

    /// Removes segments that no head names any more.
    ///
    /// # Errors
    /// When the server does not answer; what is left is found by [`Self::sweep`] later.
    pub async fn remove(&self, segments: &[SegmentRef]) -> Result<(), RequestError> {
        for segment in segments {
            for piece in 0..segment.pieces {
                let key = format!("{}.{piece}", segment.name);
                self.purge(&key).await?;
            }
        }
        Ok(())
    }

    /// Removes every segment that `head` does not name: leftovers of an owner that died between a
    /// segment and its head.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn sweep(&self, head: &CheckpointHead) -> Result<usize, RequestError> {
        use futures::StreamExt;
        let failed = |error: async_nats::Error| RequestError::new("sweeping checkpoints", error);
        let prefix = self.segment_prefix();
        let mut keys = self
            .store
            .keys()
            .await
            .map_err(|error| failed(error.into()))?;
        let mut leftovers = Vec::new();
        while let Some(key) = keys.next().await {
            let key = key.map_err(|error| failed(error.into()))?;
            let named = head.segments.iter().any(|segment| {
                key.strip_prefix(&segment.name)
                    .is_some_and(|rest| rest.starts_with('.'))
            });
            if key.starts_with(&prefix) && !named {
                leftovers.push(key);
            }
        }
        for key in &leftovers {
            self.purge(key).await?;
        }
        Ok(leftovers.len())
    }

    /// Removes a key without leaving a mark: every segment has keys of its own, and a mark for each
    /// would stay for ever.
    async fn purge(&self, key: &str) -> Result<(), RequestError> {
        let subject = format!("$KV.{}.{key}", self.store.name);
        self.store
            .stream
            .purge()
            .filter(subject)
            .await
            .map_err(|error| RequestError::new(format!("removing {key}"), error))?;
        Ok(())
    }
}
