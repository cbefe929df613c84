//! Wishes: what people and programs want changed, and whether it is possible now.

use afu9_schemas::message::{
    Control, ControlAction, ControlOutcome, ControlRecord, HistoryEvent, HistoryKind,
};
use afu9_schemas::view::{ExecutionStatus, PauseView};
use afu9_schemas::{ExecutionId, Timestamp};

use super::reopen::Wanted;
use super::{Applied, Cx, Effect, Execution, Ignored, Outbox};

impl Execution {
    /// Carries out a wish, answers it, and puts it on record.
    pub(super) fn control(&mut self, control: &Control, cx: &mut Cx<'_>) -> Applied {
        let outcome = self.repeated(control).unwrap_or_else(|| {
            let outcome = self.carry_out(control, cx);
            self.note_request(control, &outcome, cx.now);
            outcome
        });
        let applied = outcome == ControlOutcome::Applied;
        answer(Some(self.id), control, outcome, cx.now, cx.out);
        if applied {
            Applied::Changed
        } else {
            Applied::Ignored(Ignored::Wish)
        }
    }

    fn carry_out(&mut self, control: &Control, cx: &mut Cx<'_>) -> ControlOutcome {
        let terminal = self.status.is_terminal();
        match &control.action {
            ControlAction::Retry {
                step,
                params,
                failed,
            } => {
                let wanted = Wanted {
                    step: step.as_deref(),
                    params: params.as_ref(),
                    failed: failed.as_ref(),
                };
                self.reopen(wanted, control, cx)
            }
            ControlAction::Cancel if self.status == ExecutionStatus::Cancelled => {
                ControlOutcome::Unchanged
            }
            _ if terminal => ControlOutcome::refused(
                "execution.ended",
                format!("the execution has ended: it is {}", self.status.as_str()),
            ),
            ControlAction::Cancel => {
                if self.cancel(&control.by, control.reason.as_deref(), cx) {
                    return ControlOutcome::Applied;
                }
                let ending = self.ending.as_ref().map(|ending| ending.status);
                if ending == Some(ExecutionStatus::Cancelled) {
                    ControlOutcome::Unchanged
                } else {
                    ControlOutcome::refused(
                        "execution.ending",
                        "the execution has failed and cleans up; it ends when that is done",
                    )
                }
            }
            ControlAction::Pause => self.pause(control, cx),
            ControlAction::Resume => self.resume(control, cx),
            ControlAction::Signal { name, payload } => self.signal(name, payload, cx),
            ControlAction::Decide { step, decision } => self.decide(step, *decision, control, cx),
            // The partition has the definitions, and asks for these by itself; workflows and schedules
            // are switched where they are kept; others are no inputs.
            ControlAction::Move { .. }
            | ControlAction::Hold(_)
            | ControlAction::Release(_)
            | ControlAction::Disable(_)
            | ControlAction::Enable(_)
            | ControlAction::PauseSchedule(_)
            | ControlAction::ResumeSchedule(_)
            | ControlAction::Rerun { .. }
            | ControlAction::Replay(_)
            | ControlAction::Discard(_)
            | ControlAction::Apply { .. } => {
                ControlOutcome::refused("control.misplaced", "this is not for an execution")
            }
        }
    }

    fn pause(&mut self, control: &Control, cx: &mut Cx<'_>) -> ControlOutcome {
        if self.paused.is_some() {
            return ControlOutcome::Unchanged;
        }
        self.paused = Some(PauseView {
            by: control.by.clone(),
            reason: control.reason.clone(),
            at: cx.now,
        });
        self.status = ExecutionStatus::Paused;
        self.halt(cx.now);
        self.record_status(Some(&control.by), control.reason.as_deref(), cx);
        ControlOutcome::Applied
    }

    /// The partition ends the halt, unless something else holds the execution.
    fn resume(&mut self, control: &Control, cx: &mut Cx<'_>) -> ControlOutcome {
        if self.paused.take().is_none() {
            return ControlOutcome::refused(
                "execution.not_paused",
                format!(
                    "the execution is not paused: it is {}",
                    self.status.as_str()
                ),
            );
        }
        self.status = match self.queued {
            Some(_) => ExecutionStatus::Pending,
            None => ExecutionStatus::Running,
        };
        self.record_status(Some(&control.by), control.reason.as_deref(), cx);
        ControlOutcome::Applied
    }

    /// Whether it was paused by itself, rather than held with others.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// Notes what came of a wish.
    pub(crate) fn note_request(
        &mut self,
        control: &Control,
        outcome: &ControlOutcome,
        now: Timestamp,
    ) {
        self.requests.note(control, outcome, now);
    }

    /// What to answer a wish that was answered before.
    pub(crate) fn repeated(&self, control: &Control) -> Option<ControlOutcome> {
        self.requests.repeated(control)
    }
}

/// Answers a wish and puts it on record.
pub(crate) fn answer(
    execution: Option<ExecutionId>,
    control: &Control,
    outcome: ControlOutcome,
    now: Timestamp,
    out: &mut Outbox,
) {
    if let Some(to) = &control.reply_to {
        out.effects.push(Effect::Answer {
            to: to.clone(),
            outcome: outcome.clone(),
        });
    }
    let record = ControlRecord {
        execution,
        control: Control {
            reply_to: None,
            ..control.clone()
        },
        outcome,
    };
    out.effects.push(Effect::History(Box::new(HistoryEvent {
        execution: None,
        number: 0,
        at: now,
        kind: HistoryKind::Controlled(Box::new(record)),
    })));
}
