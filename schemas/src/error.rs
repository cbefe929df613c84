//! What went wrong with a step, in the form that is stored, shown and decided upon.

use std::any::Any;

use serde::{Deserialize, Serialize};

/// The class of a step's error: what may be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// May go away by itself: network, 5xx, conflict with a concurrent change.
    Retryable,
    /// Will not go away by itself: bad parameters, not found, forbidden.
    Permanent,
    /// The attempt took longer than it was allowed to.
    Timeout,
    /// The execution was cancelled.
    Cancelled,
    /// The other side asked to wait.
    RateLimited,
    /// No worker answered for the job: each that took it disappeared.
    WorkerLost,
}

impl ErrorClass {
    /// Whether another attempt can make sense. Decided here and nowhere else.
    pub const fn is_retryable(self) -> bool {
        match self {
            Self::Retryable | Self::Timeout | Self::RateLimited | Self::WorkerLost => true,
            Self::Permanent | Self::Cancelled => false,
        }
    }

    /// The name used on the wire and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retryable => "retryable",
            Self::Permanent => "permanent",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::RateLimited => "rate_limited",
            Self::WorkerLost => "worker_lost",
        }
    }
}

/// The error of one attempt at a step, or of the step as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepError {
    /// What may be done about it.
    pub class: ErrorClass,
    /// A stable machine-readable code, for example `github.not_found` or `expression.unresolved`.
    pub code: String,
    /// One sentence for a person, naming the thing and, where there is one, the next action.
    pub message: String,
    /// The causes, outermost first, without `message`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<String>,
}

impl StepError {
    /// Longest message kept, in bytes: errors quote what came from outside.
    const MESSAGE_MAX_BYTES: usize = 4096;

    /// Most causes kept of a chain.
    const CHAIN_MAX: usize = 16;

    /// An error without causes. Over-long messages are cut at a character boundary.
    pub fn new(class: ErrorClass, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            class,
            code: code.into(),
            message: cut(message.into()),
            chain: Vec::new(),
        }
    }

    /// The same error with the causes of `error` added.
    #[must_use]
    pub fn with_causes_of(mut self, error: &dyn std::error::Error) -> Self {
        let mut source = error.source();
        while let Some(cause) = source {
            if self.chain.len() == Self::CHAIN_MAX {
                break;
            }
            self.chain.push(cut(cause.to_string()));
            source = cause.source();
        }
        self
    }
}

/// What a panic says that was caught.
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

fn cut(mut text: String) -> String {
    if text.len() > StepError::MESSAGE_MAX_BYTES {
        let mut end = StepError::MESSAGE_MAX_BYTES;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}
