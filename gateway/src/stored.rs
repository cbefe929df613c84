//! The past in Postgres, if there is a Postgres. The only file that touches the history crate.

use std::collections::HashMap;
use std::time::Duration;

use afu9_history::{Cursor, ExecutionFilter, QueryError, Store};
use afu9_schemas::view::{ExecutionSummary, ExecutionView, StepView};
use afu9_schemas::{DeadLetterId, ExecutionId};
use thiserror::Error;

use crate::executions::{Filter, Relation};

pub(crate) use afu9_history::{
    AuditCursor, AuditEntry, AuditFilter, ItemFilter, LetterCursor, LetterEntry, LetterFilter,
    LetterState, MAX_LETTERS, OpenLetters, Settlement,
};

/// The past in Postgres; empty without one.
#[derive(Debug)]
pub(crate) struct Stored(Option<Store>);

/// Why Postgres gave no answer.
#[derive(Debug, Error)]
pub(crate) enum StoredError {
    #[error("the database is away")]
    Away(#[source] QueryError),
    #[error("the database's answer cannot be used")]
    Unusable(#[source] QueryError),
}

impl From<QueryError> for StoredError {
    fn from(error: QueryError) -> Self {
        if error.is_retryable() {
            Self::Away(error)
        } else {
            Self::Unusable(error)
        }
    }
}

impl Stored {
    pub(crate) const fn new(store: Option<Store>) -> Self {
        Self(store)
    }

    pub(crate) const fn is_configured(&self) -> bool {
        self.0.is_some()
    }

    /// Everything about one execution.
    pub(crate) async fn show(&self, id: ExecutionId) -> Result<Option<ExecutionView>, StoredError> {
        match &self.0 {
            Some(store) => Ok(store.show_execution(id).await?),
            None => Ok(None),
        }
    }

    /// The newest executions that pass `filter`, newest first.
    pub(crate) async fn list(&self, filter: &Filter) -> Result<Vec<ExecutionSummary>, StoredError> {
        let Some(store) = &self.0 else {
            return Ok(Vec::new());
        };
        let relation = filter.relation.clone().map(|relation| match relation {
            Relation::Key(key) => afu9_history::Relation::Key(key),
            Relation::Parent(id) => afu9_history::Relation::Parent(id),
            Relation::RerunOf(id) => afu9_history::Relation::RerunOf(id),
        });
        let filter = ExecutionFilter {
            statuses: filter.statuses.clone(),
            workflow: filter.workflow.clone(),
            triggered_by: filter.triggered_by.clone(),
            started_after: filter.started_after,
            limit: Some(u32::try_from(filter.limit).unwrap_or(ExecutionFilter::MAX_LIMIT)),
            before: filter.before.map(|cursor| Cursor {
                started_at: cursor.started_at,
                id: cursor.id,
            }),
        };
        Ok(match relation {
            None => store.list_executions(&filter).await?,
            Some(relation) => store.list_related_executions(&relation, &filter).await?,
        })
    }

    /// A page of the audit log, newest first; `None` without a database.
    pub(crate) async fn audit(
        &self,
        filter: &AuditFilter,
    ) -> Result<Option<Vec<AuditEntry>>, StoredError> {
        match &self.0 {
            Some(store) => Ok(Some(store.list_audit(filter).await?)),
            None => Ok(None),
        }
    }

    /// A page of dead letters, newest first; `None` without a database.
    pub(crate) async fn letters(
        &self,
        filter: &LetterFilter,
        limit: u32,
    ) -> Result<Option<Vec<LetterEntry>>, StoredError> {
        match &self.0 {
            Some(store) => Ok(Some(store.list_letters(filter, limit).await?)),
            None => Ok(None),
        }
    }

    /// How many dead letters pass `filter`, up to `most`; `None` without a database.
    pub(crate) async fn count_letters(
        &self,
        filter: &LetterFilter,
        most: u32,
    ) -> Result<Option<u64>, StoredError> {
        match &self.0 {
            Some(store) => Ok(Some(store.count_letters(filter, most).await?)),
            None => Ok(None),
        }
    }

    /// One dead letter, if there is such a one; `None` without a database.
    pub(crate) async fn letter(
        &self,
        id: DeadLetterId,
    ) -> Result<Option<Option<LetterEntry>>, StoredError> {
        match &self.0 {
            Some(store) => Ok(Some(store.show_letter(id).await?)),
            None => Ok(None),
        }
    }

    /// The message of a dead letter, where its row has it.
    pub(crate) async fn letter_bytes(
        &self,
        id: DeadLetterId,
    ) -> Result<Option<Vec<u8>>, StoredError> {
        match &self.0 {
            Some(store) => Ok(store.letter_bytes(id).await?),
            None => Ok(None),
        }
    }

    /// Settles an open dead letter, and says whether this did it.
    pub(crate) async fn settle_letter(
        &self,
        id: DeadLetterId,
        settlement: &Settlement,
    ) -> Result<bool, StoredError> {
        match &self.0 {
            Some(store) => Ok(store.settle_letter(id, settlement).await?),
            None => Ok(false),
        }
    }

    /// The open dead letters, counted; `None` without a database.
    pub(crate) async fn open_letters(&self) -> Result<Option<Vec<OpenLetters>>, StoredError> {
        match &self.0 {
            Some(store) => Ok(Some(store.open_letters().await?)),
            None => Ok(None),
        }
    }

    /// A page of the items of a step that have ended; `None` without a database.
    pub(crate) async fn items(
        &self,
        filter: &ItemFilter,
    ) -> Result<Option<Vec<StepView>>, StoredError> {
        match &self.0 {
            Some(store) => Ok(Some(store.list_items(filter).await?)),
            None => Ok(None),
        }
    }

    /// The newest execution of each workflow that has any, by the workflow's name.
    pub(crate) async fn last_runs(&self) -> Result<HashMap<String, ExecutionSummary>, StoredError> {
        let Some(store) = &self.0 else {
            return Ok(HashMap::new());
        };
        let workflows = store.list_workflows().await?;
        Ok(workflows
            .into_iter()
            .filter_map(|workflow| workflow.last_run.map(|run| (workflow.name, run)))
            .collect())
    }

    /// Whether Postgres answers, and after how long; `None` without one.
    pub(crate) async fn check(&self) -> Option<Result<Duration, afu9_history::CheckError>> {
        match &self.0 {
            Some(store) => Some(store.check().await),
            None => None,
        }
    }
}
