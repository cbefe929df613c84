//! Loading a partition: its checkpoint, then what came after it.

use std::collections::BTreeMap;

use afu9_broker::log::LogReader;
use afu9_engine::checkpoint::Segment;
use afu9_engine::{Definitions, PartitionState};
use afu9_schemas::Partition;
use futures::stream::FuturesUnordered;
use rustc_hash::FxHashMap;
use tokio::sync::watch;
use tokio::time::Instant;

use super::careful::Careful;
use super::publish::Unsent;
use super::{Owner, OwnerError, Shared};
use crate::checkpointer::Checkpointer;
use crate::outbox::Outbox;
use crate::records::Records;

impl Owner {
    /// Loads `partition`. The inputs above the checkpoint's floor are folded by the loop, like any
    /// others: replaying them publishes their effects again, with the same ids.
    pub(crate) async fn load(
        shared: Shared,
        partition: Partition,
        epoch: u64,
        lease: watch::Receiver<Instant>,
    ) -> Result<Self, OwnerError> {
        let failed = |source| OwnerError::Load { partition, source };
        let rules = shared.followers.changes();
        let mut connections = shared.broker.connections();
        connections.mark_unchanged();
        // Questions first: one that arrives while we load waits for its answer.
        let questions = shared.broker.questions(partition).await.map_err(failed)?;
        let store = shared.broker.checkpoints(partition).await.map_err(failed)?;
        // The claim first: until a former owner's writes fail, its segments may still become the
        // checkpoint, and must not be removed.
        let (head, revision) = store
            .claim(shared.config.instance, epoch)
            .await
            .map_err(failed)?;
        let segments = store
            .segments(&head)
            .await
            .map_err(failed)?
            .iter()
            .map(|bytes| Segment::decode(bytes))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| OwnerError::Checkpoint { partition, source })?;
        let swept = store.sweep(&head).await.map_err(failed)?;
        if swept > 0 {
            tracing::debug!(%partition, swept, "leftovers of a dead owner removed");
        }
        let floor = head.floor;
        let care = Careful::after(&shared.broker, &head)
            .await
            .map_err(failed)?;
        let left = segments.iter().rev().find_map(|s| s.outgoing.clone());
        let unsent = segments.iter().rev().find_map(|s| s.unsent.clone());
        let unsent = unsent.unwrap_or_default();
        let (state, definitions) = restore(&shared, partition, floor, segments).await;
        let server = shared.broker.server_id();
        let seen = head.work.clone();
        // A checkpoint that was only ever claimed names no server.
        let restarted = !head.server.is_empty() && head.server != server;
        let work: BTreeMap<_, _> = seen
            .iter()
            .map(|seen| (seen.kind.clone(), seen.sequence))
            .collect();
        let outbox = Outbox::new(
            shared.writer.clone(),
            shared.broker.partitions(),
            left.unwrap_or_default(),
        );
        let records = Records::new(shared.broker.clone(), shared.stats.clone(), partition);
        let mut owner = Self {
            outbox,
            unsent: Unsent::left(!unsent.is_empty(), &shared.broker.config().limits),
            log_is_tight: false,
            records,
            reader: LogReader::new(shared.broker.clone(), partition, floor)
                .having_read(head.floor_at),
            checkpointer: Checkpointer::new(
                shared.broker.clone(),
                store,
                partition,
                shared.config.instance,
                epoch,
                (head, revision),
            ),
            shared,
            partition,
            state,
            definitions,
            questions,
            writing: None,
            waking: FuturesUnordered::new(),
            resolving: FuturesUnordered::new(),
            published: FxHashMap::default(),
            lost: Vec::new(),
            turns: 0,
            work,
            rules,
            connections,
            lease,
            care,
        };
        #[cfg(feature = "testing")]
        owner.state.set_fault(owner.shared.config.fault);
        tracing::info!(%partition, epoch, floor, live = owner.state.live(), "partition owned");
        owner.judge().await?;
        let lost = Self::lost_kinds(&owner.shared.broker, &seen, restarted).await;
        owner.repeat_jobs(&lost).await?;
        owner.publish_left(&unsent).await?;
        owner.refuse_jobs_without_queue().await?;
        owner.repeat_resolutions();
        Ok(owner)
    }
}

async fn restore(
    shared: &Shared,
    partition: Partition,
    floor: u64,
    segments: Vec<Segment>,
) -> (PartitionState, Definitions) {
    let mut definitions = Definitions::default();
    let wanted: Vec<_> = PartitionState::wanted(&segments).collect();
    shared.definitions.load(wanted, &mut definitions).await;
    let mut state = PartitionState::restore(partition, floor, segments, &definitions);
    state.follow(shared.followers.followed());
    (state, definitions)
}
