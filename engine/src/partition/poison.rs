//! Inputs that bring down whoever folds them: folded one by one to find them, then set aside.
//!
//! A poisonous input changes nothing by itself any more. Whoever waits for it is told: an execution that
//! it was for fails, because it would wait for ever otherwise.

use afu9_schemas::error::{ErrorClass, StepError};
use afu9_schemas::message::{ControlOutcome, Input, InputKind, Start};
use afu9_schemas::view::ExecutionStatus;
use afu9_schemas::{ExecutionId, Timestamp};

use super::{Definitions, Live, PartitionState};
use crate::execution::{Cx, Effect, Execution, Outbox};
use crate::workflow::Workflow;

/// The code of what an input that was set aside has done to others.
pub const POISON: &str = "input.poison";

/// What becomes of a poisonous input. Each is for when the one before brings its owner down as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Its execution fails as by any other error: what was done is undone, and `onFailure` runs.
    Fail,
    /// Its execution ends at once, and nothing of it is looked at any more.
    End,
    /// It is passed over.
    Ignore,
}

impl PartitionState {
    /// Begins to fold a message input by input, as [`Self::fold`] does it at once. Returns false if it
    /// was folded before: then nothing of it must be folded.
    pub fn begin_message(
        &mut self,
        sequence: u64,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> bool {
        if !self.open(sequence, now) {
            return false;
        }
        let mut out = outbox(effects);
        self.flow(now, &mut out);
        *effects = out.effects;
        true
    }

    /// Folds input `number` of the message that was begun.
    pub fn fold_one(
        &mut self,
        number: u32,
        input: Input,
        definitions: &Definitions,
        effects: &mut Vec<Effect>,
    ) {
        let mut out = outbox(effects);
        self.fold_next(number, input, definitions, &mut out);
        *effects = out.effects;
    }

    /// Which input was begun last: position of its message, and its number in it. Right also after a
    /// panic, when nothing else here is.
    pub fn folding(&self) -> (u64, u32) {
        (self.floor, self.folding)
    }

    /// Passes over input `number` of the message that was begun, and tells those who wait for it `why`.
    pub fn set_aside(
        &mut self,
        number: u32,
        input: &Input,
        remedy: Remedy,
        why: &str,
        effects: &mut Vec<Effect>,
    ) {
        self.folding = number;
        // What comes late or twice would change nothing anyway.
        if remedy == Remedy::Ignore || !self.is_awaited(input) {
            return;
        }
        let (id, now) = (input.execution, self.last_at);
        let mut out = outbox(effects);
        match &input.kind {
            InputKind::Control(control) => {
                let about = Some(id).filter(|id| *id != ExecutionId::NONE);
                let refused = ControlOutcome::refused(POISON, why);
                crate::execution::answer(about, control, refused, now, &mut out);
            }
            // The execution does not wait for it, and goes on.
            InputKind::Cancel(_) => {}
            InputKind::Start(start) => self.refuse_start(id, start, remedy, why, &mut out),
            InputKind::JobResult(_)
            | InputKind::Wake { .. }
            | InputKind::ChildResolved(_)
            | InputKind::ChildEnded(_) => self.break_off(id, remedy, why, &mut out),
        }
        self.flow(now, &mut out);
        *effects = out.effects;
    }

    fn refuse_start(
        &mut self,
        id: ExecutionId,
        start: &Start,
        remedy: Remedy,
        why: &str,
        out: &mut Outbox,
    ) {
        self.counters.started += 1;
        let mut start = start.clone();
        if remedy == Remedy::End {
            start.input = serde_json::Value::Null;
            start.rerun = None;
        }
        let (partition, now) = (self.partition, self.last_at);
        let execution = Execution::refused(id, start, poisoned(why), partition, now, out);
        let mut live = Live::new(execution, Workflow::none());
        live.stranded = true;
        self.settle(live, now, out);
    }

    fn break_off(&mut self, id: ExecutionId, remedy: Remedy, why: &str, out: &mut Outbox) {
        let Some(mut live) = self.take(id) else {
            return;
        };
        let now = self.last_at;
        let mut cx = Cx {
            workflow: &live.workflow,
            partition: self.partition,
            now,
            held: self.held,
            out,
        };
        if remedy == Remedy::Fail && !live.stranded && !live.execution.is_ending() {
            let failed = ExecutionStatus::Failed;
            live.execution.supersede(failed, poisoned(why), &mut cx);
        } else {
            live.execution.cut_short(poisoned(why), &mut cx);
        }
        self.settle(live, now, out);
    }

    /// Whether the input is one that changes something.
    pub(super) fn is_awaited(&self, input: &Input) -> bool {
        let id = input.execution;
        match &input.kind {
            InputKind::Start(_) => {
                let is_known = self.live.contains_key(&id) || self.retained.get(id).is_some();
                !is_known && !self.recent.has_ended(id)
            }
            InputKind::Control(_) | InputKind::Cancel(_) => true,
            _ => self
                .live
                .get(&id)
                .is_some_and(|live| live.execution.awaits_input(&input.kind)),
        }
    }

    /// Has `fault` called before each input is folded.
    #[cfg(feature = "testing")]
    pub fn set_fault(&mut self, fault: Option<fn(&Input)>) {
        self.fault = fault;
    }
}

fn outbox(effects: &mut Vec<Effect>) -> Outbox {
    Outbox {
        effects: std::mem::take(effects),
        ..Outbox::default()
    }
}

fn poisoned(why: &str) -> StepError {
    StepError::new(ErrorClass::Permanent, POISON, why)
}
