//! Executions this gateway accepted a moment ago. Their owner may not have folded the start yet, and
//! whoever submitted one must find it all the same.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use afu9_schemas::message::Start;
use afu9_schemas::view::{ExecutionStatus, ExecutionSummary, ExecutionView};
use afu9_schemas::{ExecutionId, Timestamp};
use serde_json::Value;
use tokio::time::Instant;

/// How long a start is remembered: a partition that moves to another owner is folded again well
/// within this time.
const REMEMBER_FOR: Duration = Duration::from_secs(30);

/// Most starts remembered; at more than some 2,000 a second the oldest go before their time.
const MAX_REMEMBERED: usize = 65_536;

/// The remembered starts.
#[derive(Debug, Default)]
pub(crate) struct Accepted {
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    by_id: HashMap<ExecutionId, ExecutionView>,
    order: VecDeque<(Instant, ExecutionId)>,
}

impl Accepted {
    /// Remembers an execution whose start was stored at `now`.
    pub(crate) fn remember(&self, view: ExecutionView, now: Instant) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.forget(now);
        let id = view.summary.id;
        if entries.by_id.insert(id, view).is_none() {
            entries.order.push_back((now, id));
        }
    }

    /// The execution, as far as it is known from its start.
    pub(crate) fn get(&self, id: ExecutionId, now: Instant) -> Option<ExecutionView> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.forget(now);
        entries.by_id.get(&id).cloned()
    }
}

impl Entries {
    fn forget(&mut self, now: Instant) {
        while let Some((at, id)) = self.order.front().copied() {
            if now.duration_since(at) < REMEMBER_FOR && self.order.len() <= MAX_REMEMBERED {
                return;
            }
            self.order.pop_front();
            self.by_id.remove(&id);
        }
    }
}

/// A pending execution. Its input is left out: memory for thousands of them would be wanted.
pub(crate) fn pending(execution: ExecutionId, start: &Start, at: Timestamp) -> ExecutionView {
    ExecutionView {
        summary: ExecutionSummary {
            id: execution,
            workflow_id: start.workflow.id,
            workflow: start.workflow.name.clone(),
            version: start.workflow.version,
            status: ExecutionStatus::Pending,
            triggered_by: start.trigger.by.clone(),
            started_at: at,
            completed_at: None,
        },
        input: Value::Null,
        output: None,
        error: None,
        repository: start
            .repository
            .as_ref()
            .map(|r| format!("{}/{}", r.owner, r.name)),
        default_branch: start
            .repository
            .as_ref()
            .and_then(|repository| repository.default_branch.clone()),
        lane: start.lane,
        priority: start.priority,
        steps: Vec::new(),
        paused: None,
        key: start.key.clone(),
        parent: start.parent,
        rerun_of: start.rerun.as_ref().map(|rerun| rerun.of),
        rerun_reason: start.rerun.as_ref().and_then(|rerun| rerun.reason.clone()),
        signals: 0,
        truncated: true,
    }
}

#[cfg(test)]
mod tests {
    use afu9_schemas::WorkflowId;

    use super::*;

    fn view(id: ExecutionId) -> ExecutionView {
        ExecutionView {
            summary: ExecutionSummary {
                id,
                workflow_id: WorkflowId::new(),
                workflow: "w".to_owned(),
                version: 1,
                status: ExecutionStatus::Pending,
                triggered_by: "t".to_owned(),
                started_at: Timestamp::from_micros(0),
                completed_at: None,
            },
            input: Value::Null,
            output: None,
            error: None,
            repository: None,
            steps: Vec::new(),
            paused: None,
            key: None,
            parent: None,
            rerun_of: None,
            default_branch: None,
            rerun_reason: None,
            lane: afu9_schemas::Lane::Bulk,
            priority: 0,
            signals: 0,
            truncated: true,
        }
    }

    #[tokio::test]
    async fn starts_are_remembered_for_a_while_and_not_without_bound() {
        let accepted = Accepted::default();
        let now = Instant::now();
        let first = ExecutionId::new();
        accepted.remember(view(first), now);
        assert!(accepted.get(first, now + REMEMBER_FOR / 2).is_some());
        assert!(accepted.get(first, now + REMEMBER_FOR).is_none());
        assert!(accepted.get(ExecutionId::new(), now).is_none());

        for _ in 0..MAX_REMEMBERED + 10 {
            accepted.remember(view(ExecutionId::new()), now);
        }
        let held = accepted.entries.lock().expect("not poisoned").by_id.len();
        assert!(held <= MAX_REMEMBERED + 1, "{held}");
    }
}
