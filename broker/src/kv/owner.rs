//! Who owns which partition, and who is there to own one.
//!
//! A lease is an entry that its owner renews; whoever sees it unchanged for long enough takes it
//! over. No clock is compared with another: each observer measures on its own.

use afu9_schemas::codec::{self, DecodeError};
use afu9_schemas::{InstanceId, Partition};
use async_nats::jetstream::kv;
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use super::{Swap, swap};
use crate::connection::Broker;
use crate::error::{RequestError, chain};
use crate::topology::{MEMBER_MARKER, OWNERS};

/// A partition's lease, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Who holds it; nobody if it was given back.
    pub owner: Option<InstanceId>,
    /// Grows by one with each owner.
    pub epoch: u64,
    /// Grows by one with each renewal.
    pub renewal: u64,
}

/// An orchestrator that is there to own partitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Which.
    pub instance: InstanceId,
    /// Grows by one with each sign of life.
    pub beat: u64,
}

/// Something that happened to a lease or a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A lease was written.
    Lease {
        /// Of which partition.
        partition: Partition,
        /// The lease.
        lease: Lease,
        /// The revision of its entry, for a compare-and-set.
        revision: u64,
    },
    /// A member showed that it is there.
    Member(Member),
    /// A member has gone.
    MemberGone(InstanceId),
    /// An entry that this version cannot read. It stays as it is.
    Unreadable {
        /// The key of the entry.
        key: String,
        /// Why.
        error: String,
    },
    /// Everything that was there has been told; what comes now is new.
    UpToDate,
}

/// Tells every change of leases and members, beginning with what is there.
pub struct LeaseWatch {
    watch: kv::Watch,
    pending: u64,
    told: bool,
}

impl std::fmt::Debug for LeaseWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeaseWatch")
            .field("told", &self.told)
            .finish_non_exhaustive()
    }
}

/// The leases.
#[derive(Debug, Clone)]
pub struct LeaseStore {
    store: kv::Store,
}

impl Broker {
    /// Opens the leases.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn leases(&self) -> Result<LeaseStore, RequestError> {
        Ok(LeaseStore {
            store: self.bucket(OWNERS).await?,
        })
    }
}

impl LeaseStore {
    /// Begins to watch.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn watch(&self) -> Result<LeaseWatch, RequestError> {
        let failed = |error: async_nats::Error| RequestError::new("watching leases", error);
        // With what is left of keys that are gone, because the watch tells of those too.
        let info = self
            .store
            .stream
            .get_info()
            .await
            .map_err(|error| failed(error.into()))?;
        let pending = info.state.messages;
        let watch = self
            .store
            .watch_with_history(">")
            .await
            .map_err(|error| failed(error.into()))?;
        Ok(LeaseWatch {
            watch,
            pending,
            told: false,
        })
    }

    /// Replaces the lease of `partition`, if it is still at `expected` (0: there is none).
    ///
    /// # Errors
    /// When the server does not answer. The lease may have been replaced all the same.
    pub async fn put(
        &self,
        partition: Partition,
        lease: &Lease,
        expected: u64,
    ) -> Result<Swap, RequestError> {
        let payload =
            codec::encode(lease).map_err(|error| RequestError::new("writing a lease", error))?;
        swap(
            &self.store,
            &format!("partition.{partition}"),
            payload,
            expected,
        )
        .await
    }

    /// Shows that an orchestrator is there.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn beat(&self, member: &Member) -> Result<(), RequestError> {
        let payload =
            codec::encode(member).map_err(|error| RequestError::new("writing a member", error))?;
        self.store
            .put(format!("member.{}", member.instance), payload)
            .await
            .map_err(|error| RequestError::new("writing a member", error))?;
        Ok(())
    }

    /// Removes an orchestrator that has gone, by itself or by another's judgement.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn forget(&self, instance: InstanceId) -> Result<(), RequestError> {
        let key = format!("member.{instance}");
        if self.store.purge_with_ttl(&key, MEMBER_MARKER).await.is_ok() {
            return Ok(());
        }
        // The bucket is that of a version whose marks stay, and nobody has changed it yet.
        self.store
            .purge(key)
            .await
            .map_err(|error| RequestError::new("removing a member", error))
    }
}

impl LeaseWatch {
    /// Waits for the next change.
    ///
    /// Cancel safety: safe.
    ///
    /// # Errors
    /// When the server does not answer any more: watch anew.
    pub async fn next(&mut self) -> Result<Change, RequestError> {
        loop {
            if self.pending == 0 && !self.told {
                self.told = true;
                return Ok(Change::UpToDate);
            }
            let entry = match self.watch.next().await {
                Some(Ok(entry)) => entry,
                Some(Err(error)) => return Err(RequestError::new("watching leases", error)),
                None => return Err(RequestError::new("watching leases", "the watch ended")),
            };
            self.pending = self.pending.saturating_sub(1);
            if entry.seen_current {
                self.pending = 0;
            }
            if let Some(change) = change(&entry) {
                return Ok(change);
            }
        }
    }
}

/// `None` for a key that is none of ours.
fn change(entry: &kv::Entry) -> Option<Change> {
    let unreadable = |error: DecodeError| Change::Unreadable {
        key: entry.key.clone(),
        error: chain(&error),
    };
    if let Some(number) = entry.key.strip_prefix("partition.") {
        let partition = Partition::new(number.parse().ok()?);
        let lease = codec::decode(&entry.value).map(|lease| Change::Lease {
            partition,
            lease,
            revision: entry.revision,
        });
        return Some(lease.unwrap_or_else(unreadable));
    }
    let instance = entry.key.strip_prefix("member.")?.parse().ok()?;
    Some(match entry.operation {
        kv::Operation::Put => codec::decode(&entry.value).map_or_else(unreadable, Change::Member),
        kv::Operation::Delete | kv::Operation::Purge => Change::MemberGone(instance),
    })
}
