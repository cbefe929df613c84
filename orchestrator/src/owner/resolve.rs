//! Steps that run another workflow: which version, with which input, under which id.

use std::sync::Arc;

use afu9_engine::{Effect, ResolveChild, submit};
use afu9_schemas::error::{ErrorClass, StepError};
use afu9_schemas::message::{
    ChildResolved, ChildStart, Input, InputKind, Parent, Start, Trigger, TriggerKind,
};
use afu9_schemas::{ExecutionId, PartitionCount};

use super::{Owner, PAUSE};
use crate::catalog::Catalog;

impl Owner {
    /// Looks a workflow up, and writes the finding into the log, while the loop goes on.
    pub(super) fn resolve(&mut self, wanted: ResolveChild) {
        let (catalog, writer) = (self.shared.catalog.clone(), self.shared.writer.clone());
        let partitions = self.shared.broker.partitions();
        let partition = self.partition;
        self.resolving.push(Box::pin(async move {
            let child = child(&catalog, partitions, &wanted).await;
            let input = Input {
                execution: wanted.parent,
                kind: InputKind::ChildResolved(Box::new(ChildResolved {
                    step: wanted.step,
                    item: wanted.item,
                    attempt: wanted.attempt,
                    child,
                })),
            };
            while let Err(error) = writer.submit_to(partition, vec![input.clone()]).await {
                if !error.is_retryable() {
                    let error = afu9_broker::error::chain(&*error);
                    tracing::error!(execution = %wanted.parent, error, "finding refused");
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }));
    }

    /// Looks up again what a former owner was asked for and may not have answered.
    pub(super) fn repeat_resolutions(&mut self) {
        for effect in self.state.outstanding_resolutions() {
            if let Effect::Resolve(wanted) = effect {
                self.resolve(*wanted);
            }
        }
    }
}

async fn child(
    catalog: &Catalog,
    partitions: PartitionCount,
    wanted: &ResolveChild,
) -> Result<Box<ChildStart>, StepError> {
    let refused =
        |code: &str, message: String| Err(StepError::new(ErrorClass::Permanent, code, message));
    let name = &wanted.workflow;
    let Some((found, enabled)) = catalog.find(name, wanted.version).await else {
        let version = wanted
            .version
            .map(|v| format!("version {v} of "))
            .unwrap_or_default();
        return refused(
            "child.unknown",
            format!("there is no {version}workflow `{name}`; apply it first"),
        );
    };
    if !enabled {
        return refused(
            "child.disabled",
            format!("the workflow `{name}` is disabled"),
        );
    }
    let mut start = Start {
        repository: wanted.repository.clone(),
        lane: wanted.lane,
        traceparent: wanted.traceparent.clone(),
        priority: wanted.priority,
        parent: Some(Parent {
            execution: wanted.parent,
            step: wanted.step,
            item: wanted.item,
            attempt: wanted.attempt,
            waits: wanted.waits,
            depth: wanted.depth,
        }),
        ..Start::new(
            found.record.workflow.clone(),
            wanted.input.clone(),
            Trigger {
                kind: TriggerKind::Child,
                by: format!("execution {}", wanted.parent),
                delivery: None,
                depth: wanted.depth,
                initiator: Some(wanted.initiator.clone()),
            },
        )
    };
    let workflow = Arc::clone(&found.workflow);
    if let Err(error) = submit::prepare(&workflow, &mut start) {
        return refused(error.code(), format!("workflow `{name}`: {error}"));
    }
    let item = wanted
        .item
        .map(|item| format!("-{item}"))
        .unwrap_or_default();
    let derived = format!(
        "child:{}.{}{item}.{}",
        wanted.parent, wanted.step, wanted.attempt
    );
    let execution = ExecutionId::derived_for(&derived, start.key.as_deref(), partitions);
    Ok(Box::new(ChildStart { execution, start }))
}
