//! Who owns which partition, and who is there to own one.
//!
//! A lease is an entry that its owner renews; whoever sees it unchanged for long enough takes it
//! over. No clock is compared with another: each observer measures on its own.

use std::collections::HashMap;

use afu9_schemas::{InstanceId, Partition, codec};
use async_nats::jetstream::kv;
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use super::{Swap, swap};
use crate::connection::Broker;
use crate::error::RequestError;
use crate::topology::OWNERS;

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

/// All leases and members as they are now.
#[derive(Debug, Clone, Default)]
pub struct Leases {
    /// By partition, with the revision of the entry.
    pub leases: HashMap<Partition, (Lease, u64)>,
    /// By instance, with the revision of the entry.
    pub members: HashMap<InstanceId, (Member, u64)>,
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
        Ok(LeaseStore { store: self.bucket(OWNERS).await? })
    }
}

impl LeaseStore {
    /// Reads everything there is.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn read(&self) -> Result<Leases, RequestError> {
        let failed = |error: async_nats::Error| RequestError::new("reading leases", error);
        let mut found = Leases::default();
        let keys = self.store.keys().await.map_err(|error| failed(error.into()))?;
        let keys: Vec<_> = keys.collect().await;
        for key in keys {
            let key = key.map_err(|error| failed(error.into()))?;
            let entry = self.store.entry(&key).await.map_err(|error| failed(error.into()))?;
            let Some(entry) = entry.filter(|entry| entry.operation == kv::Operation::Put) else {
                continue;
            };
            if let Some(number) = key.strip_prefix("partition.") {
                let partition = number.parse().map(Partition::new);
                if let (Ok(partition), Ok(lease)) = (partition, codec::decode(&entry.value)) {
                    found.leases.insert(partition, (lease, entry.revision));
                }
            } else if let Ok(member) = codec::decode::<Member>(&entry.value) {
                found.members.insert(member.instance, (member, entry.revision));
            }
        }
        Ok(found)
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
        swap(&self.store, &format!("partition.{partition}"), payload, expected).await
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
        self.store
            .purge(format!("member.{instance}"))
            .await
            .map_err(|error| RequestError::new("removing a member", error))
    }
}
