//! Contracts of the test kind: tools without effects, for trying, testing and measuring the rest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Effect, ToolContract};

/// Parameters of `test.noop`: none.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoopParams {}

/// Output of `test.noop`: nothing.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct NoopOutput {}

/// Parameters of `test.echo`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EchoParams {
    /// What to give back.
    pub value: Value,
}

/// Output of `test.echo`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct EchoOutput {
    /// What was given.
    pub value: Value,
}

/// Parameters of `test.sleep`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SleepParams {
    /// How long, in milliseconds.
    #[schemars(range(max = 3_600_000))]
    pub ms: u64,
}

/// Output of `test.sleep`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SleepOutput {
    /// How long it slept, in milliseconds.
    pub ms: u64,
}

/// Parameters of `test.fail`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FailParams {
    /// How many attempts fail before one succeeds; all of them if absent.
    #[serde(default)]
    pub times: Option<u32>,
    /// The class of the error; `retryable` if absent.
    #[serde(default)]
    pub class: Option<FailClass>,
    /// The least delay asked for before another attempt, in milliseconds.
    #[serde(default, rename = "retryAfterMs")]
    #[schemars(range(max = 3_600_000))]
    pub retry_after_ms: Option<u64>,
    /// The older way to write the class `permanent`; it counts where there is no `class`.
    #[serde(default)]
    pub permanent: bool,
    /// The error's message.
    #[serde(default)]
    pub message: Option<String>,
}

/// The classes of errors that a tool can end with by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailClass {
    /// It may go away by itself.
    Retryable,
    /// No further attempt can mend it.
    Permanent,
    /// The other side asked to wait.
    RateLimited,
    /// It took too long.
    Timeout,
}

/// Output of `test.fail`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct FailOutput {
    /// The attempt that succeeded.
    pub attempt: u32,
}

/// Parameters of `test.crash`.
///
/// A crash is no answer, so the same attempt is delivered again, to another worker, and nothing in it
/// tells that from the first time. `times` therefore counts attempts, each of which costs as many
/// workers as a job has deliveries; `withinMs` tells deliveries apart by the time that has passed.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CrashParams {
    /// How many attempts crash every worker that takes them before one succeeds; all of them if
    /// absent.
    #[serde(default)]
    pub times: Option<u32>,
    /// Crash only within this many milliseconds after the attempt was dispatched: a worker that gets
    /// it later, because the first one crashed, succeeds.
    #[serde(default, rename = "withinMs")]
    pub within_ms: Option<u64>,
}

/// Output of `test.crash`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct CrashOutput {
    /// The attempt that succeeded.
    pub attempt: u32,
}

/// Parameters of `test.bytes`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BytesParams {
    /// How long the text is, in bytes.
    #[schemars(range(max = 16_777_216))]
    pub bytes: usize,
}

/// Output of `test.bytes`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct BytesOutput {
    /// A text of the wanted length.
    pub text: String,
}

/// Parameters of `test.wait`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitParams {
    /// How often it is deferred.
    #[schemars(range(max = 1_000_000))]
    pub times: u32,
    /// For how long each time, in milliseconds.
    #[serde(default = "wait_after", rename = "afterMs")]
    #[schemars(range(min = 100, max = 3_600_000))]
    pub after_ms: u64,
}

fn wait_after() -> u64 {
    100
}

/// Output of `test.wait`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct WaitOutput {
    /// How often it was deferred.
    pub times: u32,
}

pub(super) fn contracts() -> Vec<ToolContract> {
    vec![
        ToolContract::new::<NoopParams, NoopOutput>(
            "test.noop",
            "Does nothing.",
            Effect::ReadOnly,
            &[],
        ),
        ToolContract::new::<EchoParams, EchoOutput>(
            "test.echo",
            "Gives back what it is given.",
            Effect::ReadOnly,
            &[],
        ),
        ToolContract::new::<SleepParams, SleepOutput>(
            "test.sleep",
            "Does nothing for a while.",
            Effect::ReadOnly,
            &[],
        ),
        ToolContract::new::<FailParams, FailOutput>(
            "test.fail",
            "Fails a number of times, then succeeds.",
            Effect::ReadOnly,
            &[],
        ),
        ToolContract::new::<CrashParams, CrashOutput>(
            "test.crash",
            "Aborts the worker process, with all jobs it runs.",
            Effect::ReadOnly,
            &[],
        ),
        ToolContract::new::<BytesParams, BytesOutput>(
            "test.bytes",
            "Gives a text of a wanted length.",
            Effect::ReadOnly,
            &[],
        ),
        ToolContract::new::<WaitParams, WaitOutput>(
            "test.wait",
            "Waits without a worker: it is deferred a number of times.",
            Effect::ReadOnly,
            &[],
        ),
    ]
}
