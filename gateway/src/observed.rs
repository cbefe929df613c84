//! The past without Postgres: executions as the HISTORY stream tells of them, kept in memory.
//!
//! Only in a gateway without a database. Bounded in number and in bytes; the oldest go first.

mod observer;
mod retention;

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use afu9_schemas::artifact::json_size;
use afu9_schemas::message::{HistoryBatch, HistoryKind};
use afu9_schemas::view::{ExecutionStatus, ExecutionSummary, ExecutionView, StepView};
use afu9_schemas::{ExecutionId, Timestamp};

use crate::executions::Filter;

pub(crate) use observer::observe;

/// Most executions kept: some days of a small factory.
const MAX_EXECUTIONS: usize = 10_000;

/// Most bytes of their inputs and outputs, as JSON.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// What an execution or a step costs besides its inputs and outputs, roughly.
const ENTRY_BYTES: usize = 512;

/// The executions seen.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    executions: Mutex<Executions>,
}

#[derive(Debug, Default)]
struct Executions {
    by_id: HashMap<ExecutionId, (ExecutionView, usize)>,
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
            if let Some(id) = event.execution {
                executions.take(id, event.at, event.kind);
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
        executions.by_id.get(&id).map(|(view, _)| view.clone())
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
            .map(|(view, _)| &view.summary)
            .filter(|summary| filter.wants(summary))
            .cloned()
            .collect();
        found.sort_by_key(|summary| std::cmp::Reverse((summary.started_at, summary.id)));
        found
    }
}

impl Executions {
    fn take(&mut self, id: ExecutionId, at: Timestamp, kind: HistoryKind) {
        match kind {
            HistoryKind::ExecutionStarted(started) => {
                if self.by_id.contains_key(&id) {
                    return;
                }
                let bytes = ENTRY_BYTES + json_size(&started.input);
                let view = ExecutionView {
                    summary: ExecutionSummary {
                        id,
                        workflow_id: started.workflow.id,
                        workflow: started.workflow.name,
                        version: started.workflow.version,
                        status: ExecutionStatus::Running,
                        triggered_by: started.trigger.by,
                        started_at: at,
                        completed_at: None,
                    },
                    input: started.input,
                    output: None,
                    error: None,
                    repository: started
                        .repository
                        .map(|r| format!("{}/{}", r.owner, r.name)),
                    steps: Vec::new(),
                    truncated: false,
                };
                self.bytes += bytes;
                self.by_id.insert(id, (view, bytes));
                self.order.push_back(id);
            }
            // What began before anything we can see is not shown: without its start it has no name.
            HistoryKind::StepEnded(ended) => {
                let Some((view, bytes)) = self.by_id.get_mut(&id) else {
                    return;
                };
                if view.steps.iter().any(|step| step.index == ended.index) {
                    return;
                }
                let size = |value: &Option<serde_json::Value>| value.as_ref().map_or(0, json_size);
                let added = ENTRY_BYTES + size(&ended.input) + size(&ended.output);
                *bytes += added;
                self.bytes += added;
                view.steps.push(StepView {
                    index: ended.index,
                    name: ended.name,
                    tool: ended.tool,
                    status: ended.status,
                    input: ended.input,
                    output: ended.output,
                    error: ended.error,
                    started_at: Some(ended.started_at),
                    completed_at: Some(at),
                    attempts: ended.attempts,
                    waiting_until: None,
                });
                view.steps.sort_by_key(|step| step.index);
            }
            HistoryKind::ExecutionEnded(ended) => {
                let Some((view, bytes)) = self.by_id.get_mut(&id) else {
                    return;
                };
                if view.summary.status.is_terminal() {
                    return;
                }
                let added = ended.output.as_ref().map_or(0, json_size);
                *bytes += added;
                self.bytes += added;
                view.summary.status = ended.status;
                view.summary.completed_at = Some(at);
                view.output = ended.output;
                view.error = ended.error;
            }
            HistoryKind::DefinitionApplied(_) => {}
        }
    }

    fn shrink(&mut self) {
        while self.by_id.len() > MAX_EXECUTIONS || self.bytes > MAX_BYTES {
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            if let Some((_, bytes)) = self.by_id.remove(&oldest) {
                self.bytes = self.bytes.saturating_sub(bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use afu9_schemas::message::{
        ExecutionEnded, ExecutionStarted, HistoryEvent, StepEnded, Trigger, TriggerKind,
        WorkflowRef,
    };
    use afu9_schemas::view::StepStatus;
    use afu9_schemas::{DefinitionHash, WorkflowId};
    use serde_json::{Value, json};

    use super::*;

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
            },
            traceparent: None,
        };
        event(id, 1, HistoryKind::ExecutionStarted(Box::new(started)))
    }

    fn step(id: ExecutionId) -> HistoryBatch {
        let ended = StepEnded {
            index: 0,
            name: "a".to_owned(),
            tool: None,
            status: StepStatus::Completed,
            input: None,
            output: Some(json!({"x": 1})),
            error: None,
            started_at: Timestamp::from_micros(1500),
            attempts: Vec::new(),
        };
        event(id, 2, HistoryKind::StepEnded(Box::new(ended)))
    }

    fn ended(id: ExecutionId) -> HistoryBatch {
        let ended = ExecutionEnded {
            status: ExecutionStatus::Completed,
            output: Some(json!({"x": 1})),
            error: None,
            started_at: Timestamp::from_micros(1000),
            steps_completed: 1,
            steps_failed: 0,
            steps_skipped: 0,
            stale_results: 0,
        };
        event(id, 3, HistoryKind::ExecutionEnded(Box::new(ended)))
    }

    #[test]
    fn an_execution_is_built_from_its_history_and_history_may_repeat() {
        let (observed, id) = (Observed::default(), ExecutionId::new());
        for batch in [
            started(id, json!(1)),
            step(id),
            step(id),
            ended(id),
            started(id, json!(1)),
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
            status: Some(ExecutionStatus::Failed),
            ..Filter::default()
        };
        assert_eq!(observed.list(&failed).len(), 0);
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
