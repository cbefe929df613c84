//! One page out of live executions and the past.

use std::collections::HashMap;

use afu9_schemas::ExecutionId;
use afu9_schemas::view::ExecutionSummary;

use super::{Cursor, Filter};

/// What was gathered for one page.
#[derive(Debug)]
pub(crate) struct Gathered {
    /// Of the owners; neither filtered nor in any order.
    pub(crate) live: Vec<ExecutionSummary>,
    /// What passes the filter, newest first.
    pub(crate) past: Vec<ExecutionSummary>,
    /// The past goes on behind its last execution.
    pub(crate) past_is_cut: bool,
}

/// One page.
#[derive(Debug, PartialEq)]
pub(crate) struct Page {
    pub(crate) executions: Vec<ExecutionSummary>,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<Cursor>,
}

impl Gathered {
    /// Executions that pass the filter, on all pages.
    pub(crate) fn count(&self, filter: &Filter) -> usize {
        merged(&self.live, &self.past)
            .into_values()
            .filter(|summary| filter.wants(summary))
            .count()
    }
}

/// Merges what was gathered: each execution once, as its owner says, unless the past knows that it
/// has ended; newest first.
pub(crate) fn page(gathered: Gathered, filter: &Filter) -> Page {
    let Gathered {
        live,
        past,
        past_is_cut,
    } = gathered;
    // Behind the last execution of a cut past, something unseen may come first.
    let horizon = past.last().filter(|_| past_is_cut).map(Cursor::of);
    let mut executions: Vec<ExecutionSummary> = merged(&live, &past)
        .into_values()
        .filter(|summary| {
            let at = Cursor::of(summary);
            filter.wants(summary)
                && filter.before.is_none_or(|before| at < before)
                && horizon.is_none_or(|horizon| at >= horizon)
        })
        .cloned()
        .collect();
    executions.sort_by_key(|summary| std::cmp::Reverse(Cursor::of(summary)));
    let more = executions.len() > filter.limit;
    executions.truncate(filter.limit);
    let next = if more {
        executions.last().map(Cursor::of)
    } else {
        horizon
    };
    Page { executions, next }
}

fn merged<'a>(
    live: &'a [ExecutionSummary],
    past: &'a [ExecutionSummary],
) -> HashMap<ExecutionId, &'a ExecutionSummary> {
    let mut merged: HashMap<ExecutionId, &ExecutionSummary> =
        past.iter().map(|summary| (summary.id, summary)).collect();
    for summary in live {
        let entry = merged.entry(summary.id).or_insert(summary);
        if !entry.status.is_terminal() {
            *entry = summary;
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use afu9_schemas::view::ExecutionStatus;
    use afu9_schemas::{Timestamp, WorkflowId};

    use super::*;

    fn execution(second: i64, status: ExecutionStatus) -> ExecutionSummary {
        ExecutionSummary {
            id: ExecutionId::derived(&second.to_string()),
            workflow_id: WorkflowId::from_uuid(uuid::Uuid::nil()),
            workflow: "w".to_owned(),
            version: 1,
            status,
            triggered_by: "t".to_owned(),
            started_at: Timestamp::from_micros(second * 1_000_000),
            completed_at: None,
        }
    }

    fn seconds(page: &Page) -> Vec<i64> {
        page.executions
            .iter()
            .map(|e| e.started_at.as_micros() / 1_000_000)
            .collect()
    }

    use ExecutionStatus::{Completed, Running};

    #[test]
    fn each_execution_is_there_once_and_live_wins_unless_the_past_knows_its_end() {
        let live = vec![
            execution(3, Running),
            execution(2, Completed),
            execution(1, Running),
        ];
        let past = vec![
            execution(2, Running),
            execution(1, Completed),
            execution(0, Completed),
        ];
        let gathered = Gathered {
            live,
            past,
            past_is_cut: false,
        };
        assert_eq!(gathered.count(&Filter::default()), 4);
        let page = page(gathered, &Filter::default());
        assert_eq!(seconds(&page), [3, 2, 1, 0]);
        let statuses: Vec<_> = page.executions.iter().map(|e| e.status).collect();
        assert_eq!(statuses, [Running, Completed, Completed, Completed]);
        assert_eq!(page.next, None);
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_overlap() {
        let all: Vec<i64> = (0..10).rev().collect();
        let mut seen = Vec::new();
        let mut before = None;
        for _ in 0..10 {
            let filter = Filter {
                limit: 3,
                before,
                ..Filter::default()
            };
            // Even seconds are live, all are in the past, which answers three at a time.
            let live = all
                .iter()
                .filter(|s| *s % 2 == 0)
                .map(|s| execution(*s, Running))
                .collect();
            let past: Vec<_> = all
                .iter()
                .map(|s| execution(*s, Running))
                .filter(|e| before.is_none_or(|before| Cursor::of(e) < before))
                .take(3)
                .collect();
            let past_is_cut = past.len() == 3;
            let page = page(
                Gathered {
                    live,
                    past,
                    past_is_cut,
                },
                &filter,
            );
            seen.extend(seconds(&page));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn a_page_the_filter_empties_still_leads_on() {
        let filter = Filter {
            status: Some(Running),
            limit: 1,
            ..Filter::default()
        };
        let gathered = Gathered {
            live: vec![execution(5, Completed)],
            past: vec![execution(5, Running)],
            past_is_cut: true,
        };
        let page = page(gathered, &filter);
        assert!(page.executions.is_empty());
        assert_eq!(page.next, Some(Cursor::of(&execution(5, Running))));
    }

    #[test]
    fn a_cursor_survives_its_text() {
        let cursor = Cursor::of(&execution(7, Running));
        assert_eq!(Cursor::from_text(&cursor.to_text()), Some(cursor));
        for bad in ["", "1", "x.y", "1.not-an-id"] {
            assert_eq!(Cursor::from_text(bad), None, "{bad}");
        }
    }
}
