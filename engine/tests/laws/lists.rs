//! Lists: each execution that passes the filter is on exactly one page, newest first.

use afu9_schemas::message::{ControlAction, ControlOutcome, ListCursor, ListFilter};
use afu9_schemas::view::ExecutionStatus;
use afu9_schemas::{ErrorClass, ExecutionId};
use serde_json::json;

use crate::inputs::failure;
use crate::rig::Rig;

const ONE: &str = "{ name: one, steps: [{ name: a, tool: test.noop, retry: { maxAttempts: 1 } }] }";
const KEYED: &str = "
name: keyed
concurrency: { key: k }
steps: [{ name: a, tool: test.noop }]
";

/// The ids of all pages of `limit`, in their order.
fn pages(rig: &Rig, filter: &ListFilter, limit: usize) -> Vec<ExecutionId> {
    let mut filter = filter.clone();
    let mut found = Vec::new();
    loop {
        let page = rig.state.list(&filter, limit);
        assert!(page.executions.len() <= limit);
        found.extend(page.executions.iter().map(|summary| summary.id));
        if !page.more {
            return found;
        }
        let last = page.executions.last().expect("a full page");
        filter.before = Some(ListCursor {
            started_at: last.started_at,
            id: last.id,
        });
    }
}

#[test]
fn each_execution_that_passes_is_on_one_page_newest_first() {
    let mut rig = Rig::new(&[ONE, KEYED]);
    let mut ids: Vec<ExecutionId> = (0..300).map(|_| rig.start("one", json!({}))).collect();
    let first = rig.start("keyed", json!({}));
    let second = rig.start("keyed", json!({}));
    let mut jobs = rig.jobs().into_iter();
    let job = jobs.find(|job| job.id.execution == ids[0]).expect("a job");
    rig.answer(&job, failure(ErrorClass::Permanent));
    let paused = rig.control(ids[1], ControlAction::Pause);
    assert_eq!(paused, ControlOutcome::Applied);
    ids.extend([first, second]);
    ids.reverse();
    for limit in [1, 7, 302, 1000] {
        assert_eq!(pages(&rig, &ListFilter::default(), limit), ids, "{limit}");
    }
    assert!(!rig.state.list(&ListFilter::default(), 302).more);

    use ExecutionStatus::{Failed, Paused, Pending, Running};
    let with = |statuses: &[ExecutionStatus]| ListFilter {
        statuses: statuses.to_vec(),
        ..ListFilter::default()
    };
    assert_eq!(pages(&rig, &with(&[Failed]), 10), [ids[301]]);
    assert_eq!(pages(&rig, &with(&[Paused, Failed]), 1), ids[300..]);
    assert_eq!(pages(&rig, &with(&[Pending]), 10), [second]);
    assert_eq!(pages(&rig, &with(&[Running]), 10).len(), 299);
    let key = ListFilter {
        key: rig.state.show(first).expect("live").key,
        ..ListFilter::default()
    };
    assert_eq!(pages(&rig, &key, 10), [second, first]);
    let since = ListFilter {
        started_after: Some(rig.state.show(first).expect("live").summary.started_at),
        triggered_by: Some(rig.state.show(first).expect("live").summary.triggered_by),
        workflow: Some("keyed".to_owned()),
        ..ListFilter::default()
    };
    assert_eq!(pages(&rig, &since, 10), [second, first]);
    let nobody = ListFilter {
        triggered_by: Some("nobody".to_owned()),
        ..ListFilter::default()
    };
    assert_eq!(pages(&rig, &nobody, 10), []);
}
