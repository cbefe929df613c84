//! Executions that start each other: as steps, and by their ends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use afu9_schemas::ExecutionId;
use afu9_schemas::definition::Decision;
use afu9_schemas::message::{
    Control, ControlAction, ControlOutcome, HistoryKind, InputKind, TriggerKind,
};
use afu9_schemas::view::{Cause, ExecutionStatus};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::time::Instant;

use crate::world::{World, wish};

const GRANDCHILD: &str = r#"
name: grandchild
steps:
  - { name: wait, waitFor: go }
output: "${steps.wait.output}"
"#;

const CHILD: &str = r#"
name: child
steps:
  - { name: own, tool: test.echo, params: { value: "${input.n}" } }
  - { name: below, workflow: grandchild, assign: below }
output: { n: "${steps.own.output.value}", below: "${below}" }
"#;

const PARENT: &str = r#"
name: parent
steps:
  - name: each
    forEach: [1, 2, 3]
    workflow: { name: child, input: { n: "${item}" } }
output: "${steps.each.output}"
"#;

/// The executions that `id` waits for.
async fn children(world: &World, id: ExecutionId, count: usize) -> Result<Vec<ExecutionId>> {
    let started = |cause: &Cause| match cause {
        Cause::Child { execution, .. } => *execution,
        _ => None,
    };
    let view = world
        .explained_by(id, "waiting for its children", |view| {
            let causes = view.causes.iter();
            causes.filter_map(|one| started(&one.cause)).count() == count
        })
        .await?;
    let causes = view.causes.iter();
    Ok(causes.filter_map(|one| started(&one.cause)).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_of_children_come_back_while_an_orchestrator_is_killed() -> Result<()> {
    let world = World::start().await?;
    let first = world.orchestrator();
    let worker = world.worker();
    world.apply(GRANDCHILD).await?;
    world.apply(CHILD).await?;
    let parent = world.apply(PARENT).await?;
    let id = world.start_one(&parent, json!({})).await?;
    let mut grandchildren = Vec::new();
    for child in children(&world, id, 3).await? {
        grandchildren.extend(children(&world, child, 1).await?);
    }
    first.abort().await;
    for grandchild in &grandchildren {
        let signal = ControlAction::Signal {
            name: "go".to_owned(),
            payload: json!("went"),
        };
        let control = wish(signal);
        let kind = InputKind::Control(Box::new(control));
        world.submit(*grandchild, kind).await?;
    }
    let second = world.orchestrator();
    let ended = world.wait_for_ends(&[id]).await?;
    let end = &ended[&id];
    assert_eq!(end.status, ExecutionStatus::Completed, "{:?}", end.error);
    let each = |n| json!({ "n": n, "below": "went" });
    assert_eq!(end.output, Some(json!([each(1), each(2), each(3)])));
    world.wait_for_ends(&grandchildren).await?;
    let of_steps: BTreeSet<ExecutionId> = world
        .events_as(|event| match &event.kind {
            HistoryKind::ExecutionStarted(started) => event
                .execution
                .filter(|_| started.trigger.kind == TriggerKind::Child),
            _ => None,
        })
        .into_iter()
        .collect();
    assert_eq!(of_steps.len(), 6, "three children and their children");
    world.assert_history_is_gapless();
    worker.stop().await?;
    second.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_execution_takes_its_children_with_it() -> Result<()> {
    let world = World::start().await?;
    let orchestrator = world.orchestrator();
    let worker = world.worker();
    world.apply(GRANDCHILD).await?;
    world.apply(CHILD).await?;
    let parent = world.apply(PARENT).await?;
    let id = world.start_one(&parent, json!({})).await?;
    let mut family = children(&world, id, 3).await?;
    for child in family.clone() {
        family.extend(children(&world, child, 1).await?);
    }
    let outcome = world.control(id, ControlAction::Cancel).await?;
    assert_eq!(outcome, ControlOutcome::Applied);
    family.push(id);
    let ended = world.wait_for_ends(&family).await?;
    for (id, end) in &ended {
        assert_eq!(end.status, ExecutionStatus::Cancelled, "{id}");
        let error = end.error.as_ref().context("a reason")?;
        assert_eq!(error.code, "execution.cancelled");
    }
    assert_eq!(ended.len(), 7);
    worker.stop().await?;
    orchestrator.stop().await?;
    Ok(())
}

/// Thousands of children of one version look it up once.
#[tokio::test(flavor = "multi_thread")]
async fn children_of_one_version_read_it_once() -> Result<()> {
    let world = World::start().await?;
    let child = |wait: &str| format!("name: child\nsteps:\n  - {{ name: a, sleep: {wait} }}\n");
    world.apply(&child("1ms")).await?;
    world.apply(&child("2ms")).await?;
    let orchestrator = world.orchestrator();
    let before = orchestrator.stats().definitions_read;
    for (name, version) in [("newest", ""), ("pinned", ", version: 1")] {
        let parent = world
            .apply(&format!(
                "name: {name}\nsteps:\n  - {{ name: each, forEach: \"${{range(200)}}\", maxParallel: 200, \
                 workflow: {{ name: child{version} }} }}\n"
            ))
            .await?;
        let id = world.start_one(&parent, json!({})).await?;
        let ended = world.wait_for_ends(&[id]).await?;
        assert_eq!(
            ended[&id].status,
            ExecutionStatus::Completed,
            "{:?}",
            ended[&id].error
        );
    }
    let read = orchestrator.stats().definitions_read - before;
    assert!(
        read <= 8,
        "{read} definitions were read for 400 children of two versions"
    );
    orchestrator.stop().await
}

/// What cannot be started is seen, as a dead letter.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_or_a_schedule_that_cannot_start_anything_leaves_a_dead_letter() -> Result<()> {
    let world = World::start().await?;
    world
        .apply(
            r#"
name: broken
on:
  - workflow: { name: quick, input: { n: "${upstream.output.absent}" } }
  - schedule: { cron: "* * * * * *", input: { n: "${schedule.at / 2}" } }
steps: [{ name: a, sleep: 1ms }]
"#,
        )
        .await?;
    let quick = world
        .apply("name: quick\nsteps: [{ name: a, sleep: 1ms }]\n")
        .await?;
    let orchestrator = world.orchestrator();
    let id = world.start_one(&quick, json!({})).await?;
    world.wait_for_ends(&[id]).await?;
    // One of the end, and one of each second.
    let deadline = Instant::now() + Duration::from_secs(30);
    while orchestrator.stats().dead_letters < 3 {
        ensure!(Instant::now() < deadline, "{:?}", orchestrator.stats());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(orchestrator.stats().unstarted >= 3);
    orchestrator.stop().await
}

/// Whoever started an execution has started what it starts.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_approves_their_own_through_another_workflow() -> Result<()> {
    const RELEASE: &str = r#"
name: release
on: [{ workflow: { name: ask } }]
steps:
  - { name: agree, approval: { selfApproval: false } }
"#;
    let world = World::start().await?;
    world.apply(RELEASE).await?;
    let ask = world
        .apply("name: ask\nsteps:\n  - { name: below, workflow: { name: release, wait: false } }\n")
        .await?;
    let orchestrator = world.orchestrator();
    world.start_one(&ask, json!({})).await?;
    let started = |kind: TriggerKind| {
        world.events_as(move |event| match &event.kind {
            HistoryKind::ExecutionStarted(started) if started.trigger.kind == kind => {
                event.execution
            }
            _ => None,
        })
    };
    world.wait_until_ended(1).await?;
    for kind in [TriggerKind::Child, TriggerKind::Workflow] {
        let id = loop {
            match started(kind).first() {
                Some(id) => break *id,
                None => tokio::task::yield_now().await,
            }
        };
        world
            .cause(id, "waiting for people", |cause| {
                matches!(cause, Cause::Approval { .. })
            })
            .await?;
        let approve = |by: &str| Control {
            by: by.to_owned(),
            ..wish(ControlAction::Decide {
                step: "agree".to_owned(),
                decision: Decision::Approve,
            })
        };
        let own = world.send(id, approve("test")).await?;
        assert!(
            matches!(&own, ControlOutcome::Refused { code, .. } if code == "approval.self"),
            "{kind:?}: {own:?}"
        );
        assert_eq!(
            world.send(id, approve("other")).await?,
            ControlOutcome::Applied
        );
    }
    orchestrator.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_one_starts_another_once_whoever_is_killed() -> Result<()> {
    let world = World::start().await?;
    let build = world
        .apply(
            r#"
name: build
steps:
  - { name: go, tool: test.echo, params: { value: "${input.n}" } }
output: { n: "${steps.go.output.value}" }
"#,
        )
        .await?;
    world
        .apply(
            r#"
name: deploy
on:
  - workflow:
      name: build
      filter: ${upstream.output.n % 2 == 0}
      input: { n: "${upstream.output.n}", of: "${upstream.id}" }
steps:
  - { name: go, tool: test.echo, params: { value: "${input}" } }
output: "${steps.go.output.value}"
"#,
        )
        .await?;
    // Only now, so that they know from the start what follows what.
    let (first, second) = (world.orchestrator(), world.orchestrator());
    let worker = world.worker();
    let starts = (0..40)
        .map(|n| world.submission(&build, json!({ "n": n })))
        .collect::<Result<Vec<_>, _>>()?;
    let ids = world.submit_starts(starts).await?;
    world.wait_until_ended(10).await?;
    first.abort().await;
    world.wait_for_ends(&ids).await?;
    world.wait_until_ended(60).await?;
    // What one orchestrator told and the other repeated is the same execution.
    let outputs: BTreeMap<ExecutionId, (i64, String)> = world
        .events_as(|event| match &event.kind {
            HistoryKind::ExecutionEnded(end) => {
                let id = event.execution.filter(|id| !ids.contains(id))?;
                let output = end.output.as_ref()?;
                let number = output["n"].as_i64()?;
                Some((id, (number, output["of"].as_str()?.to_owned())))
            }
            _ => None,
        })
        .into_iter()
        .collect();
    let outputs: Vec<(i64, String)> = outputs.into_values().collect();
    let expected = (0_i64..)
        .zip(&ids)
        .map(|(n, id)| (n, id.to_string()))
        .filter(|(n, _)| n % 2 == 0);
    let sorted = BTreeSet::from_iter(outputs.clone());
    assert_eq!(outputs.len(), 20, "each once");
    assert_eq!(sorted, expected.collect());
    world.assert_history_is_gapless();
    worker.stop().await?;
    second.stop().await?;
    Ok(())
}

/// The version that a step names belongs to the workflow, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_cannot_run_a_disabled_workflow_in_whatever_version() -> Result<()> {
    let world = World::start().await?;
    let (orchestrator, worker) = (world.orchestrator(), world.worker());
    let desk = world.desk().await?;
    desk.apply("name: child\nsteps: [{ name: a, tool: test.noop }]\n")
        .await?;
    desk.apply("name: child\nsteps: [{ name: b, tool: test.noop }]\n")
        .await?;
    desk.apply("name: parent\nsteps: [{ name: a, workflow: { name: child, version: 1 } }]\n")
        .await?;
    let run = ["workflows", "start", "parent", "--wait", "60"];
    desk.text(0, &run).await?;
    desk.text(0, &["workflows", "disable", "child"]).await?;
    let refused = desk.text(1, &run).await?;
    assert!(refused.contains("`child` is disabled"), "{refused}");
    desk.close().await?;
    worker.stop().await?;
    orchestrator.stop().await
}
