//! What a tool is to the runtime: a function from typed parameters to a typed output.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use afu9_schemas::message::Deferral;
use afu9_schemas::{ErrorClass, JobId, StepError, Timestamp, ToolName, WorkerKind, tool};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// What a tool may know of the job it works for.
#[derive(Debug, Clone)]
pub struct Call {
    /// Which attempt at which step of which execution.
    pub job: JobId,
    /// Stays the same over all attempts at the step: whatever the tool leaves outside carries it,
    /// so that a repetition finds it and does nothing.
    pub idempotency_key: String,
    /// Name of the workflow.
    pub workflow: String,
    /// When the job was dispatched. The same at every delivery of the same attempt.
    pub dispatched_at: Timestamp,
    /// What the tool gave when it was deferred within this attempt; none the first time.
    pub state: Option<Value>,
    /// Becomes cancelled when the execution is, or when the worker has to end: a tool that waits
    /// should stop waiting.
    pub cancelled: CancellationToken,
}

/// What a tool gives.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply<O> {
    /// Its output.
    Done(O),
    /// It waits for something outside, and is to be run again later within the same attempt: no slot is
    /// taken meanwhile, and workers and orchestrators may come and go.
    Deferred(Deferral),
}

impl<O> Reply<O> {
    /// To be run again `after` a while, with `state` in [`Call::state`]. `progress` is told to people.
    ///
    /// # Errors
    /// When the state cannot be written as JSON.
    pub fn later(
        after: Duration,
        state: &impl Serialize,
        progress: impl Into<String>,
    ) -> Result<Self, ToolError> {
        let state = serde_json::to_value(state).map_err(|error| {
            ToolError::permanent("state.invalid", format!("the state is not JSON: {error}"))
        })?;
        Ok(Self::Deferred(Deferral {
            after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
            state,
            progress: Some(progress.into()),
        }))
    }
}

/// How a tool failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolError {
    /// What is stored and decided upon.
    pub error: StepError,
    /// The least delay the other side asked for before another attempt.
    pub retry_after: Option<Duration>,
}

impl ToolError {
    /// A failure that no further attempt can mend.
    pub fn permanent(code: &str, message: impl Into<String>) -> Self {
        Self {
            error: StepError::new(ErrorClass::Permanent, code, message),
            retry_after: None,
        }
    }

    /// A failure that may go away by itself.
    pub fn retryable(code: &str, message: impl Into<String>) -> Self {
        Self {
            error: StepError::new(ErrorClass::Retryable, code, message),
            retry_after: None,
        }
    }

    /// The other side asked to wait.
    pub fn rate_limited(code: &str, message: impl Into<String>, retry_after: Duration) -> Self {
        Self {
            error: StepError::new(ErrorClass::RateLimited, code, message),
            retry_after: Some(retry_after),
        }
    }

    /// The call was cancelled before it had an effect.
    pub fn cancelled() -> Self {
        Self {
            error: StepError::new(
                ErrorClass::Cancelled,
                "cancelled",
                "the execution was cancelled",
            ),
            retry_after: None,
        }
    }
}

type Run = Pin<Box<dyn Future<Output = Result<Reply<Value>, ToolError>> + Send>>;
type Handler = Arc<dyn Fn(Call, Value) -> Run + Send + Sync>;

/// The tools of one worker kind.
#[derive(Clone)]
pub struct Toolbox {
    kind: WorkerKind,
    handlers: HashMap<String, Handler>,
}

impl std::fmt::Debug for Toolbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Toolbox")
            .field("kind", &self.kind)
            .field("tools", &self.names())
            .finish()
    }
}

impl Toolbox {
    /// A toolbox of `kind` without tools.
    pub fn new(kind: WorkerKind) -> Self {
        Self {
            kind,
            handlers: HashMap::new(),
        }
    }

    /// Adds the tool `name`, which must have a contract; it is also found by its aliases.
    ///
    /// # Panics
    /// When there is no contract of that name: a mistake of ours that the first test shows.
    #[must_use]
    pub fn with<P, O, F, R>(self, name: &str, run: F) -> Self
    where
        P: DeserializeOwned + Send + 'static,
        O: Serialize + 'static,
        F: Fn(Call, P) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, ToolError>> + Send + 'static,
    {
        self.with_deferring(name, move |call, params| {
            let running = run(call, params);
            async move { running.await.map(Reply::Done) }
        })
    }

    /// Adds a tool that may wait for something outside; see [`Reply::Deferred`].
    ///
    /// # Panics
    /// Like [`Self::with`].
    #[must_use]
    pub fn with_deferring<P, O, F, R>(mut self, name: &str, run: F) -> Self
    where
        P: DeserializeOwned + Send + 'static,
        O: Serialize + 'static,
        F: Fn(Call, P) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Reply<O>, ToolError>> + Send + 'static,
    {
        let tool = ToolName::new(self.kind.clone(), name).expect("names of tools are valid");
        let contract = tool::contract(&tool).expect("every tool has a contract");
        let run = Arc::new(run);
        let handler: Handler = Arc::new(move |call, params| {
            let run = Arc::clone(&run);
            Box::pin(async move {
                let params = serde_json::from_value(params).map_err(|error| {
                    ToolError::permanent(
                        "params.invalid",
                        format!("parameters do not fit: {error}"),
                    )
                })?;
                let output = match run(call, params).await? {
                    Reply::Done(output) => output,
                    Reply::Deferred(deferral) => return Ok(Reply::Deferred(deferral)),
                };
                let output = serde_json::to_value(output).map_err(|error| {
                    ToolError::permanent("output.invalid", format!("output is not JSON: {error}"))
                })?;
                Ok(Reply::Done(output))
            })
        });
        for alias in contract.aliases {
            self.handlers
                .insert((*alias).to_owned(), Arc::clone(&handler));
        }
        self.handlers.insert(name.to_owned(), handler);
        self
    }

    /// The worker kind.
    pub fn kind(&self) -> &WorkerKind {
        &self.kind
    }

    /// Names of the tools, aliases included, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.handlers.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// Runs the tool `name`.
    ///
    /// # Errors
    /// What the tool says, or a permanent error when there is no such tool or the parameters do not
    /// fit it. Dropping the future abandons the tool at its next await.
    pub async fn call(
        &self,
        name: &str,
        call: Call,
        params: Value,
    ) -> Result<Reply<Value>, ToolError> {
        match self.handlers.get(name) {
            Some(handler) => handler(call, params).await,
            None => Err(ToolError::permanent(
                "tool.unknown",
                format!("workers of kind `{}` have no tool `{name}`", self.kind),
            )),
        }
    }

    /// Runs the tool `name`, which is not to be deferred, for a test.
    #[cfg(test)]
    pub(crate) async fn run(
        &self,
        name: &str,
        call: Call,
        params: Value,
    ) -> Result<Value, ToolError> {
        match self.call(name, call, params).await? {
            Reply::Done(output) => Ok(output),
            Reply::Deferred(deferral) => panic!("{name} was deferred: {deferral:?}"),
        }
    }
}
