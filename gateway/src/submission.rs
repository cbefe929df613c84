//! Submitting starts: what is answered with a yes is in the input log, and the same key starts one
//! execution only.

use std::sync::Arc;

use afu9_broker::kv::{Claim, IdempotencyStore};
use afu9_broker::{PublishError, RequestError};
use afu9_schemas::ExecutionId;
use afu9_schemas::message::{Input, InputKind, Start};
use afu9_schemas::view::ExecutionSummary;
use thiserror::Error;
use tokio::time::Instant;

use crate::accepted::Remember;
use crate::app::{App, now};
use crate::executions::{Found, Past};
use crate::stored::StoredError;

/// What submitting under a key came to.
#[derive(Debug)]
#[must_use]
pub(crate) enum Submitted {
    /// The start is stored, under this id.
    New(ExecutionId),
    /// It was stored before; this is what became of it.
    Before(Box<ExecutionSummary>),
    /// The key was used for something else.
    OtherContent,
}

/// How long ago a name may have been used before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameAge {
    /// Anybody may send it again at any time.
    Any,
    /// Less long than claims are kept: it was made from something that is forgotten before them.
    Young,
}

/// Why nothing can be said about a submission: try again under the same key.
#[derive(Debug, Error)]
pub(crate) enum SubmitError {
    #[error("the key could not be claimed")]
    Claim(#[source] RequestError),
    #[error("earlier executions could not be looked up")]
    Past(#[source] StoredError),
    #[error("the database is away, and only it may know the execution")]
    PastAway,
    #[error("the start could not be stored")]
    Store(#[source] Arc<PublishError>),
}

impl App {
    /// An id for `start`, to which nobody gave a name.
    pub(crate) fn new_execution(&self, start: &Start) -> ExecutionId {
        match start.key.as_deref() {
            None => self.log.new_execution(start.lane),
            key => ExecutionId::new_for(key, self.broker.partitions()),
        }
    }

    /// Stores `start` and remembers that it did.
    ///
    /// # Errors
    /// See [`afu9_broker::log::LogWriter::submit`]; submitting again is harmless.
    pub(crate) async fn submit(
        &self,
        execution: ExecutionId,
        start: Start,
    ) -> Result<(), Arc<PublishError>> {
        let remember = Remember::new(&start, now());
        let kind = InputKind::Start(Box::new(start));
        self.log.submit(Input { execution, kind }).await?;
        self.accepted.remember(execution, remember, Instant::now());
        Ok(())
    }

    /// Stores `start` as the one execution of `name`, whose id is derived from it, in the partition of
    /// the start's key: see [`afu9_engine::submit::prepare`], which works that key out.
    ///
    /// The claim comes first: of two submitters at once, both may store the start, which is one start
    /// to the engine, because it carries one id. A claim without a known execution is that of
    /// somebody who died in between: the start is stored (again).
    ///
    /// The id of an earlier claim counts, whatever would be derived now: another version of the
    /// workflow may give the same submission another key, and so another partition.
    ///
    /// Claims are forgotten after a time. So a name that is claimed anew, if `age` says that it may be
    /// an old one, is looked up in the past: what it once started counts for as long as it is known there.
    /// If the past is away it is a new one, so that submissions do not wait for the database.
    ///
    /// # Errors
    /// See [`SubmitError`]; submitting again under the same name is harmless.
    pub(crate) async fn submit_once(
        &self,
        name: &str,
        content: &str,
        age: NameAge,
        start: Start,
    ) -> Result<Submitted, SubmitError> {
        let partitions = self.broker.partitions();
        let mut execution = ExecutionId::derived_for(name, start.key.as_deref(), partitions);
        let claim = Claim {
            execution,
            content: content.to_owned(),
        };
        let keys = self.idempotency().await.map_err(SubmitError::Claim)?;
        if let Some(before) = keys.claim(name, &claim).await.map_err(SubmitError::Claim)? {
            if before.content != content {
                return Ok(Submitted::OtherContent);
            }
            execution = before.execution;
            if let Some(known) = self.accepted.get(execution, Instant::now()) {
                return Ok(Submitted::Before(Box::new(known.summary)));
            }
            match self.find(execution).await.map_err(SubmitError::Past)? {
                Found::Known(view, _) => return Ok(Submitted::Before(Box::new(view.summary))),
                // It may have ended long ago, and nobody but the database would know.
                Found::PastAway => return Err(SubmitError::PastAway),
                // An owner that comes back knows what it has begun: a second start changes nothing.
                Found::Unknown | Found::OwnerAway => {}
            }
        } else if age == NameAge::Any {
            let past = self.look_back(execution).await;
            if let Past::Known(view, _) = past.map_err(SubmitError::Past)? {
                return Ok(Submitted::Before(Box::new(view.summary)));
            }
        }
        self.submit(execution, start)
            .await
            .map_err(SubmitError::Store)?;
        Ok(Submitted::New(execution))
    }

    async fn idempotency(&self) -> Result<&IdempotencyStore, RequestError> {
        self.idempotency
            .get_or_try_init(|| self.broker.idempotency())
            .await
    }
}
