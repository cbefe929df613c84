//! One wish about many executions: those that pass a filter, at most so many of them.

use std::time::Duration;

use afu9_schemas::message::Control;
use afu9_schemas::view::ExecutionStatus;
use afu9_schemas::{ExecutionId, Timestamp};
use futures::{StreamExt, stream};
use tokio::time::Instant;

use crate::app::App;
use crate::control::{CONTROL_PATIENCE, Carried, ControlError};
use crate::executions::{Cursor, Doubtful, Filter, Relation};
use crate::stored::StoredError;

/// Most executions one request is about: more would not be decided while somebody waits.
pub(crate) const MAX_EXECUTIONS: usize = 1000;

/// Most executions a dry run counts: with more, somebody waits too long for the number.
pub(crate) const MAX_COUNTED: usize = 20_000;

/// Wishes under way at once: enough to fill the messages of the log, few enough that other callers'
/// get between them.
const AT_ONCE: usize = 64;

/// How long outcomes are waited for, all in all: well below the time a request may take. What is not
/// decided by then is pending.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which executions a wish is about.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// Those in any of these.
    pub(crate) statuses: Vec<ExecutionStatus>,
    pub(crate) workflow: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) triggered_by: Option<String>,
    /// This instant included.
    pub(crate) started_after: Option<Timestamp>,
    /// Where an earlier selection ended, or what else they must have begun before.
    pub(crate) before: Option<Cursor>,
    pub(crate) limit: usize,
}

/// The executions that were found.
#[derive(Debug, Default)]
pub(crate) struct Selected {
    /// Newest first.
    pub(crate) ids: Vec<ExecutionId>,
    /// There are others, behind this one.
    pub(crate) next: Option<Cursor>,
    /// Somebody did not answer: executions may be missing.
    pub(crate) incomplete: bool,
}

/// What came of a wish about one execution.
pub(crate) type One = (ExecutionId, Result<Carried, ControlError>);

impl App {
    /// Finds the executions of a selection, the newest first.
    ///
    /// All statuses are looked for together: an execution that changes from one to another meanwhile
    /// keeps its place, and so is met in either.
    ///
    /// # Errors
    /// Only when the database's answer cannot be used.
    pub(crate) async fn select(&self, wanted: &Selection) -> Result<Selected, StoredError> {
        let mut found = Selected::default();
        let mut filter = Filter {
            statuses: wanted.statuses.clone(),
            workflow: wanted.workflow.clone(),
            triggered_by: wanted.triggered_by.clone(),
            started_after: wanted.started_after,
            relation: wanted.key.clone().map(Relation::Key),
            limit: Filter::LONGEST,
            before: wanted.before,
            doubtful: Doubtful::Shown,
        };
        loop {
            let listing = Box::pin(self.list(&filter)).await?;
            found.incomplete |= listing.incomplete;
            for summary in &listing.page.executions {
                if found.ids.len() == wanted.limit {
                    return Ok(found);
                }
                found.ids.push(summary.id);
                found.next = Some(Cursor::of(summary));
            }
            filter.before = listing.page.next;
            if filter.before.is_none() {
                found.next = None;
                return Ok(found);
            }
        }
    }

    /// Carries out one wish for each execution, some of them at once; what comes of each.
    pub(crate) async fn control_all(&self, wishes: Vec<(ExecutionId, Control)>) -> Vec<One> {
        let deadline = Instant::now() + PATIENCE;
        stream::iter(wishes)
            .map(|(execution, control)| async move {
                let left = deadline.saturating_duration_since(Instant::now());
                let patience = CONTROL_PATIENCE.min(left);
                (execution, self.control(execution, control, patience).await)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await
    }
}
