//! The test kind: tools without effects, for trying, testing and measuring everything else. Off
//! unless the configuration allows it.

use std::time::Duration;

use afu9_schemas::tool::test::{
    BytesOutput, BytesParams, CrashOutput, CrashParams, EchoOutput, EchoParams, FailClass,
    FailOutput, FailParams, NoopOutput, NoopParams, SleepOutput, SleepParams, WaitOutput,
    WaitParams,
};
use afu9_schemas::{ErrorClass, StepError, Timestamp, WorkerKind};

use crate::runtime::now;
use crate::tool::{Call, Reply, ToolError, Toolbox};

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
        .with("crash", |call: Call, params: CrashParams| async move {
            if shall_crash(&call, &params, now()) {
                // What a worker that runs out of memory leaves behind: nothing. A panic would be
                // caught and answered for.
                std::process::abort();
            }
            Ok(CrashOutput {
                attempt: call.job.attempt,
            })
        })
        .with_deferring("wait", wait)
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

/// The state is how often it was deferred.
async fn wait(call: Call, params: WaitParams) -> Result<Reply<WaitOutput>, ToolError> {
    let times = call.state.as_ref().and_then(serde_json::Value::as_u64);
    let times = times.unwrap_or(0);
    if times >= u64::from(params.times) {
        return Ok(Reply::Done(WaitOutput {
            times: params.times,
        }));
    }
    let after = Duration::from_millis(params.after_ms);
    let progress = format!("deferred {} of {} times", times + 1, params.times);
    Reply::later(after, &(times + 1), progress)
}

fn fail(call: &Call, params: FailParams) -> Result<FailOutput, ToolError> {
    let attempt = call.job.attempt;
    let message = params
        .message
        .unwrap_or_else(|| format!("attempt {attempt} was told to fail"));
    if params.times.is_some_and(|times| attempt > times) {
        return Ok(FailOutput { attempt });
    }
    let class = match params.class {
        Some(FailClass::Retryable) => ErrorClass::Retryable,
        Some(FailClass::Permanent) => ErrorClass::Permanent,
        Some(FailClass::RateLimited) => ErrorClass::RateLimited,
        Some(FailClass::Timeout) => ErrorClass::Timeout,
        None if params.permanent => ErrorClass::Permanent,
        None => ErrorClass::Retryable,
    };
    Err(ToolError {
        error: StepError::new(class, "test.fail", message),
        retry_after: params.retry_after_ms.map(Duration::from_millis),
    })
}

/// Decided from the job alone: a worker that crashed remembers nothing.
fn shall_crash(call: &Call, params: &CrashParams, now: Timestamp) -> bool {
    let spent = params.times.is_some_and(|times| call.job.attempt > times);
    let late = params
        .within_ms
        .is_some_and(|within| now.since(call.dispatched_at) > Duration::from_millis(within));
    !spent && !late
}

#[cfg(test)]
mod tests {
    use afu9_schemas::{ExecutionId, JobId};
    use serde_json::{Value, json};
    use tokio_util::sync::CancellationToken;

    use super::*;

    fn call(attempt: u32) -> Call {
        let job = JobId {
            execution: ExecutionId::derived("test"),
            step: 0,
            attempt,
            item: None,
        };
        Call {
            job,
            idempotency_key: job.idempotency_key(),
            workflow: "w".to_owned(),
            dispatched_at: Timestamp::from_micros(1_764_000_000_000_000),
            state: None,
            cancelled: CancellationToken::new(),
        }
    }

    async fn run(tool: &str, attempt: u32, params: Value) -> Result<Value, ToolError> {
        toolbox().run(tool, call(attempt), params).await
    }

    #[tokio::test]
    async fn it_fails_as_it_is_told() {
        for (params, class) in [
            (json!({}), ErrorClass::Retryable),
            (json!({"permanent": true}), ErrorClass::Permanent),
            (json!({"class": "retryable"}), ErrorClass::Retryable),
            (json!({"class": "permanent"}), ErrorClass::Permanent),
            (json!({"class": "rate_limited"}), ErrorClass::RateLimited),
            (json!({"class": "timeout"}), ErrorClass::Timeout),
            (
                json!({"class": "timeout", "permanent": true}),
                ErrorClass::Timeout,
            ),
        ] {
            let failed = run("fail", 7, params).await.expect_err("it fails");
            assert_eq!(failed.error.class, class);
            assert_eq!(failed.retry_after, None);
        }
        let params = json!({"class": "rate_limited", "retryAfterMs": 1500});
        let failed = run("fail", 1, params).await.expect_err("it fails");
        assert_eq!(failed.retry_after, Some(Duration::from_millis(1500)));
    }

    #[tokio::test]
    async fn it_fails_as_often_as_it_is_told() {
        let params = json!({"times": 2, "class": "timeout"});
        for attempt in 1..=2 {
            let failed = run("fail", attempt, params.clone()).await;
            failed.expect_err("told to fail");
        }
        let done = run("fail", 3, params).await.expect("it succeeds");
        assert_eq!(done, json!({"attempt": 3}));
    }

    #[test]
    fn every_delivery_of_an_attempt_crashes_unless_it_comes_late() {
        let at = |ms| call(1).dispatched_at.plus(Duration::from_millis(ms));
        let always = CrashParams::default();
        assert!(shall_crash(&call(1), &always, at(0)));
        assert!(shall_crash(&call(9), &always, at(3_600_000)));
        let twice = CrashParams {
            times: Some(2),
            within_ms: None,
        };
        assert!(
            shall_crash(&call(2), &twice, at(150_000)),
            "another delivery"
        );
        assert!(!shall_crash(&call(3), &twice, at(0)));
        let once = CrashParams {
            times: None,
            within_ms: Some(10_000),
        };
        assert!(shall_crash(&call(1), &once, at(10_000)));
        assert!(
            !shall_crash(&call(1), &once, at(30_000)),
            "another delivery"
        );
        let never = CrashParams {
            times: Some(0),
            within_ms: None,
        };
        assert!(!shall_crash(&call(1), &never, at(0)));
    }

    #[tokio::test]
    async fn a_crash_that_is_over_is_a_success() {
        let done = run("crash", 2, json!({"times": 1})).await;
        assert_eq!(done, Ok(json!({"attempt": 2})));
    }
}
