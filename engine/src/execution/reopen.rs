//! Running the failed steps of a failed execution again.
//!
//! The one way back from a final status, and only by somebody's explicit wish. Attempts go on
//! counting where they were, so that no attempt has the id of an earlier one; the policy's number of
//! attempts begins anew.

use afu9_schemas::Timestamp;
use afu9_schemas::artifact::json_size;
use afu9_schemas::message::{Control, ControlOutcome};
use afu9_schemas::view::{ExecutionStatus, StepRole, StepStatus};
use serde_json::Value;

use super::step::{Body, StepState};
use super::{Cx, Execution, MAX_PARAMS_BYTES};
use crate::workflow::{Node, Workflow};

impl Execution {
    /// Whether it may be run again by hand: a step failed, and nothing of it was undone, or may have
    /// been by an attempt that failed or was not answered.
    pub(crate) fn is_retriable(&self, workflow: &Workflow) -> bool {
        let undone = |(node, state): (&Node, &StepState)| {
            node.role == StepRole::Compensation && was_attempted(state)
        };
        let failed = |state: &StepState| state.status == StepStatus::Failed && state.broken;
        self.status == ExecutionStatus::Failed
            && !workflow.nodes.iter().zip(&self.steps).any(undone)
            && self.steps.iter().take(workflow.main).any(failed)
    }

    pub(super) fn reopen(
        &mut self,
        name: Option<&str>,
        params: Option<&Value>,
        control: &Control,
        cx: &mut Cx<'_>,
    ) -> ControlOutcome {
        if self.status != ExecutionStatus::Failed {
            return ControlOutcome::refused(
                "execution.not_failed",
                format!(
                    "only a failed execution can be retried, this one is {}; rerun it instead",
                    self.status.as_str()
                ),
            );
        }
        if !self.is_retriable(cx.workflow) {
            return ControlOutcome::refused(
                "execution.undone",
                "no step failed, or steps that had completed were undone, or may have been; rerun it instead",
            );
        }
        let failed = match self.steps_to_retry(name, cx) {
            Ok(failed) => failed,
            Err(refusal) => return refusal,
        };
        if let Some(refusal) = self.refuse_params(&failed, params, cx) {
            return refusal;
        }
        for step in 0..self.steps.len() {
            let step = u32::try_from(step).unwrap_or(u32::MAX);
            let state = &mut self.steps[step as usize];
            let main = (step as usize) < cx.workflow.main;
            let again = failed.contains(&step);
            let skipped = state.status == StepStatus::Skipped && state.broken;
            if main && again {
                self.open += 1;
                retry_step(state, params, cx.now);
            } else if !main || skipped {
                // What cleaned up does so again, should the execution fail again.
                self.open += u32::from(main && skipped);
                *state = restart(std::mem::take(state));
            }
        }
        self.context_bytes = self.counted_bytes();
        self.status = ExecutionStatus::Running;
        self.ended_at = None;
        self.error = None;
        self.output = None;
        self.deadline = cx.now.plus(cx.workflow.definition.config.timeout);
        self.record_status(Some(&control.by), control.reason.as_deref(), cx);
        // The partition ends the halt, unless something holds the execution.
        self.halt(cx.now);
        ControlOutcome::Applied
    }

    /// The failed steps that are meant.
    fn steps_to_retry(&self, name: Option<&str>, cx: &Cx<'_>) -> Result<Vec<u32>, ControlOutcome> {
        let failed: Vec<u32> = cx
            .workflow
            .numbered()
            .take(cx.workflow.main)
            .filter(|(index, _)| {
                let state = &self.steps[*index as usize];
                state.status == StepStatus::Failed && state.broken
            })
            .map(|(index, _)| index)
            .collect();
        let Some(name) = name else {
            return Ok(failed);
        };
        match cx.workflow.step(name).filter(|step| failed.contains(step)) {
            // The others would break the execution again.
            Some(step) if failed.len() == 1 => Ok(vec![step]),
            Some(_) => Err(ControlOutcome::refused(
                "retry.several_failed",
                "several steps failed; retry them together, without naming one",
            )),
            None => Err(ControlOutcome::refused(
                "retry.not_failed",
                format!("`{name}` is no step that failed"),
            )),
        }
    }

    fn refuse_params(
        &self,
        failed: &[u32],
        params: Option<&Value>,
        cx: &Cx<'_>,
    ) -> Option<ControlOutcome> {
        let given = params?;
        let bytes = json_size(given);
        if bytes > MAX_PARAMS_BYTES {
            return Some(ControlOutcome::refused(
                "retry.params",
                format!(
                    "the parameters have {bytes} bytes, at most {MAX_PARAMS_BYTES} are allowed"
                ),
            ));
        }
        let one = match failed {
            [step] => self.steps[*step as usize]
                .run
                .as_ref()
                .is_some_and(|run| matches!(run.body, Body::One(_))),
            _ => false,
        };
        let object = params.is_some_and(Value::is_object);
        if !one || !object {
            return Some(ControlOutcome::refused(
                "retry.params",
                "parameters can be given for one failed step without items, as an object",
            ));
        }
        let tool = failed
            .first()
            .and_then(|step| cx.workflow.nodes[*step as usize].tool());
        let contract = tool.and_then(afu9_schemas::tool::contract)?;
        let wrong = contract.check_params(given.as_object()?);
        let (at, message) = wrong.into_iter().next()?;
        let text = format!(
            "`{}` does not take these parameters: {at}: {message}",
            contract.name
        );
        Some(ControlOutcome::refused("retry.params", text))
    }
}

fn was_attempted(state: &StepState) -> bool {
    matches!(state.run.as_deref().map(|run| &run.body), Some(Body::One(unit)) if !unit.attempts.is_empty())
}

/// The step runs again with the attempts it has had.
fn retry_step(state: &mut StepState, params: Option<&Value>, now: Timestamp) {
    state.status = StepStatus::Pending;
    state.broken = false;
    let Some(run) = &mut state.run else { return };
    // History keeps what came before as a run of its own.
    run.started_at = now;
    run.ended_at = None;
    run.error = None;
    run.output = None;
    match &mut run.body {
        Body::One(unit) => {
            unit.wait = None;
            unit.spent = unit.attempt();
            unit.decisions.clear();
            // Resolved anew otherwise: what the parameters are made of may have been what failed.
            unit.params = params.cloned();
        }
        Body::Each(items) => {
            items.clear_active();
            let errors = std::mem::take(&mut items.errors);
            let mut failed = std::mem::take(&mut items.failed);
            for item in errors.into_keys().rev() {
                let mut unit = failed.remove(&item).unwrap_or_default();
                unit.wait = None;
                unit.spent = unit.attempt();
                unit.params = None;
                items.again.push((item, unit));
            }
        }
    }
}

/// The step begins anew, except that its attempts go on counting.
fn restart(state: StepState) -> StepState {
    let attempts = match state.run.map(|run| run.body) {
        Some(Body::One(unit)) if !unit.attempts.is_empty() => unit,
        _ => return StepState::default(),
    };
    let mut fresh = StepState::default();
    let spent = attempts.attempt();
    fresh.run = attempts.attempts.first().map(|first| {
        Box::new(super::Run {
            started_at: first.dispatched_at,
            ended_at: None,
            ended_as: 0,
            output: None,
            error: None,
            kept: false,
            body: Body::One(super::Unit {
                attempts: attempts.attempts.clone(),
                spent,
                ..super::Unit::default()
            }),
        })
    });
    fresh
}
