//! An execution as it is shown.

use afu9_schemas::artifact::json_size;
use afu9_schemas::view::{ExecutionSummary, ExecutionView, StepView};

use super::{Execution, Wait};
use crate::workflow::Workflow;

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
        let definitions = workflow.map_or(&[][..], |workflow| &workflow.definition.steps);
        let mut bytes = 0;
        let mut truncated = false;
        let mut fits = |value: &Option<serde_json::Value>| {
            let size = value.as_ref().map_or(0, json_size);
            if bytes + size > MAX_VIEW_BYTES {
                truncated = true;
                return None;
            }
            bytes += size;
            value.clone()
        };
        let input = fits(&Some(self.input.clone())).unwrap_or_default();
        let output = fits(&self.output);
        let steps = definitions
            .iter()
            .zip(&self.steps)
            .enumerate()
            .map(|(index, (definition, state))| StepView {
                index: u32::try_from(index).unwrap_or(u32::MAX),
                name: definition.name.clone(),
                tool: Some(definition.tool.clone()),
                status: state.status,
                input: fits(&state.params),
                output: fits(&state.output),
                error: state.error.clone(),
                started_at: state.started_at,
                completed_at: state.ended_at,
                attempts: state.attempts.clone(),
                waiting_until: match state.wait {
                    Some(Wait::Retry { at }) => Some(at),
                    _ => None,
                },
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
            steps,
            truncated,
        }
    }
}
