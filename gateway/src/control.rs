//! Wishes: what callers want changed about executions becomes an input like any other, and whoever
//! asked waits a moment to hear what came of it.
//!
//! The engine alone decides whether a wish is possible, when its turn comes. So a wish that is stored
//! is answered as `pending` where nobody answers in time: it is durable, and is decided as soon as the
//! partition has an owner again.

use std::sync::Arc;
use std::time::Duration;

use afu9_broker::{PublishError, RequestError};
use afu9_schemas::message::{Control, ControlOutcome, Input, InputKind};
use afu9_schemas::{ExecutionId, Partition};
use thiserror::Error;

use crate::app::App;
use crate::problem::Problem;

/// How long a caller waits for what comes of a wish: an owner decides within milliseconds, and one
/// that takes over a partition within about as long as this.
pub(crate) const CONTROL_PATIENCE: Duration = Duration::from_secs(3);

/// What came of a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub(crate) enum Carried {
    /// It took effect.
    Applied,
    /// It was so already.
    Unchanged,
    /// It is not possible.
    Refused {
        /// The engine's code.
        code: String,
        /// Why, and what would be possible.
        message: String,
    },
    /// It is stored; nobody has said yet what came of it.
    Pending,
}

impl Carried {
    /// Its name in the API, unless it is a refusal.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Refused { .. } => "refused",
            Self::Pending => "pending",
        }
    }
}

/// Why a wish may not be stored: express it again, as the same request.
#[derive(Debug, Clone, Error)]
pub(crate) enum ControlError {
    /// Nobody could be listened for.
    #[error("the answer to a wish cannot be listened for")]
    Listen(#[source] Arc<RequestError>),
    /// The log did not take it.
    #[error("the wish could not be stored")]
    Store(#[source] Arc<PublishError>),
}

impl ControlError {
    /// What the caller is told.
    pub(crate) fn problem(&self) -> Problem {
        match self {
            Self::Listen(error) => Problem::broker(&**error),
            Self::Store(error) => Problem::publish(error),
        }
    }
}

impl App {
    /// Stores a wish about `execution` and waits up to `patience` for what comes of it.
    ///
    /// # Errors
    /// When it may not be stored; expressing it again as the same request is harmless.
    pub(crate) async fn control(
        &self,
        execution: ExecutionId,
        control: Control,
        patience: Duration,
    ) -> Result<Carried, ControlError> {
        let partition = self.broker.partitions().of(execution);
        self.control_in(partition, execution, control, patience)
            .await
    }

    /// Like [`Self::control`], in this partition: a wish about a scope concerns every partition.
    ///
    /// # Errors
    /// See [`Self::control`].
    pub(crate) async fn control_in(
        &self,
        partition: Partition,
        execution: ExecutionId,
        control: Control,
        patience: Duration,
    ) -> Result<Carried, ControlError> {
        let carried = self.express(partition, execution, control, patience).await;
        let metrics = &self.metrics;
        let counter = match &carried {
            Ok(Carried::Applied) => &metrics.wishes_applied,
            Ok(Carried::Unchanged) => &metrics.wishes_unchanged,
            Ok(Carried::Refused { .. }) => &metrics.wishes_refused,
            Ok(Carried::Pending) => &metrics.wishes_pending,
            Err(_) => &metrics.wishes_unavailable,
        };
        counter.add();
        carried
    }

    async fn express(
        &self,
        partition: Partition,
        execution: ExecutionId,
        mut control: Control,
        patience: Duration,
    ) -> Result<Carried, ControlError> {
        // First: the answer may come before the log's acknowledgement does.
        let outcomes = self.broker.outcomes().await;
        let mut outcomes = outcomes.map_err(|error| ControlError::Listen(Arc::new(error)))?;
        control.reply_to = Some(outcomes.subject().to_owned());
        let kind = InputKind::Control(Box::new(control));
        self.log
            .submit_to(partition, vec![Input { execution, kind }])
            .await
            .map_err(ControlError::Store)?;
        Ok(match outcomes.next(patience).await {
            None => Carried::Pending,
            Some(ControlOutcome::Applied) => Carried::Applied,
            Some(ControlOutcome::Unchanged) => Carried::Unchanged,
            Some(ControlOutcome::Refused { code, message }) => Carried::Refused { code, message },
        })
    }
}
