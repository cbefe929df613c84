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
    /// Fail in a way that no further attempt can mend.
    #[serde(default)]
    pub permanent: bool,
    /// The error's message.
    #[serde(default)]
    pub message: Option<String>,
}

/// Output of `test.fail`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct FailOutput {
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
        ToolContract::new::<BytesParams, BytesOutput>(
            "test.bytes",
            "Gives a text of a wanted length.",
            Effect::ReadOnly,
            &[],
        ),
    ]
}
