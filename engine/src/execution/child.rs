//! Steps that run another workflow.
//!
//! Which version runs is looked up by the owner and written into the log before anything starts, so
//! that a replay starts the same. The child's id is derived from the attempt, so that it is started
//! once.

use afu9_schemas::ExecutionId;
use afu9_schemas::error::{ErrorClass, StepError};
use afu9_schemas::message::{Cancel, ChildEnded, ChildResolved, Input, InputKind};
use afu9_schemas::view::{ExecutionStatus, StepStatus};
use serde_json::json;

use super::step::Wait;
use super::{Cx, Effect, Execution, MAX_DEPTH, ResolveChild};
use crate::expression::Template;
use crate::workflow::NodeAction;

impl Execution {
    /// Resolves the input and asks for the workflow.
    pub(super) fn begin_child(
        &mut self,
        step: u32,
        item: Option<u32>,
        input: &Template,
        cx: &mut Cx<'_>,
    ) {
        let depth = self.chain() + 1;
        if depth > MAX_DEPTH {
            let error = StepError::new(
                ErrorClass::Permanent,
                "child.too_deep",
                format!("executions start each other more than {MAX_DEPTH} deep: a circle?"),
            );
            self.fail_unit(step, item, error, cx);
            return;
        }
        if self
            .unit(step, item)
            .is_some_and(|unit| unit.params.is_none())
        {
            let rendered = self.render(step, item, "workflow.input", input, cx);
            let kept = rendered.and_then(|input| self.set_params(step, item, input));
            if let Err(error) = kept {
                self.fail_unit(step, item, error, cx);
                return;
            }
        }
        let timeout = cx.workflow.nodes[step as usize].timeout;
        let until = self
            .unit_mut(step, item)
            .and_then(|unit| unit.begin_attempt(cx.now, cx.now, timeout));
        let wait = Wait::Child {
            execution: None,
            until,
        };
        self.set_wait(step, item, wait);
        self.set_status(step, StepStatus::Running);
        if let Some(effect) = self.resolution(step, item, cx) {
            cx.out.effects.push(effect);
        }
    }

    /// How many executions are behind this one, each started by a step or by the end of the one
    /// before.
    pub(super) fn chain(&self) -> u32 {
        let above = self.parent.map_or(0, |parent| parent.depth);
        self.trigger.depth.max(above)
    }

    /// What is asked of the owner, while its answer is waited for.
    fn resolution(&self, step: u32, item: Option<u32>, cx: &Cx<'_>) -> Option<Effect> {
        let unit = self.unit(step, item)?;
        if !matches!(
            unit.wait,
            Some(Wait::Child {
                execution: None,
                ..
            })
        ) {
            return None;
        }
        let NodeAction::Workflow {
            workflow,
            version,
            wait,
            ..
        } = &cx.workflow.nodes[step as usize].action
        else {
            return None;
        };
        Some(Effect::Resolve(Box::new(ResolveChild {
            parent: self.id,
            step,
            item,
            attempt: unit.attempt(),
            depth: self.chain() + 1,
            initiator: self.trigger.initiator().to_owned(),
            workflow: workflow.clone(),
            version: *version,
            input: unit.params.clone().unwrap_or_default(),
            waits: *wait,
            repository: self.repository.clone(),
            lane: self.lane,
            priority: self.priority,
            traceparent: self.traceparent.clone(),
        })))
    }

    /// Everything that was asked of the owner and not answered: asked again after a restart.
    pub(crate) fn repeat_resolutions(&self, cx: &mut Cx<'_>) {
        let open: Vec<Effect> = self
            .units()
            .filter_map(|(step, item, _)| self.resolution(step, item, cx))
            .collect();
        cx.out.effects.extend(open);
    }

    pub(super) fn awaits_resolution(&self, found: &ChildResolved) -> bool {
        self.unit(found.step, found.item).is_some_and(|unit| {
            unit.attempt() == found.attempt
                && matches!(
                    unit.wait,
                    Some(Wait::Child {
                        execution: None,
                        ..
                    })
                )
        })
    }

    /// Starts what was found.
    pub(super) fn child_resolved(&mut self, found: &ChildResolved, cx: &mut Cx<'_>) {
        let (step, item) = (found.step, found.item);
        match &found.child {
            Err(error) => self.attempt_failed(step, item, error.clone(), None, cx),
            Ok(child) => {
                let start = Input {
                    execution: child.execution,
                    kind: InputKind::Start(Box::new(child.start.clone())),
                };
                cx.out.effects.push(Effect::Submit(Box::new(start)));
                let waits = child.start.parent.is_some_and(|parent| parent.waits);
                if waits {
                    if let Some(unit) = self.unit_mut(step, item)
                        && let Some(Wait::Child { execution, .. }) = &mut unit.wait
                    {
                        *execution = Some(child.execution);
                    }
                    self.set_status(step, StepStatus::Waiting);
                } else {
                    if let Some(unit) = self.unit_mut(step, item) {
                        unit.attempt_ended(None, cx.now);
                    }
                    let output = json!({ "executionId": child.execution });
                    self.complete_unit(step, item, output, cx);
                }
            }
        }
        self.after(step, cx);
    }

    pub(super) fn awaits_child(&self, ended: &ChildEnded) -> bool {
        self.unit(ended.step, ended.item).is_some_and(|unit| {
            unit.attempt() == ended.attempt
                && matches!(
                    unit.wait,
                    Some(Wait::Child { execution: Some(child), .. }) if child == ended.child
                )
        })
    }

    /// Takes in the end that was waited for.
    pub(super) fn child_ended(&mut self, ended: &ChildEnded, cx: &mut Cx<'_>) {
        let (step, item) = (ended.step, ended.item);
        if ended.status == ExecutionStatus::Completed {
            if let Some(unit) = self.unit_mut(step, item) {
                unit.attempt_ended(None, cx.now);
            }
            let output = ended.output.clone().unwrap_or_default();
            self.complete_unit(step, item, output, cx);
        } else {
            let why = ended.error.as_ref();
            // Permanent whatever the child's was: it has had its own attempts, and a second layer of
            // them must be asked for (`retry.on`).
            let mut error = StepError::new(
                ErrorClass::Permanent,
                "child.failed",
                format!(
                    "execution {} is {}: {}",
                    ended.child,
                    ended.status.as_str(),
                    why.map_or("no reason is known", |why| why.message.as_str())
                ),
            );
            if let Some(why) = why {
                error.chain.push(why.code.clone());
                error.chain.extend(why.chain.iter().take(8).cloned());
            }
            self.attempt_failed(step, item, error, None, cx);
        }
        self.after(step, cx);
    }

    pub(super) fn child_timed_out(
        &mut self,
        step: u32,
        item: Option<u32>,
        child: Option<ExecutionId>,
        cx: &mut Cx<'_>,
    ) {
        if let Some(child) = child {
            self.cancel_child(
                child,
                "the step that runs it has no more time (timeoutMs)",
                cx,
            );
        }
        let error = StepError::new(
            ErrorClass::Timeout,
            "child.timeout",
            "the execution it runs did not end in time (timeoutMs)",
        );
        self.attempt_failed(step, item, error, None, cx);
    }

    pub(super) fn cancel_child(&self, child: ExecutionId, reason: &str, cx: &mut Cx<'_>) {
        let cancel = Cancel {
            by: format!("execution {}", self.id),
            reason: Some(reason.to_owned()),
        };
        let input = Input {
            execution: child,
            kind: InputKind::Cancel(cancel),
        };
        cx.out.effects.push(Effect::Submit(Box::new(input)));
    }
}
