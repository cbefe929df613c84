//! Definitions as they are stored and referred to.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{DefinitionHash, WorkflowId};
use crate::message::control::Switched;
use crate::time::Timestamp;

/// Which version of which workflow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowRef {
    /// The workflow, whatever its version.
    pub id: WorkflowId,
    /// Its name.
    pub name: String,
    /// The running number of the version, from 1.
    pub version: u32,
    /// The identity of the version's content.
    pub hash: DefinitionHash,
}

/// One stored version of a workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DefinitionRecord {
    /// What identifies it.
    pub workflow: WorkflowRef,
    /// The definition as JSON, exactly as it was accepted.
    pub definition: Value,
    /// Whether triggers may start it. It belongs to the workflow, not to the version: only the newest
    /// record says it.
    pub enabled: bool,
    /// When this version was accepted.
    pub applied_at: Timestamp,
    /// Who applied it.
    pub applied_by: String,
    /// Who last disabled or enabled the workflow, if anybody did.
    #[serde(default)]
    pub switched: Option<Switched>,
}
