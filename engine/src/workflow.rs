//! A definition with its expressions compiled and its order worked out: what executions run.
//!
//! Steps, what undoes them, and the `onFailure` steps are *nodes* of one list, in this order, so that
//! a number names each of them for good. Two steps are ordered if one needs the other, directly or
//! through others; an expression sees the outputs of steps that are ordered before its own and no
//! others, which is why the order in which independent steps end changes nothing.

mod compile;
mod graph;
mod input;
mod names;
pub(crate) mod sleep;

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use afu9_schemas::ToolName;
use afu9_schemas::definition::{
    Action, Approval, Config, Definition, Flow, KeyScope, OnTimeout, RetryPolicy, Sleep,
};
use afu9_schemas::message::Repository;
use afu9_schemas::tool::kind_profile;
use afu9_schemas::view::{StepAction, StepRole};
use serde_json::Value;

use crate::expression::{Condition, EvalError, Scope, Template};

pub use compile::{Compiled, compile};
pub use input::{InputError, InputSchema};

use graph::NodeSet;

/// Longest concurrency key, in bytes.
pub const MAX_KEY_BYTES: usize = 512;

/// A definition that is valid in every respect.
#[derive(Debug)]
pub struct Workflow {
    /// As it was read.
    pub definition: Definition,
    /// The steps, then what undoes them, then the `onFailure` steps.
    pub nodes: Vec<Node>,
    /// How many of the nodes are the definition's steps.
    pub main: usize,
    /// What inputs must look like.
    pub input_schema: Option<InputSchema>,
    /// The execution's output.
    pub output: Option<Template>,
    /// The text by which executions contend.
    pub key: Option<Template>,
    /// What the rules of `definition.triggers` evaluate, in the same order.
    pub triggers: Vec<CompiledTrigger>,
}

/// What a trigger evaluates.
#[derive(Debug, Default)]
pub struct CompiledTrigger {
    /// Whether it starts something.
    pub filter: Option<Condition>,
    /// The input of what it starts.
    pub input: Option<Template>,
}

/// One node.
#[derive(Debug)]
pub struct Node {
    /// Unique in the workflow; what undoes `x` is called `x.compensate`.
    pub name: String,
    /// What it is for.
    pub role: StepRole,
    /// What it does.
    pub action: NodeAction,
    /// Its condition.
    pub condition: Option<Condition>,
    /// It runs once for each item of this list.
    pub for_each: Option<NodeItems>,
    /// The name of its output.
    pub assign: Option<String>,
    /// What to do when an attempt fails.
    pub retry: RetryPolicy,
    /// Longest time of an attempt, or of the wait.
    pub timeout: Option<Duration>,
    /// Steps behind it run although it failed.
    pub continue_on_error: bool,
    /// Nodes that must have ended before.
    pub needs: Vec<u32>,
    /// Nodes that need it.
    pub dependents: Vec<u32>,
    /// The node that undoes it.
    pub compensation: Option<u32>,
    /// Nodes that are ordered before it: what its expressions see.
    before: NodeSet,
}

/// What a node does.
#[derive(Debug)]
pub enum NodeAction {
    /// A worker runs a tool.
    Tool {
        /// What to run.
        tool: ToolName,
        /// Position of its kind among all kinds.
        kind: u16,
        /// Its parameters.
        params: Template,
    },
    /// People decide.
    Approval {
        /// Who, how many, and what expiry means.
        rule: Approval,
        /// What they are told.
        message: Option<Template>,
    },
    /// It waits for a signal.
    WaitFor {
        /// The signal's name.
        signal: String,
        /// Which payloads count.
        filter: Option<Condition>,
        /// What it means that none came.
        on_timeout: OnTimeout,
    },
    /// It waits for a while.
    SleepFor(Template),
    /// It waits until an instant.
    SleepUntil(Template),
    /// Another workflow runs.
    Workflow {
        /// Its name.
        workflow: String,
        /// Its version.
        version: Option<u32>,
        /// Its input.
        input: Template,
        /// Whether its end is waited for.
        wait: bool,
    },
}

impl NodeAction {
    /// What sort it is.
    pub const fn sort(&self) -> StepAction {
        match self {
            Self::Tool { .. } => StepAction::Tool,
            Self::Approval { .. } => StepAction::Approval,
            Self::WaitFor { .. } => StepAction::WaitFor,
            Self::SleepFor(_) | Self::SleepUntil(_) => StepAction::Sleep,
            Self::Workflow { .. } => StepAction::Workflow,
        }
    }
}

/// The items of a node.
#[derive(Debug)]
pub struct NodeItems {
    /// What yields the list.
    pub list: Template,
    /// The item's name in expressions.
    pub alias: String,
    /// The name of its position.
    pub index_alias: String,
    /// How many run at once at most.
    pub max_parallel: u32,
}

impl Node {
    /// Whether `other` is ordered before this node.
    pub fn sees(&self, other: u32) -> bool {
        self.before.contains(other)
    }

    /// Its tool, if it has one.
    pub fn tool(&self) -> Option<&ToolName> {
        match &self.action {
            NodeAction::Tool { tool, .. } => Some(tool),
            _ => None,
        }
    }
}

impl Workflow {
    /// A workflow without steps, which stands for one that does not exist.
    pub(crate) fn none() -> Arc<Self> {
        static NONE: LazyLock<Arc<Workflow>> = LazyLock::new(|| {
            Arc::new(Workflow {
                definition: Definition {
                    name: String::new(),
                    description: None,
                    input_schema: None,
                    triggers: Vec::new(),
                    flow: Flow::default(),
                    steps: Vec::new(),
                    on_failure: Vec::new(),
                    output: None,
                    config: Config {
                        continue_on_error: false,
                        timeout: Duration::ZERO,
                        cleanup_timeout: Duration::ZERO,
                    },
                },
                nodes: Vec::new(),
                main: 0,
                input_schema: None,
                output: None,
                key: None,
                triggers: Vec::new(),
            })
        });
        Arc::clone(&NONE)
    }

    /// The position of the step called `name`.
    pub fn step(&self, name: &str) -> Option<u32> {
        let position = self.nodes.iter().position(|node| node.name == name)?;
        u32::try_from(position).ok()
    }

    /// The nodes, with their numbers.
    pub fn numbered(&self) -> impl DoubleEndedIterator<Item = (u32, &Node)> {
        self.nodes
            .iter()
            .enumerate()
            .map(|(index, node)| (u32::try_from(index).unwrap_or(u32::MAX), node))
    }

    /// What an execution with `input` contends for: `None` if the workflow has no limits.
    ///
    /// # Errors
    /// When the key's expression has no value, or one that is no short text or number.
    pub fn key(
        &self,
        input: &Value,
        repository: Option<&Repository>,
    ) -> Result<Option<String>, KeyError> {
        let flow = &self.definition.flow;
        if !flow.has_limits() {
            return Ok(None);
        }
        let text = match &self.key {
            None => String::new(),
            Some(template) => {
                let value = template
                    .render(&SubmissionScope { input, repository })
                    .map_err(|(_, error)| KeyError::Expression(error))?;
                match value {
                    Value::String(text) => text,
                    Value::Number(number) => number.to_string(),
                    Value::Bool(value) => value.to_string(),
                    Value::Null | Value::Array(_) | Value::Object(_) => return Err(KeyError::Type),
                }
            }
        };
        if text.len() > MAX_KEY_BYTES {
            return Err(KeyError::Long(text.len()));
        }
        Ok(Some(match flow.scope {
            KeyScope::Workflow => format!("{}:{text}", self.definition.name),
            KeyScope::Global => format!(":{text}"),
        }))
    }

    /// Whether every tool of it belongs to production.
    pub fn is_for_production(&self) -> bool {
        self.nodes
            .iter()
            .filter_map(Node::tool)
            .all(|tool| kind_profile(tool.kind()).is_none_or(|profile| profile.production))
    }
}

/// Why an execution has no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Its expression has no value.
    #[error("the key of the workflow's limits: {0}")]
    Expression(EvalError),
    /// Its value is nothing to compare by.
    #[error("the key of the workflow's limits must be a text, a number or a boolean")]
    Type,
    /// Its value is too long.
    #[error("the key of the workflow's limits has {0} bytes, at most {MAX_KEY_BYTES} are allowed")]
    Long(usize),
}

/// What is known of an execution before it begins.
struct SubmissionScope<'a> {
    input: &'a Value,
    repository: Option<&'a Repository>,
}

impl Scope for SubmissionScope<'_> {
    fn root(&self, name: &str) -> Option<Cow<'_, Value>> {
        match name {
            "input" => Some(Cow::Borrowed(self.input)),
            "repo" => self
                .repository
                .map(|repository| Cow::Owned(crate::execution::repo(repository))),
            _ => None,
        }
    }
}

/// Whether every tool of `definition` belongs to production.
pub fn is_for_production(definition: &Definition) -> bool {
    let steps = definition.steps.iter().chain(&definition.on_failure);
    steps
        .flat_map(|step| {
            let own = match &step.action {
                Action::Tool(call) => Some(&call.tool),
                Action::Approval(_)
                | Action::WaitFor(_)
                | Action::Sleep(Sleep::For(_) | Sleep::Until(_))
                | Action::Workflow(_) => None,
            };
            let undo = step.compensate.as_ref().map(|undo| &undo.call.tool);
            own.into_iter().chain(undo)
        })
        .all(|tool| kind_profile(tool.kind()).is_none_or(|profile| profile.production))
}
