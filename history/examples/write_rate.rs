//! Prints how many rows per second the projector writes: for workflows of five steps, then for steps
//! of ten thousand items, each a first time and, as after a lost acknowledgement, a second time.
//!
//! `cargo run --release -p afu9-history --example write_rate -- postgres://user@host/empty_database`
//!
//! The database is migrated and filled; give it one of its own.

use std::convert::Infallible;
use std::time::Duration;

use afu9_history::projector::{Config, DeadMessage, Message};
use afu9_history::{Projector, Source, Store};
use afu9_schemas::message::{
    AttemptRecord, ExecutionEnded, ExecutionStarted, HistoryBatch, HistoryEvent, HistoryKind,
    StepEnded, Trigger, TriggerKind, WorkflowRef,
};
use afu9_schemas::view::{ExecutionStatus, StepAction, StepRole, StepStatus};
use afu9_schemas::{DefinitionHash, ExecutionId, Timestamp, WorkerId, WorkflowId};
use anyhow::Context;
use chrono::Utc;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const STEPS: u32 = 5;
const EXECUTIONS_PER_MESSAGE: usize = 20;
const MESSAGES: usize = 2000;

const ITEMS: u32 = 10_000;
const ITEMS_PER_MESSAGE: usize = 500;
const EXECUTIONS_WITH_ITEMS: usize = 20;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::args()
        .nth(1)
        .context("the URL of an empty database is missing")?;
    let store = Store::connect(&afu9_history::Config::new(url.into()))?;
    // Not part of what is measured.
    store.migrate().await?;
    store.ensure_partitions(2).await?;

    let workflow = WorkflowRef {
        id: WorkflowId::new(),
        name: "write-rate".to_owned(),
        version: 1,
        hash: DefinitionHash::of(b"{}"),
    };
    let of_steps: Vec<_> = (0..MESSAGES)
        .map(|_| (0..EXECUTIONS_PER_MESSAGE).flat_map(|_| execution(&workflow)))
        .map(|events| batch(events.collect()))
        .collect();
    measure(&store, "steps", of_steps).await?;

    let of_items: Vec<_> = (0..EXECUTIONS_WITH_ITEMS).flat_map(|_| items()).collect();
    let of_items = of_items
        .chunks(ITEMS_PER_MESSAGE)
        .map(|events| batch(events.to_vec()))
        .collect();
    measure(&store, "items", of_items).await
}

async fn measure(store: &Store, what: &str, messages: Vec<HistoryBatch>) -> anyhow::Result<()> {
    let events: usize = messages.iter().map(|message| message.events.len()).sum();
    for time in ["written", "written again"] {
        let shutdown = CancellationToken::new();
        let source = Busy {
            messages: messages.clone().into_iter(),
            sequence: 0,
            shutdown: shutdown.clone(),
        };
        let projector = Projector::new(Config::default(), store.clone(), source);
        let handle = projector.handle();
        let begun = Instant::now();
        projector.run(shutdown).await?;

        let (rows, seconds) = (handle.status().rows_written, begun.elapsed().as_secs_f64());
        println!(
            "{what} {time}: {rows} rows, {events} events in {seconds:.2} s: {:.0} rows/s, {:.0} events/s",
            rows as f64 / seconds,
            events as f64 / seconds,
        );
    }
    Ok(())
}

/// A stream that always has more, until it ends.
struct Busy {
    messages: std::vec::IntoIter<HistoryBatch>,
    sequence: u64,
    shutdown: CancellationToken,
}

fn batch(events: Vec<HistoryEvent>) -> HistoryBatch {
    HistoryBatch {
        partition: None,
        events,
    }
}

impl Source for Busy {
    type Error = Infallible;

    async fn next_batch(&mut self, max: usize, _: Duration) -> Result<Vec<Message>, Infallible> {
        let batches: Vec<_> = self.messages.by_ref().take(max).collect();
        if batches.is_empty() {
            self.shutdown.cancel();
        }
        let message = |batch| {
            self.sequence += 1;
            Message {
                batch: Ok(batch),
                stream_sequence: self.sequence,
                pending: 0,
            }
        };
        Ok(batches.into_iter().map(message).collect())
    }

    async fn dead_letter(&mut self, message: &DeadMessage) -> Result<(), Infallible> {
        panic!("refused: {message:?}");
    }

    async fn acknowledge(&mut self, _: u64) -> Result<(), Infallible> {
        Ok(())
    }
}

fn execution(workflow: &WorkflowRef) -> Vec<HistoryEvent> {
    let (id, at) = (ExecutionId::new(), Timestamp::from(Utc::now()));
    let event = |number, kind| HistoryEvent {
        execution: Some(id),
        number,
        at,
        kind,
    };
    let started = ExecutionStarted {
        workflow: workflow.clone(),
        input: json!({ "issue": 7, "title": "Something does not work" }),
        repository: None,
        trigger: Trigger {
            kind: TriggerKind::Manual,
            by: "write-rate".to_owned(),
            delivery: None,
            depth: 0,
            initiator: None,
        },
        traceparent: None,
        key: None,
        parent: None,
        rerun_of: None,
        rerun_reason: None,
        lane: afu9_schemas::Lane::Bulk,
        priority: 0,
        status: ExecutionStatus::Running,
    };
    let ended = ExecutionEnded {
        status: ExecutionStatus::Completed,
        output: Some(json!({ "value": "an output of some length" })),
        error: None,
        started_at: at,
        steps_completed: STEPS,
        steps_failed: 0,
        steps_skipped: 0,
        steps_compensated: 0,
        stale_results: 0,
    };
    let mut events = vec![event(1, HistoryKind::ExecutionStarted(Box::new(started)))];
    events.extend((0..STEPS).map(|index| event(index + 2, step(index, None, at))));
    events.push(event(
        STEPS + 2,
        HistoryKind::ExecutionEnded(Box::new(ended)),
    ));
    events
}

/// The ends of all items of one step.
fn items() -> Vec<HistoryEvent> {
    let (id, at) = (ExecutionId::new(), Timestamp::from(Utc::now()));
    (0..ITEMS)
        .map(|item| HistoryEvent {
            execution: Some(id),
            number: item + 2,
            at,
            kind: step(0, Some(item), at),
        })
        .collect()
}

fn step(index: u32, item: Option<u32>, at: Timestamp) -> HistoryKind {
    let attempt = AttemptRecord {
        deferrals: 0,
        attempt: 1,
        dispatched_at: at,
        worker: WorkerId::new("worker-1").ok(),
        started_at: Some(at),
        ended_at: Some(at),
        error: None,
    };
    HistoryKind::StepEnded(Box::new(StepEnded {
        index,
        item,
        role: StepRole::Main,
        action: StepAction::Tool,
        name: format!("step-{index}"),
        tool: "test.echo".parse().ok(),
        status: StepStatus::Completed,
        input: Some(json!({ "value": "a parameter of some length" })),
        output: Some(json!({ "value": "an output of some length" })),
        error: None,
        started_at: at,
        attempts: vec![attempt],
    }))
}
