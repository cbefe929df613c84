//! Ending badly: stopping what runs, undoing what was done, and the `onFailure` steps.
//!
//! ```text
//! failed ─▶ undo completed steps, the last one first ─▶ onFailure steps, one by one ─▶ end
//! cancelled ─▶ undo completed steps, the last one first ─────────────────────────────▶ end
//! ```
//!
//! Both run like any other steps: durable, with attempts, visible. One that fails does not keep the
//! others from running, and changes nothing about how the execution ends.

use afu9_schemas::error::{ErrorClass, StepError};
use afu9_schemas::message::{CancelNotice, HistoryKind};
use afu9_schemas::view::{ExecutionStatus, StepRole, StepStatus};

use super::advance::step_ended;
use super::step::Wait;
use super::{Cx, Effect, Ending, Execution};

impl Execution {
    /// Ends the execution by somebody's wish. Returns false if it is ending or has ended already.
    pub(super) fn cancel(&mut self, by: &str, reason: Option<&str>, cx: &mut Cx<'_>) -> bool {
        if self.status.is_terminal() || self.ending.is_some() {
            return false;
        }
        let why = reason.unwrap_or("no reason given");
        let error = StepError::new(
            ErrorClass::Cancelled,
            "execution.cancelled",
            format!("cancelled by {by}: {why}"),
        );
        self.stop(ExecutionStatus::Cancelled, error, cx);
        true
    }

    /// Ends the execution from outside, whatever its steps do.
    pub(crate) fn stop(&mut self, status: ExecutionStatus, error: StepError, cx: &mut Cx<'_>) {
        let had_begun = self.queued.take().is_none();
        if self.paused.take().is_some() && had_begun {
            self.status = ExecutionStatus::Running;
            self.record_status(None, None, cx);
        }
        let running = self.units().next().is_some();
        if running {
            cx.out.effects.push(Effect::CancelJobs(CancelNotice {
                execution: self.id,
                before: Some(cx.now),
            }));
        }
        for step in 0..cx.workflow.main {
            let step = u32::try_from(step).unwrap_or(u32::MAX);
            self.stop_step(step, &error, cx);
        }
        self.begin_ending(status, error, None, cx);
    }

    /// A step in progress fails; one that was not reached is skipped.
    fn stop_step(&mut self, step: u32, error: &StepError, cx: &mut Cx<'_>) {
        if self.steps[step as usize].status.is_terminal() {
            return;
        }
        if self.steps[step as usize].run.is_none() {
            // Should the execution be retried by hand, it is reached again.
            self.steps[step as usize].broken = true;
            self.reach(step, cx.now);
            self.end_step(step, StepStatus::Skipped, cx);
            return;
        }
        self.abandon(step, cx);
        self.stop_items(step, error, cx);
        if let Some(unit) = self.unit_mut(step, None) {
            unit.attempt_ended(Some(error), cx.now);
        }
        self.fail_step(step, error, cx);
        // Tolerated or not: should the execution be retried by hand, this is what is run again.
        self.steps[step as usize].broken = true;
    }

    /// What the units of a step wait for is not waited for any more.
    pub(super) fn abandon(&self, step: u32, cx: &mut Cx<'_>) {
        let Some(run) = &self.steps[step as usize].run else {
            return;
        };
        for (_, unit) in run.units() {
            match unit.wait {
                Some(Wait::Job { .. }) => self.free(step, cx),
                Some(Wait::Turn(turn)) => {
                    if let Some(queue) = self.queue_of(step, cx.workflow) {
                        cx.out.left.push((queue, turn));
                    }
                }
                Some(Wait::Child {
                    execution: Some(child),
                    ..
                }) => self.cancel_child(child, "the execution that runs it has ended", cx),
                _ => {}
            }
        }
    }

    /// How the execution ends is decided; what is left is to clean up.
    pub(super) fn begin_ending(
        &mut self,
        status: ExecutionStatus,
        error: StepError,
        step: Option<String>,
        cx: &mut Cx<'_>,
    ) {
        let mut done: Vec<(u32, u32)> = cx
            .workflow
            .numbered()
            .take(cx.workflow.main)
            .filter(|(index, _)| self.steps[*index as usize].status == StepStatus::Completed)
            .filter_map(|(index, node)| {
                let run = self.steps[index as usize].run.as_ref()?;
                // What was taken over was done by another execution, which it still serves.
                Some((run.ended_as, node.compensation.filter(|_| !run.kept)?))
            })
            .collect();
        done.sort_unstable();
        let mut left: Vec<u32> = Vec::new();
        if status == ExecutionStatus::Failed {
            let handlers = cx.workflow.numbered().rev();
            left.extend(
                handlers
                    .filter(|(_, node)| node.role == StepRole::OnFailure)
                    .map(|(index, _)| index),
            );
        }
        // The last one is taken first.
        left.extend(done.into_iter().map(|(_, undo)| undo));
        self.deadline = cx.now.plus(cx.workflow.definition.config.cleanup_timeout);
        // A halt that lasts longer puts the new deadline off by what is left of it, not by all of it.
        if let Some(since) = &mut self.halted_since {
            *since = cx.now;
        }
        self.ending = Some(Box::new(Ending {
            status,
            error,
            step,
            left,
            running: None,
        }));
        self.clean_up(cx);
    }

    /// Runs what is left to clean up, one after the other, and then ends.
    pub(super) fn clean_up(&mut self, cx: &mut Cx<'_>) {
        while let Some(ending) = &mut self.ending {
            if ending.running.is_some() {
                return;
            }
            if ending.left.is_empty() {
                let (status, error) = (ending.status, ending.error.clone());
                self.end(status, Some(error), cx);
                return;
            }
            if self.halted_since.is_some() {
                return;
            }
            let Some(step) = ending.left.pop() else {
                return;
            };
            ending.running = Some(step);
            self.begin_step(step, cx);
            if self.steps[step as usize].status.is_terminal() {
                self.note_cleaned_up(step, cx);
            }
        }
    }

    /// A step that cleans up has ended.
    pub(super) fn cleaned_up(&mut self, step: u32, cx: &mut Cx<'_>) {
        self.note_cleaned_up(step, cx);
        self.clean_up(cx);
    }

    fn note_cleaned_up(&mut self, step: u32, cx: &mut Cx<'_>) {
        let Some(ending) = &mut self.ending else {
            return;
        };
        if ending.running == Some(step) {
            ending.running = None;
        }
        let node = &cx.workflow.nodes[step as usize];
        let ended = self.steps[step as usize].status;
        match node.role {
            StepRole::Compensation if ended == StepStatus::Completed => {
                let undone = cx
                    .workflow
                    .numbered()
                    .find(|(_, owner)| owner.compensation == Some(step));
                if let Some((undone, _)) = undone {
                    self.mark_compensated(undone, cx);
                }
            }
            StepRole::Compensation => {
                let name = &node.name;
                let told = format!("`{name}` failed: what it should undo is still there");
                ending.error.chain.push(told);
            }
            // Handlers behind a failed one are not run: they may rest on it.
            StepRole::OnFailure if self.steps[step as usize].broken => {
                let left = std::mem::take(&mut ending.left);
                for handler in left.into_iter().rev() {
                    self.reach(handler, cx.now);
                    self.end_step(handler, StepStatus::Skipped, cx);
                }
            }
            StepRole::OnFailure | StepRole::Main => {}
        }
    }

    fn mark_compensated(&mut self, step: u32, cx: &mut Cx<'_>) {
        let node = &cx.workflow.nodes[step as usize];
        self.steps[step as usize].status = StepStatus::Compensated;
        let ended = step_ended(step, node, &self.steps[step as usize], cx.now);
        self.record(HistoryKind::StepEnded(Box::new(ended)), cx);
    }

    /// Cleaning up took too long: what is left is not done, and the execution ends and says so.
    pub(super) fn clean_up_out_of_time(&mut self, cx: &mut Cx<'_>) {
        if self.waits_for_held_turn(cx) {
            self.deadline = cx.now.plus(cx.workflow.definition.config.cleanup_timeout);
            return;
        }
        let Some(mut ending) = self.ending.take() else {
            return;
        };
        let error = StepError::new(
            ErrorClass::Timeout,
            "cleanup.timeout",
            "cleaning up did not end in time (config.cleanupTimeoutMs)",
        );
        cx.out.effects.push(Effect::CancelJobs(CancelNotice {
            execution: self.id,
            before: Some(cx.now),
        }));
        if let Some(step) = ending.running.take() {
            self.stop_step(step, &error, cx);
        }
        for step in std::mem::take(&mut ending.left).into_iter().rev() {
            self.reach(step, cx.now);
            self.end_step(step, StepStatus::Skipped, cx);
        }
        ending.error.chain.push(error.message);
        self.end(ending.status, Some(ending.error), cx);
    }
}
