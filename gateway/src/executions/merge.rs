//! One page out of live executions and the past.

use std::collections::HashMap;

use afu9_schemas::view::ExecutionSummary;
use afu9_schemas::{ExecutionId, Partition, PartitionCount};

use super::{Cursor, Doubtful, Filter};

/// What an owner holds of the executions of one page.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) partition: Partition,
    /// Newest first.
    pub(crate) executions: Vec<ExecutionSummary>,
    /// It holds others behind the last of these.
    pub(crate) more: bool,
}

impl Held {
    /// Behind this there may be something of it that was not seen.
    fn horizon(&self) -> Option<Cursor> {
        self.executions.last().filter(|_| self.more).map(Cursor::of)
    }
}

/// What was gathered for one page.
#[derive(Debug)]
pub(crate) struct Gathered {
    /// Of the owners; in no order.
    live: Vec<ExecutionSummary>,
    /// Newest first.
    past: Vec<ExecutionSummary>,
    /// Behind this, something that was not seen may come first.
    horizon: Option<Cursor>,
}

/// One page.
#[derive(Debug, PartialEq)]
pub(crate) struct Page {
    pub(crate) executions: Vec<ExecutionSummary>,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<Cursor>,
}

impl Gathered {
    /// What owners and the past (newest first; `past_is_cut`: it goes on behind its last execution)
    /// say of one page.
    pub(crate) fn new(
        held: Vec<Held>,
        mut past: Vec<ExecutionSummary>,
        past_is_cut: bool,
        partitions: PartitionCount,
        filter: &Filter,
    ) -> Self {
        let end_of_past = past.last().filter(|_| past_is_cut).map(Cursor::of);
        let ends = held.iter().filter_map(Held::horizon);
        let horizon = ends.chain(end_of_past).max();
        if filter.doubtful == Doubtful::Hidden && !filter.statuses.is_empty() {
            let by_partition: HashMap<Partition, &Held> =
                held.iter().map(|held| (held.partition, held)).collect();
            past.retain(|summary| {
                let owner = by_partition.get(&partitions.of(summary.id));
                summary.status.is_terminal()
                    || owner.is_none_or(|held| {
                        let is_unseen = held
                            .horizon()
                            .is_some_and(|horizon| Cursor::of(summary) < horizon);
                        is_unseen || held.executions.iter().any(|one| one.id == summary.id)
                    })
            });
        }
        Self {
            live: held.into_iter().flat_map(|held| held.executions).collect(),
            past,
            horizon,
        }
    }

    /// Executions that pass the filter, on all pages; `None` where not all of them were seen.
    pub(crate) fn count(&self, filter: &Filter) -> Option<usize> {
        let all = merged(&self.live, &self.past).into_values();
        self.horizon
            .is_none()
            .then(|| all.filter(|summary| filter.wants(summary)).count())
    }
}

/// Merges what was gathered: each execution once, as its owner says, unless the past knows that it
/// has ended; newest first.
pub(crate) fn page(gathered: Gathered, filter: &Filter) -> Page {
    let Gathered {
        live,
        past,
        horizon,
    } = gathered;
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

    fn partitions() -> PartitionCount {
        PartitionCount::new(1).expect("in range")
    }

    /// What one owner, which holds no more, and the past say.
    fn gathered(
        live: Vec<ExecutionSummary>,
        past: Vec<ExecutionSummary>,
        past_is_cut: bool,
        filter: &Filter,
    ) -> Gathered {
        let held = Held {
            partition: Partition::new(0),
            executions: live,
            more: false,
        };
        Gathered::new(vec![held], past, past_is_cut, partitions(), filter)
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
        let gathered = gathered(live, past, false, &Filter::default());
        assert_eq!(gathered.count(&Filter::default()), Some(4));
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
            let page = page(gathered(live, past, past_is_cut, &filter), &filter);
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
            statuses: vec![Running],
            limit: 1,
            ..Filter::default()
        };
        let (live, past) = (Vec::new(), vec![execution(5, Running)]);
        let page = page(gathered(live, past, true, &filter), &filter);
        assert!(page.executions.is_empty());
        assert_eq!(page.next, Some(Cursor::of(&execution(5, Running))));
    }

    #[test]
    fn owners_that_hold_more_than_a_page_are_paged_too() {
        // Even seconds are one owner's, odd ones another's, who holds many more.
        let newest_first = |begin: usize, step: usize| -> Vec<i64> {
            let mut seconds: Vec<i64> = (0..1000).skip(begin).step_by(step).collect();
            seconds.reverse();
            seconds
        };
        let owners = [newest_first(0, 100), newest_first(1, 2)];
        let mut all: Vec<i64> = owners.concat();
        all.sort_by_key(|second| std::cmp::Reverse(*second));
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let filter = Filter {
                limit: 7,
                before,
                ..Filter::default()
            };
            let held = |(number, seconds): (u16, &Vec<i64>)| {
                let passing = seconds.iter().map(|second| execution(*second, Running));
                let mut executions: Vec<_> = passing
                    .filter(|one| before.is_none_or(|before| Cursor::of(one) < before))
                    .collect();
                let more = executions.len() > filter.limit;
                executions.truncate(filter.limit);
                Held {
                    partition: Partition::new(number),
                    executions,
                    more,
                }
            };
            let held = (0..).zip(&owners).map(held).collect();
            let gathered = Gathered::new(held, Vec::new(), false, partitions(), &filter);
            let page = page(gathered, &filter);
            seen.extend(seconds(&page));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn what_the_past_says_is_doubted_where_its_owner_says_otherwise() {
        let mut filter = Filter {
            statuses: vec![Running],
            ..Filter::default()
        };
        let past = || vec![execution(2, Running), execution(1, Running)];
        let shown = |filter: &Filter| {
            let gathered = gathered(vec![execution(2, Running)], past(), false, filter);
            seconds(&page(gathered, filter))
        };
        assert_eq!(shown(&filter), [2]);
        filter.doubtful = Doubtful::Shown;
        assert_eq!(shown(&filter), [2, 1]);
        filter.doubtful = Doubtful::Hidden;
        let nobody = Gathered::new(Vec::new(), past(), false, partitions(), &filter);
        assert_eq!(
            seconds(&page(nobody, &filter)),
            [2, 1],
            "nobody says otherwise"
        );
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
