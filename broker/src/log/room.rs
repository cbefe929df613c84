//! Which partitions have no room for more executions, as their owners say.
//!
//! Asked by gateways beside their work, so that no submission waits for an answer. Of an owner that does not
//! answer, what it said last is believed: one that never did is no reason to refuse, as the log has a bound
//! of its own, and one that was full and is too busy to answer is probably full.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use afu9_schemas::message::{Input, InputKind, Query, QueryReply};
use afu9_schemas::{Lane, Partition};
use futures::future::join_all;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::connection::Broker;

/// How often owners are asked. What is submitted at full speed meanwhile is little against the bound.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// What the owners said last. The task that asks them ends with it.
#[derive(Debug)]
pub(super) struct Room {
    partitions: Arc<Vec<Full>>,
    _asking: DropGuard,
}

/// The lanes of one partition that have no room.
#[derive(Debug, Default)]
struct Full {
    interactive: AtomicBool,
    bulk: AtomicBool,
}

impl Full {
    fn of(&self, lane: Lane) -> &AtomicBool {
        match lane {
            Lane::Interactive => &self.interactive,
            Lane::Bulk => &self.bulk,
        }
    }
}

impl Room {
    pub(super) fn start(broker: Broker, tracker: &TaskTracker) -> Self {
        let partitions = broker.partitions().all().map(|_| Full::default());
        let partitions: Arc<Vec<Full>> = Arc::new(partitions.collect());
        let end = CancellationToken::new();
        tracker.spawn({
            let (partitions, end) = (Arc::clone(&partitions), end.clone());
            async move {
                end.run_until_cancelled(ask_again_and_again(&broker, &partitions))
                    .await;
            }
        });
        Self {
            partitions,
            _asking: end.drop_guard(),
        }
    }

    /// Whether `partition` has no room for more in `lane`.
    pub(super) fn is_full(&self, partition: Partition, lane: Lane) -> bool {
        let full = self.partitions.get(usize::from(partition.get()));
        full.is_some_and(|full| full.of(lane).load(Ordering::Relaxed))
    }

    /// Whether `inputs` begin something in a partition that has no room for it.
    pub(super) fn refuses(&self, partition: Partition, inputs: &[Input]) -> bool {
        inputs.iter().any(|input| match &input.kind {
            InputKind::Start(start) => self.is_full(partition, start.lane),
            _ => false,
        })
    }
}

async fn ask_again_and_again(broker: &Broker, known: &[Full]) {
    loop {
        let asked = broker.partitions().all().zip(known);
        join_all(asked.map(async |(partition, known)| {
            let full = match broker.ask(partition, &Query::Status).await {
                Ok(Some(QueryReply::Status(status))) => status.full,
                _ => return,
            };
            for lane in Lane::ALL {
                let is_full = full.contains(&lane);
                if known.of(lane).swap(is_full, Ordering::Relaxed) != is_full {
                    tracing::warn!(%partition, %lane, is_full, "room for live executions");
                }
            }
        }))
        .await;
        tokio::time::sleep(ASK_EVERY).await;
    }
}
