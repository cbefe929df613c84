//! The queue before the queue: which unit gets the next place in the queue of a worker kind.
//!
//! A queue takes in a bounded number of jobs of each partition (its *window*); the rest waits here,
//! where it can still be shared out. Units wait by priority, and within a priority by start-time fair
//! queueing: each *share* (a concurrency key, or a workflow) has a virtual clock that advances by
//! one with each of its units, and the unit with the earliest time is next. So a share with ten
//! thousand units delays one that comes later by one unit, not by ten thousand.
//!
//! Everything follows from what the units themselves and the queue's clock say, so that an owner
//! that begins with a checkpoint decides as the one before it would have.

use std::collections::BTreeMap;
use std::hash::Hasher;

use afu9_schemas::tool::kinds;
use afu9_schemas::{Lane, WorkerKind};
use rustc_hash::{FxHashMap, FxHasher};

use crate::execution::{HeldKinds, Queue, Ready, Turn};

/// The window of a kind this build does not know: such a job is refused by its queue.
const UNKNOWN_WINDOW: usize = 16;

/// The order of units that wait: higher priorities first, then by virtual time, then as they came.
type Rank = (i32, u64, u64);

/// The queues of one partition.
#[derive(Debug)]
pub(super) struct Dispatcher {
    queues: Vec<QueueState>,
}

#[derive(Debug)]
struct QueueState {
    kind: Option<WorkerKind>,
    lane: Lane,
    window: usize,
    /// Jobs in the queue or at work.
    outstanding: usize,
    /// Virtual time: that of the last unit that got a place.
    clock: u64,
    waiting: BTreeMap<Rank, Waiting>,
    shares: FxHashMap<u64, Share>,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    ready: Ready,
    share: u64,
}

/// What of one share waits.
#[derive(Debug, Clone, Copy)]
struct Share {
    waiting: usize,
    last: u64,
}

impl Dispatcher {
    pub(super) fn new() -> Self {
        let mut queues = Vec::new();
        let known = kinds()
            .iter()
            .map(|profile| (Some(profile.kind.clone()), profile.window));
        for (kind, window) in known.chain([(None, UNKNOWN_WINDOW)]) {
            for lane in Lane::ALL {
                queues.push(QueueState {
                    kind: kind.clone(),
                    lane,
                    window,
                    outstanding: 0,
                    clock: 0,
                    waiting: BTreeMap::new(),
                    shares: FxHashMap::default(),
                });
            }
        }
        Self { queues }
    }

    /// The number of a queue.
    pub(super) fn number(&self, queue: Queue) -> usize {
        let lane = usize::from(queue.lane == Lane::Bulk);
        (usize::from(queue.kind) * 2 + lane).min(self.queues.len() - 1)
    }

    fn queue(&self, queue: Queue) -> &QueueState {
        &self.queues[self.number(queue)]
    }

    fn queue_mut(&mut self, queue: Queue) -> &mut QueueState {
        let number = self.number(queue);
        &mut self.queues[number]
    }

    /// Takes a place at once if nobody waits and there is one.
    pub(super) fn try_take(&mut self, queue: Queue, held: HeldKinds) -> bool {
        let state = self.queue_mut(queue);
        let free = state.waiting.is_empty() && state.outstanding < state.window;
        if free && !held.contains(queue.kind) {
            state.outstanding += 1;
            return true;
        }
        false
    }

    /// A unit joins those that wait. Returns its virtual time.
    pub(super) fn join(&mut self, ready: Ready, share: &str, priority: i32, ticket: u64) -> u64 {
        let share = share_of(share);
        let state = self.queue_mut(ready.queue);
        let tag = match state.shares.get(&share) {
            Some(before) => before.last.saturating_add(1).max(state.clock),
            None => state.clock,
        };
        state.insert(ready, share, priority, tag, ticket);
        tag
    }

    /// A unit that waited before waits again, in its old place.
    pub(super) fn rejoin(&mut self, ready: Ready, share: &str, priority: i32, turn: Turn) {
        let share = share_of(share);
        let state = self.queue_mut(ready.queue);
        state.insert(ready, share, priority, turn.tag, turn.ticket);
    }

    /// A unit does not wait any more.
    pub(super) fn leave(&mut self, queue: Queue, priority: i32, turn: Turn) {
        let state = self.queue_mut(queue);
        state.remove(rank(priority, turn.tag, turn.ticket));
    }

    /// Whether a unit waits.
    pub(super) fn holds(&self, queue: Queue, priority: i32, turn: Turn) -> bool {
        let rank = rank(priority, turn.tag, turn.ticket);
        self.queue(queue).waiting.contains_key(&rank)
    }

    /// How many units are ahead of one that waits, those in the queue and at work included.
    pub(super) fn ahead(&self, queue: Queue, priority: i32, turn: Turn) -> u64 {
        let state = self.queue(queue);
        let before = state.waiting.range(..rank(priority, turn.tag, turn.ticket));
        (before.count() + state.outstanding) as u64
    }

    /// A job is not waited for any more. Returns the number of its queue if somebody waits for the
    /// place.
    pub(super) fn free(&mut self, queue: Queue) -> Option<usize> {
        let number = self.number(queue);
        let state = &mut self.queues[number];
        state.outstanding = state.outstanding.saturating_sub(1);
        (!state.waiting.is_empty()).then_some(number)
    }

    /// A job that was dispatched before a restart is still waited for.
    pub(super) fn occupy(&mut self, queue: Queue) {
        self.queue_mut(queue).outstanding += 1;
    }

    /// Gives the next place of a queue to whoever is first, if there is one.
    pub(super) fn next(&mut self, number: usize, held: HeldKinds) -> Option<Ready> {
        let state = self.queues.get_mut(number)?;
        let kind = u16::try_from(number / 2).unwrap_or(u16::MAX);
        if state.outstanding >= state.window || held.contains(kind) {
            return None;
        }
        let (rank, waiting) = state.waiting.first_key_value().map(|(r, w)| (*r, *w))?;
        state.remove(rank);
        state.clock = state.clock.max(rank.1);
        state.outstanding += 1;
        Some(waiting.ready)
    }

    /// The place was not needed after all.
    pub(super) fn give_back(&mut self, number: usize) {
        let state = &mut self.queues[number];
        state.outstanding = state.outstanding.saturating_sub(1);
    }

    /// The numbers of all queues.
    pub(super) fn numbers(&self) -> std::ops::Range<usize> {
        0..self.queues.len()
    }

    /// How many units wait.
    pub(super) fn waiting(&self) -> usize {
        self.queues.iter().map(|state| state.waiting.len()).sum()
    }

    pub(super) fn clocks(&self) -> Vec<(WorkerKind, Lane, u64)> {
        self.queues
            .iter()
            .filter(|state| state.clock > 0)
            .filter_map(|state| Some((state.kind.clone()?, state.lane, state.clock)))
            .collect()
    }

    pub(super) fn set_clocks(&mut self, clocks: &[(WorkerKind, Lane, u64)]) {
        for (kind, lane, clock) in clocks {
            let found = self
                .queues
                .iter_mut()
                .find(|state| state.kind.as_ref() == Some(kind) && state.lane == *lane);
            if let Some(state) = found {
                state.clock = *clock;
            }
        }
    }
}

impl QueueState {
    fn insert(&mut self, ready: Ready, share: u64, priority: i32, tag: u64, ticket: u64) {
        let place = rank(priority, tag, ticket);
        if self
            .waiting
            .insert(place, Waiting { ready, share })
            .is_some()
        {
            return;
        }
        let entry = self.shares.entry(share).or_insert(Share {
            waiting: 0,
            last: tag,
        });
        entry.waiting += 1;
        entry.last = entry.last.max(tag);
    }

    fn remove(&mut self, rank: Rank) {
        let Some(waiting) = self.waiting.remove(&rank) else {
            return;
        };
        let Some(share) = self.shares.get_mut(&waiting.share) else {
            return;
        };
        share.waiting -= 1;
        if share.waiting == 0 {
            self.shares.remove(&waiting.share);
        } else if share.last == rank.1 {
            // Exactly what a restart would find: the latest time among those that still wait.
            let of_share = self
                .waiting
                .iter()
                .filter(|(_, w)| w.share == waiting.share);
            if let Some(last) = of_share.map(|(rank, _)| rank.1).max() {
                share.last = last;
            }
        }
    }
}

const fn rank(priority: i32, tag: u64, ticket: u64) -> Rank {
    (-priority, tag, ticket)
}

fn share_of(name: &str) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(name.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use afu9_schemas::ExecutionId;

    use super::*;

    fn ready(number: u128) -> Ready {
        Ready {
            execution: ExecutionId::from_uuid(uuid::Uuid::from_u128(number)),
            step: 0,
            item: None,
            queue: Queue {
                kind: 0,
                lane: Lane::Bulk,
            },
        }
    }

    fn drain(dispatcher: &mut Dispatcher) -> Vec<u128> {
        let number = dispatcher.number(ready(0).queue);
        let mut order = Vec::new();
        while let Some(next) = dispatcher.next(number, HeldKinds::default()) {
            order.push(next.execution.as_uuid().as_u128());
            dispatcher.give_back(number);
        }
        order
    }

    #[test]
    fn a_share_with_many_units_delays_another_by_one() {
        let mut dispatcher = Dispatcher::new();
        for n in 0..1000 {
            dispatcher.join(ready(n), "noisy", 0, n as u64);
        }
        dispatcher.join(ready(5000), "quiet", 0, 1000);
        let order = drain(&mut dispatcher);
        let place = order.iter().position(|n| *n == 5000).expect("dispatched");
        assert_eq!(place, 1);
        assert_eq!(order.len(), 1001);
    }

    #[test]
    fn priorities_come_first_and_equals_in_order() {
        let mut dispatcher = Dispatcher::new();
        for (n, priority) in [(1, 0), (2, 5), (3, 0), (4, -5), (5, 5)] {
            dispatcher.join(ready(n), "one", priority, n as u64);
        }
        assert_eq!(drain(&mut dispatcher), [2, 5, 1, 3, 4]);
    }

    #[test]
    fn a_held_kind_gives_no_places() {
        let mut dispatcher = Dispatcher::new();
        let mut held = HeldKinds::default();
        held.insert(0);
        dispatcher.join(ready(1), "one", 0, 1);
        let number = dispatcher.number(ready(1).queue);
        assert_eq!(dispatcher.next(number, held), None);
        assert!(!dispatcher.try_take(ready(2).queue, held));
        assert!(dispatcher.next(number, HeldKinds::default()).is_some());
    }
}
