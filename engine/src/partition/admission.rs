//! Letting executions begin that wait for a key.

use afu9_schemas::message::{ControlOutcome, HoldScope};
use afu9_schemas::{ExecutionId, Timestamp};

use super::{Live, PartitionState};
use crate::execution::Outbox;

/// What an execution that is first waits for.
pub(super) enum Verdict {
    Begin,
    /// Nothing but the end of another one.
    Wait,
    Until(Timestamp),
}

impl PartitionState {
    /// Lets executions with the key begin for which there is room; the first for which there is none
    /// is woken when there may be.
    pub(super) fn admit(&mut self, key: &str, now: Timestamp, out: &mut Outbox) {
        while let Some(id) = self.first_waiting(key) {
            match self.verdict(key, id, now) {
                Verdict::Wait => {
                    self.wake_at(id, None);
                    return;
                }
                Verdict::Until(at) => {
                    self.wake_at(id, Some(at));
                    return;
                }
                Verdict::Begin => {
                    let Some(mut live) = self.take(id) else {
                        return;
                    };
                    self.leave_queue(key, &live);
                    self.begin(Some(key), &mut live, now, out);
                    self.settle(live, now, out);
                }
            }
        }
    }

    /// The first of those that wait for the key and are not halted.
    pub(super) fn first_waiting(&self, key: &str) -> Option<ExecutionId> {
        if self.holds_whole_key(key) {
            return None;
        }
        let waiting = &self.keys.get(key)?.waiting;
        waiting.iter().map(|(_, _, id)| *id).find(|id| {
            self.live
                .get(id)
                .is_some_and(|live| !live.execution.is_halted())
        })
    }

    /// Whether everybody who waits for the key is held. Each that joins them asks who is first, and a
    /// hold may last until thousands have.
    fn holds_whole_key(&self, key: &str) -> bool {
        self.holds.iter().any(|hold| match &hold.scope {
            HoldScope::All => true,
            HoldScope::Workflow(name) => key
                .strip_prefix(name.as_str())
                .is_some_and(|rest| rest.starts_with(':')),
            HoldScope::Kind(_) => false,
        })
    }

    pub(super) fn verdict(&self, key: &str, id: ExecutionId, now: Timestamp) -> Verdict {
        let (Some(live), Some(state)) = (self.live.get(&id), self.keys.get(key)) else {
            return Verdict::Wait;
        };
        let flow = &live.workflow.definition.flow;
        if let Some(concurrency) = flow.concurrency
            && state.holders.len() >= concurrency.limit as usize
        {
            return Verdict::Wait;
        }
        let quiet_until = live
            .execution
            .queued()
            .and_then(|queued| queued.quiet_until);
        if let Some(until) = quiet_until.filter(|until| *until > now) {
            return Verdict::Until(until);
        }
        if let Some(rate) = flow.rate {
            let at = self.keys.allowed_at(key, rate);
            if at > now {
                return Verdict::Until(at);
            }
        }
        Verdict::Begin
    }

    fn wake_at(&mut self, id: ExecutionId, at: Option<Timestamp>) {
        let armed = self.live.get(&id).is_some_and(|live| {
            live.execution.queued().map(|queued| queued.not_before) == Some(at) && live.wake == at
        });
        if armed {
            return;
        }
        if let Some(mut live) = self.take(id) {
            if let Some(queued) = live.execution.queued_mut() {
                queued.not_before = at;
            }
            self.dirty.insert(id);
            self.keep(live);
        }
    }

    fn leave_queue(&mut self, key: &str, live: &Live) {
        let place = live.execution.place_before_key();
        self.keys.leave(key, live.execution.id(), place);
    }

    /// An execution that has ended gives its key, or its place before it, back.
    pub(super) fn leave_key(&mut self, live: &Live) {
        let Some(key) = live.execution.key() else {
            return;
        };
        let key = key.to_owned();
        let place = live.execution.place_before_key();
        self.keys.leave(&key, live.execution.id(), place);
        self.due_keys.push(key);
    }

    /// Why a failed execution cannot have its key again now.
    pub(super) fn key_taken(&self, live: &Live) -> Option<ControlOutcome> {
        let key = live.execution.key()?;
        let limit = live.workflow.definition.flow.concurrency?.limit as usize;
        let state = self.keys.get(key)?;
        if state.holders.len() < limit {
            return None;
        }
        let holder = state.holders.first()?;
        Some(ControlOutcome::refused(
            "retry.key_taken",
            format!("execution {holder} has the concurrency key now; retry when it has ended"),
        ))
    }
}
