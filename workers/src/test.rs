//! The test kind: tools without effects, for trying, testing and measuring everything else. Off
//! unless the configuration allows it.

use std::time::Duration;

use afu9_schemas::WorkerKind;
use afu9_schemas::tool::test::{
    BytesOutput, BytesParams, EchoOutput, EchoParams, FailOutput, FailParams, NoopOutput,
    NoopParams, SleepOutput, SleepParams,
};

use crate::tool::{Call, ToolError, Toolbox};

/// The tools of the test kind.
pub fn toolbox() -> Toolbox {
    let kind = WorkerKind::new("test").expect("a valid kind");
    Toolbox::new(kind)
        .with("noop", |_call, NoopParams {}| async { Ok(NoopOutput {}) })
        .with("echo", |_call, params: EchoParams| async {
            Ok(EchoOutput {
                value: params.value,
            })
        })
        .with("sleep", sleep)
        .with("fail", |call: Call, params: FailParams| async move {
            fail(&call, params)
        })
        .with("bytes", |_call, params: BytesParams| async move {
            Ok(BytesOutput {
                text: "x".repeat(params.bytes),
            })
        })
}

async fn sleep(call: Call, params: SleepParams) -> Result<SleepOutput, ToolError> {
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(params.ms)) => Ok(SleepOutput { ms: params.ms }),
        () = call.cancelled.cancelled() => Err(ToolError::cancelled()),
    }
}

fn fail(call: &Call, params: FailParams) -> Result<FailOutput, ToolError> {
    let attempt = call.job.attempt;
    let message = params
        .message
        .unwrap_or_else(|| format!("attempt {attempt} was told to fail"));
    match params.times {
        Some(times) if attempt > times => Ok(FailOutput { attempt }),
        _ if params.permanent => Err(ToolError::permanent("test.fail", message)),
        _ => Err(ToolError::retryable("test.fail", message)),
    }
}
