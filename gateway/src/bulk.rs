//! One wish about many executions: those that pass a filter, at most so many of them.

use std::collections::HashSet;
use std::time::Duration;

use afu9_schemas::message::Control;
use afu9_schemas::view::{ExecutionStatus, ExecutionSummary};
use afu9_schemas::{ExecutionId, Timestamp};
use futures::{StreamExt, stream};
use tokio::time::Instant;

use crate::app::App;
use crate::control::{CONTROL_PATIENCE, Carried, ControlError};
use crate::executions::{Cursor, Filter, Relation};
use crate::stored::StoredError;

/// Most executions one request is about: more would not be decided while somebody waits.
pub(crate) const MAX_EXECUTIONS: usize = 1000;

/// Most pages of the list that are read for one request; who looks for more narrows the filter.
const MAX_PAGES: usize = 100;

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
    /// This instant not included.
    pub(crate) started_before: Option<Timestamp>,
    pub(crate) limit: usize,
}

/// The executions that were found.
#[derive(Debug, Default)]
pub(crate) struct Selected {
    pub(crate) ids: Vec<ExecutionId>,
    /// There are others.
    pub(crate) more: bool,
    /// Somebody did not answer: executions may be missing.
    pub(crate) incomplete: bool,
}

/// What came of a wish about one execution.
pub(crate) type One = (ExecutionId, Result<Carried, ControlError>);

impl App {
    /// Finds the executions of a selection: of each status, the newest first.
    ///
    /// # Errors
    /// Only when the database's answer cannot be used.
    pub(crate) async fn select(&self, wanted: &Selection) -> Result<Selected, StoredError> {
        let mut found = Selected::default();
        let mut seen = HashSet::new();
        let mut pages = 0;
        for status in &wanted.statuses {
            let mut filter = Filter {
                status: Some(*status),
                workflow: wanted.workflow.clone(),
                relation: wanted.key.clone().map(Relation::Key),
                limit: Filter::MAX_LIMIT,
                before: wanted.started_before.map(|started_at| Cursor {
                    started_at,
                    // The least of all: nothing that began in this instant is before it.
                    id: ExecutionId::NONE,
                }),
            };
            loop {
                if pages == MAX_PAGES {
                    found.more = true;
                    return Ok(found);
                }
                pages += 1;
                let listing = self.list(&filter).await?;
                found.incomplete |= listing.incomplete;
                let page = listing.page;
                for summary in page.executions.iter().filter(|one| wanted.wants(one)) {
                    if found.ids.len() == wanted.limit && !seen.contains(&summary.id) {
                        found.more = true;
                        return Ok(found);
                    }
                    if seen.insert(summary.id) {
                        found.ids.push(summary.id);
                    }
                }
                filter.before = page.next.filter(|next| wanted.goes_on_at(*next));
                if filter.before.is_none() {
                    break;
                }
            }
        }
        Ok(found)
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

impl Selection {
    /// What the list cannot be asked for.
    fn wants(&self, summary: &ExecutionSummary) -> bool {
        self.started_after
            .is_none_or(|after| summary.started_at >= after)
            && self
                .triggered_by
                .as_ref()
                .is_none_or(|by| *by == summary.triggered_by)
    }

    /// Pages go back in time.
    fn goes_on_at(&self, cursor: Cursor) -> bool {
        self.started_after
            .is_none_or(|after| cursor.started_at >= after)
    }
}
