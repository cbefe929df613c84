//! What somebody waits for is not behind what nobody waits for.

use std::sync::Arc;

use afu9_schemas::message::Start;
use afu9_schemas::view::ExecutionStatus;
use afu9_schemas::{Lane, WorkerKind};
use afu9_workers::tool::Toolbox;
use anyhow::Result;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::world::World;

/// Many times what workers take at once and what queues take in.
const STORM: usize = 2000;

const URGENT: usize = 40;

fn comment(name: &str) -> String {
    format!(
        "name: {name}\nsteps:\n  - name: say\n    tool: github.addComment\n    \
         params: {{ owner: octo, repo: factory, number: 1, body: {name} }}\n"
    )
}

/// Comments whose body is `storm` wait at the gate, in the hands of the worker.
fn toolbox(gate: Arc<Semaphore>) -> Result<Toolbox> {
    let toolbox = Toolbox::new(WorkerKind::new("github")?);
    Ok(toolbox.with("addComment", move |_call, params: Value| {
        let gate = Arc::clone(&gate);
        async move {
            if params["body"] == "storm" {
                let _passed = gate.acquire().await;
            }
            Ok(json!({}))
        }
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn interactive_executions_complete_while_a_storm_of_bulk_ones_is_stuck() -> Result<()> {
    let world = World::start().await?;
    let orchestrator = world.orchestrator();
    let gate = Arc::new(Semaphore::new(0));
    let worker = world.worker_with(toolbox(Arc::clone(&gate))?);
    let storm = world.apply(&comment("storm")).await?;
    let urgent = world.apply(&comment("urgent")).await?;
    let mut ids = world.start_many(&storm, json!({}), STORM).await?;
    // The worker holds as many of them as it may.
    world.wait_until_running(ids[0]).await?;

    let start = Start {
        lane: Lane::Interactive,
        ..world.submission(&urgent, json!({}))?
    };
    let urgent = world.submit_starts(vec![start; URGENT]).await?;
    for (id, end) in &world.wait_for_ends(&urgent).await? {
        assert_eq!(end.status, ExecutionStatus::Completed, "{id}");
    }
    assert_eq!(world.ended(), URGENT, "nothing of the storm has ended");

    gate.close();
    ids.extend(urgent);
    for (id, end) in &world.wait_for_ends(&ids).await? {
        assert_eq!(end.status, ExecutionStatus::Completed, "{id}");
    }
    worker.stop().await?;
    orchestrator.stop().await
}
