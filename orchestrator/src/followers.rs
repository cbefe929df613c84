//! Workflows that start when another one has ended.

use std::collections::BTreeSet;

use afu9_engine::execution::MAX_DEPTH;
use afu9_engine::{Ended, submit};
use afu9_schemas::definition::TriggerRule;
use afu9_schemas::message::{Input, InputKind, Start, Trigger, TriggerKind};
use afu9_schemas::{ExecutionId, Lane, PartitionCount};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::catalog::Catalog;
use crate::definitions::Found;

/// The rules of all workflows that follow others. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Followers {
    catalog: Catalog,
    partitions: PartitionCount,
}

impl Followers {
    pub(crate) fn new(catalog: Catalog, partitions: PartitionCount) -> Self {
        Self {
            catalog,
            partitions,
        }
    }

    /// Tells when the rules may have changed.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.catalog.changes()
    }

    /// The workflows whose ends start others.
    pub(crate) fn followed(&self) -> BTreeSet<String> {
        let mut followed = BTreeSet::new();
        for found in self.catalog.enabled() {
            for rule in &found.workflow.definition.triggers {
                if let TriggerRule::Workflow(rule) = rule {
                    followed.insert(rule.workflow.clone());
                }
            }
        }
        followed
    }

    /// What the end of an execution starts. The ids are derived from it: an end that is told twice
    /// starts everything once.
    pub(crate) fn started_by(&self, ended: &Ended) -> Vec<Input> {
        let mut inputs = Vec::new();
        for found in self.catalog.enabled() {
            for (index, rule) in found.workflow.definition.triggers.iter().enumerate() {
                let TriggerRule::Workflow(rule) = rule else {
                    continue;
                };
                if rule.workflow == ended.workflow && rule.statuses.contains(&ended.status) {
                    inputs.extend(self.start(&found, index, ended));
                }
            }
        }
        inputs
    }

    fn start(&self, found: &Found, index: usize, ended: &Ended) -> Option<Input> {
        let name = &found.record.workflow.name;
        if ended.depth + 1 > MAX_DEPTH {
            tracing::warn!(
                execution = %ended.execution,
                workflow = name,
                "not started: workflows start each other in a circle"
            );
            return None;
        }
        let upstream = json!({
            "id": ended.execution,
            "workflow": ended.workflow,
            "status": ended.status.as_str(),
            "input": ended.input,
            "output": ended.output,
            "error": ended.error,
        });
        let roots = submit::Roots(&[("upstream", &upstream)]);
        let default = || ended.output.clone().unwrap_or_else(|| json!({}));
        let input: Value = match found.workflow.triggers[index].fire(roots, default) {
            Ok(input) => input?,
            Err((place, error)) => {
                tracing::warn!(execution = %ended.execution, workflow = name, place, %error, "not started");
                return None;
            }
        };
        let mut start = Start {
            workflow: found.record.workflow.clone(),
            input,
            repository: ended.repository.clone(),
            trigger: Trigger {
                kind: TriggerKind::Workflow,
                by: format!("execution {}", ended.execution),
                delivery: None,
                depth: ended.depth + 1,
                initiator: Some(ended.initiator.clone()),
            },
            lane: Lane::Bulk,
            traceparent: None,
            key: None,
            priority: 0,
            parent: None,
            rerun: None,
        };
        // An input that does not fit becomes an execution that has failed and says why, so that it is
        // seen.
        if let Err(error) = submit::prepare(&found.workflow, &mut start) {
            tracing::warn!(execution = %ended.execution, workflow = name, %error, "input does not fit");
        }
        let derived = format!("after:{}:{name}:{index}", ended.execution);
        let key = start.key.as_deref();
        Some(Input {
            execution: ExecutionId::derived_for(&derived, key, self.partitions),
            kind: InputKind::Start(Box::new(start)),
        })
    }
}
