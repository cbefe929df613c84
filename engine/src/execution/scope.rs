//! What the expressions of an execution can see of it.

use std::borrow::Cow;

use afu9_schemas::artifact::{MAX_INLINE_BYTES, json_size};
use afu9_schemas::message::Repository;
use afu9_schemas::view::{StepRole, StepStatus};
use serde_json::{Map, Value, json};

use super::Execution;
use crate::expression::Scope;
use crate::workflow::{Node, Workflow};

/// What `${repo.default_branch}` is where the trigger did not know it: GitHub's own default, which
/// history shows too.
const DEFAULT_BRANCH: &str = "main";

/// The root `repo`.
pub(crate) fn repo(repository: &Repository) -> Value {
    let branch = repository
        .default_branch
        .as_deref()
        .unwrap_or(DEFAULT_BRANCH);
    json!({ "owner": repository.owner, "name": repository.name, "default_branch": branch })
}

/// The place of an expression.
#[derive(Clone, Copy)]
pub(super) struct NodeScope<'a> {
    execution: &'a Execution,
    workflow: &'a Workflow,
    /// The node it belongs to; none for the execution's output, which sees every step.
    node: Option<&'a Node>,
    item: Option<(&'a Value, u32)>,
    signal: Option<&'a Value>,
}

impl Execution {
    pub(super) fn scope<'a>(&'a self, workflow: &'a Workflow, node: u32) -> NodeScope<'a> {
        NodeScope {
            execution: self,
            workflow,
            node: Some(&workflow.nodes[node as usize]),
            item: None,
            signal: None,
        }
    }

    pub(super) fn output_scope<'a>(&'a self, workflow: &'a Workflow) -> NodeScope<'a> {
        NodeScope {
            execution: self,
            workflow,
            node: None,
            item: None,
            signal: None,
        }
    }

    /// Every assigned name with the output of the last completed step that assigns it. An output
    /// that would make the whole too large for a message is replaced by its size.
    pub(super) fn assigned_output(&self, workflow: &Workflow) -> Value {
        let mut output = Map::new();
        let mut bytes = 0;
        for (node, state) in workflow.nodes.iter().zip(&self.steps).take(workflow.main) {
            let (Some(name), Some(run)) = (&node.assign, &state.run) else {
                continue;
            };
            // A completed step has an output; `null` is not told from none where states are stored.
            let value = match &run.output {
                Some(value) => value,
                None if state.status == StepStatus::Completed => &Value::Null,
                None => continue,
            };
            let size = json_size(value);
            if bytes + size > MAX_INLINE_BYTES {
                output.insert(
                    name.clone(),
                    json!({ "$omitted": { "step": node.name, "bytes": size } }),
                );
            } else {
                bytes += size;
                output.insert(name.clone(), value.clone());
            }
        }
        Value::Object(output)
    }
}

impl<'a> NodeScope<'a> {
    pub(super) fn with_item(mut self, item: &'a Value, position: u32) -> Self {
        self.item = Some((item, position));
        self
    }

    pub(super) fn with_signal(mut self, payload: &'a Value) -> Self {
        self.signal = Some(payload);
        self
    }

    fn sees(&self, index: u32) -> bool {
        match self.node {
            Some(node) => node.sees(index),
            None => (index as usize) < self.workflow.main,
        }
    }

    fn assigned(&self, name: &str) -> Option<Cow<'a, Value>> {
        let (execution, workflow) = (self.execution, self.workflow);
        workflow
            .numbered()
            .rev()
            .filter(|(index, node)| node.assign.as_deref() == Some(name) && self.sees(*index))
            .find_map(|(index, _)| {
                let state = execution.steps.get(index as usize)?;
                let ended = state.run.as_ref().filter(|_| state.status.is_terminal())?;
                match &ended.output {
                    // Also of one that was undone since, and of a list of which some items failed.
                    Some(output) => Some(Cow::Borrowed(output)),
                    None if state.status == StepStatus::Completed => Some(Cow::Owned(Value::Null)),
                    None => None,
                }
            })
    }

    fn ended_steps(&self) -> Value {
        let steps = self.workflow.numbered();
        let ended = steps
            .filter_map(|(index, node)| Some((node.name.clone(), self.ended_step(index, node)?)));
        Value::Object(ended.collect())
    }

    /// Whether a step has ended and is ordered before this place.
    fn shows(&self, index: u32, node: &Node) -> bool {
        let ended = self.execution.steps[index as usize].status.is_terminal();
        ended && node.role != StepRole::Compensation && self.sees(index)
    }

    /// What expressions see of a step that has ended and is ordered before theirs.
    fn ended_step(&self, index: u32, node: &Node) -> Option<Value> {
        if !self.shows(index, node) {
            return None;
        }
        let state = &self.execution.steps[index as usize];
        let mut entry = Map::new();
        entry.insert("status".to_owned(), json!(state.status.as_str()));
        if let Some(run) = &state.run {
            let completed = state.status == StepStatus::Completed;
            match &run.output {
                Some(output) => entry.insert("output".to_owned(), output.clone()),
                None if completed => entry.insert("output".to_owned(), Value::Null),
                None => None,
            };
            if let Some(error) = &run.error {
                let (code, message, class) = (&error.code, &error.message, error.class.as_str());
                let error = json!({ "code": code, "message": message, "class": class });
                entry.insert("error".to_owned(), error);
            }
        }
        Some(Value::Object(entry))
    }

    fn failure(&self) -> Option<Value> {
        let ending = self.execution.ending.as_ref()?;
        let error = &ending.error;
        Some(json!({
            "status": ending.status.as_str(),
            "step": ending.step,
            "code": error.code,
            "message": error.message,
            "class": error.class.as_str(),
        }))
    }
}

impl Scope for NodeScope<'_> {
    fn root(&self, name: &str) -> Option<Cow<'_, Value>> {
        let execution = self.execution;
        if let (Some((item, position)), Some(each)) =
            (self.item, self.node.and_then(|node| node.for_each.as_ref()))
        {
            if name == each.alias {
                return Some(Cow::Borrowed(item));
            }
            if name == each.index_alias {
                return Some(Cow::Owned(json!(position)));
            }
        }
        match name {
            "input" => Some(Cow::Borrowed(&execution.input)),
            "repo" => execution
                .repository
                .as_ref()
                .map(|repository| Cow::Owned(repo(repository))),
            "execution" => Some(Cow::Owned(json!({
                "id": execution.id,
                "workflow": execution.workflow.name,
                "version": execution.workflow.version,
                "startedAt": execution.started_at.to_string(),
                "triggeredBy": execution.trigger.by,
            }))),
            "steps" => Some(Cow::Owned(self.ended_steps())),
            "signal" => self.signal.map(Cow::Borrowed),
            "failure" => self.failure().map(Cow::Owned),
            assigned => self.assigned(assigned),
        }
    }

    /// Outputs may be megabytes, and the step of a list asks for one again with each of its items.
    fn lend(&self, root: &str, field: &str, part: &str) -> Option<&Value> {
        if root != "steps" || part != "output" {
            return None;
        }
        let index = self.workflow.step(field)?;
        let shown = self.shows(index, &self.workflow.nodes[index as usize]);
        let state = self.execution.steps.get(index as usize).filter(|_| shown)?;
        state.run.as_ref()?.output.as_ref()
    }

    /// Of all steps only the one that is asked for: their outputs may be megabytes.
    fn field(&self, root: &str, field: &str) -> Option<Cow<'_, Value>> {
        if root == "steps" {
            let index = self.workflow.step(field)?;
            let node = &self.workflow.nodes[index as usize];
            return self.ended_step(index, node).map(Cow::Owned);
        }
        match self.root(root)? {
            Cow::Borrowed(value) => value.get(field).map(Cow::Borrowed),
            Cow::Owned(value) => value.get(field).cloned().map(Cow::Owned),
        }
    }
}
