//! What is told of an event, as it is read from the wire: without inputs, outputs and attempts, which are
//! most of it and which nobody is told.
//!
//! The names are those of [`afu9_schemas::message::HistoryBatch`].

use afu9_schemas::error::StepError;
use afu9_schemas::message::{
    ControlRecord, Parent, StatusChanged, StepProgressed, Trigger, WorkflowRef,
};
use afu9_schemas::view::{ExecutionStatus, StepRole, StepStatus};
use afu9_schemas::{ExecutionId, Timestamp};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// One message of HISTORY.
#[derive(Debug, Deserialize)]
pub(super) struct BatchOutline {
    pub(super) events: Vec<EventOutline>,
}

/// One thing that happened.
#[derive(Debug, Deserialize)]
pub(super) struct EventOutline {
    #[serde(default)]
    pub(super) execution: Option<ExecutionId>,
    pub(super) number: u32,
    pub(super) at: Timestamp,
    pub(super) kind: KindOutline,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum KindOutline {
    ExecutionStarted(Box<StartedOutline>),
    StepEnded(Box<StepOutline>),
    ExecutionEnded(Box<EndedOutline>),
    DefinitionApplied(IgnoredAny),
    StatusChanged(Box<StatusChanged>),
    StepProgressed(Box<StepProgressed>),
    Controlled(Box<ControlRecord>),
}

#[derive(Debug, Deserialize)]
pub(super) struct StartedOutline {
    pub(super) workflow: WorkflowRef,
    pub(super) trigger: Trigger,
    pub(super) status: ExecutionStatus,
    #[serde(default)]
    pub(super) key: Option<String>,
    #[serde(default)]
    pub(super) parent: Option<Parent>,
    #[serde(default)]
    pub(super) rerun_of: Option<ExecutionId>,
    #[serde(default)]
    pub(super) rerun_reason: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct StepOutline {
    pub(super) index: u32,
    #[serde(default)]
    pub(super) item: Option<u32>,
    #[serde(default)]
    pub(super) role: StepRole,
    pub(super) name: String,
    pub(super) status: StepStatus,
    #[serde(default)]
    pub(super) attempts: Vec<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
pub(super) struct EndedOutline {
    pub(super) status: ExecutionStatus,
    #[serde(default)]
    pub(super) error: Option<StepError>,
}
