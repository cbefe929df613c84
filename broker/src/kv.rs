//! The key-value buckets: checkpoints, owners, definitions, idempotency keys, schedules. All of them
//! use compare-and-set, so that of two writers one learns that it was late.

mod checkpoint;
mod definition;
mod idempotency;
mod owner;
mod schedule;

use async_nats::jetstream::kv;

pub use checkpoint::{CheckpointHead, CheckpointStore, Mark, Place, Poison, SegmentRef, WorkSeen};
pub use definition::{Applied, DefinitionStore};
pub use idempotency::{Claim, IdempotencyStore};
pub use owner::{Change, Lease, LeaseStore, LeaseWatch, Member};
pub use schedule::{PauseWatch, SchedulePause, ScheduleState, ScheduleStore};

use crate::connection::Broker;
use crate::error::RequestError;

impl Broker {
    async fn bucket(&self, name: &str) -> Result<kv::Store, RequestError> {
        self.jetstream
            .get_key_value(name)
            .await
            .map_err(|error| RequestError::new(format!("opening bucket {name}"), error))
    }
}

/// What a compare-and-set came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Swap {
    /// Stored, as this revision.
    Stored(u64),
    /// Somebody else was quicker.
    Lost,
}

/// Stores `value` under `key` if the key is at `expected` (0 means that it does not exist).
async fn swap(
    store: &kv::Store,
    key: &str,
    value: bytes::Bytes,
    expected: u64,
) -> Result<Swap, RequestError> {
    let failed = |error: async_nats::Error| {
        RequestError::new(format!("writing {key} in {}", store.name), error)
    };
    if expected == 0 {
        return match store.create(key, value).await {
            Ok(revision) => Ok(Swap::Stored(revision)),
            Err(error) if error.kind() == kv::CreateErrorKind::AlreadyExists => Ok(Swap::Lost),
            Err(error) => Err(failed(error.into())),
        };
    }
    match store.update(key, value, expected).await {
        Ok(revision) => Ok(Swap::Stored(revision)),
        Err(error) if error.kind() == kv::UpdateErrorKind::WrongLastRevision => Ok(Swap::Lost),
        Err(error) => Err(failed(error.into())),
    }
}
