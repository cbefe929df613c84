//! Running an example.

use std::collections::BTreeMap;
use std::time::Duration;

use afu9_schemas::ExecutionId;
use afu9_schemas::message::{
    ControlOutcome, ExecutionEnded, ExecutionStarted, HistoryKind, HoldScope, Repository,
    TriggerKind, WorkflowRef,
};
use afu9_schemas::view::{Cause, ExecutionStatus, StepStatus};
use anyhow::{Context, Result, ensure};
use tokio::time::Instant;

use super::expectation::{Again, Run, Runs};
use super::gateway::{self, Gateway};
use crate::world::World;

/// Far longer than anything here takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a wait sleeps before it looks again.
const POLL: Duration = Duration::from_millis(20);

/// Runs an example whose definitions are applied, and compares.
pub(super) async fn play(
    world: &World,
    gateway: &Gateway,
    applied: &[WorkflowRef],
    runs: &Runs,
) -> Result<()> {
    let mut submitted = Vec::new();
    for (position, run) in runs.runs.iter().enumerate() {
        if let Some(id) = submit(world, applied, run).await? {
            submitted.push((position, run, id));
        }
    }
    for (position, run, id) in &submitted {
        let acted = act(world, *id, run, newest(applied, run)?).await;
        acted.with_context(|| format!("run {position}, {id}"))?;
    }
    for (position, run, id) in &submitted {
        let compared = compare(world, *id, run).await;
        compared.with_context(|| format!("run {position}, {id}"))?;
        for again in &run.reruns {
            let repeated = repeat(world, gateway, *id, again).await;
            repeated.with_context(|| format!("run {position}, {id} again: {again:?}"))?;
        }
    }
    if let Some(expected) = &runs.begin {
        let order = in_order_of_beginning(world, &submitted);
        ensure!(order == *expected, "they began in the order {order:?}");
    }
    Ok(())
}

/// The newest version of a run's workflow.
fn newest<'a>(applied: &'a [WorkflowRef], run: &Run) -> Result<&'a WorkflowRef> {
    let named = |name: &String| applied.iter().rfind(|workflow| workflow.name == *name);
    match &run.start {
        Some(name) => named(name).with_context(|| format!("no workflow `{name}`")),
        None => applied.last().context("a definition"),
    }
}

/// Submits a run; `None` if it is refused, as expected.
async fn submit(world: &World, applied: &[WorkflowRef], run: &Run) -> Result<Option<ExecutionId>> {
    let newest = newest(applied, run)?;
    if run.scheduled {
        let by_schedule = |started: &ExecutionStarted| {
            started.trigger.kind == TriggerKind::Schedule && started.workflow == *newest
        };
        return started(world, "a schedule", by_schedule).await.map(Some);
    }
    if let Some(delivery) = &run.deliver {
        let id = gateway::deliver(world, delivery).await?.to_string();
        let by_delivery = |started: &ExecutionStarted| {
            started.trigger.delivery.as_ref() == Some(&id) && started.workflow == *newest
        };
        return started(world, "a delivery", by_delivery).await.map(Some);
    }
    let is_it = |workflow: &&WorkflowRef| {
        workflow.name == newest.name && Some(workflow.version) == run.version
    };
    let workflow = match run.version {
        Some(version) => applied
            .iter()
            .find(is_it)
            .with_context(|| format!("no version {version}"))?,
        None => newest,
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

/// The first execution that was started as `so` says.
async fn started(
    world: &World,
    by: &str,
    so: impl Fn(&ExecutionStarted) -> bool,
) -> Result<ExecutionId> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = world.events_as(|event| match &event.kind {
            HistoryKind::ExecutionStarted(started) if so(started) => event.execution,
            _ => None,
        });
        match found.first() {
            Some(id) => return Ok(*id),
            None if Instant::now() > deadline => anyhow::bail!("{by} started nothing"),
            None => tokio::time::sleep(POLL).await,
        }
    }
}

/// Repeats an execution that has ended, and compares.
async fn repeat(world: &World, gateway: &Gateway, id: ExecutionId, again: &Again) -> Result<()> {
    let answer = gateway.rerun(id, again).await?;
    if let Some(code) = &again.refused {
        ensure!(answer["code"] == **code, "{answer}");
        return Ok(());
    }
    let repeated = answer["executionId"].as_str().unwrap_or_default();
    let repeated: ExecutionId = repeated.parse().with_context(|| answer.to_string())?;
    let mut ends = world.wait_for_ends(&[repeated]).await?;
    let end = ends.remove(&repeated).context("it has ended")?;
    ensure!(Some(end.status) == again.status, "{end:?}");
    ensure!(
        again.output.is_none() || end.output == again.output,
        "{end:?}"
    );
    if let Some(kept) = &again.kept {
        ensure!(answer["kept"] == serde_json::json!(kept), "{answer}");
    }
    Ok(())
}

async fn act(world: &World, id: ExecutionId, run: &Run, newest: &WorkflowRef) -> Result<()> {
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
        if let Some(workflow) = &act.hold {
            let scope = HoldScope::Workflow(workflow.clone());
            world.hold(&scope).await?;
            let held = |cause: &Cause| matches!(cause, Cause::Paused { scope: Some(found), .. } if *found == scope);
            world.cause(id, "held", held).await?;
            continue;
        }
        if let Some(workflow) = &act.release {
            world
                .release(&HoldScope::Workflow(workflow.clone()))
                .await?;
            continue;
        }
        if act.reopens() {
            world.wait_for_ends_again(&[id], ends).await?;
            ends += 1;
        }
        let outcome = world.send(id, act.control(newest)?).await?;
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
