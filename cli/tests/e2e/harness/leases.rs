//! Who owns which partition, as the orchestrators tell each other.

use std::collections::BTreeMap;
use std::time::Duration;

use afu9_broker::kv::{Change, LeaseWatch};
use afu9_broker::{Auth, Broker, Config, Durability, Replicas};
use afu9_schemas::{InstanceId, Partition, PartitionCount};
use anyhow::{Context as _, Result};

/// Many times as long as a lease.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) type Owners = BTreeMap<Partition, InstanceId>;

/// How many partitions each owner has.
pub(crate) fn shares(owners: &Owners) -> BTreeMap<InstanceId, usize> {
    let mut shares = BTreeMap::new();
    for owner in owners.values() {
        *shares.entry(*owner).or_default() += 1;
    }
    shares
}

/// Whether each of two orchestrators has two partitions.
pub(crate) fn is_shared(owners: &Owners) -> bool {
    let shares = shares(owners);
    shares.len() == 2 && shares.values().all(|count| *count == 2)
}

/// Who owns which partition, as the orchestrators tell each other.
pub(crate) struct Leases {
    watch: LeaseWatch,
    owners: Owners,
    _broker: Broker,
}

impl Leases {
    pub(crate) async fn open(url: &str) -> Result<Self> {
        let config = Config {
            url: url.to_owned(),
            auth: Auth::None,
            ca_file: None,
            name: "e2e".to_owned(),
            replicas: Replicas::One,
            durability: Durability::Fast,
            partitions: PartitionCount::new(4).expect("in range"),
            kinds: Vec::new(),
            ack_wait: afu9_broker::config::DEFAULT_ACK_WAIT,
            key_age: afu9_broker::config::DEFAULT_KEY_AGE,
            limits: afu9_broker::config::Limits::default(),
        };
        let broker = Broker::connect(config).await?;
        let watch = broker.leases().await?.watch().await?;
        Ok(Self {
            watch,
            owners: Owners::new(),
            _broker: broker,
        })
    }

    /// Waits until each of two orchestrators has two partitions.
    pub(crate) async fn wait_until_shared(&mut self) -> Result<Owners> {
        self.wait_until("two owners with two partitions each", is_shared)
            .await
    }

    /// Waits until every partition has an owner and they are as `level` says.
    pub(crate) async fn wait_until(
        &mut self,
        what: &str,
        level: impl Fn(&Owners) -> bool,
    ) -> Result<Owners> {
        let followed = async {
            while !level(&self.owners) || self.owners.len() < 4 {
                if let Change::Lease {
                    partition, lease, ..
                } = self.watch.next().await?
                {
                    match lease.owner {
                        Some(owner) => self.owners.insert(partition, owner),
                        None => self.owners.remove(&partition),
                    };
                }
            }
            anyhow::Ok(())
        };
        let followed = tokio::time::timeout(PATIENCE, followed).await;
        followed.with_context(|| format!("waited for {what}: {:?}", self.owners))??;
        Ok(self.owners.clone())
    }
}
