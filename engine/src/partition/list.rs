//! The list of executions: a page of those that pass a filter, newest first.
//!
//! A partition may hold a hundred thousand executions, and its owner folds nothing while it looks
//! through them: so each is only compared, what is kept meanwhile is as long as the page, and only the
//! page is copied.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use afu9_schemas::ExecutionId;
use afu9_schemas::message::{ListCursor, ListFilter};
use afu9_schemas::view::ExecutionSummary;

use super::PartitionState;
use crate::execution::Execution;

/// A page of executions.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Newest first.
    pub executions: Vec<ExecutionSummary>,
    /// Others pass the filter, too, behind the last of these.
    pub more: bool,
}

impl PartitionState {
    /// The newest `limit` executions that pass `filter`, live or ended recently.
    pub fn list(&self, filter: &ListFilter, limit: usize) -> Listed {
        // The oldest of the page is on top.
        let mut page = BinaryHeap::new();
        let mut more = false;
        for execution in self.held() {
            let place = place(execution);
            let is_older = page.peek().is_some_and(|Reverse(oldest)| place < *oldest);
            if (more && is_older) || !passes(execution, place, filter) {
                continue;
            }
            page.push(Reverse(place));
            if page.len() > limit {
                page.pop();
                more = true;
            }
        }
        let places = page.into_sorted_vec();
        let executions = places
            .into_iter()
            .filter_map(|Reverse(place)| self.held_one(place.id))
            .map(Execution::summary)
            .collect();
        Listed { executions, more }
    }

    /// Each execution that can be shown, once.
    fn held(&self) -> impl Iterator<Item = &Execution> {
        let live = self.live.values().map(|live| &*live.execution);
        let retained = self.retained.iter().map(|live| &*live.execution);
        let recent = self.recent.iter().filter(|execution| {
            let id = execution.id();
            !self.live.contains_key(&id) && self.retained.get(id).is_none()
        });
        live.chain(retained).chain(recent)
    }

    fn held_one(&self, id: ExecutionId) -> Option<&Execution> {
        match self.live.get(&id).or_else(|| self.retained.get(id)) {
            Some(live) => Some(&live.execution),
            None => self.recent.get(id),
        }
    }
}

fn place(execution: &Execution) -> ListCursor {
    ListCursor {
        started_at: execution.started_at(),
        id: execution.id(),
    }
}

fn passes(execution: &Execution, place: ListCursor, filter: &ListFilter) -> bool {
    let ListFilter {
        statuses,
        workflow,
        key,
        parent,
        rerun_of,
        triggered_by,
        started_after,
        before,
    } = filter;
    let of =
        |wanted: &Option<ExecutionId>, is: Option<ExecutionId>| wanted.is_none() || *wanted == is;
    (statuses.is_empty() || statuses.contains(&execution.status()))
        && before.is_none_or(|before| place < before)
        && started_after.is_none_or(|after| place.started_at >= after)
        && workflow
            .as_ref()
            .is_none_or(|name| *name == execution.workflow().name)
        && (key.is_none() || key.as_deref() == execution.key())
        && triggered_by
            .as_ref()
            .is_none_or(|by| by == execution.triggered_by())
        && of(parent, execution.parent())
        && of(rerun_of, execution.rerun_of())
}
