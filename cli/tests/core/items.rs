//! A step with very many items.

use afu9_schemas::message::HistoryKind;
use afu9_schemas::view::ExecutionStatus;
use anyhow::Result;
use serde_json::{Value, json};

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_items_keep_their_order() -> Result<()> {
    let count = 10_000;
    let world = World::start().await?;
    let orchestrator = world.orchestrator();
    let worker = world.worker();
    let workflow = world
        .apply(
            r#"
name: many_items
steps:
  - name: each
    tool: test.echo
    forEach: ${input.list}
    maxParallel: 1000
    params: { value: "${item * 2}" }
output: "${steps.each.output}"
"#,
        )
        .await?;
    let list: Vec<Value> = (0..count).map(|n| json!(n)).collect();
    let id = world.start_one(&workflow, json!({ "list": list })).await?;
    let ended = world.wait_for_ends(&[id]).await?;
    let end = &ended[&id];
    assert_eq!(end.status, ExecutionStatus::Completed, "{:?}", end.error);
    let expected: Vec<Value> = (0..count).map(|n| json!({ "value": n * 2 })).collect();
    assert_eq!(end.output, Some(Value::from(expected)));
    let items = world.events_as(|event| match &event.kind {
        HistoryKind::StepEnded(step) => step.item,
        _ => None,
    });
    assert_eq!(items.len(), count, "each item is recorded once");
    world.assert_history_is_gapless();
    worker.stop().await?;
    orchestrator.stop().await?;
    Ok(())
}
