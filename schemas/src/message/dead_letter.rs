//! Dead letters: what nobody could finish, complete enough to be understood and replayed.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::StepError;
use crate::id::{DeadLetterId, JobId, WorkerKind};
use crate::message::history::AttemptRecord;
use crate::message::input::{Repository, Trigger};
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
    /// The job's id, where only that is known: its message names it, and could not be decoded.
    #[serde(default)]
    pub job_id: Option<JobId>,
    /// The message as it was, where it could not be decoded; a message with the input alone, where that was
    /// poison; what a trigger had to go by, as JSON, where that could not start its workflow.
    #[serde(default, with = "serde_bytes")]
    pub raw: Option<Vec<u8>>,
    /// Every attempt.
    #[serde(default)]
    pub attempts: Vec<AttemptRecord>,
    /// The last error, with its causes.
    pub error: StepError,
    /// When it became a dead letter.
    pub at: Timestamp,
    /// The dead letter whose replay came to this; an attempt at a step has the attempts before it
    /// instead.
    #[serde(default)]
    pub replay_of: Option<DeadLetterId>,
}

impl DeadLetter {
    /// The attempt it is about, if it is about one.
    pub fn job_id(&self) -> Option<JobId> {
        self.job.as_ref().map(|job| job.id).or(self.job_id)
    }
}

/// What a trigger of a definition had to go by, where it could not start its workflow: as JSON in
/// [`DeadLetter::raw`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unstarted {
    /// The workflow.
    pub workflow: String,
    /// The version whose trigger it was.
    pub version: u32,
    /// Position of the trigger's rule in the definition.
    #[serde(default)]
    pub rule: usize,
    /// The text from which the id of the execution is derived: the same cause starts one execution.
    #[serde(default)]
    pub origin: String,
    /// `{"schedule": …}`, or `{"upstream": {"id", …}}`.
    pub cause: Value,
    /// Who would have started it; none in what an earlier version wrote.
    #[serde(default)]
    pub trigger: Option<Trigger>,
    /// The repository of the execution that ended.
    #[serde(default)]
    pub repository: Option<Repository>,
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
    /// All there are.
    pub const ALL: [Self; 8] = [
        Self::Undecodable,
        Self::Permanent,
        Self::AttemptsExhausted,
        Self::DeliveriesExhausted,
        Self::Unroutable,
        Self::Unstarted,
        Self::Unwritable,
        Self::Poison,
    ];

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
