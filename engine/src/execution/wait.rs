//! Steps that wait: for people, for signals, for instants; and what happens when a wait is over.

use std::time::Duration;

use afu9_schemas::Timestamp;
use afu9_schemas::definition::{Decision, OnTimeout};
use afu9_schemas::error::{ErrorClass, StepError};
use afu9_schemas::message::{Control, ControlOutcome};
use afu9_schemas::view::{DecisionView, StepStatus};
use serde_json::{Value, json};

use super::step::Wait;
use super::{Cx, Execution, MAX_SIGNALS, Signal, weight};
use crate::expression::Template;
use crate::workflow::NodeAction;
use crate::workflow::sleep::{duration_of, instant_of};
use afu9_schemas::artifact::{MAX_INLINE_BYTES, json_size};

/// How far away the end of a sleep may be.
const MAX_SLEEP_UNTIL: Duration = Duration::from_secs(3660 * 24 * 3600);

/// Longest message shown to deciders, in bytes.
const MAX_MESSAGE_BYTES: usize = 4096;

impl Execution {
    fn wait(&mut self, step: u32, wait: Wait) {
        self.set_wait(step, None, wait);
        self.set_status(step, StepStatus::Waiting);
    }

    fn wait_end(step: u32, cx: &Cx<'_>) -> Option<Timestamp> {
        let timeout = cx.workflow.nodes[step as usize].timeout;
        timeout.map(|timeout| cx.now.plus(timeout))
    }

    pub(super) fn begin_sleep_for(&mut self, step: u32, length: &Template, cx: &mut Cx<'_>) {
        let rendered = self.render(step, None, "sleep.for", length, cx);
        let length = rendered.and_then(|value| {
            duration_of(&value).map_err(|why| {
                StepError::new(
                    ErrorClass::Permanent,
                    "sleep.invalid",
                    format!("sleep.for: {why}"),
                )
            })
        });
        match length {
            Ok(length) => self.sleep_until(step, cx.now.plus(length), cx),
            Err(error) => self.fail_step(step, &error, cx),
        }
    }

    pub(super) fn begin_sleep_until(&mut self, step: u32, instant: &Template, cx: &mut Cx<'_>) {
        let rendered = self.render(step, None, "sleep.until", instant, cx);
        let latest = cx.now.plus(MAX_SLEEP_UNTIL);
        let instant = rendered.and_then(|value| {
            instant_of(&value)
                .filter(|instant| *instant <= latest)
                .ok_or_else(|| {
                    StepError::new(
                        ErrorClass::Permanent,
                        "sleep.invalid",
                        "sleep.until must be an RFC 3339 instant, or milliseconds since 1970, \
                         within the next 3660 days",
                    )
                })
        });
        match instant {
            Ok(instant) => self.sleep_until(step, instant, cx),
            Err(error) => self.fail_step(step, &error, cx),
        }
    }

    fn sleep_until(&mut self, step: u32, until: Timestamp, cx: &mut Cx<'_>) {
        if until <= cx.now {
            self.slept(step, until, cx);
        } else {
            self.wait(step, Wait::Timer { until });
        }
    }

    /// Ends the step in place: whoever began it goes on behind it.
    fn slept(&mut self, step: u32, until: Timestamp, cx: &mut Cx<'_>) {
        if let Some(run) = &mut self.steps[step as usize].run {
            run.output = Some(json!({ "until": until.to_string() }));
        }
        self.end_step(step, StepStatus::Completed, cx);
    }

    pub(super) fn begin_approval(
        &mut self,
        step: u32,
        message: Option<&Template>,
        cx: &mut Cx<'_>,
    ) {
        let message = match message {
            None => None,
            Some(template) => match self.render(step, None, "approval.message", template, cx) {
                Ok(Value::String(text)) => Some(text),
                Ok(other) => Some(other.to_string()),
                Err(error) => {
                    self.fail_step(step, &error, cx);
                    return;
                }
            },
        };
        let message = message.map(|mut text| {
            let end = (0..=MAX_MESSAGE_BYTES.min(text.len()))
                .rev()
                .find(|at| text.is_char_boundary(*at));
            text.truncate(end.unwrap_or(0));
            text
        });
        let until = Self::wait_end(step, cx);
        self.wait(step, Wait::Approval { until, message });
    }

    /// Counts a decision on an approval.
    pub(super) fn decide(
        &mut self,
        name: &str,
        decision: Decision,
        control: &Control,
        cx: &mut Cx<'_>,
    ) -> ControlOutcome {
        let step = cx.workflow.step(name);
        let waiting = step.and_then(|step| Some((step, self.unit(step, None)?)));
        let Some((step, unit)) =
            waiting.filter(|(_, unit)| matches!(unit.wait, Some(Wait::Approval { .. })))
        else {
            return ControlOutcome::refused(
                "approval.not_waiting",
                format!("`{name}` is no step that waits for an approval now"),
            );
        };
        let NodeAction::Approval { rule, .. } = &cx.workflow.nodes[step as usize].action else {
            return ControlOutcome::refused("approval.not_waiting", "the step is no approval");
        };
        if !control
            .scopes
            .iter()
            .any(|scope| *scope == rule.scope || scope == "admin")
        {
            return ControlOutcome::refused(
                "approval.scope",
                format!("deciding `{name}` needs the scope `{}`", rule.scope),
            );
        }
        if !rule.approvers.is_empty() && !rule.approvers.contains(&control.by) {
            return ControlOutcome::refused(
                "approval.not_approver",
                format!("`{}` is not among the approvers of `{name}`", control.by),
            );
        }
        // A name that was only given counts as well: it may be that of the person behind a program.
        let starters = [self.trigger.initiator(), self.trigger.by.as_str()];
        if !rule.self_approval && starters.contains(&control.by.as_str()) {
            return ControlOutcome::refused(
                "approval.self",
                format!("who started the execution cannot decide `{name}`"),
            );
        }
        if let Some(before) = unit.decisions.iter().find(|view| view.by == control.by) {
            return if before.decision == decision {
                ControlOutcome::Unchanged
            } else {
                ControlOutcome::refused("approval.decided", "you have decided otherwise before")
            };
        }
        let made = DecisionView {
            by: control.by.clone(),
            decision,
            reason: control.reason.clone(),
            at: cx.now,
        };
        let required = rule.required as usize;
        let Some(unit) = self.unit_mut(step, None) else {
            return ControlOutcome::Unchanged;
        };
        unit.decisions.push(made);
        let approvals = unit.decisions.len();
        match decision {
            Decision::Reject => {
                let why = control.reason.as_deref().unwrap_or("no reason given");
                let error = StepError::new(
                    ErrorClass::Permanent,
                    "approval.rejected",
                    format!("rejected by {}: {why}", control.by),
                );
                self.fail_unit(step, None, error, cx);
            }
            Decision::Approve if approvals >= required => self.approved(step, false, cx),
            Decision::Approve => {}
        }
        self.after(step, cx);
        ControlOutcome::Applied
    }

    fn approved(&mut self, step: u32, expired: bool, cx: &mut Cx<'_>) {
        let decisions = self
            .unit(step, None)
            .map(|unit| unit.decisions.clone())
            .unwrap_or_default();
        let decisions: Vec<Value> = decisions
            .iter()
            .map(|view| {
                json!({
                    "by": view.by,
                    "decision": view.decision,
                    "reason": view.reason,
                    "at": view.at.to_string(),
                })
            })
            .collect();
        let output = json!({ "approved": true, "expired": expired, "decisions": decisions });
        self.complete_unit(step, None, output, cx);
    }

    /// Waits for a signal, unless one that fits has come already.
    pub(super) fn begin_wait(&mut self, step: u32, cx: &mut Cx<'_>) {
        let until = Self::wait_end(step, cx);
        self.wait(step, Wait::Signal { until });
        let fitting = (0..self.signals.len()).find_map(|at| {
            self.fits(step, &self.signals[at], cx)
                .map(|fits| (at, fits))
        });
        match fitting {
            None => {}
            Some((_, Err(error))) => self.fail_step(step, &error, cx),
            Some((at, Ok(()))) => {
                let signal = self.signals.remove(at);
                // It was counted when it came, and stays as the output.
                if let Some(run) = &mut self.steps[step as usize].run {
                    run.output = Some(signal.payload);
                }
                self.end_step(step, StepStatus::Completed, cx);
            }
        }
    }

    /// Whether a signal is what a step waits for: `None` if it is not, an error if its filter cannot
    /// tell.
    fn fits(&self, step: u32, signal: &Signal, cx: &Cx<'_>) -> Option<Result<(), StepError>> {
        let NodeAction::WaitFor {
            signal: name,
            filter,
            ..
        } = &cx.workflow.nodes[step as usize].action
        else {
            return None;
        };
        if *name != signal.name {
            return None;
        }
        let Some(filter) = filter else {
            return Some(Ok(()));
        };
        let scope = self.scope(cx.workflow, step).with_signal(&signal.payload);
        match filter.holds(&scope) {
            Ok(true) => Some(Ok(())),
            // A payload without what the filter looks at is another payload.
            Ok(false) | Err(crate::expression::EvalError::Unresolved { .. }) => None,
            Err(error) => Some(Err(super::advance::expression_error(
                "waitFor.filter",
                &error,
            ))),
        }
    }

    /// Gives a signal to the first step that waits for it, or keeps it.
    pub(super) fn signal(
        &mut self,
        name: &str,
        payload: &Value,
        cx: &mut Cx<'_>,
    ) -> ControlOutcome {
        let bytes = json_size(payload);
        if bytes > MAX_INLINE_BYTES {
            return ControlOutcome::refused(
                "signal.too_large",
                format!("the payload has {bytes} bytes, at most {MAX_INLINE_BYTES} are allowed"),
            );
        }
        let signal = Signal {
            name: name.to_owned(),
            payload: payload.clone(),
        };
        let waiting: Vec<u32> = self
            .units()
            .filter(|(_, _, unit)| matches!(unit.wait, Some(Wait::Signal { .. })))
            .map(|(step, _, _)| step)
            .collect();
        for step in waiting {
            match self.fits(step, &signal, cx) {
                None => {}
                Some(Ok(())) => {
                    self.complete_unit(step, None, signal.payload, cx);
                    self.after(step, cx);
                    return ControlOutcome::Applied;
                }
                Some(Err(error)) => {
                    self.fail_unit(step, None, error, cx);
                    self.after(step, cx);
                    return ControlOutcome::Applied;
                }
            }
        }
        if self.signals.len() >= MAX_SIGNALS || self.take_room(weight(payload)).is_err() {
            return ControlOutcome::refused(
                "signal.too_many",
                format!(
                    "{} signals wait already for somebody to want them",
                    self.signals.len()
                ),
            );
        }
        self.signals.push(signal);
        ControlOutcome::Applied
    }

    /// The end of a wait has come.
    pub(super) fn wait_over(&mut self, step: u32, item: Option<u32>, cx: &mut Cx<'_>) {
        let Some(wait) = self.unit(step, item).and_then(|unit| unit.wait.clone()) else {
            return;
        };
        match wait {
            Wait::Turn(_) => {}
            Wait::Job { .. } => self.job_timed_out(step, item, cx),
            Wait::Retry { .. } => self.begin_unit(step, item, cx),
            Wait::Deferred { .. } => self.deferral_over(step, item, cx),
            Wait::Timer { until } => {
                self.slept(step, until, cx);
            }
            Wait::Signal { .. } => self.signal_timed_out(step, cx),
            Wait::Approval { .. } => self.approval_expired(step, cx),
            Wait::Child { execution, .. } => self.child_timed_out(step, item, execution, cx),
        }
    }

    fn signal_timed_out(&mut self, step: u32, cx: &mut Cx<'_>) {
        let NodeAction::WaitFor {
            signal, on_timeout, ..
        } = &cx.workflow.nodes[step as usize].action
        else {
            return;
        };
        match on_timeout {
            OnTimeout::Continue => self.complete_unit(step, None, Value::Null, cx),
            OnTimeout::Fail => {
                let error = StepError::new(
                    ErrorClass::Timeout,
                    "signal.timeout",
                    format!("no signal `{signal}` that fits came in time (timeoutMs)"),
                );
                self.fail_unit(step, None, error, cx);
            }
        }
    }

    fn approval_expired(&mut self, step: u32, cx: &mut Cx<'_>) {
        let NodeAction::Approval { rule, .. } = &cx.workflow.nodes[step as usize].action else {
            return;
        };
        match rule.on_expiry {
            Decision::Approve => self.approved(step, true, cx),
            Decision::Reject => {
                let error = StepError::new(
                    ErrorClass::Timeout,
                    "approval.expired",
                    "nobody decided in time (timeoutMs)",
                );
                self.fail_unit(step, None, error, cx);
            }
        }
    }
}
