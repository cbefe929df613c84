//! The table at the top of `execution.rs`, cell by cell: every input in every state, given once and
//! given again, to the execution by itself and to its partition.

mod given;
mod stage;

use afu9_engine::Effect;
use afu9_engine::execution::{Applied, Ignored};
use afu9_schemas::message::{ControlOutcome, HistoryKind, InputKind};
use afu9_schemas::view::ExecutionStatus::{
    self, Cancelled, Completed, Failed, Paused, Pending, Running,
};

use crate::rig::answered;
use given::{GIVEN, Given};
use stage::{STATES, Stage, State};

/// What becomes of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    /// The state changes; the execution is then in this status.
    To(ExecutionStatus),
    /// A wish is carried out; the execution is then in this status.
    Applied(ExecutionStatus),
    Ignored(Ignored),
    /// A wish that is fulfilled already.
    Unchanged,
    Refused(&'static str),
}

/// The table.
fn expected(state: State, given: Given) -> Row {
    use Given as G;
    use Row::{Applied, Ignored as Not, Refused, To, Unchanged};
    use State as S;
    let same = state.status();
    match (state, given) {
        (_, G::Start) => Not(Ignored::DuplicateStart),

        (S::Job, G::JobDone | G::JobFailed) => To(Running),
        (S::Job, G::JobFailedForGood) => To(Failed),
        (S::Items | S::Held, G::JobDone | G::JobFailed | G::JobFailedForGood) => To(Running),
        (S::Paused, G::JobDone | G::JobFailed | G::JobFailedForGood) => To(Paused),
        (S::Compensating | S::OnFailure, G::JobDone | G::JobFailedForGood) => To(Failed),
        (S::Undoing, G::JobDone | G::JobFailedForGood) => To(Cancelled),
        (S::Compensating | S::OnFailure | S::Undoing, G::JobFailed) => To(Running),
        (_, G::JobDone | G::JobFailed | G::JobFailedForGood) => Not(Ignored::StaleResult),
        (_, G::JobOfAnotherAttempt | G::JobOfAnotherItem | G::JobOfAnotherStep) => {
            Not(Ignored::StaleResult)
        }

        (S::ChildUnresolved, G::ChildFound) => To(Running),
        (S::ChildUnresolved, G::ChildNotFound) => To(Failed),
        (S::ChildRunning, G::ChildCompleted) => To(Running),
        (S::ChildRunning, G::ChildFailed) => To(Failed),
        (_, G::ChildFound | G::ChildNotFound | G::ChildFoundForAnotherAttempt) => {
            Not(Ignored::StaleResult)
        }
        (_, G::ChildCompleted | G::ChildFailed | G::AnotherChildEnded) => Not(Ignored::StaleResult),

        (state, G::PlainCancel | G::EarlyWake | G::DueWake) if state.is_terminal() => {
            Not(Ignored::Late)
        }
        (S::Compensating | S::OnFailure | S::Undoing, G::PlainCancel) => Not(Ignored::Wish),
        (_, G::PlainCancel) => To(Cancelled),
        (state, G::EarlyWake) if state.is_pending() => To(same),
        (_, G::EarlyWake) => Not(Ignored::EarlyWake),
        (S::PendingRate | S::PendingDebounce, G::DueWake) => To(Running),
        (S::Turn | S::Signal | S::Approval | S::ChildUnresolved | S::ChildRunning, G::DueWake) => {
            To(Failed)
        }
        (S::Compensating | S::OnFailure, G::DueWake) => To(Failed),
        (S::Undoing, G::DueWake) => To(Cancelled),
        (_, G::DueWake) => To(same),

        (S::Cancelled | S::Undoing, G::Cancel) => Unchanged,
        (S::Compensating | S::OnFailure, G::Cancel) => Refused("execution.ending"),
        (S::FailedRetriable, G::Retry) => Applied(Running),
        (S::FailedRetriable | S::FailedKeyTaken, G::RetryOfAStepThatDidNotFail)
        | (S::FailedUndone, G::RetryOfAStepThatDidNotFail | G::Retry)
        | (S::FailedKeyTaken, G::Retry) => Refused(match (state, given) {
            (S::FailedUndone, _) => "execution.undone",
            (S::FailedKeyTaken, _) => "retry.key_taken",
            _ => "retry.not_failed",
        }),
        (_, G::Retry | G::RetryOfAStepThatDidNotFail) => Refused("execution.not_failed"),
        // The partition knows failed executions that can be retried, and answers for the others.
        (S::FailedRetriable | S::FailedKeyTaken, G::MoveThatFits | G::MoveThatDoesNot) => {
            Refused("version.misfit")
        }
        (S::FailedRetriable | S::FailedKeyTaken, G::MoveToTheSame) => Unchanged,
        (S::FailedRetriable | S::FailedKeyTaken, G::MoveToNothing) => Refused("definition.missing"),
        (state, _) if state.is_terminal() => Refused("execution.ended"),

        (_, G::Cancel) => Applied(Cancelled),
        (S::Paused | S::PausedPending, G::Pause) => Unchanged,
        (_, G::Pause) => Applied(Paused),
        (S::Paused, G::Resume) => Applied(Running),
        (S::PausedPending, G::Resume) => Applied(Pending),
        (_, G::Resume) => Refused("execution.not_paused"),
        (S::Signal, G::Signal) => Applied(Running),
        (_, G::Signal | G::SignalThatDoesNotFit) => Applied(same),
        (S::Approval, G::Approve) => Applied(Running),
        (S::Approval, G::Reject) => Applied(Failed),
        (S::Approval, G::ApproveWithoutScope) => Refused("approval.scope"),
        (_, G::Approve | G::Reject | G::ApproveWithoutScope) => Refused("approval.not_waiting"),
        (S::Compensating | S::OnFailure | S::Undoing, G::MoveThatFits | G::MoveThatDoesNot) => {
            Refused("version.misfit")
        }
        (_, G::MoveThatFits) => Applied(same),
        // Nothing of it was reached yet.
        (state, G::MoveThatDoesNot) if state.is_pending() => Applied(same),
        (_, G::MoveThatDoesNot) => Refused("version.misfit"),
        (_, G::MoveToTheSame) => Unchanged,
        (_, G::MoveToNothing) => Refused("definition.missing"),
    }
}

fn every_cell(check: impl Fn(State, Given, Row)) {
    for state in STATES {
        for given in GIVEN {
            check(state, given, expected(state, given));
        }
    }
}

/// What an execution makes of an input, as the table names it.
fn row(applied: Applied, effects: &[Effect], status: ExecutionStatus) -> Row {
    match (applied, answered(effects)) {
        (Applied::Changed, None) => Row::To(status),
        (Applied::Changed, Some(ControlOutcome::Applied)) => Row::Applied(status),
        (Applied::Ignored(Ignored::Wish), Some(ControlOutcome::Unchanged)) => Row::Unchanged,
        (Applied::Ignored(Ignored::Wish), Some(ControlOutcome::Refused { code, .. })) => {
            Row::Refused(code.leak())
        }
        (Applied::Ignored(why), None) => Row::Ignored(why),
        (applied, outcome) => panic!("{applied:?} and {outcome:?}"),
    }
}

#[test]
fn the_states_are_what_they_are_called() {
    for state in STATES {
        let stage = Stage::new(state);
        assert_eq!(stage.rig.status(stage.id), state.status(), "{state:?}");
        assert_eq!(stage.execution.status(), state.status(), "{state:?}");
        let causes = stage.rig.state.explain(stage.id);
        if !state.is_terminal() {
            let causes = causes.expect("live").causes;
            assert!(!causes.is_empty(), "{state:?} waits for nothing");
        }
    }
}

#[test]
fn an_execution_by_itself_obeys_the_table() {
    every_cell(|state, given, row_of_table| {
        if given.is_for_the_partition() {
            return;
        }
        let expected = match (state, given, row_of_table) {
            // What the partition decides, an execution by itself does not know.
            (State::PendingRate | State::PendingDebounce, _, Row::To(Running)) => Row::To(Pending),
            (State::FailedKeyTaken, Given::Retry, _) => Row::Applied(Running),
            (State::FailedKeyTaken, Given::RetryOfAStepThatDidNotFail, _) => {
                Row::Refused("retry.not_failed")
            }
            (State::HeldTurn, Given::DueWake, _) => Row::To(Failed),
            (_, _, row) => row,
        };
        let mut stage = Stage::new(state);
        let input = given.input(state, &mut stage);
        let before = stage.execution.clone();
        let (applied, effects) = stage.apply(&input);
        let found = row(applied, &effects, stage.execution.status());
        assert_eq!(found, expected, "{given:?} in {state:?}");
        if !matches!(expected, Row::To(_) | Row::Applied(_)) {
            let same = stage.execution.view(None) == before.view(None);
            assert!(
                same,
                "{given:?} in {state:?} is refused and changes something"
            );
        }
    });
}

#[test]
fn an_execution_in_its_partition_obeys_the_table() {
    every_cell(|state, given, expected| {
        let mut stage = Stage::new(state);
        let input = given.input(state, &mut stage);
        let before = (stage.rig.view(stage.id), stage.rig.state.counters());
        let effects = stage.rig.send(stage.id, input.clone());
        let context = format!("{given:?} in {state:?}: {effects:#?}");
        let after = stage.rig.view(stage.id);
        let counters = stage.rig.state.counters();
        // Those that ended well or were undone are not kept: the partition answers for them.
        let is_forgotten = matches!(
            state,
            State::Completed | State::Cancelled | State::FailedUndone
        );
        match expected {
            Row::To(status) => assert_eq!(after.summary.status, status, "{context}"),
            Row::Applied(status) => {
                assert_eq!(after.summary.status, status, "{context}");
                assert_eq!(
                    answered(&effects),
                    Some(ControlOutcome::Applied),
                    "{context}"
                );
            }
            Row::Ignored(Ignored::StaleResult) => {
                assert_eq!(
                    counters.stale_results,
                    before.1.stale_results + 1,
                    "{context}"
                );
            }
            Row::Ignored(Ignored::DuplicateStart) => {
                assert_eq!(
                    counters.duplicate_starts,
                    before.1.duplicate_starts + 1,
                    "{context}"
                );
            }
            Row::Ignored(_) => {}
            Row::Unchanged | Row::Refused(_) if is_forgotten => {
                let outcome = answered(&effects).expect("answered");
                let ended = matches!(&outcome, ControlOutcome::Refused { code, .. } if code == "execution.ended");
                assert!(ended, "{context}");
            }
            Row::Unchanged => {
                assert_eq!(
                    answered(&effects),
                    Some(ControlOutcome::Unchanged),
                    "{context}"
                );
            }
            Row::Refused(expected) => {
                let outcome = answered(&effects).expect("answered");
                let as_expected =
                    matches!(&outcome, ControlOutcome::Refused { code, .. } if code == expected);
                assert!(as_expected, "{context}");
            }
        }
        if !matches!(expected, Row::To(_) | Row::Applied(_)) {
            assert_eq!(after, before.0, "{context}");
            assert_eq!(counters.ended, before.1.ended, "{context}");
            assert!(effects.iter().all(is_of_an_answer), "{context}");
        }
        again(&mut stage, input, &context);
    });
}

/// A second delivery, with and without a crash in between, changes nothing.
fn again(stage: &mut Stage, input: InputKind, context: &str) {
    for crash in [false, true] {
        if crash {
            // What ended well is not in the checkpoint; an id that was drawn does not come again.
            if stage.rig.state.explain(stage.id).is_none() {
                return;
            }
            stage.rig.crash();
        }
        let before = stage.rig.view(stage.id);
        let effects = stage.rig.send(stage.id, input.clone());
        assert!(
            effects.iter().all(is_of_an_answer),
            "again (crash: {crash}), after {context}: {effects:#?}"
        );
        assert_ne!(
            answered(&effects),
            Some(ControlOutcome::Applied),
            "{context}"
        );
        assert_eq!(stage.rig.view(stage.id), before, "again, after {context}");
    }
}

fn is_of_an_answer(effect: &Effect) -> bool {
    match effect {
        Effect::Answer { .. } => true,
        Effect::History(event) => matches!(event.kind, HistoryKind::Controlled(_)),
        _ => false,
    }
}

#[test]
fn nothing_but_a_retry_by_hand_changes_what_has_ended() {
    every_cell(|state, given, row| {
        if state.is_terminal() && matches!(row, Row::To(_) | Row::Applied(_)) {
            assert_eq!((state, given), (State::FailedRetriable, Given::Retry));
        }
    });
    let ends: Vec<ExecutionStatus> = STATES
        .iter()
        .filter(|state| state.is_terminal())
        .map(|state| state.status())
        .collect();
    assert_eq!(ends, [Completed, Failed, Failed, Failed, Cancelled]);
}

#[test]
fn every_wish_is_answered_and_on_record_once_each_time_it_comes() {
    every_cell(|state, given, _| {
        let mut stage = Stage::new(state);
        let input = given.input(state, &mut stage);
        let is_wish = matches!(input, InputKind::Control(_));
        for _ in 0..2 {
            let effects = stage.rig.send(stage.id, input.clone());
            let answers = effects
                .iter()
                .filter(|effect| matches!(effect, Effect::Answer { .. }));
            assert_eq!(
                answers.count(),
                usize::from(is_wish),
                "{given:?} in {state:?}"
            );
            let records = effects.iter().filter(
                |effect| matches!(effect, Effect::History(event) if matches!(event.kind, HistoryKind::Controlled(_))),
            );
            assert_eq!(
                records.count(),
                usize::from(is_wish),
                "{given:?} in {state:?}"
            );
        }
    });
}
