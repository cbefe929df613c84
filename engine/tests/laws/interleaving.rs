//! The order in which things happen decides when an execution ends, and nothing else about it.

use std::collections::BTreeMap;

use afu9_schemas::ExecutionId;
use afu9_schemas::message::{ControlAction, StepEnded};
use afu9_schemas::view::{ExecutionStatus, StepAction, StepStatus};
use proptest::prelude::*;
use serde_json::Value;

use crate::choices::Choices;
use crate::lawful;
use crate::rig::Rig;
use crate::run::Run;

/// What of an execution must not depend on the order of things.
#[derive(Debug, Clone, PartialEq)]
struct Story {
    status: ExecutionStatus,
    error: Option<String>,
    output: Option<Value>,
    steps: BTreeMap<(u32, Option<u32>), Step>,
    /// A list of it was: which of its items have had which attempts is a matter of order.
    was_cut_short: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Step {
    status: StepStatus,
    output: Option<Value>,
    error: Option<String>,
    attempts: usize,
}

fn stories(rig: &Rig) -> BTreeMap<ExecutionId, Story> {
    let mut stories = BTreeMap::new();
    for id in rig.everybody() {
        let ends = rig.ends(id);
        let mut steps: BTreeMap<(u32, Option<u32>), Step> = BTreeMap::new();
        for ended in &ends {
            steps.insert((ended.index, ended.item), step(ended));
        }
        // A list without tolerance ends with the first item that fails: which others were begun by
        // then is a matter of order.
        let lists: Vec<u32> = steps
            .keys()
            .filter_map(|(index, item)| item.map(|_| *index))
            .collect();
        let cut_short: Vec<u32> = ends
            .iter()
            .filter(|end| end.item.is_none() && end.output.is_none() && lists.contains(&end.index))
            .map(|end| end.index)
            .collect();
        steps.retain(|(index, item), _| item.is_none() || !cut_short.contains(index));
        let end = rig.end(id).expect("ended");
        stories.insert(
            id,
            Story {
                status: end.status,
                error: end.error.as_ref().map(|error| error.code.clone()),
                output: end.output.clone(),
                steps,
                was_cut_short: !cut_short.is_empty(),
            },
        );
    }
    stories
}

fn step(ended: &StepEnded) -> Step {
    Step {
        status: ended.status,
        output: match ended.action {
            // They say who and when.
            StepAction::Approval | StepAction::Sleep => None,
            _ => ended.output.clone(),
        },
        error: ended.error.as_ref().map(|error| error.code.clone()),
        attempts: ended.attempts.len(),
    }
}

fn retry_what_failed(run: &mut Run) {
    for id in run.ids.clone() {
        if run.rig.end(id).expect("ended").status == ExecutionStatus::Failed {
            let retry = ControlAction::Retry {
                step: None,
                params: None,
                failed: None,
            };
            run.wish(id, "operator", retry);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    /// Answers in any order, late and twice, submissions and signals twice or early, pauses, holds,
    /// checkpoints that are written and that are not, crashes and replays at any moment: every execution
    /// ends as it does undisturbed, with the same steps, outputs and numbers of attempts. Each replay
    /// gives the same effects in the same order; at every moment everything live has a cause. The same
    /// for what is retried by hand after that.
    #[test]
    fn every_interleaving_ends_as_the_quiet_run(
        plan in Choices::strategy(150),
        choices in Choices::strategy(400),
        again in Choices::strategy(200),
    ) {
        let mut quiet = Run::new(plan.clone(), None);
        let mut disturbed = Run::new(plan, Some(choices));
        for run in [&mut quiet, &mut disturbed] {
            run.finish();
            lawful::everything_is_lawful(&run.rig.effects, &run.rig.definitions);
        }
        let first = stories(&quiet.rig);
        prop_assert_eq!(stories(&disturbed.rig), first.clone());
        disturbed.disturb(again);
        for run in [&mut quiet, &mut disturbed] {
            retry_what_failed(run);
            run.finish();
            lawful::everything_is_lawful(&run.rig.effects, &run.rig.definitions);
        }
        for id in quiet.ids.iter().filter(|id| !first[id].was_cut_short) {
            let status = |run: &Run| run.rig.end(*id).map(|end| end.status);
            prop_assert_eq!(status(&disturbed), status(&quiet));
        }
    }
}
