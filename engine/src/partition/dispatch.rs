//! The queue before the queue: which unit gets the next place in the queue of a worker kind.
//!
//! A queue takes in a bounded number of jobs of each partition (its *window*); the rest waits here,
//! where it can still be shared out. Units wait by priority, and within a priority by start-time fair
//! queueing: each *share* (a concurrency key, or a workflow) has a virtual clock that advances by
//! one with each of its units, and the unit with the earliest time is next. So a share with ten
//! thousand units delays one that comes later by one unit, not by ten thousand. Each priority has a
//! clock of its own: what higher ones have had does not count against a share that comes late.
//!
//! Everything follows from what the units themselves and the clocks say, so that an owner that begins
//! with a checkpoint decides as the one before it would have.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;

use afu9_schemas::tool::kinds;
use afu9_schemas::{Lane, WorkerKind};
use rustc_hash::{FxHashMap, FxHasher};

use crate::execution::{HeldKinds, Queue, Ready, Turn};

/// The window of a kind this build does not know: such a job is refused by its queue.
const UNKNOWN_WINDOW: usize = 16;

/// The order of units of one priority: by virtual time, then as they came.
type Rank = (u64, u64);

/// How far a queue has come in virtual time at one priority.
type Clock = (WorkerKind, Lane, i32, u64);

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
    /// Higher priorities first.
    levels: BTreeMap<Reverse<i32>, Level>,
}

/// The units of one priority.
#[derive(Debug, Default)]
struct Level {
    /// Virtual time: that of the last unit that got a place.
    clock: u64,
    waiting: BTreeMap<Rank, Waiting>,
    /// What of each share waits.
    shares: FxHashMap<u64, BTreeSet<Rank>>,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    ready: Ready,
    share: u64,
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
                    levels: BTreeMap::new(),
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
        let free = !state.has_waiting() && state.outstanding < state.window;
        if free && !held.contains(queue.kind) {
            state.outstanding += 1;
            return true;
        }
        false
    }

    /// A unit joins those that wait. Returns its virtual time.
    pub(super) fn join(&mut self, ready: Ready, share: &str, priority: i32, ticket: u64) -> u64 {
        let share = share_of(share);
        let level = self.queue_mut(ready.queue).level(priority);
        let before = level.shares.get(&share).and_then(BTreeSet::last);
        let tag = match before {
            Some((last, _)) => last.saturating_add(1).max(level.clock),
            None => level.clock,
        };
        level.insert((tag, ticket), ready, share);
        tag
    }

    /// A unit that waited before waits again, in its old place.
    pub(super) fn rejoin(&mut self, ready: Ready, share: &str, priority: i32, turn: Turn) {
        let level = self.queue_mut(ready.queue).level(priority);
        level.insert((turn.tag, turn.ticket), ready, share_of(share));
    }

    /// A unit does not wait any more.
    pub(super) fn leave(&mut self, queue: Queue, priority: i32, turn: Turn) {
        let level = self.queue_mut(queue).level(priority);
        level.remove((turn.tag, turn.ticket));
    }

    /// Whether a unit waits.
    pub(super) fn holds(&self, queue: Queue, priority: i32, turn: Turn) -> bool {
        let level = self.queue(queue).levels.get(&Reverse(priority));
        level.is_some_and(|level| level.waiting.contains_key(&(turn.tag, turn.ticket)))
    }

    /// How many units are ahead of one that waits, those in the queue and at work included.
    pub(super) fn ahead(&self, queue: Queue, priority: i32, turn: Turn) -> u64 {
        let state = self.queue(queue);
        let higher = state.levels.range(..Reverse(priority));
        let higher: usize = higher.map(|(_, level)| level.waiting.len()).sum();
        let same = state.levels.get(&Reverse(priority)).map_or(0, |level| {
            level.waiting.range(..(turn.tag, turn.ticket)).count()
        });
        (higher + same + state.outstanding) as u64
    }

    /// A job is not waited for any more. Returns the number of its queue if somebody waits for the
    /// place.
    pub(super) fn free(&mut self, queue: Queue) -> Option<usize> {
        let number = self.number(queue);
        let state = &mut self.queues[number];
        state.outstanding = state.outstanding.saturating_sub(1);
        state.has_waiting().then_some(number)
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
        let mut levels = state.levels.values_mut();
        let level = levels.find(|level| !level.waiting.is_empty())?;
        let (rank, waiting) = level.waiting.first_key_value().map(|(r, w)| (*r, *w))?;
        level.remove(rank);
        level.clock = level.clock.max(rank.0);
        state.outstanding += 1;
        Some(waiting.ready)
    }

    /// The place was not needed after all.
    pub(super) fn give_back(&mut self, number: usize) {
        let state = &mut self.queues[number];
        state.outstanding = state.outstanding.saturating_sub(1);
    }

    /// Sets how many jobs of each queue are waited for. Returns the numbers of the queues that had
    /// another one.
    pub(super) fn set_outstanding(&mut self, counted: &[usize]) -> Vec<usize> {
        let mut wrong = Vec::new();
        for (number, (state, counted)) in self.queues.iter_mut().zip(counted).enumerate() {
            if state.outstanding != *counted {
                state.outstanding = *counted;
                wrong.push(number);
            }
        }
        wrong
    }

    /// The numbers of all queues.
    pub(super) fn numbers(&self) -> std::ops::Range<usize> {
        0..self.queues.len()
    }

    /// How many units wait.
    pub(super) fn waiting(&self) -> usize {
        let levels = self.queues.iter().flat_map(|state| state.levels.values());
        levels.map(|level| level.waiting.len()).sum()
    }

    pub(super) fn clocks(&self) -> Vec<Clock> {
        let mut clocks = Vec::new();
        for state in &self.queues {
            let Some(kind) = &state.kind else { continue };
            let levels = state.levels.iter().filter(|(_, level)| level.clock > 0);
            clocks.extend(
                levels.map(|(priority, level)| (kind.clone(), state.lane, priority.0, level.clock)),
            );
        }
        clocks
    }

    pub(super) fn set_clocks(&mut self, clocks: &[Clock]) {
        for (kind, lane, priority, clock) in clocks {
            let found = self
                .queues
                .iter_mut()
                .find(|state| state.kind.as_ref() == Some(kind) && state.lane == *lane);
            if let Some(state) = found {
                state.level(*priority).clock = *clock;
            }
        }
    }
}

impl QueueState {
    fn level(&mut self, priority: i32) -> &mut Level {
        self.levels.entry(Reverse(priority)).or_default()
    }

    fn has_waiting(&self) -> bool {
        self.levels.values().any(|level| !level.waiting.is_empty())
    }
}

impl Level {
    fn insert(&mut self, rank: Rank, ready: Ready, share: u64) {
        self.waiting.insert(rank, Waiting { ready, share });
        self.shares.entry(share).or_default().insert(rank);
    }

    fn remove(&mut self, rank: Rank) {
        let Some(waiting) = self.waiting.remove(&rank) else {
            return;
        };
        if let Some(share) = self.shares.get_mut(&waiting.share) {
            share.remove(&rank);
            if share.is_empty() {
                self.shares.remove(&waiting.share);
            }
        }
    }
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
    fn what_higher_priorities_have_had_does_not_count_against_a_share_that_comes_late() {
        let mut dispatcher = Dispatcher::new();
        for n in 0..1000 {
            dispatcher.join(ready(n), "batch", 0, n as u64);
            dispatcher.join(ready(10_000 + n), "urgent", 10, 1000 + n as u64);
        }
        let number = dispatcher.number(ready(0).queue);
        for _ in 0..1000 {
            let urgent = dispatcher.next(number, HeldKinds::default());
            assert!(urgent.is_some_and(|next| next.execution.as_uuid().as_u128() >= 10_000));
            dispatcher.give_back(number);
        }
        dispatcher.join(ready(5000), "quiet", 0, 5000);
        let place = drain(&mut dispatcher).iter().position(|n| *n == 5000);
        assert_eq!(place, Some(1));
    }

    #[test]
    fn a_successor_that_is_told_the_clocks_gives_the_same_places() {
        let mut dispatcher = Dispatcher::new();
        let mut turns = Vec::new();
        let number = dispatcher.number(ready(0).queue);
        for n in 0..100_u128 {
            let priority = i32::try_from(n % 3).expect("small");
            let share = ["a", "b", "c", "d"][(n % 4) as usize];
            let tag = dispatcher.join(ready(n), share, priority, n as u64);
            let turn = Turn {
                tag,
                ticket: n as u64,
                since: afu9_schemas::Timestamp::default(),
            };
            turns.push((n, share, priority, turn));
        }
        for _ in 0..40 {
            let next = dispatcher
                .next(number, HeldKinds::default())
                .expect("one waits");
            turns.retain(|(n, ..)| *n != next.execution.as_uuid().as_u128());
            dispatcher.give_back(number);
        }
        let mut successor = Dispatcher::new();
        successor.set_clocks(&dispatcher.clocks());
        for (n, share, priority, turn) in turns.into_iter().rev() {
            successor.rejoin(ready(n), share, priority, turn);
        }
        for both in [&mut dispatcher, &mut successor] {
            both.join(ready(500), "late", 1, 500);
            both.join(ready(501), "a", 1, 501);
        }
        assert_eq!(drain(&mut successor), drain(&mut dispatcher));
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
