//! Asking the owners what is, and waiting until it is so.

use std::time::Duration;

use afu9_schemas::ExecutionId;
use afu9_schemas::message::{Query, QueryReply};
use afu9_schemas::view::{Cause, CauseView, ExecutionView, ExplainView, StepStatus};
use anyhow::{Result, bail};
use tokio::time::Instant;

use super::{PATIENCE, POLL, World};

impl World {
    async fn ask(&self, id: ExecutionId, query: &Query) -> Option<QueryReply> {
        let partition = self.broker.partitions().of(id);
        // Nobody answers while the partition goes from one owner to the next.
        self.broker.ask(partition, query).await.ok().flatten()
    }

    /// Everything about an execution, as soon as its owner tells.
    pub(crate) async fn view(&self, id: ExecutionId) -> Result<ExecutionView> {
        self.view_when(id, "known", |_| true).await
    }

    /// Everything about an execution, as soon as it is as `so` says.
    pub(crate) async fn view_when(
        &self,
        id: ExecutionId,
        what: &str,
        so: impl Fn(&ExecutionView) -> bool,
    ) -> Result<ExecutionView> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let reply = self.ask(id, &Query::Show { execution: id }).await;
            match &reply {
                Some(QueryReply::Execution(view)) if so(view) => return Ok((**view).clone()),
                _ if Instant::now() > deadline => bail!("{id} is not {what}: {reply:?}"),
                _ => tokio::time::sleep(POLL).await,
            }
        }
    }

    pub(crate) async fn wait_until_running(&self, id: ExecutionId) -> Result<()> {
        self.view_when(id, "running", |view| {
            let mut steps = view.steps.iter();
            steps.any(|step| step.status == StepStatus::Running)
        })
        .await?;
        Ok(())
    }

    /// Why an execution is where it is, as soon as its owner tells.
    pub(crate) async fn explain(&self, id: ExecutionId) -> Result<ExplainView> {
        self.explained_by(id, "explained", |_| true).await
    }

    /// Why an execution is where it is, as soon as that is as `so` says.
    pub(crate) async fn explained_by(
        &self,
        id: ExecutionId,
        what: &str,
        so: impl Fn(&ExplainView) -> bool,
    ) -> Result<ExplainView> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let reply = self.ask(id, &Query::Explain { execution: id }).await;
            match &reply {
                Some(QueryReply::Explained(view)) if so(view) => return Ok((**view).clone()),
                _ if Instant::now() > deadline => bail!("{id} is not {what}: {reply:?}"),
                _ => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// Waits until an execution waits for what `is` says, and returns that cause.
    pub(crate) async fn cause(
        &self,
        id: ExecutionId,
        what: &str,
        is: impl Fn(&Cause) -> bool,
    ) -> Result<CauseView> {
        let found = |view: &ExplainView| view.causes.iter().any(|cause| is(&cause.cause));
        let view = self.explained_by(id, what, found).await?;
        let mut causes = view.causes.into_iter();
        let cause = causes.find(|cause| is(&cause.cause));
        Ok(cause.expect("it was there"))
    }

    pub(crate) async fn wait_until_log_is_empty(&self, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        loop {
            let held = self.broker.log_size().await?;
            if held == 0 {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the log still holds {held} messages");
            }
            tokio::time::sleep(POLL).await;
        }
    }
}
