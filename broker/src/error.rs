//! What can go wrong with NATS.

use async_nats::jetstream::ErrorCode;
use thiserror::Error;

use crate::topology::has_code;

/// Any cause.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The server cannot be reached, or refuses us.
    #[error("cannot connect to NATS at {url}")]
    Unreachable {
        /// Where it should be.
        url: String,
        /// What the client said.
        #[source]
        source: Source,
    },
    /// The server is too old to rely on.
    #[error("NATS server {found} is too old: upgrade it to {needed} or newer")]
    TooOld {
        /// Its version.
        found: String,
        /// The oldest one that can be relied on.
        needed: String,
    },
    /// The server has JetStream switched off.
    #[error("NATS server {name} has JetStream disabled; start it with `jetstream {{}}` or `-js`")]
    NoJetStream {
        /// Its name.
        name: String,
    },
    /// The address is not one.
    #[error("`{url}` is not a NATS address")]
    BadUrl {
        /// What was given.
        url: String,
        /// Why it is not one.
        #[source]
        source: Source,
    },
    /// The credentials file cannot be used.
    #[error("cannot read the NATS credentials file {path}")]
    Credentials {
        /// Where it should be.
        path: String,
        /// Why.
        #[source]
        source: Source,
    },
}

/// Why a message was not published, or perhaps not.
#[derive(Debug, Error)]
pub enum PublishError {
    /// The stream is full and refuses new messages, or too much is live already. Nothing was stored; try
    /// again later.
    #[error("{subject} takes in nothing more: its stream is full, or too much is live")]
    Full {
        /// The subject.
        subject: String,
    },
    /// Another message came first: a compare-and-set failed. Nothing was stored.
    #[error("{subject} was changed by somebody else")]
    Conflict {
        /// The subject.
        subject: String,
    },
    /// No answer. The message may have been stored: publishing it again must be harmless.
    #[error("no acknowledgement for {subject}")]
    Unacknowledged {
        /// The subject.
        subject: String,
        /// What the client said.
        #[source]
        source: Source,
    },
    /// The server will never take it: too large, or there is no such stream.
    #[error("{subject} was refused")]
    Refused {
        /// The subject.
        subject: String,
        /// What the server said.
        #[source]
        source: Source,
    },
    /// The message could not be encoded.
    #[error("cannot encode the message for {subject}")]
    Encode {
        /// The subject.
        subject: String,
        /// Why.
        #[source]
        source: afu9_schemas::codec::EncodeError,
    },
    /// The publisher was shut down.
    #[error("the publisher has ended")]
    Closed,
}

impl PublishError {
    /// Whether publishing the same message again can succeed.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Full { .. } | Self::Unacknowledged { .. } => true,
            Self::Conflict { .. } | Self::Refused { .. } | Self::Encode { .. } | Self::Closed => {
                false
            }
        }
    }
}

/// Why a request to JetStream or to another part failed.
#[derive(Debug, Error)]
#[error("{operation} failed")]
pub struct RequestError {
    operation: String,
    #[source]
    source: Source,
}

impl RequestError {
    /// A failure of `operation` that was noticed outside this crate.
    pub fn other(operation: impl Into<String>, source: impl Into<Source>) -> Self {
        Self::new(operation, source)
    }

    /// Whether the stream or bucket is full and refuses what is new. Nothing was stored; try again later.
    pub fn is_full(&self) -> bool {
        is_full(&*self.source)
    }

    pub(crate) fn new(operation: impl Into<String>, source: impl Into<Source>) -> Self {
        Self {
            operation: operation.into(),
            source: source.into(),
        }
    }
}

/// Whether the server refused a message because its stream is full.
pub(crate) fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    // The same code stands for a disk that fails.
    has_code(error, ErrorCode::STREAM_STORE_FAILED) && chain(error).contains("maximum")
}

/// An error and its causes on one line, for logs.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // async-nats repeats its source in its own text.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
