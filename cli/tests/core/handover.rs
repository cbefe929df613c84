//! Partitions that an orchestrator gives back go to another one at once, long before a lease expires.

use std::collections::BTreeMap;
use std::time::Duration;

use afu9_broker::kv::{Change, LeaseWatch};
use afu9_orchestrator::Config;
use afu9_schemas::{InstanceId, Partition};
use anyhow::{Context as _, Result};
use tokio::time::{Instant, timeout};

use crate::world::{Role, World};

/// Less than it takes a lease to expire (4 s), and than a turn of the coordinator with that time; far more
/// than it takes, even on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Each ends in the middle of another renewal.
const ROUNDS: usize = 4;

const PATIENCE: Duration = Duration::from_secs(60);

struct Leases {
    watch: LeaseWatch,
    owners: BTreeMap<Partition, InstanceId>,
    members: BTreeMap<InstanceId, u64>,
}

impl Leases {
    async fn open(world: &World) -> Result<Self> {
        Ok(Self {
            watch: world.broker().leases().await?.watch().await?,
            owners: BTreeMap::new(),
            members: BTreeMap::new(),
        })
    }

    /// Waits for the next change, and returns whose lease was renewed or taken, if one was.
    async fn next(&mut self) -> Result<Option<InstanceId>> {
        let change = timeout(PATIENCE, self.watch.next()).await;
        match change.context("no lease changes any more")?? {
            Change::Lease {
                partition, lease, ..
            } => match lease.owner {
                Some(owner) => {
                    self.owners.insert(partition, owner);
                    return Ok(Some(owner));
                }
                None => {
                    self.owners.remove(&partition);
                }
            },
            Change::Member(member) => {
                self.members.insert(member.instance, member.beat);
            }
            Change::MemberGone(instance) => {
                self.members.remove(&instance);
            }
            Change::Unreadable { .. } | Change::UpToDate => {}
        }
        Ok(None)
    }

    fn owns_all(&self, instance: InstanceId, world: &World) -> bool {
        let mut partitions = world.broker().partitions().all();
        partitions.all(|partition| self.owners.get(&partition) == Some(&instance))
    }
}

fn start(world: &World) -> (InstanceId, Role) {
    let config = Config::default();
    (config.instance, world.orchestrator_with(config))
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_are_given_back_are_taken_at_once() -> Result<()> {
    let world = World::start().await?;
    let mut leases = Leases::open(&world).await?;
    let (mut owner, mut role) = start(&world);
    while !leases.owns_all(owner, &world) {
        leases.next().await?;
    }
    for round in 0..ROUNDS {
        let (successor, next) = start(&world);
        // It is there, and has said so more than once: whoever ends now does so for somebody.
        while leases.members.get(&successor).is_none_or(|beat| *beat < 2) {
            leases.next().await?;
        }
        while leases.next().await? != Some(owner) {}
        let told = Instant::now();
        let stopping = role.stop();
        let taken = async {
            while !leases.owns_all(successor, &world) {
                leases.next().await?;
            }
            anyhow::Ok(told.elapsed())
        };
        let (stopped, taken) = tokio::join!(stopping, taken);
        stopped?;
        let taken = taken?;
        eprintln!("round {round}: {taken:?}");
        assert!(taken < AT_ONCE, "round {round}: {taken:?}");
        assert!(!leases.members.contains_key(&owner), "it has said goodbye");
        (owner, role) = (successor, next);
    }
    role.stop().await
}
