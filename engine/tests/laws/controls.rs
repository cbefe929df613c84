//! What people wish, at any moment of any run.

use afu9_engine::Effect;
use afu9_schemas::ExecutionId;
use afu9_schemas::message::{ControlAction, HistoryKind, HoldScope, Job};
use afu9_schemas::view::{ExecutionStatus, StepRole};
use proptest::prelude::*;

use crate::choices::Choices;
use crate::lawful;
use crate::rig::dispatched;
use crate::run::Run;

/// What was begun since `mark`, jobs and children: of which execution, and by which sort of step.
fn dispatched_since(run: &Run, mark: usize) -> Vec<(ExecutionId, StepRole)> {
    let role = |job: &Job| {
        let mut workflows = run.rig.definitions.values();
        let workflow = workflows.find(|workflow| workflow.definition.name == job.workflow);
        workflow.expect("it is defined").nodes[job.id.step as usize].role
    };
    let since = &run.rig.effects[mark..];
    let jobs = dispatched(since)
        .into_iter()
        .map(|job| (job.id.execution, role(job)));
    let children = since.iter().filter_map(|effect| match effect {
        Effect::Resolve(wanted) => Some((wanted.parent, StepRole::Main)),
        _ => None,
    });
    jobs.chain(children).collect()
}

/// Whether it is decided how the execution ends.
fn is_ending(run: &Run, id: ExecutionId) -> bool {
    let view = run.rig.state.show(id).expect("live");
    let cleans_up = |role| matches!(role, StepRole::Compensation | StepRole::OnFailure);
    view.steps
        .iter()
        .any(|step| cleans_up(step.role) && step.started_at.is_some())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    /// A cancel ends the execution, once: nothing of its steps begins any more, what was done is undone,
    /// and nothing that comes later changes how it ended.
    #[test]
    fn a_cancel_is_final(
        plan in Choices::strategy(150),
        choices in Choices::strategy(300),
        moment in 0_usize..80,
    ) {
        let mut run = Run::new(plan, Some(choices));
        for _ in 0..moment {
            run.happen();
        }
        let id = run.ids[0];
        let live = run.rig.state.show(id).filter(|view| !view.summary.status.is_terminal());
        let is_open = live.is_some() && !is_ending(&run, id);
        let ended_before = run.rig.end(id).map(|end| end.status);
        let mark = run.rig.effects.len();
        run.wish(id, "operator", ControlAction::Cancel);
        run.finish();
        lawful::everything_is_lawful(&run.rig.effects, &run.rig.definitions);
        let end = run.rig.end(id).expect("ended").status;
        if is_open {
            prop_assert_eq!(end, ExecutionStatus::Cancelled);
            let begun = dispatched_since(&run, mark).contains(&(id, StepRole::Main));
            prop_assert!(!begun, "something new began");
        } else if let Some(before) = ended_before {
            prop_assert_eq!(end, before);
        }
    }

    /// Nothing begins in an execution that is paused, and nothing at all while everything is held.
    #[test]
    fn nothing_begins_that_is_held_back(
        plan in Choices::strategy(150),
        choices in Choices::strategy(300),
        moment in 0_usize..60,
        length in 1_usize..40,
        everything in any::<bool>(),
    ) {
        let mut run = Run::new(plan, Some(choices));
        for _ in 0..moment {
            run.happen();
        }
        let id = run.ids[0];
        if everything {
            run.wish(ExecutionId::NONE, "operator", ControlAction::Hold(HoldScope::All));
        } else {
            run.wish(id, "operator", ControlAction::Pause);
        }
        let is_held = |run: &Run| {
            let view = run.rig.state.show(id);
            everything || view.is_some_and(|view| view.summary.status == ExecutionStatus::Paused)
        };
        let mark = run.rig.effects.len();
        for _ in 0..length {
            if !is_held(&run) {
                break;
            }
            let before = run.rig.effects.len();
            run.happen();
            let begun = dispatched_since(&run, before);
            let began = begun.iter().any(|(other, _)| everything || *other == id);
            prop_assert!(!began || !is_held(&run), "{:?} began", begun);
        }
        if everything {
            let ends = run.rig.effects[mark..].iter().filter(|effect| {
                matches!(effect, Effect::History(event) if matches!(event.kind, HistoryKind::ExecutionStarted(_)))
            });
            prop_assert!(ends.count() <= length, "submissions are still taken in");
            run.wish(ExecutionId::NONE, "operator", ControlAction::Release(HoldScope::All));
        } else {
            run.wish(id, "operator", ControlAction::Resume);
        }
        run.finish();
        lawful::everything_is_lawful(&run.rig.effects, &run.rig.definitions);
    }
}
