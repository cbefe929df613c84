//! Going on: which steps begin, and what follows when one has ended.
//!
//! A step begins when every step it needs has ended and none of them is *broken*: failed without
//! `continueOnError`, or not run because of such a failure. A broken need breaks the step too.
//! Branches that do not need a failed step go on to their end, so that the outcome does not depend
//! on which branch was faster.

use std::collections::BTreeSet;

use afu9_schemas::Timestamp;
use afu9_schemas::artifact::{OmittedItems, json_size};
use afu9_schemas::error::{ErrorClass, StepError};
use afu9_schemas::message::{HistoryKind, StepEnded};
use afu9_schemas::view::{ExecutionStatus, StepRole, StepStatus};
use serde_json::Value;

use super::step::{Body, Run, StepState, Unit};
use super::{Cx, Execution, weight};
use crate::expression::EvalError;
use crate::workflow::{Node, NodeAction};

/// A step's output as history records it is never larger than this: the rest of the message needs
/// room too. Larger ones can only be lists of items, each of which is recorded by itself.
const MAX_RECORDED_BYTES: usize = 512 * 1024;

impl Execution {
    /// Goes on with every step that can begin.
    pub(super) fn advance_all(&mut self, cx: &mut Cx<'_>) {
        let ready = |execution: &Self, node: &Node| {
            let ended = |need: &u32| execution.steps[*need as usize].status.is_terminal();
            node.needs.iter().all(ended)
        };
        let candidates: Vec<u32> = cx
            .workflow
            .numbered()
            .take(cx.workflow.main)
            .filter(|(_, node)| ready(self, node))
            .map(|(index, _)| index)
            .collect();
        self.advance(candidates, cx);
    }

    /// After something new may begin again: every step that can, the next items of those that have
    /// some, and what cleans up.
    pub(super) fn go_on(&mut self, cx: &mut Cx<'_>) {
        if self.ending.is_some() {
            self.clean_up(cx);
            return;
        }
        for step in 0..cx.workflow.main {
            let step = u32::try_from(step).unwrap_or(u32::MAX);
            self.begin_items(step, cx);
        }
        self.advance_all(cx);
    }

    /// Looks at `candidates` and at whatever follows from them, the earliest step first.
    pub(super) fn advance(&mut self, candidates: Vec<u32>, cx: &mut Cx<'_>) {
        if self.halted_since.is_some() {
            return;
        }
        let mut work: BTreeSet<u32> = candidates.into_iter().collect();
        while let Some(step) = work.pop_first() {
            if self.look_at(step, cx) {
                work.extend(&cx.workflow.nodes[step as usize].dependents);
            }
        }
        if self.open == 0 && self.ending.is_none() && !self.status.is_terminal() {
            self.conclude(cx);
        }
    }

    /// Begins the step if it is its turn. Returns whether it has ended.
    fn look_at(&mut self, step: u32, cx: &mut Cx<'_>) -> bool {
        if self.steps[step as usize].status != StepStatus::Pending {
            return false;
        }
        let needs = &cx.workflow.nodes[step as usize].needs;
        let state = |need: &u32| &self.steps[*need as usize];
        if !needs.iter().all(|need| state(need).status.is_terminal()) {
            return false;
        }
        if needs.iter().any(|need| state(need).broken) {
            self.steps[step as usize].broken = true;
            self.reach(step, cx.now);
            self.end_step(step, StepStatus::Skipped, cx);
            return true;
        }
        if !self.take_over(step, cx) {
            self.begin_step(step, cx);
        }
        self.steps[step as usize].status.is_terminal()
    }

    /// Notes that the step was reached.
    pub(super) fn reach(&mut self, step: u32, now: Timestamp) {
        let state = &mut self.steps[step as usize];
        if state.run.is_none() {
            state.run = Some(Box::new(Run {
                started_at: now,
                ended_at: None,
                ended_as: 0,
                output: None,
                error: None,
                kept: false,
                body: Body::One(Unit::default()),
            }));
        }
    }

    /// Begins a step: it waits for something afterwards, or has ended.
    pub(super) fn begin_step(&mut self, step: u32, cx: &mut Cx<'_>) {
        let node = &cx.workflow.nodes[step as usize];
        self.reach(step, cx.now);
        if let Some(condition) = &node.condition {
            match condition.holds(&self.scope(cx.workflow, step)) {
                Ok(true) => {}
                Ok(false) => {
                    self.end_step(step, StepStatus::Skipped, cx);
                    return;
                }
                Err(error) => {
                    self.fail_step(step, &expression_error("if", &error), cx);
                    return;
                }
            }
        }
        if node.for_each.is_some() {
            self.begin_each(step, cx);
            return;
        }
        self.steps[step as usize].status = StepStatus::Running;
        self.begin_unit(step, None, cx);
    }

    /// Begins what a step, or an item of it, does.
    pub(super) fn begin_unit(&mut self, step: u32, item: Option<u32>, cx: &mut Cx<'_>) {
        let node = &cx.workflow.nodes[step as usize];
        match &node.action {
            NodeAction::Tool { params, .. } => self.begin_tool(step, item, params, cx),
            NodeAction::Workflow { input, .. } => self.begin_child(step, item, input, cx),
            NodeAction::Approval { message, .. } => self.begin_approval(step, message.as_ref(), cx),
            NodeAction::WaitFor { .. } => self.begin_wait(step, cx),
            NodeAction::SleepFor(length) => self.begin_sleep_for(step, length, cx),
            NodeAction::SleepUntil(instant) => self.begin_sleep_until(step, instant, cx),
        }
    }

    /// A unit has ended well.
    pub(super) fn complete_unit(
        &mut self,
        step: u32,
        item: Option<u32>,
        output: Value,
        cx: &mut Cx<'_>,
    ) {
        if let Err(error) = self.take_room(weight(&output)) {
            self.fail_unit(step, item, error, cx);
            return;
        }
        if let Some(item) = item {
            self.item_completed(step, item, output, cx);
            return;
        }
        if let Some(run) = &mut self.steps[step as usize].run {
            run.output = Some(output);
            run.error = None;
        }
        self.end_step(step, StepStatus::Completed, cx);
    }

    /// A unit has failed for good.
    pub(super) fn fail_unit(
        &mut self,
        step: u32,
        item: Option<u32>,
        error: StepError,
        cx: &mut Cx<'_>,
    ) {
        match item {
            Some(item) => self.item_failed(step, item, error, cx),
            None => self.fail_step(step, &error, cx),
        }
    }

    /// Goes on after something happened to a step: with its next items, or behind it. Everything else
    /// changes a step in place and leaves this to whoever took in the input, so that a thousand steps
    /// that end at once are a loop and no recursion.
    pub(super) fn after(&mut self, step: u32, cx: &mut Cx<'_>) {
        self.begin_items(step, cx);
        if !self.steps[step as usize].status.is_terminal() || self.status.is_terminal() {
            return;
        }
        match cx.workflow.nodes[step as usize].role {
            StepRole::Main => {
                let dependents = cx.workflow.nodes[step as usize].dependents.clone();
                self.advance(dependents, cx);
            }
            StepRole::Compensation | StepRole::OnFailure => self.cleaned_up(step, cx),
        }
    }

    /// The step fails for good.
    pub(super) fn fail_step(&mut self, step: u32, error: &StepError, cx: &mut Cx<'_>) {
        let state = &mut self.steps[step as usize];
        state.broken = !cx.workflow.nodes[step as usize].continue_on_error;
        if let Some(run) = &mut state.run {
            run.error = Some(error.clone());
        }
        self.end_step(step, StepStatus::Failed, cx);
    }

    /// The step reaches its final status.
    pub(super) fn end_step(&mut self, step: u32, status: StepStatus, cx: &mut Cx<'_>) {
        let node = &cx.workflow.nodes[step as usize];
        if (step as usize) < cx.workflow.main {
            self.open = self.open.saturating_sub(1);
        }
        let number = self.events + 1;
        let state = &mut self.steps[step as usize];
        state.status = status;
        if let Some(run) = &mut state.run {
            run.ended_at = Some(cx.now);
            run.ended_as = number;
            if let Body::One(unit) = &mut run.body {
                unit.wait = None;
                unit.deferred = None;
            }
        }
        let ended = step_ended(step, node, state, cx.now);
        self.record(HistoryKind::StepEnded(Box::new(ended)), cx);
    }

    /// Every step of the definition has ended.
    fn conclude(&mut self, cx: &mut Cx<'_>) {
        let failed = self
            .steps
            .iter()
            .take(cx.workflow.main)
            .position(|state| state.broken && state.status == StepStatus::Failed);
        if let Some(step) = failed {
            let name = cx.workflow.nodes[step].name.clone();
            let error = self.steps[step]
                .run
                .as_ref()
                .and_then(|run| run.error.clone());
            let error = error.unwrap_or_else(|| {
                StepError::new(ErrorClass::Permanent, "step.failed", "the step failed")
            });
            let error = StepError {
                message: format!("step `{name}`: {}", error.message),
                ..error
            };
            self.begin_ending(ExecutionStatus::Failed, error, Some(name), cx);
            return;
        }
        match self.render_output(cx) {
            Ok(output) => {
                self.output = output;
                self.end(ExecutionStatus::Completed, None, cx);
            }
            Err(error) => self.begin_ending(ExecutionStatus::Failed, error, None, cx),
        }
    }

    fn render_output(&self, cx: &Cx<'_>) -> Result<Option<Value>, StepError> {
        let Some(template) = &cx.workflow.output else {
            return Ok(None);
        };
        let output = template
            .render(&self.output_scope(cx.workflow))
            .map_err(|(at, error)| expression_error(&format!("output{at}"), &error))?;
        let bytes = json_size(&output);
        let most = afu9_schemas::artifact::MAX_INLINE_BYTES;
        if bytes > most {
            return Err(StepError::new(
                ErrorClass::Permanent,
                "output.too_large",
                format!("the execution's output has {bytes} bytes, at most {most} are allowed"),
            ));
        }
        Ok(Some(output))
    }
}

/// The error of an expression at `place` of a definition.
pub(super) fn expression_error(place: &str, error: &EvalError) -> StepError {
    StepError::new(
        ErrorClass::Permanent,
        error.code(),
        format!("{place}: {error}"),
    )
}

/// What history is told of a step that has ended.
pub(super) fn step_ended(step: u32, node: &Node, state: &StepState, now: Timestamp) -> StepEnded {
    let run = state.run.as_deref();
    let (input, attempts) = match run.map(|run| &run.body) {
        Some(Body::One(unit)) => (unit.params.clone(), unit.attempts.clone()),
        Some(Body::Each(_)) | None => (None, Vec::new()),
    };
    let output = run.and_then(|run| run.output.as_ref()).map(|output| {
        let bytes = json_size(output);
        match output {
            Value::Array(items) if bytes > MAX_RECORDED_BYTES => {
                let count = items.len();
                OmittedItems { count, bytes }.to_value()
            }
            output => output.clone(),
        }
    });
    StepEnded {
        index: step,
        item: None,
        role: node.role,
        action: node.action.sort(),
        name: node.name.clone(),
        tool: node.tool().cloned(),
        status: state.status,
        input,
        output,
        error: run.and_then(|run| run.error.clone()),
        started_at: run.map_or(now, |run| run.started_at),
        attempts,
    }
}
