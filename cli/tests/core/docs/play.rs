//! Running an example.

use std::collections::BTreeMap;
use std::time::Duration;

use afu9_schemas::ExecutionId;
use afu9_schemas::message::{
    ControlOutcome, ExecutionEnded, HistoryKind, Repository, TriggerKind, WorkflowRef,
};
use afu9_schemas::view::{ExecutionStatus, StepStatus};
use anyhow::{Context, Result, ensure};

use super::expectation::{Run, Runs};
use crate::world::World;

/// Runs an example whose definitions are applied, and compares.
pub(super) async fn play(world: &World, applied: &[WorkflowRef], runs: &Runs) -> Result<()> {
    let mut submitted = Vec::new();
    for (position, run) in runs.runs.iter().enumerate() {
        if let Some(id) = submit(world, applied, run).await? {
            submitted.push((position, run, id));
        }
    }
    for (position, run, id) in &submitted {
        let acted = act(world, *id, run).await;
        acted.with_context(|| format!("run {position}, {id}"))?;
    }
    for (position, run, id) in &submitted {
        let compared = compare(world, *id, run).await;
        compared.with_context(|| format!("run {position}, {id}"))?;
    }
    if let Some(expected) = &runs.begin {
        let order = in_order_of_beginning(world, &submitted);
        ensure!(order == *expected, "they began in the order {order:?}");
    }
    Ok(())
}

/// Submits a run; `None` if it is refused, as expected.
async fn submit(world: &World, applied: &[WorkflowRef], run: &Run) -> Result<Option<ExecutionId>> {
    let named = |name: &String| applied.iter().rfind(|workflow| workflow.name == *name);
    let workflow = match &run.start {
        Some(name) => named(name).with_context(|| format!("no workflow `{name}`"))?,
        None => applied.last().context("a definition")?,
    };
    let mut start = match (world.submission(workflow, run.input.clone()), &run.refused) {
        (Ok(start), None) => start,
        (Err(error), Some(code)) if error.code() == code => return Ok(None),
        (Err(error), _) => return Err(error.into()),
        (Ok(_), Some(code)) => anyhow::bail!("not refused with {code}"),
    };
    if let Some((owner, name)) = run.repository.as_deref().and_then(|r| r.split_once('/')) {
        start.repository = Some(Repository {
            owner: owner.to_owned(),
            name: name.to_owned(),
            default_branch: None,
        });
    }
    let ids = world.submit_starts(vec![start]).await?;
    Ok(ids.first().copied())
}

async fn act(world: &World, id: ExecutionId, run: &Run) -> Result<()> {
    let mut ends = 1;
    for act in &run.act {
        if let Some(step) = act.when() {
            world
                .explained_by(id, &format!("waiting in {step}"), |view| {
                    let mut causes = view.causes.iter();
                    causes.any(|cause| cause.step.as_deref() == Some(step))
                })
                .await?;
        }
        if act.reopens() {
            world.wait_for_ends_again(&[id], ends).await?;
            ends += 1;
        }
        let outcome = world.send(id, act.control()?).await?;
        let refused = match &outcome {
            ControlOutcome::Refused { code, .. } => Some(code),
            ControlOutcome::Applied | ControlOutcome::Unchanged => None,
        };
        ensure!(refused == act.refused.as_ref(), "{act:?}: {outcome:?}");
    }
    Ok(())
}

async fn compare(world: &World, id: ExecutionId, run: &Run) -> Result<()> {
    let times = 1 + run.act.iter().filter(|act| act.reopens()).count();
    let mut ends = world.wait_for_ends_again(&[id], times).await?;
    let end = ends.remove(&id).context("it has ended")?;
    let steps = world.steps(id);
    ensure!(
        Some(end.status) == run.status,
        "{:?}: {:?}",
        end.status,
        end.error
    );
    let code = end.error.as_ref().map(|error| error.code.clone());
    ensure!(
        end.status == ExecutionStatus::Completed || code == run.error,
        "{:?}",
        end.error
    );
    if let Some(expected) = &run.steps {
        let found: BTreeMap<String, StepStatus> = steps
            .iter()
            .map(|step| (step.name.clone(), step.status))
            .collect();
        ensure!(found == *expected, "steps: {found:?}");
    }
    if let Some(output) = &run.output {
        ensure!(end.output.as_ref() == Some(output), "{:?}", end.output);
    }
    for (name, attempts) in &run.attempts {
        let step = steps.iter().find(|step| step.name == *name);
        let made = step.map_or(0, |step| step.attempts.len());
        ensure!(made == *attempts, "{name}: {made} attempts");
    }
    if let Some(least) = run.took_ms.map(Duration::from_millis) {
        let took = ended_at(world, id)?.since(end.started_at);
        ensure!(took >= least, "it took only {took:?}");
    }
    for then in &run.then {
        let follower = follower(world, id, &then.workflow).await?;
        ensure!(follower.status == then.status, "{follower:?}");
        ensure!(
            then.output.is_none() || follower.output == then.output,
            "{follower:?}"
        );
    }
    Ok(())
}

fn ended_at(world: &World, id: ExecutionId) -> Result<afu9_schemas::Timestamp> {
    let ends = world.events_as(|event| {
        let is =
            event.execution == Some(id) && matches!(event.kind, HistoryKind::ExecutionEnded(_));
        is.then_some(event.at)
    });
    ends.last().copied().context("it has ended")
}

/// How the execution of `workflow` ended that the end of `id` started.
async fn follower(world: &World, id: ExecutionId, workflow: &str) -> Result<ExecutionEnded> {
    let by = format!("execution {id}");
    let started = |world: &World| {
        world.events_as(|event| match &event.kind {
            HistoryKind::ExecutionStarted(started)
                if started.trigger.kind == TriggerKind::Workflow
                    && started.trigger.by == by
                    && started.workflow.name == workflow =>
            {
                event.execution
            }
            _ => None,
        })
    };
    loop {
        let before = world.ended();
        if let Some(follower) = started(world).first() {
            let mut ends = world.wait_for_ends(&[*follower]).await?;
            return ends.remove(follower).context("it has ended");
        }
        // It is started a moment after the end it follows, and ends.
        world.wait_until_ended(before + 1).await?;
    }
}

/// The runs in the order in which they began: at once, or when they had their key.
fn in_order_of_beginning(world: &World, runs: &[(usize, &Run, ExecutionId)]) -> Vec<usize> {
    let mut began = BTreeMap::new();
    for event in world.events() {
        let status = match &event.kind {
            HistoryKind::ExecutionStarted(started) => started.status,
            HistoryKind::StatusChanged(changed) => changed.status,
            _ => continue,
        };
        let run = runs.iter().find(|(_, _, id)| Some(*id) == event.execution);
        if let (Some((position, ..)), ExecutionStatus::Running) = (run, status) {
            began.entry(*position).or_insert(event.at);
        }
    }
    let mut order: Vec<usize> = began.keys().copied().collect();
    order.sort_by_key(|position| began[position]);
    order
}
