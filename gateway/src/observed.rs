//! The past without Postgres: executions as the HISTORY stream tells of them, kept in memory.
//!
//! Only in a gateway without a database. Bounded in number and in bytes; the oldest go first.

mod entry;
mod observer;
mod retention;
mod wishes;

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use afu9_schemas::ExecutionId;
use afu9_schemas::message::{HistoryBatch, HistoryEvent, HistoryKind};
use afu9_schemas::view::{ExecutionSummary, ExecutionView};

use crate::executions::Filter;
use crate::stored::{AuditEntry, AuditFilter};
use entry::Entry;
use wishes::Wishes;

pub(crate) use observer::observe;

/// Most executions kept: some days of a small factory.
const MAX_EXECUTIONS: usize = 10_000;

/// Most bytes of their inputs and outputs, as JSON.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    executions: Mutex<Executions>,
    wishes: Mutex<Wishes>,
}

#[derive(Debug, Default)]
struct Executions {
    by_id: HashMap<ExecutionId, Entry>,
    /// In the order in which they were first seen.
    order: VecDeque<ExecutionId>,
    bytes: usize,
}

impl Observed {
    /// Takes in what happened. The same batch twice changes nothing.
    pub(crate) fn take(&self, batch: HistoryBatch) {
        let mut executions = self
            .executions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for event in batch.events {
            match (event.execution, event.kind) {
                (Some(id), kind) => executions.take(id, HistoryEvent { kind, ..event }),
                (None, HistoryKind::Controlled(record)) => {
                    let mut wishes = self.wishes.lock().unwrap_or_else(PoisonError::into_inner);
                    wishes.take(event.at, *record);
                }
                (None, _) => {}
            }
        }
        executions.shrink();
    }

    /// Everything known about one execution.
    pub(crate) fn show(&self, id: ExecutionId) -> Option<ExecutionView> {
        let executions = self
            .executions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        executions.by_id.get(&id).map(Entry::view)
    }

    /// All that pass the filter, whatever their age, newest first.
    pub(crate) fn list(&self, filter: &Filter) -> Vec<ExecutionSummary> {
        let executions = self
            .executions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<ExecutionSummary> = executions
            .by_id
            .values()
            .filter(|entry| entry.is_related(filter.relation.as_ref()))
            .map(Entry::summary)
            .filter(|summary| filter.wants(summary))
            .cloned()
            .collect();
        found.sort_by_key(|summary| std::cmp::Reverse((summary.started_at, summary.id)));
        found
    }

    /// The newest wishes that pass the filter, newest first.
    pub(crate) fn audit(&self, filter: &AuditFilter) -> Vec<AuditEntry> {
        let wishes = self.wishes.lock().unwrap_or_else(PoisonError::into_inner);
        wishes.list(filter)
    }
}

impl Executions {
    fn take(&mut self, id: ExecutionId, event: HistoryEvent) {
        if let Some(entry) = self.by_id.get_mut(&id) {
            self.bytes += entry.take(event);
            return;
        }
        // What began before anything we can see is not shown: without its start it has no name.
        if let HistoryKind::ExecutionStarted(started) = event.kind {
            let entry = Entry::new(id, event.number, event.at, *started);
            self.bytes += entry.bytes();
            self.by_id.insert(id, entry);
            self.order.push_back(id);
        }
    }

    fn shrink(&mut self) {
        while self.by_id.len() > MAX_EXECUTIONS || self.bytes > MAX_BYTES {
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            if let Some(entry) = self.by_id.remove(&oldest) {
                self.bytes = self.bytes.saturating_sub(entry.bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use afu9_schemas::message::{
        ExecutionEnded, ExecutionStarted, StatusChanged, StepEnded, Trigger, TriggerKind,
        WorkflowRef,
    };
    use afu9_schemas::view::{ExecutionStatus, ItemsView, StepAction, StepRole, StepStatus};
    use afu9_schemas::{DefinitionHash, Timestamp, WorkflowId};
    use serde_json::{Value, json};

    use super::*;
    use crate::executions::Relation;

    fn event(id: ExecutionId, number: u32, kind: HistoryKind) -> HistoryBatch {
        let at = Timestamp::from_micros(i64::from(number) * 1000);
        let event = HistoryEvent {
            execution: Some(id),
            number,
            at,
            kind,
        };
        HistoryBatch {
            partition: None,
            events: vec![event],
        }
    }

    fn started(id: ExecutionId, input: Value) -> HistoryBatch {
        let started = ExecutionStarted {
            workflow: WorkflowRef {
                id: WorkflowId::new(),
                name: "w".to_owned(),
                version: 1,
                hash: DefinitionHash::of(b""),
            },
            input,
            repository: None,
            trigger: Trigger {
                kind: TriggerKind::Manual,
                by: "t".to_owned(),
                delivery: None,
                depth: 0,
                initiator: None,
            },
            traceparent: None,
            key: Some("w:k".to_owned()),
            parent: None,
            rerun_of: None,
            rerun_reason: None,
            lane: afu9_schemas::Lane::Bulk,
            priority: 0,
            status: ExecutionStatus::Pending,
        };
        event(id, 1, HistoryKind::ExecutionStarted(Box::new(started)))
    }

    fn step(id: ExecutionId, number: u32, item: Option<u32>, status: StepStatus) -> HistoryBatch {
        let ended = StepEnded {
            index: 0,
            item,
            role: StepRole::Main,
            action: StepAction::Tool,
            name: "a".to_owned(),
            tool: None,
            status,
            input: None,
            output: Some(json!({"x": 1})),
            error: None,
            started_at: Timestamp::from_micros(1500),
            attempts: Vec::new(),
        };
        event(id, number, HistoryKind::StepEnded(Box::new(ended)))
    }

    fn status(id: ExecutionId, number: u32, status: ExecutionStatus) -> HistoryBatch {
        let changed = StatusChanged {
            status,
            by: Some("ada".to_owned()),
            reason: None,
            workflow: None,
        };
        event(id, number, HistoryKind::StatusChanged(Box::new(changed)))
    }

    fn ended(id: ExecutionId, number: u32, status: ExecutionStatus) -> HistoryBatch {
        let ended = ExecutionEnded {
            status,
            output: Some(json!({"x": 1})),
            error: None,
            started_at: Timestamp::from_micros(1000),
            steps_completed: 1,
            steps_failed: 0,
            steps_skipped: 0,
            steps_compensated: 0,
            stale_results: 0,
        };
        event(id, number, HistoryKind::ExecutionEnded(Box::new(ended)))
    }

    #[test]
    fn an_execution_is_built_from_its_history_and_history_may_repeat() {
        let (observed, id) = (Observed::default(), ExecutionId::new());
        for batch in [
            started(id, json!(1)),
            step(id, 2, None, StepStatus::Completed),
            step(id, 2, None, StepStatus::Completed),
            ended(id, 3, ExecutionStatus::Completed),
            started(id, json!(1)),
            step(id, 2, None, StepStatus::Completed),
        ] {
            observed.take(batch);
        }
        let view = observed.show(id).expect("known");
        assert_eq!(view.summary.status, ExecutionStatus::Completed);
        assert_eq!(
            view.summary.completed_at,
            Some(Timestamp::from_micros(3000))
        );
        assert_eq!(view.steps.len(), 1);
        assert_eq!(view.output, Some(json!({"x": 1})));
        assert_eq!(observed.list(&Filter::default()).len(), 1);
        let failed = Filter {
            statuses: vec![ExecutionStatus::Failed],
            ..Filter::default()
        };
        assert_eq!(observed.list(&failed).len(), 0);
        let key = |key: &str| Filter {
            relation: Some(Relation::Key(key.to_owned())),
            ..Filter::default()
        };
        assert_eq!(observed.list(&key("w:k")).len(), 1);
        assert_eq!(observed.list(&key("w:other")).len(), 0);
    }

    #[test]
    fn a_status_changes_as_often_as_it_is_told_and_never_back() {
        use ExecutionStatus::{Failed, Paused, Pending, Running};
        let (observed, id) = (Observed::default(), ExecutionId::new());
        let now = || observed.show(id).expect("known");
        observed.take(started(id, json!(1)));
        assert_eq!(now().summary.status, Pending);
        observed.take(status(id, 2, Running));
        observed.take(status(id, 3, Paused));
        assert_eq!(now().paused.map(|paused| paused.by).as_deref(), Some("ada"));
        observed.take(status(id, 4, Running));
        assert_eq!((now().paused, now().summary.status), (None, Running));
        observed.take(ended(id, 5, Failed));
        assert!(now().summary.completed_at.is_some());
        // Somebody retries it.
        observed.take(status(id, 6, Running));
        for batch in [status(id, 3, Paused), ended(id, 5, Failed)] {
            observed.take(batch);
        }
        let reopened = now();
        assert_eq!(reopened.summary.status, Running, "old news change nothing");
        assert_eq!(
            (reopened.summary.completed_at, reopened.output),
            (None, None)
        );
    }

    #[test]
    fn items_are_counted_and_a_step_may_end_again() {
        let (observed, id) = (Observed::default(), ExecutionId::new());
        observed.take(started(id, json!(1)));
        observed.take(step(id, 2, Some(0), StepStatus::Completed));
        observed.take(step(id, 3, Some(1), StepStatus::Failed));
        observed.take(step(id, 4, None, StepStatus::Failed));
        let items = |observed: &Observed| {
            let view = observed.show(id).expect("known");
            (view.steps[0].status, view.steps[0].items.expect("counted"))
        };
        let counted = |completed, failed| ItemsView {
            total: 2,
            completed,
            failed,
            in_progress: 0,
        };
        assert_eq!(items(&observed), (StepStatus::Failed, counted(1, 1)));
        observed.take(step(id, 5, Some(1), StepStatus::Completed));
        observed.take(step(id, 6, None, StepStatus::Completed));
        observed.take(step(id, 3, Some(1), StepStatus::Failed));
        assert_eq!(items(&observed), (StepStatus::Completed, counted(2, 0)));
        observed.take(step(id, 7, None, StepStatus::Compensated));
        observed.take(step(id, 6, None, StepStatus::Completed));
        assert_eq!(items(&observed).0, StepStatus::Compensated);
    }

    #[test]
    fn what_is_kept_is_bounded_in_number_and_bytes() {
        let observed = Observed::default();
        let first = ExecutionId::new();
        observed.take(started(first, Value::Null));
        for _ in 0..MAX_EXECUTIONS {
            observed.take(started(ExecutionId::new(), Value::Null));
        }
        assert!(observed.show(first).is_none(), "the oldest goes first");
        let large = json!("x".repeat(MAX_BYTES / 4));
        for _ in 0..8 {
            observed.take(started(ExecutionId::new(), large.clone()));
        }
        let executions = observed.executions.lock().expect("not poisoned");
        assert!(executions.bytes <= MAX_BYTES && executions.by_id.len() <= 4);
        assert_eq!(executions.order.len(), executions.by_id.len());
    }
}
