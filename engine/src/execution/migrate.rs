//! Going on with another version of the workflow.
//!
//! Allowed only where it can be shown that the other version would have done the same so far: every
//! step that was reached is the same, in the same place, and needs only steps that have ended, of which
//! one failed exactly where it was kept back for such a failure. The place matters because a step's
//! number is part of its idempotency key: another step in its place could take the first one's effect for
//! its own.

use afu9_schemas::definition::Step;
use afu9_schemas::message::{HistoryKind, StatusChanged, WorkflowRef};
use afu9_schemas::view::StepStatus;

use super::{Cx, Execution, StepState};
use crate::workflow::Workflow;

impl Execution {
    /// Why the execution cannot go on with `new`, if it cannot.
    pub fn misfit(&self, old: &Workflow, new: &Workflow) -> Option<String> {
        if self.status.is_terminal() || self.ending.is_some() {
            return Some("it has ended, or is about to".to_owned());
        }
        if old.definition.name != new.definition.name {
            return Some(format!(
                "it is an execution of `{}`, not of `{}`",
                old.definition.name, new.definition.name
            ));
        }
        if old.definition.flow != new.definition.flow {
            return Some("the versions differ in the limits that decided when it began".to_owned());
        }
        if let Some(schema) = &new.input_schema {
            match schema.prepare(self.input.clone()) {
                Ok(input) if input == self.input => {}
                Ok(_) => {
                    return Some("the new version has other defaults for its input".to_owned());
                }
                Err(error) => return Some(error.to_string()),
            }
        }
        self.steps
            .iter()
            .enumerate()
            .filter(|(_, state)| state.run.is_some())
            .find_map(|(index, _)| self.misfit_of_step(index, old, new))
    }

    fn misfit_of_step(&self, index: usize, old: &Workflow, new: &Workflow) -> Option<String> {
        let name = &old.nodes[index].name;
        if index >= old.main {
            return Some(format!("`{name}` has run, which cleans up"));
        }
        let Some(there) = new.definition.steps.get(index) else {
            return Some(format!(
                "step `{name}` was reached, and the new version has none there"
            ));
        };
        let here = &old.definition.steps[index];
        if !is_same(here, there) {
            return Some(format!(
                "step `{name}` was reached; in its place the new version has another one, `{}`",
                there.name
            ));
        }
        let needs = &new.nodes[index].needs;
        let is = |need: &u32, what: fn(&StepState) -> bool| {
            self.steps.get(*need as usize).is_some_and(what)
        };
        let ended = |need: &&u32| is(need, |state| state.status.is_terminal());
        if let Some(open) = needs.iter().find(|need| !ended(need)) {
            return Some(format!(
                "step `{name}` was reached; the new version lets it need `{}`, which has not ended",
                new.nodes[*open as usize].name
            ));
        }
        let state = &self.steps[index];
        let was_kept_back = state.status == StepStatus::Skipped && state.broken;
        let failed = needs.iter().find(|need| is(need, |state| state.broken));
        match (was_kept_back, failed) {
            (false, Some(need)) => Some(format!(
                "step `{name}` was reached; the new version lets it need `{}`, which failed",
                new.nodes[*need as usize].name
            )),
            (true, None) => Some(format!(
                "step `{name}` was skipped because a step it needed failed; the new version does not \
                 let it need that one"
            )),
            _ => None,
        }
    }

    /// Goes on with `cx.workflow`, which fits.
    pub(crate) fn move_to(&mut self, to: &WorkflowRef, by: &str, cx: &mut Cx<'_>) {
        let mut steps = vec![StepState::default(); cx.workflow.nodes.len()];
        for (new, old) in steps.iter_mut().zip(std::mem::take(&mut self.steps)) {
            if old.run.is_some() {
                *new = old;
            }
        }
        self.steps = steps;
        let open = self
            .steps
            .iter()
            .take(cx.workflow.main)
            .filter(|state| !state.status.is_terminal())
            .count();
        self.open = u32::try_from(open).unwrap_or(u32::MAX);
        self.workflow = to.clone();
        let changed = StatusChanged {
            status: self.status,
            by: Some(by.to_owned()),
            reason: None,
            workflow: Some(to.clone()),
        };
        self.record(HistoryKind::StatusChanged(Box::new(changed)), cx);
        if self.queued.is_none() {
            self.go_on(cx);
        }
    }
}

/// Whether two steps are the same but for what they need.
fn is_same(one: &Step, other: &Step) -> bool {
    let mut other = other.clone();
    other.needs.clone_from(&one.needs);
    *one == other
}
