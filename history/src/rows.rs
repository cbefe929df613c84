//! From history events to rows: pure, and the only place that knows which event fills which column.
//!
//! Invariants:
//! - Within one [`Rows`] no key occurs twice, because an upsert may not touch a row twice.
//! - The result does not depend on the order of the events or on how they are split into batches.
//!   (But of two different records of one wish, the first stays: the audit log is never changed.)
//! - Rows are sorted by key, so that writers at work on the same rows lock them in the same order.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use afu9_schemas::message::{HistoryBatch, HistoryEvent, HistoryKind};
use uuid::Uuid;

use crate::rows::audit::AuditRow;
use crate::rows::execution::ExecutionRow;
use crate::rows::repository::RepositoryRow;
use crate::rows::step::{StepKey, StepRow};
use crate::rows::tool_call::ToolCallRow;
use crate::rows::workflow::{DefinitionRow, Definitions};

pub(crate) mod audit;
pub(crate) mod dead_letter;
pub(crate) mod execution;
pub(crate) mod repository;
pub(crate) mod step;
pub(crate) mod tool_call;
pub(crate) mod workflow;

/// The rows of some history batches, ready for [`Store::write`](crate::Store::write).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    definitions: Definitions,
    /// Workflows that executions refer to: name and id.
    mentioned: BTreeMap<String, Uuid>,
    repositories: BTreeMap<(String, String), RepositoryRow>,
    executions: BTreeMap<Uuid, ExecutionRow>,
    steps: BTreeMap<StepKey, StepRow>,
    tool_calls: BTreeMap<Uuid, ToolCallRow>,
    audit: BTreeMap<Uuid, AuditRow>,
    malformed: u64,
    bytes: usize,
}

impl Rows {
    /// The rows of `batches`.
    pub fn from_batches<'a>(batches: impl IntoIterator<Item = &'a HistoryBatch>) -> Self {
        let mut rows = Self::default();
        for batch in batches {
            rows.add(batch);
        }
        rows
    }

    /// Adds the rows of `batch`.
    pub fn add(&mut self, batch: &HistoryBatch) {
        for event in &batch.events {
            self.add_event(event);
        }
    }

    fn add_event(&mut self, event: &HistoryEvent) {
        match (event.execution, &event.kind) {
            (_, HistoryKind::DefinitionApplied(record)) => {
                let row = DefinitionRow::new(event.at, record);
                self.bytes += row.bytes();
                self.definitions.add(row);
            }
            (_, HistoryKind::Controlled(record)) => {
                let row = AuditRow::new(event.at, record);
                self.bytes += row.bytes();
                self.audit.entry(row.request_id).or_insert(row);
            }
            (Some(execution), HistoryKind::ExecutionStarted(started)) => {
                self.mentioned.insert(
                    crate::text::name(&started.workflow.name),
                    started.workflow.id.as_uuid(),
                );
                if let Some(repository) = &started.repository {
                    RepositoryRow::add(&mut self.repositories, event.at, repository);
                }
                self.add_execution(ExecutionRow::started(execution, event, started));
            }
            (Some(execution), HistoryKind::StatusChanged(changed)) => {
                self.add_execution(ExecutionRow::changed(execution, event, changed));
            }
            (Some(execution), HistoryKind::ExecutionEnded(ended)) => {
                self.add_execution(ExecutionRow::ended(execution, event, ended));
            }
            (Some(execution), HistoryKind::StepEnded(step)) => {
                for call in ToolCallRow::of_step(execution, step) {
                    self.bytes += call.bytes();
                    self.tool_calls.insert(call.id, call);
                }
                self.add_step(StepRow::new(execution, event, step));
            }
            // What is passed is told in the event stream alone.
            (Some(_), HistoryKind::StepProgressed(_)) => {}
            // Only a bug of ours can publish one; it belongs nowhere, and its neighbours do.
            (None, _) => self.malformed += 1,
        }
    }

    fn add_step(&mut self, row: StepRow) {
        self.bytes += row.bytes();
        match self.steps.entry(row.key()) {
            Entry::Vacant(place) => {
                place.insert(row);
            }
            Entry::Occupied(mut known) => {
                if row.event_number > known.get().event_number {
                    known.insert(row);
                }
            }
        }
    }

    fn add_execution(&mut self, row: ExecutionRow) {
        self.bytes += row.bytes();
        match self.executions.remove(&row.id) {
            Some(known) => self.executions.insert(row.id, known.merged(row)),
            None => self.executions.insert(row.id, row),
        };
    }

    /// How many rows there are in all tables together, not counting mere mentions.
    pub fn len(&self) -> usize {
        self.definitions.len()
            + self.executions.len()
            + self.steps.len()
            + self.tool_calls.len()
            + self.audit.len()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// About how many bytes the values take in memory and on the wire.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many events had no execution although their kind needs one.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    pub(crate) fn definitions(&self) -> impl ExactSizeIterator<Item = &DefinitionRow> + Clone {
        self.definitions.iter()
    }

    pub(crate) fn mentioned(&self) -> impl ExactSizeIterator<Item = (&str, Uuid)> + Clone {
        self.mentioned.iter().map(|(name, id)| (name.as_str(), *id))
    }

    pub(crate) fn repositories(&self) -> impl ExactSizeIterator<Item = &RepositoryRow> + Clone {
        self.repositories.values()
    }

    pub(crate) fn executions(&self) -> impl ExactSizeIterator<Item = &ExecutionRow> + Clone {
        self.executions.values()
    }

    pub(crate) fn steps(&self) -> impl ExactSizeIterator<Item = &StepRow> + Clone {
        self.steps.values()
    }

    pub(crate) fn tool_calls(&self) -> impl ExactSizeIterator<Item = &ToolCallRow> + Clone {
        self.tool_calls.values()
    }

    pub(crate) fn audit(&self) -> impl ExactSizeIterator<Item = &AuditRow> + Clone {
        self.audit.values()
    }
}

/// `value` as the database's signed integer. Counts and positions are far below the limit; a corrupt
/// one is better kept as the limit than allowed to fail its neighbours.
pub(crate) fn int(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// Length of an optional text.
fn size(text: Option<&String>) -> usize {
    text.map_or(0, String::len)
}

#[cfg(test)]
mod tests;
