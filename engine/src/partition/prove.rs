//! The prover: every live execution waits for something that will come.
//!
//! What an execution waits for is in itself; that it is also in the partition's indexes (of wakes, of
//! keys, of turns) is an invariant of this code. The prover checks it all the same, for ever: it
//! mends an index that lacks something, and lets an execution that waits for nothing be woken.

use std::time::Duration;

use afu9_schemas::{ExecutionId, Timestamp};

use super::PartitionState;
use super::admission::Verdict;
use crate::execution::Wait;

/// How long, by the log's clock, a wake may be on its way.
const WAKE_PATIENCE: Duration = Duration::from_secs(60);

/// What the prover found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proof {
    /// Executions that were looked at.
    pub checked: u64,
    /// Indexes that lacked something and were mended.
    pub repaired: u64,
    /// Executions that waited for nothing.
    pub orphans: Vec<ExecutionId>,
    /// Every live execution has been looked at since the last time this was true.
    pub round_ended: bool,
}

impl PartitionState {
    /// Looks at no more than `most` executions, and goes on there the next time.
    pub fn prove(&mut self, most: usize, now: Timestamp) -> Proof {
        let mut proof = Proof::default();
        if self.proved.is_empty() {
            self.proved = self.live.keys().copied().collect();
        }
        for _ in 0..most {
            let Some(id) = self.proved.pop_front() else {
                break;
            };
            self.prove_one(id, now, &mut proof);
        }
        proof.round_ended = self.proved.is_empty();
        // Counting all of them takes a look at all executions at once.
        if proof.round_ended && self.live.len() <= most {
            proof.repaired += self.mend_places();
        }
        proof
    }

    fn prove_one(&mut self, id: ExecutionId, now: Timestamp, proof: &mut Proof) {
        let Some(live) = self.live.get(&id) else {
            return;
        };
        proof.checked += 1;
        if live.stranded {
            return;
        }
        if !live.execution.has_cause() {
            proof.orphans.push(id);
            self.wake_now(id);
            return;
        }
        // It was mended already, and is to be woken at once.
        let is_due = live.wake == Some(Timestamp::default());
        let idle_halt = !is_due && live.execution.is_halted() && !self.wants_halt(live);
        let missing_turn = !live.execution.is_halted() && self.lacks_turn(id);
        let Some(live) = self.live.get(&id) else {
            return;
        };
        let wake = live.execution.next_wake();
        // None while its wake is being published.
        let wrong_wake = live
            .wake
            .is_some_and(|at| !(is_due || Some(at) == wake) || !self.wakes.contains(&(at, id)));
        let missing_place = match (live.execution.queued(), live.execution.key()) {
            (Some(queued), Some(key)) => self.keys.get(key).is_none_or(|state| {
                let place = (-live.execution.priority(), queued.ticket, id);
                !state.waiting.contains(&place)
            }),
            _ => false,
        };
        // The log's clock stands still while nothing comes.
        let now = now.max(self.last_at);
        let lost_wake = live.wake.is_none() && wake.is_some_and(|at| at.plus(WAKE_PATIENCE) < now);
        let free_key = !is_due && self.is_first_of_free_key(id);
        if !(missing_turn || wrong_wake || missing_place || idle_halt || lost_wake || free_key) {
            return;
        }
        proof.repaired += 1;
        if let Some(live) = self.take(id) {
            if missing_turn {
                self.rejoin_turns(&live);
            }
            if let (true, Some(queued), Some(key)) =
                (missing_place, live.execution.queued(), live.execution.key())
            {
                let key = key.to_owned();
                let (priority, ticket) = (live.execution.priority(), queued.ticket);
                self.keys.wait(&key, priority, ticket, id);
            }
            self.keep(live);
        }
        self.wake_now(id);
    }

    /// Whether the execution waits for a key that it could have at once.
    fn is_first_of_free_key(&self, id: ExecutionId) -> bool {
        let Some(live) = self.live.get(&id) else {
            return false;
        };
        match (live.execution.queued(), live.execution.key()) {
            // With an instant to wait for, that is what lets it begin.
            (Some(queued), Some(key)) if queued.not_before.is_none() => {
                self.first_waiting(key) == Some(id)
                    && matches!(self.verdict(key, id, self.last_at), Verdict::Begin)
            }
            _ => false,
        }
    }

    /// Places in queues that nobody has any more are given back. Returns how many queues had some.
    fn mend_places(&mut self) -> u64 {
        let mut counted = vec![0; self.dispatcher.numbers().len()];
        for live in self.live.values().filter(|live| !live.stranded) {
            for (step, _, unit) in live.execution.units() {
                if matches!(unit.wait, Some(Wait::Job { .. }))
                    && let Some(queue) = live.execution.queue_of(step, &live.workflow)
                {
                    counted[self.dispatcher.number(queue)] += 1;
                }
            }
        }
        let mended = self.dispatcher.set_outstanding(&counted);
        self.due_queues.extend(&mended);
        mended.len() as u64
    }

    fn lacks_turn(&self, id: ExecutionId) -> bool {
        let Some(live) = self.live.get(&id) else {
            return false;
        };
        let priority = live.execution.priority();
        live.execution.turns().any(|(step, _, turn)| {
            live.execution
                .queue_of(step, &live.workflow)
                .is_some_and(|queue| !self.dispatcher.holds(queue, priority, turn))
        })
    }

    /// Lets the execution be woken at once: whatever comes of that is decided by an input.
    fn wake_now(&mut self, id: ExecutionId) {
        if let Some(mut live) = self.take(id) {
            live.wake = Some(Timestamp::default());
            self.wakes.insert((Timestamp::default(), id));
            self.put(live);
        }
    }
}
