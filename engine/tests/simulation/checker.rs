//! Whether a run was as it must be.
//!
//! The log is the truth, and the engine is deterministic: so everything that owners published, those
//! that died and those that were stale included, must be what folding the whole log once, undisturbed,
//! gives; all of it and nothing else. What that gives must obey the laws.

mod contenders;
mod effects;

use std::collections::{BTreeMap, HashSet};

use afu9_engine::checkpoint::Segment;
use afu9_engine::{Effect, PartitionState};
use afu9_schemas::message::{
    CancelNotice, ControlAction, ControlOutcome, HistoryKind, Input, Job, ListFilter,
};
use afu9_schemas::view::{Cause, ExecutionStatus};
use afu9_schemas::{ExecutionId, Partition};

use crate::lawful;
use crate::workflows::{FOLLOWED, catalogue};
use crate::world::Run;

/// What was not as it must be.
#[derive(Debug, Clone)]
pub(crate) struct Violation(pub(crate) String);

impl Violation {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// What owners have published.
#[derive(Debug, Default)]
pub(crate) struct Published {
    effects: BTreeMap<String, Effect>,
    /// Not stored by anybody.
    pub(crate) notices: Vec<CancelNotice>,
    /// Executions that failed, as people see it.
    pub(crate) failed: Vec<ExecutionId>,
    /// Jobs that became dead letters.
    pub(crate) letters: Vec<Job>,
}

impl Published {
    /// Notes an effect. One that was published before must be the same as it was then.
    pub(crate) fn note(&mut self, partition: Partition, effect: &Effect) -> Result<(), Violation> {
        if let Effect::CancelJobs(notice) = effect {
            self.notices.push(*notice);
        }
        let Some(name) = name_of(partition, effect) else {
            return Ok(());
        };
        let effect = comparable(effect);
        match self.effects.get(&name) {
            Some(before) if *before != effect => Err(Violation::new(format!(
                "{name} is published a second time, and differs: {before:#?}, {effect:#?}"
            ))),
            Some(_) => Ok(()),
            None => {
                if let Effect::DeadLetter(letter) = &effect {
                    self.letters.extend(letter.job.clone());
                }
                if let Effect::History(event) = &effect
                    && let HistoryKind::ExecutionEnded(ended) = &event.kind
                    && ended.status == ExecutionStatus::Failed
                {
                    self.failed.extend(event.execution);
                }
                self.effects.insert(name, effect);
                Ok(())
            }
        }
    }
}

/// What identifies an effect; none for those that nobody keeps.
fn name_of(partition: Partition, effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::Dispatch(job) => format!("job {}", job.id),
        Effect::History(event) => match (&event.execution, &event.kind) {
            (Some(execution), HistoryKind::StepProgressed(told)) => {
                format!(
                    "event {execution} {} {} {:?}",
                    event.at, told.index, told.item
                )
            }
            (Some(execution), _) => format!("event {execution} {:04}", event.number),
            (None, HistoryKind::Controlled(record)) => format!(
                "wish {partition} {} {} {:?}",
                record.control.request,
                event.at.as_micros(),
                too_late(&record.outcome)
            ),
            (None, other) => format!("{other:?}"),
        },
        Effect::DeadLetter(letter) => format!("letter {:?}", letter.job.as_ref().map(|job| job.id)),
        Effect::Submit(input) => format!("input {input:?}"),
        Effect::Followed(ended) => format!("end {} {}", ended.execution, ended.at.as_micros()),
        Effect::CancelJobs(_) | Effect::Answer { .. } | Effect::Resolve(_) => return None,
    })
}

/// How an execution ended is not kept for ever: a wish that comes too late may be told less when it is
/// answered again.
fn too_late(outcome: &ControlOutcome) -> ControlOutcome {
    match outcome {
        ControlOutcome::Refused { code, .. }
            if matches!(code.as_str(), "execution.ended" | "execution.not_live") =>
        {
            ControlOutcome::refused("execution.ended", "")
        }
        other => other.clone(),
    }
}

fn comparable(effect: &Effect) -> Effect {
    let mut effect = effect.clone();
    if let Effect::History(event) = &mut effect
        && let HistoryKind::Controlled(record) = &mut event.kind
    {
        record.outcome = too_late(&record.outcome);
    }
    effect
}

/// What folding the whole log of a partition once gives.
pub(crate) struct Reference {
    pub(crate) state: PartitionState,
    pub(crate) effects: Vec<Effect>,
}

fn reference(run: &Run, partition: Partition) -> Reference {
    let mut state = PartitionState::new(partition);
    state.follow([FOLLOWED.to_owned()]);
    let mut effects = Vec::new();
    for message in &run.world.log(partition).all {
        state.fold(
            message.sequence,
            message.at,
            message.envelope.clone(),
            &catalogue().definitions,
            &mut effects,
        );
    }
    Reference { state, effects }
}

/// A run that has come to rest.
pub(crate) fn check(run: &mut Run) -> Result<(), Violation> {
    nothing_waits_for_what_does_not_come(run)?;
    clear_up(run)?;
    let partitions: Vec<Partition> = run.world.partitions.all().collect();
    let mut published = Published::default();
    let mut references = Vec::new();
    for partition in partitions {
        let mut reference = reference(run, partition);
        for effect in &reference.effects {
            published.note(partition, effect)?;
        }
        same_state(run, partition, &mut reference)?;
        lawful::everything_is_lawful(&reference.effects, &catalogue().definitions);
        contenders::check(&reference.effects)?;
        references.push(reference);
    }
    same_effects(&run.world.published, &published)?;
    everything_accepted_has_ended(run, &references)?;
    dead_letters_are_replayed_once(&references)?;
    effects::check(run, &references)?;
    count(run, &references);
    Ok(())
}

/// Every live execution waits for people, or for another one that does.
fn nothing_waits_for_what_does_not_come(run: &mut Run) -> Result<(), Violation> {
    for owner in &mut run.owners {
        lawful::everything_live_has_a_cause(&mut owner.state);
        let is_held = !owner.state.holds().is_empty();
        for id in live(&owner.state) {
            let view = owner.state.explain(id).expect("live");
            let is_paused = view
                .causes
                .iter()
                .any(|cause| matches!(cause.cause, Cause::Paused { .. }));
            for cause in &view.causes {
                let comes = match &cause.cause {
                    Cause::Signal { .. } | Cause::Approval { .. } | Cause::Paused { .. } => true,
                    Cause::Key { held_by, .. } => is_paused || is_held || !held_by.is_empty(),
                    Cause::Child { execution, .. } => execution.is_some(),
                    Cause::Worker { job: None, .. } => is_paused || is_held,
                    Cause::Timer { .. }
                    | Cause::Retry { .. }
                    | Cause::Deferred { .. }
                    | Cause::RateLimit { .. }
                    | Cause::Debounce { .. } => is_paused || is_held,
                    _ => false,
                };
                if !comes {
                    return Err(Violation::new(format!(
                        "{id} waits for what does not come: {cause:#?} ({view:#?})"
                    )));
                }
            }
        }
    }
    Ok(())
}

fn live(state: &PartitionState) -> Vec<ExecutionId> {
    let all = state
        .list(&ListFilter::default(), usize::MAX)
        .executions
        .into_iter();
    all.filter(|summary| !summary.status.is_terminal())
        .map(|summary| summary.id)
        .collect()
}

/// Somebody cancels what is left, until nothing is.
fn clear_up(run: &mut Run) -> Result<(), Violation> {
    for _ in 0..6 {
        let mut ids = Vec::new();
        for owner in &run.owners {
            ids.extend(live(&owner.state));
            for hold in owner.state.holds() {
                run.people.release(&mut run.world, hold.scope.clone());
            }
        }
        if ids.is_empty() {
            return Ok(());
        }
        for id in ids {
            run.people.cancel(&mut run.world, id);
        }
        run.come_to_rest()?;
    }
    Err(Violation::new("what was cancelled does not end"))
}

/// The owner that is left has the state that folding the log once gives.
fn same_state(
    run: &mut Run,
    partition: Partition,
    reference: &mut Reference,
) -> Result<(), Violation> {
    let owner = run
        .owners
        .iter_mut()
        .find(|owner| owner.partition == partition);
    let Some(owner) = owner else {
        return Err(Violation::new(format!("{partition} has no owner")));
    };
    let last = run.world.log(partition).all.last().map(|last| last.at);
    let whole = |state: &mut PartitionState| -> Segment {
        let mut segment = state.take_full();
        segment.removed.clear();
        segment
            .executions
            .sort_unstable_by_key(afu9_engine::Execution::id);
        if let Some(shared) = &mut segment.shared {
            // Allowances that are whole again are dropped at different times.
            shared.rates.retain(|(_, whole)| Some(*whole) > last);
        }
        segment
    };
    let (found, expected) = (whole(&mut owner.state), whole(&mut reference.state));
    if found == expected {
        return Ok(());
    }
    Err(Violation::new(format!(
        "the state of {partition} differs from what its log gives: {}",
        first_difference(&format!("{found:#?}"), &format!("{expected:#?}"))
    )))
}

/// Everything that the logs give was published, and nothing else.
fn same_effects(found: &Published, expected: &Published) -> Result<(), Violation> {
    for (name, effect) in &expected.effects {
        match found.effects.get(name) {
            None => {
                return Err(Violation::new(format!(
                    "never published: {name} {effect:#?}"
                )));
            }
            Some(published) if published != effect => {
                return Err(Violation::new(format!(
                    "published otherwise than the log gives it: {name}: {}",
                    first_difference(&format!("{published:#?}"), &format!("{effect:#?}"))
                )));
            }
            Some(_) => {}
        }
    }
    match found
        .effects
        .keys()
        .find(|name| !expected.effects.contains_key(*name))
    {
        Some(name) => Err(Violation::new(format!(
            "published, and the log does not give it: {name}"
        ))),
        None => Ok(()),
    }
}

fn first_difference(found: &str, expected: &str) -> String {
    let mut lines = found.lines().zip(expected.lines());
    let at = lines
        .position(|(found, expected)| found != expected)
        .unwrap_or(0);
    let around = |text: &str| -> String {
        let lines = text.lines().skip(at.saturating_sub(12)).take(24);
        lines.collect::<Vec<_>>().join("\n")
    };
    format!("found\n{}\nexpected\n{}", around(found), around(expected))
}

/// Every submission that was stored has a history with an end.
fn everything_accepted_has_ended(run: &Run, references: &[Reference]) -> Result<(), Violation> {
    let mut statuses: BTreeMap<ExecutionId, ExecutionStatus> = BTreeMap::new();
    for effect in references.iter().flat_map(|reference| &reference.effects) {
        if let Effect::History(event) = effect
            && let (Some(id), HistoryKind::ExecutionEnded(ended)) = (event.execution, &event.kind)
        {
            statuses.insert(id, ended.status);
        }
    }
    for Input { execution, .. } in run.starts() {
        if !statuses.contains_key(execution) {
            return Err(Violation::new(format!(
                "{execution} was accepted and has no end"
            )));
        }
    }
    Ok(())
}

/// However often somebody replays a dead letter, and whoever else retries, it takes effect once.
fn dead_letters_are_replayed_once(references: &[Reference]) -> Result<(), Violation> {
    let mut replayed = HashSet::new();
    for effect in references.iter().flat_map(|reference| &reference.effects) {
        if let Effect::History(event) = effect
            && let HistoryKind::Controlled(record) = &event.kind
            && record.outcome == ControlOutcome::Applied
            && let ControlAction::Retry {
                failed: Some(job), ..
            } = &record.control.action
            && !replayed.insert(*job)
        {
            return Err(Violation::new(format!("{job} was replayed twice")));
        }
    }
    Ok(())
}

fn count(run: &mut Run, references: &[Reference]) {
    let stats = &mut run.world.stats;
    for reference in references {
        let counters = reference.state.counters();
        stats.stale_results += counters.stale_results;
        stats.duplicate_starts += counters.duplicate_starts;
        for effect in &reference.effects {
            let Effect::History(event) = effect else {
                continue;
            };
            match &event.kind {
                HistoryKind::ExecutionStarted(started) => {
                    stats.children += u64::from(started.parent.is_some());
                    stats.queued += u64::from(started.status == ExecutionStatus::Pending);
                }
                HistoryKind::ExecutionEnded(ended) => {
                    stats.compensated += u64::from(ended.steps_compensated);
                    match ended.status {
                        ExecutionStatus::Completed => stats.completed += 1,
                        ExecutionStatus::Failed => stats.failed += 1,
                        _ => stats.cancelled += 1,
                    }
                }
                HistoryKind::Controlled(record)
                    if record.outcome == ControlOutcome::Applied
                        && matches!(record.control.action, ControlAction::Retry { .. }) =>
                {
                    stats.reopened += 1;
                    let replay = matches!(
                        record.control.action,
                        ControlAction::Retry {
                            failed: Some(_),
                            ..
                        }
                    );
                    stats.letters_replayed += u64::from(replay);
                }
                _ => {}
            }
        }
    }
    for partition in run.world.partitions.all().collect::<Vec<_>>() {
        let log = run.world.log(partition);
        let inputs = log
            .all
            .iter()
            .map(|message| message.envelope.inputs.len() as u64);
        let inputs: u64 = inputs.sum();
        run.world.stats.inputs += inputs;
    }
}
