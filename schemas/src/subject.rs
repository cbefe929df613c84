//! Every subject AFU-9 publishes to or reads from, by typed constructors.
//!
//! Subjects are of low cardinality by design: none contains an execution's id, because a server
//! keeps per-subject state and a million subjects cost more than the messages.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{Partition, WorkerId, WorkerKind};

/// Which of a worker kind's two queues a job waits in.
///
/// They have separate consumers and separately reserved worker slots, so a call somebody waits for
/// is never behind a backlog.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Somebody waits for the answer: MCP calls, manual triggers that ask for it.
    Interactive,
    /// Everything else.
    #[default]
    Bulk,
}

impl Lane {
    /// Both lanes, the more urgent first.
    pub const ALL: [Self; 2] = [Self::Interactive, Self::Bulk];

    /// The lane's token in subjects.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Bulk => "bulk",
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Inputs of one partition.
pub fn log(partition: Partition) -> String {
    format!("afu9.log.{partition}")
}

/// All inputs.
pub const LOG_ALL: &str = "afu9.log.*";

/// Jobs of one lane of a worker kind.
pub fn work(kind: &WorkerKind, lane: Lane) -> String {
    format!("afu9.work.{kind}.{lane}")
}

/// Jobs of a worker kind that run alone, of whatever lane.
pub fn work_alone(kind: &WorkerKind) -> String {
    format!("afu9.work.{kind}.alone")
}

/// All jobs of a worker kind.
pub fn work_all(kind: &WorkerKind) -> String {
    format!("afu9.work.{kind}.*")
}

/// History batches of one partition.
pub fn history(partition: Partition) -> String {
    format!("afu9.history.{partition}")
}

/// History of definitions, which belong to no partition.
pub const HISTORY_DEFINITIONS: &str = "afu9.history.definitions";

/// All history.
pub const HISTORY_ALL: &str = "afu9.history.*";

/// Dead letters of a worker kind.
pub fn dead_letter(kind: &WorkerKind) -> String {
    format!("afu9.dlq.{kind}")
}

/// Dead letters of schedules, and of ends of executions, that could not start their workflow.
pub const DEAD_LETTER_TRIGGER: &str = "afu9.dlq.trigger";

/// Dead letters of webhook deliveries that could not be routed.
pub const DEAD_LETTER_INBOX: &str = "afu9.dlq.inbox";

/// Dead letters of inputs that bring down whoever folds them.
pub const DEAD_LETTER_INPUT: &str = "afu9.dlq.input";

/// Dead letters of history that the database will never take.
pub const DEAD_LETTER_HISTORY: &str = "afu9.dlq.history";

/// All dead letters.
pub const DEAD_LETTER_ALL: &str = "afu9.dlq.*";

/// Webhook deliveries of one source and event. The event comes from outside: whatever is not a
/// letter, digit, `-` or `_` becomes `_`.
pub fn inbox(source: &str, event: &str) -> String {
    format!("afu9.inbox.{}.{}", token(source), token(event))
}

/// All webhook deliveries.
pub const INBOX_ALL: &str = "afu9.inbox.>";

/// Heartbeats of one worker.
pub fn heartbeat(kind: &WorkerKind, worker: &WorkerId) -> String {
    format!("afu9.heartbeat.{kind}.{worker}")
}

/// All heartbeats.
pub const HEARTBEAT_ALL: &str = "afu9.heartbeat.*.*";

/// Requests to the owner of a partition about its live executions (core NATS request and reply).
pub fn query(partition: Partition) -> String {
    format!("afu9.query.{partition}")
}

/// Where somebody waits to hear what came of a wish (core NATS).
pub fn answer(request: &str) -> String {
    format!("afu9.answer.{}", token(request))
}

/// Questions to every worker about what it runs (core NATS; those that run none of it say nothing).
pub const WORK_QUERY: &str = "afu9.workquery";

/// Notices to workers that an execution was cancelled (core NATS; losing one costs only work).
pub const CANCEL: &str = "afu9.cancel";

/// Longest token taken over from outside, in bytes.
const TOKEN_MAX_BYTES: usize = 64;

fn token(value: &str) -> String {
    let cleaned: String = value
        .chars()
        .take(TOKEN_MAX_BYTES)
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
                c
            } else {
                '_'
            }
        })
        .collect();
    if cleaned.is_empty() {
        "_".to_owned()
    } else {
        cleaned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_add_subject_tokens() {
        assert_eq!(inbox("github", "issues.>"), "afu9.inbox.github.issues__");
        assert_eq!(inbox("", ""), "afu9.inbox._._");
    }
}
