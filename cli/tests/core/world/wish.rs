//! Asking for changes, and hearing what came of it.

use afu9_schemas::message::{Control, ControlAction, ControlOutcome, HoldScope, Input, InputKind};
use afu9_schemas::{ExecutionId, RequestId};
use anyhow::{Context, Result};

use super::{PATIENCE, World};

/// A wish of an operator who may do everything.
pub(crate) fn wish(action: ControlAction) -> Control {
    Control {
        request: RequestId::new(),
        by: "operator".to_owned(),
        scopes: vec!["admin".to_owned()],
        reason: None,
        reply_to: None,
        content: None,
        action,
    }
}

impl World {
    /// Asks for a change, and waits for what comes of it.
    pub(crate) async fn control(
        &self,
        id: ExecutionId,
        action: ControlAction,
    ) -> Result<ControlOutcome> {
        self.send(id, wish(action)).await
    }

    /// Sends a wish, and waits for what comes of it.
    pub(crate) async fn send(&self, id: ExecutionId, control: Control) -> Result<ControlOutcome> {
        let mut outcomes = self.broker.outcomes().await?;
        let control = Control {
            reply_to: Some(outcomes.subject().to_owned()),
            content: None,
            ..control
        };
        self.submit(id, InputKind::Control(Box::new(control)))
            .await?;
        outcomes.next(PATIENCE).await.context("no answer came")
    }

    /// Begins nothing new in a scope, in every partition.
    pub(crate) async fn hold(&self, scope: &HoldScope) -> Result<()> {
        self.everywhere(&ControlAction::Hold(scope.clone())).await
    }

    /// Goes on with a scope, in every partition.
    pub(crate) async fn release(&self, scope: &HoldScope) -> Result<()> {
        self.everywhere(&ControlAction::Release(scope.clone()))
            .await
    }

    async fn everywhere(&self, action: &ControlAction) -> Result<()> {
        let mut outcomes = self.broker.outcomes().await?;
        let control = Control {
            reply_to: Some(outcomes.subject().to_owned()),
            content: None,
            ..wish(action.clone())
        };
        let partitions = self.broker.partitions();
        for partition in partitions.all() {
            let input = Input {
                execution: ExecutionId::NONE,
                kind: InputKind::Control(Box::new(control.clone())),
            };
            let stored = self.writer.submit_to(partition, vec![input]).await;
            stored.context("the log takes inputs")?;
        }
        for partition in partitions.all() {
            let outcome = outcomes.next(PATIENCE).await;
            let outcome = outcome.with_context(|| format!("no answer of {partition} came"))?;
            anyhow::ensure!(outcome == ControlOutcome::Applied, "{outcome:?}");
        }
        Ok(())
    }
}
