//! The audit log without Postgres: the last wishes and what came of them.

use std::collections::VecDeque;

use afu9_schemas::Timestamp;
use afu9_schemas::message::ControlRecord;

use crate::stored::{AuditEntry, AuditFilter};

/// Most wishes kept.
const MAX_WISHES: usize = 2000;

/// The last wishes, in the order in which they were told.
#[derive(Debug, Default)]
pub(super) struct Wishes(VecDeque<AuditEntry>);

impl Wishes {
    /// Takes in a wish that was decided at `at`. One that is told twice is one.
    pub(super) fn take(&mut self, at: Timestamp, record: ControlRecord) {
        let control = record.control;
        let entry = AuditEntry {
            request: control.request,
            at,
            execution: record.execution,
            action: control.action.as_str().to_owned(),
            details: control.action.details(),
            by: control.by,
            scopes: control.scopes,
            reason: control.reason,
            outcome: record.outcome,
        };
        let known = |known: &AuditEntry| {
            (known.request, known.execution) == (entry.request, entry.execution)
        };
        if self.0.iter().any(known) {
            return;
        }
        if self.0.len() >= MAX_WISHES {
            self.0.pop_front();
        }
        self.0.push_back(entry);
    }

    /// Those that pass the filter, newest first.
    pub(super) fn list(&self, filter: &AuditFilter) -> Vec<AuditEntry> {
        let mut found: Vec<&AuditEntry> = self
            .0
            .iter()
            .filter(|entry| {
                filter
                    .execution
                    .is_none_or(|id| entry.execution == Some(id))
                    && filter
                        .action
                        .as_ref()
                        .is_none_or(|action| *action == entry.action)
                    && filter.by.as_ref().is_none_or(|by| *by == entry.by)
                    && filter
                        .outcome
                        .as_ref()
                        .is_none_or(|outcome| outcome == entry.outcome.as_str())
                    && filter.from.is_none_or(|from| entry.at >= from)
                    && filter.to.is_none_or(|to| entry.at < to)
                    && filter.before.is_none_or(|before| {
                        (entry.at, entry.request) < (before.at, before.request)
                    })
            })
            .collect();
        found.sort_by_key(|entry| std::cmp::Reverse((entry.at, entry.request)));
        let limit = filter.limit.unwrap_or(AuditFilter::MAX_LIMIT);
        let limit = usize::try_from(limit.min(AuditFilter::MAX_LIMIT)).unwrap_or(usize::MAX);
        found.into_iter().take(limit).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use afu9_schemas::message::{Control, ControlAction, ControlOutcome, MAX_RECORDED_PAYLOAD};
    use afu9_schemas::{ExecutionId, RequestId};
    use serde_json::json;

    use super::*;

    fn record(execution: ExecutionId, action: ControlAction) -> ControlRecord {
        ControlRecord {
            execution: Some(execution),
            control: Control {
                request: RequestId::new(),
                by: "ada".to_owned(),
                scopes: vec!["operate".to_owned()],
                reason: None,
                reply_to: None,
                content: None,
                action,
            },
            outcome: ControlOutcome::Applied,
        }
    }

    #[test]
    fn wishes_are_listed_newest_first_once_and_a_page_at_a_time() {
        let (mut wishes, id) = (Wishes::default(), ExecutionId::new());
        let paused = record(id, ControlAction::Pause);
        let at = |second: i64| Timestamp::from_micros(second * 1_000_000);
        wishes.take(at(1), paused.clone());
        wishes.take(at(1), paused);
        wishes.take(at(2), record(id, ControlAction::Resume));
        wishes.take(at(3), record(ExecutionId::new(), ControlAction::Cancel));
        let actions = |filter: &AuditFilter| -> Vec<String> {
            let found = wishes.list(filter).into_iter();
            found.map(|entry| entry.action).collect()
        };
        assert_eq!(
            actions(&AuditFilter::default()),
            ["cancel", "resume", "pause"]
        );
        let of_one = AuditFilter {
            execution: Some(id),
            limit: Some(1),
            ..AuditFilter::default()
        };
        assert_eq!(actions(&of_one), ["resume"]);
        let next = AuditFilter {
            before: wishes.list(&of_one).first().map(Into::into),
            ..of_one
        };
        assert_eq!(actions(&next), ["pause"]);
        let by_action = AuditFilter {
            action: Some("cancel".to_owned()),
            ..AuditFilter::default()
        };
        assert_eq!(actions(&by_action), ["cancel"]);
    }

    #[test]
    fn they_are_bounded_and_so_are_their_payloads() {
        let mut wishes = Wishes::default();
        let large = json!("x".repeat(MAX_RECORDED_PAYLOAD));
        let signal = ControlAction::Signal {
            name: "s".to_owned(),
            payload: large,
        };
        for second in 0..=MAX_WISHES {
            let at = Timestamp::from_micros(i64::try_from(second).expect("small"));
            wishes.take(at, record(ExecutionId::new(), signal.clone()));
        }
        assert_eq!(wishes.0.len(), MAX_WISHES);
        let details = wishes.0[0].details.as_ref().expect("there are some");
        assert!(details["payload"]["$omitted"]["bytes"].is_u64());
    }
}
