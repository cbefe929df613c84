//! Workflow definitions: reading them from JSON or YAML with every mistake reported at once, with
//! line and column, and the typed form everything else works with.
//!
//! The seed format (`name, description, steps[{name, tool, params, assign, if, retry}], config`) is
//! accepted unchanged. JSON is read by the same reader as YAML, of which it is a subset.

mod diagnostic;
mod document;
mod read;

use std::time::Duration;

use serde_json::Value;

pub use diagnostic::{Diagnostic, Position, Positions};
pub use read::{Read, ReadOptions, read};

use crate::id::{DefinitionHash, ToolName};

/// Largest definition accepted, in bytes: it must fit into a message together with its record.
pub const MAX_DEFINITION_BYTES: usize = 512 * 1024;

/// Most steps in one definition; a state with more could not be checkpointed in one piece.
pub const MAX_STEPS: usize = 1000;

/// Default of `config.timeoutMs`.
pub const DEFAULT_EXECUTION_TIMEOUT: Duration = Duration::from_secs(300);

/// A definition that was read without a mistake in its structure. Expressions are still text: the
/// engine compiles them.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// The workflow's name.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// In the order in which they run.
    pub steps: Vec<Step>,
    /// What holds for the execution as a whole.
    pub config: Config,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Unique in the definition.
    pub name: String,
    /// What it runs.
    pub tool: ToolName,
    /// The tool's parameters; strings in them may hold `${…}`.
    pub params: Value,
    /// The name under which later expressions find the output.
    pub assign: Option<String>,
    /// The step is skipped when this is false.
    pub condition: Option<String>,
    /// What to do when an attempt fails.
    pub retry: RetryPolicy,
    /// Longest time from an attempt's dispatch to its result.
    pub timeout: Option<Duration>,
}

/// What holds for the execution as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Go on after a failed step.
    pub continue_on_error: bool,
    /// Longest time from the execution's start to its end.
    pub timeout: Duration,
}

/// What to do when an attempt fails.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// Attempts in all, 1 to 10.
    pub max_attempts: u32,
    /// How the delay grows.
    pub backoff: Backoff,
    /// The factor of [`Backoff::Exponential`].
    pub multiplier: f64,
    /// The first delay.
    pub initial_delay: Duration,
    /// No computed delay is longer; one that the other side asks for may be.
    pub max_delay: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            backoff: Backoff::Exponential,
            multiplier: 2.0,
            initial_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(60),
        }
    }
}

/// How the delay between attempts grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backoff {
    /// Always the first delay.
    Fixed,
    /// The first delay times the number of the failed attempt.
    Linear,
    /// The first delay times the factor to the power of the failed attempts before this one.
    Exponential,
}

/// The identity of a definition: SHA-256 of its JSON with sorted keys and without spaces.
///
/// Layout, comments and the choice between JSON and YAML do not make a new version.
pub fn hash(definition: &Value) -> DefinitionHash {
    DefinitionHash::of(canonical(definition).to_string().as_bytes())
}

fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by(|a, b| a.0.cmp(b.0));
            sorted
                .into_iter()
                .map(|(key, item)| (key.clone(), canonical(item)))
                .collect()
        }
        Value::Array(items) => items.iter().map(canonical).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_of_keys_does_not_make_a_version() {
        let one = hash(&json!({"a": {"x": 1, "y": [1, 2]}, "b": 2}));
        let same = hash(&json!({"b": 2, "a": {"y": [1, 2], "x": 1}}));
        let other = hash(&json!({"b": 2, "a": {"y": [2, 1], "x": 1}}));
        assert_eq!(one, same);
        assert_ne!(one, other);
    }
}
