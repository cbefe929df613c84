//! Wire messages, one module per stream.
//!
//! Rules for every type here: named fields; a new field is `#[serde(default)]`; a field is never
//! renamed or given another meaning; enums are externally tagged; nothing is flattened or untagged
//! (such types give useless errors). `schemas/tests/golden` pins the bytes.

pub mod control;
pub mod dead_letter;
pub mod definition;
pub mod heartbeat;
pub mod history;
pub mod inbox;
pub mod input;
pub mod job;
pub mod query;

pub use control::{
    Control, ControlAction, ControlOutcome, ControlRecord, HoldScope, MAX_RECORDED_PAYLOAD,
    ScheduleRef, Switched,
};
pub use dead_letter::{DeadLetter, DeadLetterReason, Unstarted};
pub use definition::{DefinitionRecord, WorkflowRef};
pub use heartbeat::{DependencyCheck, DependencyStatus, Heartbeat};
pub use history::{
    AttemptRecord, ExecutionEnded, ExecutionStarted, HistoryBatch, HistoryEvent, HistoryKind,
    StatusChanged, StepEnded, StepProgressed,
};
pub use inbox::{InboxBody, InboxDelivery};
pub use input::{
    Cancel, ChildEnded, ChildResolved, ChildStart, Deferral, Input, InputEnvelope, InputKind,
    JobResult, KeptStep, Outcome, Parent, Repository, Rerun, Start, Trigger, TriggerKind,
};
pub use job::{CancelNotice, Job, JobEnvelope};
pub use query::{
    ListCursor, ListFilter, OrchestratorStatus, Query, QueryReply, WorkQuery, WorkReply,
};
