//! The newest version of each workflow, as triggers and the router need it.
//!
//! Kept in memory for [`FRESH_FOR`], so that thousands of triggers a second do not ask the broker
//! thousands of times. What was applied through this gateway is seen at once; what was applied
//! through another one after [`FRESH_FOR`] at most. A version in memory is never replaced by an older
//! one, so an answer that was on its way while a new version was applied cannot undo it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use afu9_broker::kv::DefinitionStore;
use afu9_broker::{Broker, RequestError};
use afu9_engine::Workflow;
use afu9_engine::workflow::compile;
use afu9_schemas::definition::ReadOptions;
use afu9_schemas::message::DefinitionRecord;
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// How long a version is used before the broker is asked again.
const FRESH_FOR: Duration = Duration::from_millis(500);

/// Workflows kept in memory; beyond this all are asked for anew.
const MAX_KEPT: usize = 1000;

/// A version of a workflow.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) record: DefinitionRecord,
    /// What its executions run; none where only another version of AFU-9 can read it.
    pub(crate) workflow: Option<Arc<Workflow>>,
}

impl Known {
    /// Reads a stored version. Takes milliseconds for a large one.
    pub(crate) fn new(record: DefinitionRecord) -> Self {
        let name = Some(record.workflow.name.as_str());
        let compiled = compile(&record.definition.to_string(), ReadOptions { name });
        Self {
            workflow: compiled.ok().map(|compiled| Arc::new(compiled.workflow)),
            record,
        }
    }

    /// What its executions run, if they may be started here: some systems run no tools that only
    /// test.
    pub(crate) fn runnable(&self, allow_test_kind: bool) -> Result<&Arc<Workflow>, NotRunnable> {
        match &self.workflow {
            None => Err(NotRunnable::Unreadable),
            Some(workflow) if allow_test_kind || workflow.is_for_production() => Ok(workflow),
            Some(_) => Err(NotRunnable::TestTools),
        }
    }
}

/// Why executions of a version cannot be started here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotRunnable {
    /// The definition was accepted by another version, which knows more than this one.
    Unreadable,
    /// It has tools of the test kind.
    TestTools,
}

/// Definitions, with the newest ones in memory.
#[derive(Debug)]
pub(crate) struct Definitions {
    broker: Broker,
    store: OnceCell<DefinitionStore>,
    kept: Mutex<HashMap<String, (Instant, Arc<Known>)>>,
    /// One question to the broker at a time: a version that goes stale under load is asked for once.
    asking: tokio::sync::Mutex<()>,
}

impl Definitions {
    pub(crate) fn new(broker: Broker) -> Self {
        Self {
            broker,
            store: OnceCell::new(),
            kept: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// The stored definitions themselves.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub(crate) async fn store(&self) -> Result<&DefinitionStore, RequestError> {
        self.store
            .get_or_try_init(|| self.broker.definitions())
            .await
    }

    /// The newest version of `name`, no older than [`FRESH_FOR`].
    ///
    /// # Errors
    /// When the broker does not answer.
    pub(crate) async fn newest(&self, name: &str) -> Result<Option<Arc<Known>>, RequestError> {
        // Any other text cannot be a key of the store either.
        if !is_workflow_name(name) {
            return Ok(None);
        }
        if let Some(known) = self.fresh(name) {
            return Ok(Some(known));
        }
        let _turn = self.asking.lock().await;
        if let Some(known) = self.fresh(name) {
            return Ok(Some(known));
        }
        let asked_at = Instant::now();
        let found = self.store().await?.newest(name).await?;
        Ok(found.map(|record| self.keep(record, asked_at)))
    }

    /// Version `version` of `name`.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub(crate) async fn version(
        &self,
        name: &str,
        version: u32,
    ) -> Result<Option<DefinitionRecord>, RequestError> {
        if !is_workflow_name(name) {
            return Ok(None);
        }
        self.store().await?.version(name, version).await
    }

    /// Takes in a version that was just applied, or heard of.
    pub(crate) fn applied(&self, record: DefinitionRecord) -> Arc<Known> {
        self.keep(record, Instant::now())
    }

    fn fresh(&self, name: &str) -> Option<Arc<Known>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, known) = kept.get(name)?;
        (at.elapsed() < FRESH_FOR).then(|| Arc::clone(known))
    }

    fn keep(&self, record: DefinitionRecord, at: Instant) -> Arc<Known> {
        let name = record.workflow.name.clone();
        let before = {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.get(&name).map(|(_, known)| Arc::clone(known))
        };
        let same = before.filter(|known| {
            known.record.workflow.version > record.workflow.version || known.record == record
        });
        // Reading a large definition takes milliseconds: not under the lock, and not twice.
        let known = same.unwrap_or_else(|| Arc::new(Known::new(record)));
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT && !kept.contains_key(&name) {
            kept.clear();
        }
        let entry = kept.entry(name).or_insert_with(|| (at, Arc::clone(&known)));
        if entry.1.record.workflow.version <= known.record.workflow.version {
            *entry = (at, Arc::clone(&known));
        }
        Arc::clone(&entry.1)
    }
}

/// Whether `name` can be the name of a workflow.
pub(crate) fn is_workflow_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= 255
        && bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
pub(crate) mod tests {
    use afu9_schemas::message::WorkflowRef;
    use afu9_schemas::{DefinitionHash, Timestamp, WorkflowId};
    use serde_json::{Value, json};

    use super::*;

    /// A stored version.
    pub(crate) fn known(definition: Value) -> Known {
        let name = definition["name"].as_str().expect("a name").to_owned();
        Known::new(DefinitionRecord {
            workflow: WorkflowRef {
                id: WorkflowId::new(),
                name,
                version: 1,
                hash: DefinitionHash::of(definition.to_string().as_bytes()),
            },
            definition,
            enabled: true,
            applied_at: Timestamp::from_micros(0),
            applied_by: "t".to_owned(),
            switched: None,
        })
    }

    #[test]
    fn tools_of_the_test_kind_are_told_apart() {
        let runnable = |tool: &str, params: Value, allow_test_kind| {
            let steps = json!([{"name": "a", "tool": tool, "params": params}]);
            let known = known(json!({"name": "w", "steps": steps}));
            known.runnable(allow_test_kind).map(|_| ())
        };
        let noop = |allowed| runnable("test.noop", json!({}), allowed);
        assert_eq!(noop(false), Err(NotRunnable::TestTools));
        assert_eq!(noop(true), Ok(()));
        let unread = runnable("tomorrow.tool", json!({}), true);
        assert_eq!(unread, Err(NotRunnable::Unreadable));
        let params = json!({"owner": "o", "repo": "r", "number": 1});
        assert_eq!(runnable("github.getIssue", params, false), Ok(()));
    }

    #[test]
    fn names_from_a_url_cannot_be_other_keys() {
        assert!(is_workflow_name("issue_to_pr2"));
        for bad in [
            "",
            "a.b",
            "A",
            "1a",
            "a b",
            "a/b",
            "name.*",
            &"x".repeat(256),
        ] {
            assert!(!is_workflow_name(bad), "{bad}");
        }
    }
}
