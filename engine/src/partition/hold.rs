//! Holds: nothing new begins in a scope until it is released.

use std::sync::Arc;

use afu9_schemas::message::{Control, ControlAction, ControlOutcome, HoldScope};
use afu9_schemas::tool::kind_index;
use afu9_schemas::view::{HoldView, PauseView};
use afu9_schemas::{ExecutionId, Timestamp};

use super::{Definitions, Live, PartitionState};
use crate::execution::{Cx, HeldKinds, Outbox, Ready};

impl PartitionState {
    pub(super) fn hold_or_release(&mut self, control: &Control, now: Timestamp, out: &mut Outbox) {
        let repeated = self.requests.repeated(control);
        let outcome = repeated.unwrap_or_else(|| {
            let outcome = self.change_holds(control, now);
            self.requests.note(control, &outcome, now);
            self.shared_dirty = true;
            outcome
        });
        if outcome == ControlOutcome::Applied {
            self.holds_changed(now, out);
        }
        crate::execution::answer(None, control, outcome, now, out);
    }

    fn change_holds(&mut self, control: &Control, now: Timestamp) -> ControlOutcome {
        match &control.action {
            ControlAction::Hold(scope) => {
                if self.holds.iter().any(|hold| hold.scope == *scope) {
                    return ControlOutcome::Unchanged;
                }
                self.holds.push(HoldView {
                    scope: scope.clone(),
                    pause: PauseView {
                        by: control.by.clone(),
                        reason: control.reason.clone(),
                        at: now,
                    },
                });
                ControlOutcome::Applied
            }
            ControlAction::Release(scope) => {
                let before = self.holds.len();
                self.holds.retain(|hold| hold.scope != *scope);
                if self.holds.len() == before {
                    ControlOutcome::Unchanged
                } else {
                    ControlOutcome::Applied
                }
            }
            _ => ControlOutcome::Unchanged,
        }
    }

    fn holds_changed(&mut self, now: Timestamp, out: &mut Outbox) {
        self.held = held_kinds(&self.holds);
        let mut affected: Vec<ExecutionId> = self
            .live
            .values()
            .filter(|live| self.wants_halt(live) != live.execution.is_halted())
            .map(|live| live.execution.id())
            .collect();
        // The order decides who joins which queue first, and a replay must decide the same.
        affected.sort_unstable();
        for id in affected {
            if let Some(live) = self.take(id) {
                self.settle(live, now, out);
            }
        }
        self.due_queues.extend(self.dispatcher.numbers());
    }

    /// Whether nothing new may begin in an execution.
    pub(super) fn wants_halt(&self, live: &Live) -> bool {
        live.execution.is_paused()
            || self.holds.iter().any(|hold| match &hold.scope {
                HoldScope::All => true,
                HoldScope::Workflow(name) => *name == live.execution.workflow().name,
                HoldScope::Kind(_) => false,
            })
    }

    /// Halts an execution, or lets it go on, as is wished now.
    pub(super) fn sync_halt(&mut self, live: &mut Live, now: Timestamp, out: &mut Outbox) {
        if live.execution.status().is_terminal() || live.stranded {
            return;
        }
        match (self.wants_halt(live), live.execution.is_halted()) {
            (true, false) => {
                live.execution.halt(now);
                self.leave_turns(live);
            }
            // It paused itself in the very input that is being folded.
            (true, true) => self.leave_turns(live),
            (false, true) => {
                self.rejoin_turns(live);
                let mut cx = Cx {
                    workflow: &live.workflow,
                    partition: self.partition,
                    now,
                    held: self.held,
                    out,
                };
                live.execution.unhalt(&mut cx);
            }
            (false, false) => {}
        }
    }

    fn leave_turns(&mut self, live: &Live) {
        let priority = live.execution.priority();
        for (step, _, turn) in live.execution.turns() {
            if let Some(queue) = live.execution.queue_of(step, &live.workflow) {
                self.dispatcher.leave(queue, priority, turn);
            }
        }
    }

    pub(super) fn rejoin_turns(&mut self, live: &Live) {
        let execution = &live.execution;
        for (step, item, turn) in execution.turns() {
            if let Some(queue) = execution.queue_of(step, &live.workflow) {
                let ready = Ready {
                    execution: execution.id(),
                    step,
                    item,
                    queue,
                };
                self.dispatcher
                    .rejoin(ready, execution.share(), execution.priority(), turn);
                self.due_queues.push(self.dispatcher.number(queue));
            }
        }
    }

    /// Finds the definition of an execution that was loaded without it; without one it ends. Returns
    /// whether it goes on.
    pub(super) fn adopt(
        &mut self,
        live: &mut Live,
        definitions: &Definitions,
        now: Timestamp,
        out: &mut Outbox,
    ) -> bool {
        let hash = live.execution.workflow().hash;
        if let Some(workflow) = definitions.get(&hash) {
            live.workflow = Arc::clone(workflow);
            live.stranded = false;
            self.index(live);
            return true;
        }
        let mut cx = Cx {
            workflow: &live.workflow,
            partition: self.partition,
            now,
            held: self.held,
            out,
        };
        live.execution.fail_without_definition(&mut cx);
        false
    }
}

pub(super) fn held_kinds(holds: &[HoldView]) -> HeldKinds {
    let mut held = HeldKinds::default();
    for hold in holds {
        if let HoldScope::Kind(kind) = &hold.scope
            && let Some(index) = kind_index(kind)
        {
            held.insert(u16::try_from(index).unwrap_or(u16::MAX));
        }
    }
    held
}
