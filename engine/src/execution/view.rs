//! An execution as it is shown.

use afu9_schemas::artifact::json_size;
use afu9_schemas::view::{ExecutionSummary, ExecutionView, ItemsView, StepRole, StepView};
use serde_json::Value;

use super::Execution;
use super::step::{Body, StepState, Wait};
use crate::workflow::{Node, Workflow};

/// Most bytes of inputs and outputs in one view: it travels in one message.
const MAX_VIEW_BYTES: usize = 640 * 1024;

impl Execution {
    /// One line of it.
    pub fn summary(&self) -> ExecutionSummary {
        ExecutionSummary {
            id: self.id,
            workflow_id: self.workflow.id,
            workflow: self.workflow.name.clone(),
            version: self.workflow.version,
            status: self.status,
            triggered_by: self.trigger.by.clone(),
            started_at: self.started_at,
            completed_at: self.ended_at,
        }
    }

    /// All of it. `workflow` names the steps; without it (its definition is missing) there are none.
    pub fn view(&self, workflow: Option<&Workflow>) -> ExecutionView {
        let mut room = Room {
            left: MAX_VIEW_BYTES,
            truncated: false,
        };
        let input = room.fit(Some(&self.input)).unwrap_or_default();
        let output = room.fit(self.output.as_ref());
        let nodes = workflow.map_or(&[][..], |workflow| &workflow.nodes);
        let steps = nodes
            .iter()
            .zip(&self.steps)
            .enumerate()
            .filter(|(_, (node, state))| node.role == StepRole::Main || state.run.is_some())
            .map(|(index, (node, state))| {
                step_view(
                    u32::try_from(index).unwrap_or(u32::MAX),
                    node,
                    state,
                    &mut room,
                )
            })
            .collect();
        ExecutionView {
            summary: self.summary(),
            input,
            output,
            error: self.error.clone(),
            repository: self
                .repository
                .as_ref()
                .map(|r| format!("{}/{}", r.owner, r.name)),
            default_branch: self
                .repository
                .as_ref()
                .and_then(|repository| repository.default_branch.clone()),
            lane: self.lane,
            priority: self.priority,
            steps,
            paused: self.paused.clone(),
            key: self.key.clone(),
            parent: self.parent,
            rerun_of: self.rerun.as_ref().map(|rerun| rerun.of),
            rerun_reason: self.rerun.as_ref().and_then(|rerun| rerun.reason.clone()),
            signals: u32::try_from(self.signals.len()).unwrap_or(u32::MAX),
            truncated: room.truncated,
        }
    }
}

/// What is left of a view's size.
struct Room {
    left: usize,
    truncated: bool,
}

impl Room {
    fn fit(&mut self, value: Option<&Value>) -> Option<Value> {
        let value = value?;
        let size = json_size(value);
        if size > self.left {
            self.truncated = true;
            return None;
        }
        self.left -= size;
        Some(value.clone())
    }
}

fn step_view(index: u32, node: &Node, state: &StepState, room: &mut Room) -> StepView {
    let run = state.run.as_deref();
    let unit = run.and_then(|run| run.unit(None));
    let wait = unit.and_then(|unit| unit.wait.as_ref());
    StepView {
        index,
        name: node.name.clone(),
        tool: node.tool().cloned(),
        status: state.status,
        input: room.fit(unit.and_then(|unit| unit.params.as_ref())),
        output: room.fit(run.and_then(|run| run.output.as_ref())),
        error: run.and_then(|run| run.error.clone()),
        started_at: run.map(|run| run.started_at),
        completed_at: run.and_then(|run| run.ended_at),
        attempts: run.map(|run| run.attempts().to_vec()).unwrap_or_default(),
        waiting_until: match wait {
            Some(Wait::Job { .. } | Wait::Turn(_)) | None => None,
            Some(wait) => wait.until(),
        },
        progress: unit
            .and_then(|unit| unit.deferred.as_ref())
            .and_then(|deferred| deferred.progress.clone()),
        item: None,
        role: node.role,
        action: node.action.sort(),
        items: run.and_then(|run| match &run.body {
            Body::One(_) => None,
            Body::Each(items) => Some(ItemsView {
                total: number(
                    items
                        .outputs
                        .len()
                        .max(items.completed as usize + items.errors.len()),
                ),
                completed: items.completed,
                failed: number(items.errors.len()),
                in_progress: number(items.active.len()),
            }),
        }),
        decisions: unit.map(|unit| unit.decisions.clone()).unwrap_or_default(),
        message: match wait {
            Some(Wait::Approval { message, .. }) => message.clone(),
            _ => None,
        },
        child: match wait {
            Some(Wait::Child { execution, .. }) => *execution,
            _ => None,
        },
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
