//! Dead letters: what nobody could finish, complete enough to be understood and replayed.

use serde::{Deserialize, Serialize};

use crate::error::StepError;
use crate::id::WorkerKind;
use crate::message::history::AttemptRecord;
use crate::message::job::Job;
use crate::time::Timestamp;

/// One dead letter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Why it is here.
    pub reason: DeadLetterReason,
    /// The worker kind whose job it was; none for an input, a webhook delivery, a trigger or a batch of
    /// history.
    #[serde(default)]
    pub kind: Option<WorkerKind>,
    /// The job, where it could be decoded.
    #[serde(default)]
    pub job: Option<Job>,
    /// The message as it was, where it could not be decoded; a message with the input alone, where that was
    /// poison; what a trigger had to go by, as JSON, where
    /// that could not start its workflow.
    #[serde(default, with = "serde_bytes")]
    pub raw: Option<Vec<u8>>,
    /// Every attempt.
    #[serde(default)]
    pub attempts: Vec<AttemptRecord>,
    /// The last error, with its causes.
    pub error: StepError,
    /// When it became a dead letter.
    pub at: Timestamp,
}

/// Why something became a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadLetterReason {
    /// The message could not be read.
    Undecodable,
    /// The tool said that no further attempt can help.
    Permanent,
    /// Every attempt the policy allows was used.
    AttemptsExhausted,
    /// Workers took the job and disappeared, again and again.
    DeliveriesExhausted,
    /// A webhook delivery could not be routed.
    Unroutable,
    /// A schedule, or the end of another execution, could not start its workflow.
    Unstarted,
    /// The database will never take a batch of history.
    Unwritable,
    /// An input brought down every orchestrator that folded it.
    Poison,
}

impl DeadLetterReason {
    /// The name used on the wire and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::Permanent => "permanent",
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::DeliveriesExhausted => "deliveries_exhausted",
            Self::Unroutable => "unroutable",
            Self::Unstarted => "unstarted",
            Self::Unwritable => "unwritable",
            Self::Poison => "poison",
        }
    }
}
