//! Wire messages, one module per stream.
//!
//! Rules for every type here: named fields; a new field is `#[serde(default)]`; a field is never
//! renamed or given another meaning; enums are externally tagged; nothing is flattened or untagged
//! (such types give useless errors). `schemas/tests/golden` pins the bytes.

pub mod dead_letter;
pub mod definition;
pub mod heartbeat;
pub mod history;
pub mod inbox;
pub mod input;
pub mod job;
pub mod query;

pub use dead_letter::{DeadLetter, DeadLetterReason};
pub use definition::{DefinitionRecord, WorkflowRef};
pub use heartbeat::{DependencyCheck, DependencyStatus, Heartbeat};
pub use history::{
    AttemptRecord, ExecutionEnded, ExecutionStarted, HistoryBatch, HistoryEvent, HistoryKind,
    StepEnded,
};
pub use inbox::{InboxBody, InboxDelivery};
pub use input::{
    Cancel, Input, InputEnvelope, InputKind, JobResult, Outcome, Repository, Start, Trigger,
    TriggerKind,
};
pub use job::{CancelNotice, Job, JobEnvelope};
pub use query::{Query, QueryReply};
