//! What the expressions of an execution can see of it.

use std::borrow::Cow;

use afu9_schemas::artifact::{MAX_INLINE_BYTES, json_size};
use afu9_schemas::view::StepStatus;
use serde_json::{Map, Value, json};

use super::Execution;
use crate::expression::Scope;
use crate::workflow::Workflow;

/// What `${repo.default_branch}` is where the trigger did not know it: GitHub's own default, which
/// history shows too.
const DEFAULT_BRANCH: &str = "main";

pub(super) struct ExecutionScope<'a> {
    execution: &'a Execution,
    workflow: &'a Workflow,
}

impl Execution {
    pub(super) fn scope<'a>(&'a self, workflow: &'a Workflow) -> ExecutionScope<'a> {
        ExecutionScope {
            execution: self,
            workflow,
        }
    }

    /// Every assigned name with the output of the last completed step that assigns it. An output
    /// that would make the whole too large for a message is replaced by its size.
    pub(super) fn assigned_output(&self, workflow: &Workflow) -> Value {
        let mut output = Map::new();
        let mut bytes = 0;
        for (step, state) in workflow.definition.steps.iter().zip(&self.steps) {
            let (Some(name), Some(value)) = (&step.assign, &state.output) else {
                continue;
            };
            let size = json_size(value);
            if bytes + size > MAX_INLINE_BYTES {
                output.insert(
                    name.clone(),
                    json!({ "$omitted": { "step": step.name, "bytes": size } }),
                );
            } else {
                bytes += size;
                output.insert(name.clone(), value.clone());
            }
        }
        Value::Object(output)
    }
}

impl Scope for ExecutionScope<'_> {
    fn root(&self, name: &str) -> Option<Cow<'_, Value>> {
        let execution = self.execution;
        match name {
            "input" => Some(Cow::Borrowed(&execution.input)),
            "repo" => execution.repository.as_ref().map(|repository| {
                let mut repo = Map::new();
                repo.insert("owner".to_owned(), json!(repository.owner));
                repo.insert("name".to_owned(), json!(repository.name));
                let branch = repository
                    .default_branch
                    .as_deref()
                    .unwrap_or(DEFAULT_BRANCH);
                repo.insert("default_branch".to_owned(), json!(branch));
                Cow::Owned(Value::Object(repo))
            }),
            "execution" => Some(Cow::Owned(json!({
                "id": execution.id,
                "workflow": execution.workflow.name,
                "version": execution.workflow.version,
                "startedAt": execution.started_at.to_string(),
                "triggeredBy": execution.trigger.by,
            }))),
            "steps" => Some(Cow::Owned(self.ended_steps())),
            assigned => self.assigned(assigned),
        }
    }
}

impl<'a> ExecutionScope<'a> {
    fn assigned(&self, name: &str) -> Option<Cow<'a, Value>> {
        self.workflow
            .definition
            .steps
            .iter()
            .zip(&self.execution.steps)
            .rev()
            .filter(|(step, state)| {
                step.assign.as_deref() == Some(name) && state.status == StepStatus::Completed
            })
            .find_map(|(_, state)| state.output.as_ref())
            .map(Cow::Borrowed)
    }

    fn ended_steps(&self) -> Value {
        let mut steps = Map::new();
        for (step, state) in self
            .workflow
            .definition
            .steps
            .iter()
            .zip(&self.execution.steps)
        {
            if !state.status.is_terminal() {
                continue;
            }
            let mut entry = Map::new();
            entry.insert("status".to_owned(), json!(state.status.as_str()));
            if let Some(output) = &state.output {
                entry.insert("output".to_owned(), output.clone());
            }
            if let Some(error) = &state.error {
                entry.insert(
                    "error".to_owned(),
                    json!({ "code": error.code, "message": error.message }),
                );
            }
            steps.insert(step.name.clone(), Value::Object(entry));
        }
        Value::Object(steps)
    }
}
