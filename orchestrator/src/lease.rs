//! Which partitions this process should own: decided from facts, without waiting or writing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use afu9_schemas::{InstanceId, Partition, PartitionCount};

use crate::config::LEASE_EXPIRES;

/// What is known when a plan is made.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) me: InstanceId,
    pub(crate) partitions: PartitionCount,
    /// Who holds each lease, and how long ago it was last seen to change.
    pub(crate) leases: BTreeMap<Partition, Holder>,
    /// Other orchestrators, and how long ago each was last heard of.
    pub(crate) members: BTreeMap<InstanceId, Duration>,
    /// Partitions whose owner runs in this process.
    pub(crate) running: BTreeSet<Partition>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Holder {
    pub(crate) owner: Option<InstanceId>,
    pub(crate) unchanged_for: Duration,
}

/// What to do now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Partitions to take: nobody holds them, or their holder has not been heard of.
    pub(crate) acquire: Vec<Partition>,
    /// Leases to renew: their owner runs here.
    pub(crate) renew: Vec<Partition>,
    /// One partition to give to an orchestrator that has fewer than its share.
    pub(crate) release: Option<Partition>,
    /// Members that are gone.
    pub(crate) forget: Vec<InstanceId>,
}

impl Plan {
    pub(crate) fn new(facts: &Facts) -> Self {
        let alive = facts
            .members
            .values()
            .filter(|unheard| **unheard < LEASE_EXPIRES)
            .count()
            .max(1);
        let share = usize::from(facts.partitions.get()).div_ceil(alive);
        let mut plan = Self {
            renew: facts.running.iter().copied().collect(),
            forget: facts
                .members
                .iter()
                // Long gone, so that a member that is only slow is not forgotten and found again.
                .filter(|(_, unheard)| **unheard > LEASE_EXPIRES * 10)
                .map(|(instance, _)| *instance)
                .collect(),
            ..Self::default()
        };
        let free: Vec<Partition> = facts
            .partitions
            .all()
            .filter(|partition| facts.is_free(*partition))
            .collect();
        let room = share.saturating_sub(facts.running.len());
        // Each orchestrator begins elsewhere in the list, so that they seldom race for the same one.
        let begin = facts.me.as_uuid().as_u128() as usize % free.len().max(1);
        plan.acquire = free
            .iter()
            .cycle()
            .skip(begin)
            .take(free.len().min(room))
            .copied()
            .collect();
        if facts.running.len() > share && free.is_empty() {
            plan.release = facts.running.last().copied();
        }
        plan
    }
}

impl Facts {
    fn is_free(&self, partition: Partition) -> bool {
        if self.running.contains(&partition) {
            return false;
        }
        match self.leases.get(&partition) {
            None | Some(Holder { owner: None, .. }) => true,
            // Ours, but not running: its loop ended by itself.
            Some(Holder {
                owner: Some(owner), ..
            }) if *owner == self.me => true,
            Some(Holder { unchanged_for, .. }) => *unchanged_for >= LEASE_EXPIRES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn facts(partitions: u16, others: &[(InstanceId, Duration)]) -> Facts {
        let me = InstanceId::new();
        let mut members: BTreeMap<_, _> = others.iter().copied().collect();
        members.insert(me, NOW);
        Facts {
            me,
            partitions: PartitionCount::new(partitions).expect("in range"),
            leases: BTreeMap::new(),
            members,
            running: BTreeSet::new(),
        }
    }

    fn hold(facts: &mut Facts, range: std::ops::Range<u16>, by: InstanceId, unchanged: Duration) {
        for number in range {
            let holder = Holder {
                owner: Some(by),
                unchanged_for: unchanged,
            };
            facts.leases.insert(Partition::new(number), holder);
            if by == facts.me {
                facts.running.insert(Partition::new(number));
            }
        }
    }

    #[test]
    fn alone_it_takes_everything() {
        let plan = Plan::new(&facts(8, &[]));
        assert_eq!(plan.acquire.len(), 8);
        assert_eq!(plan.release, None);
    }

    #[test]
    fn with_another_it_takes_its_share() {
        let other = InstanceId::new();
        assert_eq!(Plan::new(&facts(8, &[(other, NOW)])).acquire.len(), 4);
        assert_eq!(Plan::new(&facts(7, &[(other, NOW)])).acquire.len(), 4);
    }

    #[test]
    fn a_silent_holder_loses_its_partitions_and_a_slow_one_does_not() {
        let other = InstanceId::new();
        let mut silent = facts(4, &[(other, LEASE_EXPIRES)]);
        hold(&mut silent, 0..4, other, LEASE_EXPIRES);
        assert_eq!(Plan::new(&silent).acquire.len(), 4);
        let mut slow = facts(4, &[(other, LEASE_EXPIRES)]);
        hold(&mut slow, 0..4, other, LEASE_EXPIRES / 2);
        assert_eq!(Plan::new(&slow).acquire, []);
    }

    #[test]
    fn a_newcomer_gets_its_share_one_by_one() {
        let other = InstanceId::new();
        let mut facts = facts(4, &[(other, NOW)]);
        let me = facts.me;
        hold(&mut facts, 0..4, me, NOW);
        let plan = Plan::new(&facts);
        assert!(plan.release.is_some());
        assert_eq!(plan.renew.len(), 4);
        // While one is free for the newcomer to take, no further one is given away.
        let given = plan.release.expect("one");
        facts.running.remove(&given);
        facts.leases.insert(
            given,
            Holder {
                owner: None,
                unchanged_for: NOW,
            },
        );
        assert_eq!(Plan::new(&facts).release, None);
    }

    #[test]
    fn a_loop_that_ended_by_itself_is_started_again() {
        let mut facts = facts(2, &[]);
        let me = facts.me;
        hold(&mut facts, 0..2, me, NOW);
        facts.running.remove(&Partition::new(1));
        assert_eq!(Plan::new(&facts).acquire, [Partition::new(1)]);
    }
}
