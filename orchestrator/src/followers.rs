//! Workflows that start when another one has ended.

use afu9_engine::execution::MAX_DEPTH;
use afu9_engine::{Ended, submit};
use afu9_schemas::definition::TriggerRule;
use afu9_schemas::message::{Input, InputKind, Start, Trigger, TriggerKind, Unstarted as Cause};
use afu9_schemas::{ExecutionId, PartitionCount};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::catalog::{Catalog, Follower};
use crate::definitions::Found;
use crate::unstarted::Unstarted;

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
    pub(crate) fn followed(&self) -> Vec<String> {
        self.catalog.followed()
    }

    /// What the end of an execution starts, and what it cannot start. The ids are derived from it: an end
    /// that is told twice starts everything once.
    pub(crate) fn started_by(&self, ended: &Ended) -> Vec<Result<Input, Unstarted>> {
        let mut started = Vec::new();
        for Follower { found, index } in self.catalog.followers_of(&ended.workflow) {
            if let Some(TriggerRule::Workflow(rule)) = found.workflow.definition.triggers.get(index)
                && rule.statuses.contains(&ended.status)
            {
                started.extend(self.start(&found, index, ended).transpose());
            }
        }
        started
    }

    fn start(
        &self,
        found: &Found,
        index: usize,
        ended: &Ended,
    ) -> Result<Option<Input>, Unstarted> {
        let name = &found.record.workflow.name;
        let derived = format!("after:{}:{name}:{index}", ended.execution);
        let trigger = Trigger {
            kind: TriggerKind::Workflow,
            by: format!("execution {}", ended.execution),
            delivery: None,
            depth: ended.depth + 1,
            initiator: Some(ended.initiator.clone()),
        };
        let unstarted = |code: &str, message: String| {
            tracing::warn!(execution = %ended.execution, workflow = name, message, "not started");
            let cause = Cause {
                workflow: name.clone(),
                version: found.record.workflow.version,
                rule: index,
                origin: derived.clone(),
                cause: json!({
                    "upstream": {
                        "id": ended.execution,
                        "workflow": ended.workflow,
                        "status": ended.status.as_str(),
                    },
                }),
                trigger: Some(trigger.clone()),
                repository: ended.repository.clone(),
            };
            Unstarted::new(&cause, code, message, ended.at)
        };
        if ended.depth + 1 > MAX_DEPTH {
            let message =
                format!("executions start each other more than {MAX_DEPTH} deep: a circle?");
            return Err(unstarted("trigger.too_deep", message));
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
            Ok(Some(input)) => input,
            Ok(None) => return Ok(None),
            Err((place, error)) => {
                return Err(unstarted("trigger.expression", format!("{place}: {error}")));
            }
        };
        let mut start = Start {
            repository: ended.repository.clone(),
            ..Start::new(found.record.workflow.clone(), input, trigger)
        };
        // An input that does not fit becomes an execution that has failed and says why, so that it is
        // seen.
        if let Err(error) = submit::prepare(&found.workflow, &mut start) {
            tracing::warn!(execution = %ended.execution, workflow = name, %error, "input does not fit");
        }
        let key = start.key.as_deref();
        Ok(Some(Input {
            execution: ExecutionId::derived_for(&derived, key, self.partitions),
            kind: InputKind::Start(Box::new(start)),
        }))
    }
}
