//! What holds of every run, whatever happened in it: of one partition at every moment, and of
//! everything that came out of it.

use afu9_schemas::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

use afu9_engine::{Definitions, Effect, PartitionState, Workflow};
use afu9_schemas::ExecutionId;
use afu9_schemas::message::{
    ExecutionEnded, HistoryEvent, HistoryKind, Job, ListFilter, StepEnded,
};
use afu9_schemas::view::{ExecutionStatus, StepRole, StepStatus};

/// Every live execution says what it waits for, and what it waits for is known to those who bring it.
pub(crate) fn everything_live_has_a_cause(state: &mut PartitionState) {
    for summary in state.list(&ListFilter::default(), usize::MAX).executions {
        if !summary.status.is_terminal() {
            let view = state.explain(summary.id).expect("live");
            assert!(!view.causes.is_empty(), "{} waits for nothing", summary.id);
        }
    }
    let proof = state.prove(usize::MAX, Timestamp::default());
    assert!(proof.orphans.is_empty(), "{proof:?}");
    assert_eq!(proof.repaired, 0, "an index lacked something");
}

/// A job, after how many ends of its execution, and of which version of its workflow.
type Made<'a> = (usize, &'a Workflow, &'a Job);

/// Everything that came out of one partition, in order.
pub(crate) fn everything_is_lawful(effects: &[Effect], definitions: &Definitions) {
    let mut events: BTreeMap<ExecutionId, Vec<&HistoryEvent>> = BTreeMap::new();
    let mut jobs: BTreeMap<ExecutionId, Vec<Made<'_>>> = BTreeMap::new();
    for effect in effects {
        match effect {
            Effect::History(event) => {
                if let Some(id) = event.execution {
                    events.entry(id).or_default().push(event);
                }
            }
            Effect::Dispatch(job) => {
                let Some(events) = events.get(&job.id.execution) else {
                    panic!("{} belongs to nothing that ever began", job.id);
                };
                let mut workflow = events
                    .iter()
                    .filter_map(|event| version(event, definitions));
                let workflow = workflow.next_back().expect("it began");
                let made = (rounds(events), workflow, &**job);
                jobs.entry(job.id.execution).or_default().push(made);
            }
            _ => {}
        }
    }
    for (id, events) in &events {
        history_is_whole(*id, events);
        undone_in_reverse(events, definitions);
        attempts_are_counted(jobs.get(id).map_or(&[][..], Vec::as_slice));
    }
}

/// The version an execution goes on with from an event on, if it names one.
fn version<'a>(event: &HistoryEvent, definitions: &'a Definitions) -> Option<&'a Workflow> {
    let reference = match &event.kind {
        HistoryKind::ExecutionStarted(started) => &started.workflow,
        HistoryKind::StatusChanged(changed) => changed.workflow.as_ref()?,
        _ => return None,
    };
    definitions.get(&reference.hash).map(|workflow| &**workflow)
}

fn ended<'a>(event: &&'a HistoryEvent) -> Option<&'a ExecutionEnded> {
    match &event.kind {
        HistoryKind::ExecutionEnded(ended) => Some(ended),
        _ => None,
    }
}

fn rounds(events: &[&HistoryEvent]) -> usize {
    events.iter().filter_map(ended).count()
}

/// Numbers have no gaps; it begins once; after its end there is nothing but what a retry by hand
/// brings.
fn history_is_whole(id: ExecutionId, events: &[&HistoryEvent]) {
    let passing = |event: &&&HistoryEvent| matches!(event.kind, HistoryKind::StepProgressed(_));
    assert!(events.iter().filter(passing).all(|event| event.number == 0));
    let events: Vec<&HistoryEvent> = events
        .iter()
        .filter(|event| !passing(event))
        .copied()
        .collect();
    for (place, event) in events.iter().enumerate() {
        assert_eq!(event.number as usize, place + 1, "{id}: {event:?}");
        let begins = matches!(event.kind, HistoryKind::ExecutionStarted(_));
        assert_eq!(begins, place == 0, "{id}: {event:?}");
        let Some(before) = place
            .checked_sub(1)
            .and_then(|before| ended(&events[before]))
        else {
            continue;
        };
        assert_eq!(
            before.status,
            ExecutionStatus::Failed,
            "{id} goes on: {event:?}"
        );
        let reopened = matches!(
            &event.kind,
            HistoryKind::StatusChanged(changed)
                if changed.status == ExecutionStatus::Running && changed.by.is_some()
        );
        assert!(reopened, "{id} goes on by itself: {event:?}");
    }
    let mut open: BTreeSet<(u32, Option<u32>)> = BTreeSet::new();
    for event in events {
        match &event.kind {
            HistoryKind::StepEnded(step) if step.status != StepStatus::Compensated => {
                let new = open.insert((step.index, step.item));
                assert!(new, "{id}: {} ends twice: {event:?}", step.name);
            }
            HistoryKind::ExecutionEnded(_) => open.clear(),
            _ => {}
        }
    }
}

/// What undoes runs for exactly the completed steps that have it, the last one first, and only where
/// the execution ends badly.
fn undone_in_reverse(events: &[&HistoryEvent], definitions: &Definitions) {
    let mut workflow = version(events[0], definitions);
    let mut done: Vec<u32> = Vec::new();
    let mut undone: Vec<u32> = Vec::new();
    let mut wanted: Option<Vec<u32>> = None;
    for event in events {
        workflow = version(event, definitions).or(workflow);
        let undo = |step: &StepEnded| workflow?.nodes[step.index as usize].compensation;
        match &event.kind {
            HistoryKind::StepEnded(step) if step.item.is_none() => match (step.role, step.status) {
                (StepRole::Main, StepStatus::Completed) => done.extend(undo(step)),
                (StepRole::Main, StepStatus::Compensated) => {
                    let own = undo(step);
                    done.retain(|other| Some(*other) != own);
                }
                (StepRole::Compensation, _) => {
                    wanted.get_or_insert_with(|| done.iter().rev().copied().collect());
                    undone.push(step.index);
                }
                _ => {}
            },
            HistoryKind::ExecutionEnded(end) => {
                let expected = match end.status {
                    ExecutionStatus::Completed => Vec::new(),
                    _ => wanted
                        .take()
                        .unwrap_or_else(|| done.iter().rev().copied().collect()),
                };
                assert_eq!(undone, expected, "{events:#?}");
                undone.clear();
                wanted = None;
            }
            _ => {}
        }
    }
}

/// Numbers of attempts go up by one and never come again, and no more are made than the policy allows:
/// in all, or since a retry by hand.
fn attempts_are_counted(jobs: &[Made<'_>]) {
    let mut last: BTreeMap<(u32, Option<u32>), u32> = BTreeMap::new();
    let mut made: BTreeMap<(usize, u32, Option<u32>), u32> = BTreeMap::new();
    for (round, workflow, job) in jobs {
        let unit = (job.id.step, job.id.item);
        let last = last.entry(unit).or_default();
        assert_eq!(job.id.attempt, *last + 1, "{}", job.id);
        *last = job.id.attempt;
        let made = made.entry((*round, unit.0, unit.1)).or_default();
        // One with a state goes on with an attempt that was begun before.
        *made += u32::from(job.state.is_none());
        let most = workflow.nodes[job.id.step as usize].retry.max_attempts;
        assert!(*made <= most, "{} is one attempt too many", job.id);
    }
}
