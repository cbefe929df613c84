//! Why an execution is where it is: its owner knows what it waits for, the workers which jobs they run,
//! heartbeats who is alive, and the queue how much is in it.

mod facts;
mod tell;

use afu9_broker::error::chain;
use afu9_schemas::ExecutionId;
use afu9_schemas::message::{Query, QueryReply};
use afu9_schemas::view::{ExecutionView, ExplainView};
use tokio::time::{Instant, sleep};

use crate::app::App;
use crate::executions::{ASK_AGAIN, Found, OWNER_PATIENCE, Source};
use crate::stored::StoredError;
use facts::Facts;

pub(crate) use tell::{told, told_of_known};

/// What explains an execution.
#[derive(Debug)]
pub(crate) enum Explained {
    /// Its owner told what it waits for.
    Live(Box<ExplainView>, Facts),
    /// Its owner does not hold it any more, or not yet.
    Known(Box<ExecutionView>),
    /// Everybody who could know it was asked.
    Unknown,
    /// Its partition has no owner just now, and it may be live.
    OwnerAway,
    /// Its owner does not hold it, and the past cannot be asked.
    PastAway,
}

impl App {
    /// Explains an execution.
    ///
    /// # Errors
    /// Only when the database's answer cannot be used.
    pub(crate) async fn explain(&self, id: ExecutionId) -> Result<Explained, StoredError> {
        if let Some(view) = self.ask_why(id).await {
            let facts = Box::pin(self.facts(&view)).await;
            return Ok(Explained::Live(view, facts));
        }
        Ok(match self.find(id).await? {
            // The past does not know what a live one waits for; one that was accepted here a moment
            // ago waits to be folded.
            Found::Known(view, source)
                if view.summary.status.is_terminal() || source == Source::Live =>
            {
                Explained::Known(view)
            }
            Found::Known(..) | Found::OwnerAway => Explained::OwnerAway,
            Found::Unknown => Explained::Unknown,
            Found::PastAway => Explained::PastAway,
        })
    }

    /// What the owner says, if it holds the execution and there is one in time.
    async fn ask_why(&self, id: ExecutionId) -> Option<Box<ExplainView>> {
        let partition = self.broker.partitions().of(id);
        let deadline = Instant::now() + OWNER_PATIENCE;
        loop {
            let query = Query::Explain { execution: id };
            match self.broker.ask(partition, &query).await {
                Ok(Some(QueryReply::Explained(view))) => return Some(view),
                Ok(Some(_)) => return None,
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%partition, error = %chain(&error), "owner did not answer");
                }
            }
            if Instant::now() + ASK_AGAIN >= deadline {
                return None;
            }
            sleep(ASK_AGAIN).await;
        }
    }
}
