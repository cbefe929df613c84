//! Executions this gateway accepted a moment ago. Their owner may not have folded the start yet, and
//! whoever submitted one must find it all the same.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use afu9_schemas::message::{Parent, Start, WorkflowRef};
use afu9_schemas::view::{ExecutionStatus, ExecutionSummary, ExecutionView};
use afu9_schemas::{ExecutionId, Lane, Timestamp};
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
    by_id: HashMap<ExecutionId, Remembered>,
    order: VecDeque<(Instant, ExecutionId)>,
    /// What the last start was a start of, and by whom: thousands in a row say the same.
    last: Option<(Arc<WorkflowRef>, Arc<str>)>,
}

/// What is kept of a start. Its input is not: memory for thousands of them would be wanted.
#[derive(Debug)]
struct Remembered {
    at: Timestamp,
    workflow: Arc<WorkflowRef>,
    by: Arc<str>,
    lane: Lane,
    priority: i32,
    /// What most starts do not have.
    more: Option<Box<More>>,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct More {
    repository: Option<String>,
    default_branch: Option<String>,
    key: Option<String>,
    parent: Option<Parent>,
    rerun_of: Option<ExecutionId>,
    rerun_reason: Option<String>,
}

impl Accepted {
    /// Remembers that `start` was stored at `now`.
    pub(crate) fn remember(&self, id: ExecutionId, start: Remember, now: Instant) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.forget(now);
        let remembered = entries.shared(start);
        if entries.by_id.insert(id, remembered).is_none() {
            entries.order.push_back((now, id));
        }
    }

    /// The execution, as far as it is known from its start.
    pub(crate) fn get(&self, id: ExecutionId, now: Instant) -> Option<ExecutionView> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.forget(now);
        entries.by_id.get(&id).map(|start| start.view(id))
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

    fn shared(&mut self, start: Remember) -> Remembered {
        let Remember {
            at,
            workflow,
            by,
            lane,
            priority,
            more,
        } = start;
        let (workflow, by) = match &self.last {
            Some((last, who)) if **last == workflow && **who == *by => (last.clone(), who.clone()),
            _ => (Arc::new(workflow), Arc::from(by)),
        };
        self.last = Some((workflow.clone(), by.clone()));
        Remembered {
            at,
            workflow,
            by,
            lane,
            priority,
            more: (more != More::default()).then(|| Box::new(more)),
        }
    }
}

/// What is to be remembered of a start.
#[derive(Debug)]
pub(crate) struct Remember {
    at: Timestamp,
    workflow: WorkflowRef,
    by: String,
    lane: Lane,
    priority: i32,
    more: More,
}

impl Remember {
    pub(crate) fn new(start: &Start, at: Timestamp) -> Self {
        let repository = start.repository.as_ref();
        Self {
            at,
            workflow: start.workflow.clone(),
            by: start.trigger.by.clone(),
            lane: start.lane,
            priority: start.priority,
            more: More {
                repository: repository.map(|r| format!("{}/{}", r.owner, r.name)),
                default_branch: repository.and_then(|r| r.default_branch.clone()),
                key: start.key.clone(),
                parent: start.parent,
                rerun_of: start.rerun.as_ref().map(|rerun| rerun.of),
                rerun_reason: start.rerun.as_ref().and_then(|rerun| rerun.reason.clone()),
            },
        }
    }
}

impl Remembered {
    /// A pending execution.
    fn view(&self, id: ExecutionId) -> ExecutionView {
        let more = self.more.as_deref().cloned().unwrap_or_default();
        ExecutionView {
            summary: ExecutionSummary {
                id,
                workflow_id: self.workflow.id,
                workflow: self.workflow.name.clone(),
                version: self.workflow.version,
                status: ExecutionStatus::Pending,
                triggered_by: self.by.to_string(),
                started_at: self.at,
                completed_at: None,
            },
            input: Value::Null,
            output: None,
            error: None,
            repository: more.repository,
            default_branch: more.default_branch,
            lane: self.lane,
            priority: self.priority,
            steps: Vec::new(),
            paused: None,
            key: more.key,
            parent: more.parent,
            rerun_of: more.rerun_of,
            rerun_reason: more.rerun_reason,
            signals: 0,
            truncated: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use afu9_schemas::message::{Trigger, TriggerKind};
    use afu9_schemas::{DefinitionHash, WorkflowId};

    use super::*;

    fn start(by: &str, key: Option<&str>) -> Remember {
        let start = Start {
            lane: Lane::Interactive,
            key: key.map(str::to_owned),
            priority: 7,
            ..Start::new(
                WorkflowRef {
                    id: WorkflowId::new(),
                    name: "w".to_owned(),
                    version: 3,
                    hash: DefinitionHash::of(b""),
                },
                Value::Null,
                Trigger {
                    kind: TriggerKind::Manual,
                    by: by.to_owned(),
                    delivery: None,
                    depth: 0,
                    initiator: None,
                },
            )
        };
        Remember::new(&start, Timestamp::from_micros(9))
    }

    #[tokio::test]
    async fn starts_are_remembered_for_a_while_and_not_without_bound() {
        let accepted = Accepted::default();
        let now = Instant::now();
        let first = ExecutionId::new();
        accepted.remember(first, start("t", None), now);
        assert!(accepted.get(first, now + REMEMBER_FOR / 2).is_some());
        assert!(accepted.get(first, now + REMEMBER_FOR).is_none());
        assert!(accepted.get(ExecutionId::new(), now).is_none());

        for _ in 0..MAX_REMEMBERED + 10 {
            accepted.remember(ExecutionId::new(), start("t", None), now);
        }
        let held = accepted.entries.lock().expect("not poisoned").by_id.len();
        assert!(held <= MAX_REMEMBERED + 1, "{held}");
    }

    #[tokio::test]
    async fn each_start_is_shown_as_itself() {
        let accepted = Accepted::default();
        let now = Instant::now();
        let ids: Vec<_> = [("ada", None), ("bob", Some("k")), ("ada", None)]
            .into_iter()
            .map(|(by, key)| {
                let id = ExecutionId::new();
                accepted.remember(id, start(by, key), now);
                id
            })
            .collect();
        let view = |index: usize| accepted.get(ids[index], now).expect("remembered");
        assert_eq!(view(0).summary.triggered_by, "ada");
        assert_eq!(view(1).summary.triggered_by, "bob");
        assert_eq!(view(1).key.as_deref(), Some("k"));
        assert_eq!((view(2).key, view(2).priority), (None, 7));
        assert_eq!(view(2).summary.version, 3);
    }
}
