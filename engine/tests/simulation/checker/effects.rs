//! What was done outside is what history says was done, once; children were started once, and told
//! their parents the truth; approvals were given by those who may.

use std::collections::{BTreeMap, BTreeSet};

use afu9_engine::{Effect, Workflow};
use afu9_schemas::message::{ExecutionStarted, HistoryKind, Outcome, StepEnded, WorkflowRef};
use afu9_schemas::view::{ExecutionStatus, StepAction, StepStatus};
use afu9_schemas::{ExecutionId, JobId};
use serde_json::Value;

use super::{Reference, Violation};
use crate::worker::outcome;
use crate::workflows::catalogue;
use crate::world::Run;

/// What history says of one execution.
#[derive(Default)]
struct Story<'a> {
    started: Option<&'a ExecutionStarted>,
    /// With the version of the workflow it went on with when they ended.
    steps: Vec<(&'a Workflow, &'a StepEnded)>,
    version: Option<&'a Workflow>,
    ends: Vec<(ExecutionStatus, Option<&'a Value>)>,
}

pub(super) fn check(run: &Run, references: &[Reference]) -> Result<(), Violation> {
    let stories = stories(references);
    children_are_started_once(&stories)?;
    for (id, story) in &stories {
        let Some(started) = story.started else {
            return Err(Violation::new(format!("{id} has no beginning")));
        };
        for (workflow, step) in &story.steps {
            what_completed_was_done(run, *id, step)?;
            approvals_were_given(started, workflow, step)?;
            children_told_the_truth(&stories, *id, step)?;
        }
    }
    what_was_done_was_wanted(run, references)
}

fn stories(references: &[Reference]) -> BTreeMap<ExecutionId, Story<'_>> {
    let mut stories: BTreeMap<ExecutionId, Story<'_>> = BTreeMap::new();
    for effect in references.iter().flat_map(|reference| &reference.effects) {
        let Effect::History(event) = effect else {
            continue;
        };
        let Some(id) = event.execution else { continue };
        let story = stories.entry(id).or_default();
        match &event.kind {
            HistoryKind::ExecutionStarted(started) => {
                story.started = Some(started);
                story.version = version(&started.workflow);
            }
            HistoryKind::StatusChanged(changed) => {
                story.version = changed
                    .workflow
                    .as_ref()
                    .and_then(version)
                    .or(story.version);
            }
            HistoryKind::StepEnded(ended) => {
                let workflow = story.version.expect("it began with one");
                story.steps.push((workflow, ended));
            }
            HistoryKind::ExecutionEnded(ended) => {
                story.ends.push((ended.status, ended.output.as_ref()));
            }
            _ => {}
        }
    }
    stories
}

fn version(reference: &WorkflowRef) -> Option<&'static Workflow> {
    let found = catalogue().definitions.get(&reference.hash);
    found.map(|workflow| &**workflow)
}

fn children_are_started_once(stories: &BTreeMap<ExecutionId, Story<'_>>) -> Result<(), Violation> {
    let mut parents = BTreeMap::new();
    for (id, story) in stories {
        if let Some(parent) = story.started.and_then(|started| started.parent) {
            let attempt = (parent.execution, parent.step, parent.item, parent.attempt);
            if let Some(other) = parents.insert(attempt, *id) {
                return Err(Violation::new(format!(
                    "{other} and {id} are one child: {parent:?}"
                )));
            }
            if !stories.contains_key(&parent.execution) {
                return Err(Violation::new(format!(
                    "the parent of {id} never was: {parent:?}"
                )));
            }
        }
    }
    Ok(())
}

/// A step that completed with a tool had its effect, under its own key, by its last attempt.
fn what_completed_was_done(run: &Run, id: ExecutionId, step: &StepEnded) -> Result<(), Violation> {
    let is_whole_list = step.attempts.is_empty();
    if step.action != StepAction::Tool || step.status != StepStatus::Completed || is_whole_list {
        return Ok(());
    }
    let Some(last) = step.attempts.last() else {
        return Ok(());
    };
    let job = JobId {
        execution: id,
        step: step.index,
        attempt: last.attempt,
        item: step.item,
    };
    let done = run.workers.outside.get(&job.idempotency_key());
    let params = done.and_then(|attempts| attempts.get(&last.attempt));
    if params == Some(&step.input.clone().unwrap_or_default()) {
        return Ok(());
    }
    Err(Violation::new(format!(
        "{job} is completed; outside there is {params:?} of {done:?}, history has {:?}",
        step.input
    )))
}

/// Everything that was done outside belongs to a job that the log gives; and a key stands for one step:
/// attempts of it that were made without anybody's wish asked for the same.
fn what_was_done_was_wanted(run: &Run, references: &[Reference]) -> Result<(), Violation> {
    let mut wanted: BTreeMap<String, BTreeMap<u32, &Value>> = BTreeMap::new();
    let mut done: BTreeSet<String> = BTreeSet::new();
    for effect in references.iter().flat_map(|reference| &reference.effects) {
        if let Effect::Dispatch(job) = effect {
            let attempts = wanted.entry(job.id.idempotency_key()).or_default();
            attempts.insert(job.id.attempt, &job.params);
            if matches!(outcome(job), Outcome::Done(_)) {
                done.insert(job.id.to_string());
            }
        }
    }
    for (key, attempts) in &run.workers.outside {
        for (attempt, params) in attempts {
            let known = wanted.get(key).and_then(|wanted| wanted.get(attempt));
            if known != Some(&params) || !done.contains(&format!("{key}.{attempt}")) {
                return Err(Violation::new(format!(
                    "attempt {attempt} at {key} was done with {params}, and the log has {known:?}"
                )));
            }
        }
    }
    Ok(())
}

fn approvals_were_given(
    started: &ExecutionStarted,
    workflow: &Workflow,
    step: &StepEnded,
) -> Result<(), Violation> {
    let afu9_engine::workflow::NodeAction::Approval { rule, .. } =
        &workflow.nodes[step.index as usize].action
    else {
        return Ok(());
    };
    if step.status != StepStatus::Completed {
        return Ok(());
    }
    let output = step.output.clone().unwrap_or_default();
    let decisions = output["decisions"].as_array().cloned().unwrap_or_default();
    let people: BTreeSet<&str> = decisions
        .iter()
        .filter_map(|one| one["by"].as_str())
        .collect();
    let by_starter = people.contains(started.trigger.initiator());
    if people.len() < rule.required as usize || (by_starter && !rule.self_approval) {
        return Err(Violation::new(format!("approved by {people:?}: {rule:?}")));
    }
    Ok(())
}

/// A step that waited for a child completed with what the child of that attempt ended with.
fn children_told_the_truth(
    stories: &BTreeMap<ExecutionId, Story<'_>>,
    id: ExecutionId,
    step: &StepEnded,
) -> Result<(), Violation> {
    let is_whole_list = step.attempts.is_empty();
    if step.action != StepAction::Workflow || step.status != StepStatus::Completed || is_whole_list
    {
        return Ok(());
    }
    let attempt = step.attempts.last().map_or(0, |attempt| attempt.attempt);
    let child = stories.iter().find(|(_, story)| {
        story
            .started
            .and_then(|started| started.parent)
            .is_some_and(|parent| {
                (parent.execution, parent.step, parent.item, parent.attempt)
                    == (id, step.index, step.item, attempt)
            })
    });
    let Some((child, story)) = child else {
        return Err(Violation::new(format!(
            "{id}: {} had no child: {step:?}",
            step.name
        )));
    };
    let waited = story
        .started
        .and_then(|started| started.parent)
        .is_some_and(|parent| parent.waits);
    let told = story.ends.iter().any(|(status, output)| {
        *status == ExecutionStatus::Completed && step.output.as_ref() == *output
    });
    if waited && !told {
        return Err(Violation::new(format!(
            "{id}: {} completed with {:?}, its child {child} ended with {:?}",
            step.name, step.output, story.ends
        )));
    }
    Ok(())
}
