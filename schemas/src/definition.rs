//! Workflow definitions: reading them from JSON or YAML with every mistake reported at once, with
//! line and column, and the typed form everything else works with.
//!
//! The seed format (`name, description, steps[{name, tool, params, assign, if, retry}], config`) is
//! accepted unchanged. JSON is read by the same reader as YAML, of which it is a subset.

mod bound;
mod diagnostic;
mod document;
mod duration;
mod input_schema;
mod json_schema;
mod read;
mod vocabulary;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use diagnostic::{Diagnostic, Position, Positions};
pub use duration::parse_duration;
pub use input_schema::{MAX_WORK, compile_input_schema, is_cheap_to_check};
pub use json_schema::json_schema;
pub use read::{Read, ReadOptions, read};

use crate::error::ErrorClass;
use crate::id::{DefinitionHash, ToolName};
use crate::view::ExecutionStatus;

/// Largest definition accepted, in bytes: it must fit into a message together with its record.
pub const MAX_DEFINITION_BYTES: usize = 512 * 1024;

/// Most steps in one definition; a state with more could not be checkpointed in one piece.
pub const MAX_STEPS: usize = 1000;

/// Default of `config.timeoutMs`, where no step waits for people, signals, instants or children; with
/// such a step it is [`MAX_DURATION`].
pub const DEFAULT_EXECUTION_TIMEOUT: Duration = Duration::from_secs(300);

/// Default of `config.cleanupTimeoutMs`, where no step of `onFailure` waits; with such a step it is
/// [`MAX_DURATION`].
pub const DEFAULT_CLEANUP_TIMEOUT: Duration = Duration::from_secs(300);

/// Most items one `forEach` may run over.
pub const MAX_ITEMS: usize = 100_000;

/// Default of `forEach.maxParallel`: enough to keep a small fleet busy, few enough that one list does
/// not fill its queue.
pub const DEFAULT_MAX_PARALLEL: u32 = 100;

/// Names that no step may give to its output or its items: roots of the expressions of steps
/// (`variables`, the predecessor's, among them), and words that are no names in an expression.
pub const RESERVED_ROOTS: &[&str] = &[
    "input",
    "repo",
    "steps",
    "execution",
    "failure",
    "signal",
    "variables",
    "null",
    "true",
    "false",
    "in",
];

/// Longest time an execution may take, and a sleep may last.
pub const MAX_DURATION: Duration = Duration::from_secs(366 * 24 * 3600);

/// A definition that was read without a mistake in its structure. Expressions are still text: the
/// engine compiles them.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// The workflow's name.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// JSON Schema (2020-12) of the input, with defaults.
    pub input_schema: Option<Value>,
    /// What starts it by itself.
    pub triggers: Vec<TriggerRule>,
    /// How its executions share what they contend for.
    pub flow: Flow,
    /// In the order in which they were written.
    pub steps: Vec<Step>,
    /// Run one after the other when the execution has failed, before it ends.
    pub on_failure: Vec<Step>,
    /// The execution's output; strings in it may hold `${…}`.
    pub output: Option<Value>,
    /// What holds for the execution as a whole.
    pub config: Config,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Unique in the definition.
    pub name: String,
    /// What it does.
    pub action: Action,
    /// Names of the steps it begins after. `None` where the step says nothing of it: such a step
    /// follows the one before it, unless any step of the definition has `needs`; then it needs none.
    pub needs: Option<Vec<String>>,
    /// The step is skipped when this is false.
    pub condition: Option<String>,
    /// The step runs once for each item.
    pub for_each: Option<ForEach>,
    /// The name under which later expressions find the output.
    pub assign: Option<String>,
    /// What to do when an attempt fails.
    pub retry: RetryPolicy,
    /// Longest time from an attempt's dispatch to its result; for a step that waits, longest wait.
    pub timeout: Option<Duration>,
    /// Steps behind this one run although it failed.
    pub continue_on_error: bool,
    /// What undoes it.
    pub compensate: Option<Compensation>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// A worker runs a tool.
    Tool(ToolCall),
    /// People decide.
    Approval(Approval),
    /// It waits for a signal.
    WaitFor(WaitFor),
    /// It waits for an instant.
    Sleep(Sleep),
    /// Another workflow runs.
    Workflow(Child),
}

/// A tool and what it is given.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    /// What to run.
    pub tool: ToolName,
    /// Its parameters; strings in them may hold `${…}`.
    pub params: Value,
}

/// A step that people decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// What a decider's token must be allowed to do.
    pub scope: String,
    /// How many must approve.
    pub required: u32,
    /// Who may decide; everybody with the scope where it is empty.
    pub approvers: Vec<String>,
    /// Whether who started the execution may decide.
    pub self_approval: bool,
    /// What it means that the step's timeout passed.
    pub on_expiry: Decision,
    /// Shown to deciders; may hold `${…}`.
    pub message: Option<String>,
}

/// What a decider, or an expiry, says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Go on.
    Approve,
    /// The step fails.
    Reject,
}

/// A step that waits for a signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitFor {
    /// The signal's name.
    pub signal: String,
    /// A condition on the signal's payload, which it finds under the root `signal`.
    pub filter: Option<String>,
    /// What it means that the step's timeout passed.
    pub on_timeout: OnTimeout,
}

/// What it means that nothing came in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnTimeout {
    /// The step fails.
    Fail,
    /// The step completes with the output `null`.
    Continue,
}

/// A step that waits for an instant.
#[derive(Debug, Clone, PartialEq)]
pub enum Sleep {
    /// For a number of milliseconds, a duration like `1d12h`, or an expression that yields one.
    For(Value),
    /// Until an RFC 3339 instant, or an expression that yields one.
    Until(Value),
}

/// A step that runs another workflow.
#[derive(Debug, Clone, PartialEq)]
pub struct Child {
    /// Its name.
    pub workflow: String,
    /// Its version; the newest at that moment where it is absent.
    pub version: Option<u32>,
    /// Its input; strings in it may hold `${…}`.
    pub input: Value,
    /// Whether the step waits for its end. A child that is not waited for goes on by itself.
    pub wait: bool,
}

/// A step that runs once for each item.
#[derive(Debug, Clone, PartialEq)]
pub struct ForEach {
    /// A list, or an expression that yields one.
    pub list: Value,
    /// The name of the item in expressions; its position is `<alias>_index`.
    pub alias: String,
    /// How many items run at once at most.
    pub max_parallel: u32,
}

/// What undoes a completed step.
#[derive(Debug, Clone, PartialEq)]
pub struct Compensation {
    /// What to run.
    pub call: ToolCall,
    /// What to do when an attempt at it fails.
    pub retry: RetryPolicy,
    /// Longest time from an attempt's dispatch to its result.
    pub timeout: Option<Duration>,
}

/// How executions of a workflow share what they contend for. All of it goes by one key.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Flow {
    /// An expression over `input` and `repo`; one key for the whole workflow where it is absent.
    pub key: Option<String>,
    /// Whether other workflows share the key.
    pub scope: KeyScope,
    /// How many run at once.
    pub concurrency: Option<Concurrency>,
    /// How many begin in a time.
    pub rate: Option<RateLimit>,
    /// How long it must be quiet before one begins.
    pub debounce: Option<Debounce>,
    /// Among those that wait, higher ones begin first: -100 to 100.
    pub priority: i32,
}

impl Flow {
    /// Whether executions have to ask before they begin.
    pub const fn has_limits(&self) -> bool {
        self.concurrency.is_some() || self.rate.is_some() || self.debounce.is_some()
    }
}

/// Who shares a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyScope {
    /// Executions of the same workflow.
    #[default]
    Workflow,
    /// Executions of every workflow whose scope is global.
    Global,
}

/// How many executions with the same key run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concurrency {
    /// At most this many.
    pub limit: u32,
    /// What happens to one too many.
    pub on_conflict: OnConflict,
}

/// What happens to an execution that finds its key taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnConflict {
    /// It waits.
    Queue,
    /// It is cancelled.
    CancelNewest,
    /// Those that run or wait are cancelled, and it begins after them.
    CancelRunning,
    /// It waits; those that waited before it are cancelled in its favour.
    Coalesce,
}

/// How many executions with the same key begin in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// At most this many at once, and on average per period.
    pub limit: u32,
    /// The period.
    pub period: Duration,
}

/// How long no other execution with the same key may have been submitted before one begins. Earlier
/// ones are cancelled in favour of the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Debounce {
    /// How long it must be quiet.
    pub period: Duration,
    /// An execution begins this long after the first of its series, even if it is never quiet.
    pub max_wait: Duration,
}

/// What starts executions of a workflow by itself.
#[derive(Debug, Clone, PartialEq)]
pub enum TriggerRule {
    /// Webhook deliveries.
    Webhook(WebhookTrigger),
    /// Instants.
    Schedule(ScheduleTrigger),
    /// Ends of executions of another workflow.
    Workflow(AfterTrigger),
}

/// Deliveries that start an execution.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookTrigger {
    /// The source, `github` where it is not said.
    pub source: String,
    /// The event.
    pub event: String,
    /// The payload's `action`; any where it is empty.
    pub actions: Vec<String>,
    /// `owner/name` or `owner/*`; any where it is empty.
    pub repositories: Vec<String>,
    /// A condition on the roots `event`, `action`, `payload`, `repo`, `headers`.
    pub filter: Option<String>,
    /// The execution's input, over the same roots.
    pub input: Option<Value>,
}

/// Instants at which an execution starts.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleTrigger {
    /// A cron expression of five fields, or six with seconds first.
    pub cron: String,
    /// The IANA time zone it is meant in.
    pub timezone: String,
    /// What happens to instants at which nobody was there to start it.
    pub missed: MissedRuns,
    /// Each start is delayed by up to this much, always by the same for the same instant.
    pub jitter: Duration,
    /// The schedule starts nothing.
    pub paused: bool,
    /// The execution's input; it finds the instant under the root `schedule.at`.
    pub input: Option<Value>,
}

/// What happens to instants at which nobody was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissedRuns {
    /// Nothing.
    Skip,
    /// One execution for all of them.
    One,
    /// One execution for each, up to a bound.
    All,
}

/// Ends of executions that start another one.
#[derive(Debug, Clone, PartialEq)]
pub struct AfterTrigger {
    /// Whose executions.
    pub workflow: String,
    /// In which status they ended.
    pub statuses: Vec<ExecutionStatus>,
    /// A condition on the root `upstream`: `id`, `workflow`, `status`, `input`, `output`, `error`.
    pub filter: Option<String>,
    /// The execution's input, over the same root.
    pub input: Option<Value>,
}

/// What holds for the execution as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Go on after a failed step, wherever the step does not say.
    pub continue_on_error: bool,
    /// Longest time from the execution's start to its end; pauses and waits for a key do not count.
    pub timeout: Duration,
    /// Longest time for compensations and `onFailure` steps together.
    pub cleanup_timeout: Duration,
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
    /// Classes of errors after which another attempt is made; by default those that can go away.
    pub on: Option<Vec<ErrorClass>>,
}

impl RetryPolicy {
    /// Whether an error of `class` may be followed by another attempt.
    pub fn covers(&self, class: ErrorClass) -> bool {
        match &self.on {
            Some(classes) => classes.contains(&class),
            None => class.is_retryable(),
        }
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            backoff: Backoff::Exponential,
            multiplier: 2.0,
            initial_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(60),
            on: None,
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

/// Whether `text` is a scope that a decider's token may need: `approve`, or `approve:<name>` with a name
/// of 1 to 64 letters, digits, `.`, `-` or `_`.
pub fn is_approval_scope(text: &str) -> bool {
    text == vocabulary::DEFAULT_SCOPE
        || text
            .strip_prefix("approve:")
            .is_some_and(|name| bound::is_name(name, bound::SCOPE_BYTES))
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
