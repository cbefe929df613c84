//! A tool that waits for something outside waits in nobody's hands: whoever runs it may be gone meanwhile.

use afu9_schemas::view::{Cause, ExecutionStatus, StepStatus};
use anyhow::{Context as _, Result};
use serde_json::json;

use crate::world::World;

const WAIT: &str = "
name: wait
steps:
  - { name: a, tool: test.wait, params: { times: 3, afterMs: 400 } }
";

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_outlives_its_worker_and_its_owner() -> Result<()> {
    let world = World::start().await?;
    let (worker, orchestrator) = (world.worker(), world.orchestrator());
    let workflow = world.apply(WAIT).await?;
    let id = world.start_one(&workflow, json!({})).await?;
    let waits = |turn: &'static str| {
        world.view_when(id, turn, move |view| {
            view.steps[0].progress.as_deref() == Some(turn)
                && view.steps[0].status == StepStatus::Waiting
        })
    };
    waits("deferred 1 of 3 times").await?;
    worker.abort().await;
    orchestrator.abort().await;

    let (worker, orchestrator) = (world.worker(), world.orchestrator());
    waits("deferred 2 of 3 times").await?;
    let explained = world
        .explained_by(id, "deferred", |explained| {
            let mut causes = explained.causes.iter();
            causes.any(|view| {
                matches!(
                    &view.cause,
                    Cause::Deferred {
                        progress: Some(_),
                        ..
                    }
                )
            })
        })
        .await?;
    assert_eq!(explained.causes[0].step.as_deref(), Some("a"));
    let ended = world.wait_for_ends(&[id]).await?;
    assert_eq!(ended[&id].status, ExecutionStatus::Completed);
    let view = world.view(id).await?;
    let attempts = &view.steps[0].attempts;
    let attempt = attempts.first().context("an attempt")?;
    assert_eq!((attempts.len(), attempt.deferrals), (1, 3));
    assert_eq!(view.steps[0].output, Some(json!({ "times": 3 })));
    worker.stop().await?;
    orchestrator.stop().await
}
