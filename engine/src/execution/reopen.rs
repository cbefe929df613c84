//! Running the failed steps of a failed execution again.
//!
//! The one way back from a final status, and only by somebody's explicit wish. Attempts go on
//! counting where they were, so that no attempt has the id of an earlier one; the policy's number of
//! attempts begins anew.

use afu9_schemas::artifact::json_size;
use afu9_schemas::message::{Control, ControlOutcome};
use afu9_schemas::view::{ExecutionStatus, StepRole, StepStatus};
use afu9_schemas::{JobId, Timestamp};
use serde_json::Value;

use super::step::{Body, StepState};
use super::{Cx, Execution, MAX_PARAMS_BYTES, Unit, weight};
use crate::workflow::{Node, Workflow};

/// What is to run again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// Only this step.
    pub(super) step: Option<&'a str>,
    /// Parameters in place of those it had.
    pub(super) params: Option<&'a Value>,
    /// Only if this is still the last attempt at what it was for.
    pub(super) failed: Option<&'a JobId>,
}

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
        wanted: Wanted<'_>,
        control: &Control,
        cx: &mut Cx<'_>,
    ) -> ControlOutcome {
        if let Some(job) = wanted.failed
            && self.last_attempt(job) != Some(job.attempt)
        {
            return ControlOutcome::refused(
                "retry.superseded",
                format!(
                    "attempt {} is not the last one at this step any more: it was tried again since",
                    job.attempt
                ),
            );
        }
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
        let failed = match self.steps_to_retry(wanted, cx) {
            Ok(failed) => failed,
            Err(refusal) => return refusal,
        };
        let given = match self.given_params(&failed, wanted, cx) {
            Ok(given) => given,
            Err(refusal) => return refusal,
        };
        for step in 0..self.steps.len() {
            let step = u32::try_from(step).unwrap_or(u32::MAX);
            let state = &mut self.steps[step as usize];
            let main = (step as usize) < cx.workflow.main;
            let again = failed.contains(&step);
            let skipped = state.status == StepStatus::Skipped && state.broken;
            if main && again {
                self.open += 1;
                let given = given.filter(|given| given.step == step);
                retry_step(state, given, cx.now);
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

    /// Number of the last attempt at what `job` was for: a step, or an item of one that has not ended
    /// well.
    fn last_attempt(&self, job: &JobId) -> Option<u32> {
        let run = self.steps.get(job.step as usize)?.run.as_ref()?;
        let unit = match (&run.body, job.item) {
            (Body::Each(items), Some(item)) => {
                let again = items.again.iter().find(|(again, _)| *again == item);
                items
                    .active
                    .get(&item)
                    .map(|run| &run.unit)
                    .or_else(|| items.failed.get(&item))
                    .or(again.map(|(_, unit)| unit))
            }
            (_, item) => run.unit(item),
        };
        unit.map(Unit::attempt)
    }

    /// The failed steps that are meant.
    fn steps_to_retry(&self, wanted: Wanted<'_>, cx: &Cx<'_>) -> Result<Vec<u32>, ControlOutcome> {
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
        let not_failed = |name: &str| {
            ControlOutcome::refused(
                "retry.not_failed",
                format!("`{name}` is no step whose failure ended the execution"),
            )
        };
        // An attempt that failed runs again with everything else that did.
        if let Some(job) = wanted.failed
            && !failed.contains(&job.step)
        {
            let node = cx.workflow.nodes.get(job.step as usize);
            return Err(not_failed(node.map_or("", |node| node.name.as_str())));
        }
        let Some(name) = wanted.step else {
            return Ok(failed);
        };
        match cx.workflow.step(name).filter(|step| failed.contains(step)) {
            // The others would break the execution again.
            Some(step) if failed.len() == 1 => Ok(vec![step]),
            Some(_) => Err(ControlOutcome::refused(
                "retry.several_failed",
                "several steps failed; retry them together, without naming one",
            )),
            None => Err(not_failed(name)),
        }
    }

    /// The parameters that were given, if they fit what they are for.
    fn given_params<'a>(
        &self,
        failed: &[u32],
        wanted: Wanted<'a>,
        cx: &Cx<'_>,
    ) -> Result<Option<Given<'a>>, ControlOutcome> {
        let refused = |message: String| Err(ControlOutcome::refused("retry.params", message));
        let Some(params) = wanted.params else {
            return Ok(None);
        };
        let bytes = json_size(params);
        if bytes > MAX_PARAMS_BYTES {
            return refused(format!(
                "the parameters have {bytes} bytes, at most {MAX_PARAMS_BYTES} are allowed"
            ));
        }
        let (step, item) = match (wanted.failed, failed) {
            (Some(job), _) => (job.step, job.item),
            (None, [step]) if self.items(*step).is_none() => (*step, None),
            (None, _) => {
                return refused(
                    "parameters can be given for one failed step without items".to_owned(),
                );
            }
        };
        let Some(object) = params.as_object() else {
            return refused("the parameters must be given as an object".to_owned());
        };
        let given = Given { step, item, params };
        let tool = cx.workflow.nodes[step as usize].tool();
        let Some(contract) = tool.and_then(afu9_schemas::tool::contract) else {
            return Ok(Some(given));
        };
        match contract.check_params(object).into_iter().next() {
            None => Ok(Some(given)),
            Some((at, message)) => refused(format!(
                "`{}` does not take these parameters: {at}: {message}",
                contract.name
            )),
        }
    }
}

/// Parameters given by hand, and what for.
#[derive(Debug, Clone, Copy)]
struct Given<'a> {
    step: u32,
    item: Option<u32>,
    params: &'a Value,
}

fn was_attempted(state: &StepState) -> bool {
    matches!(state.run.as_deref().map(|run| &run.body), Some(Body::One(unit)) if !unit.attempts.is_empty())
}

/// The step runs again with the attempts it has had.
fn retry_step(state: &mut StepState, given: Option<Given<'_>>, now: Timestamp) {
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
            unit.deferred = None;
            unit.spent = unit.attempt();
            unit.decisions.clear();
            // Resolved anew otherwise: what the parameters are made of may have been what failed.
            unit.params = given.map(|given| given.params.clone());
        }
        Body::Each(items) => {
            items.clear_active();
            let errors = std::mem::take(&mut items.errors);
            let mut failed = std::mem::take(&mut items.failed);
            for item in errors.into_keys().rev() {
                let mut unit = failed.remove(&item).unwrap_or_default();
                unit.wait = None;
                unit.deferred = None;
                unit.spent = unit.attempt();
                unit.params = given
                    .filter(|given| given.item == Some(item))
                    .map(|given| given.params.clone());
                items.params_bytes += unit.params.as_ref().map_or(0, weight);
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
