//! One orchestrator process: takes its share of the partitions, renews their leases, and runs their
//! owners.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use afu9_broker::kv::{Change, Lease, LeaseStore, Member, Swap};
use afu9_broker::log::LogWriter;
use afu9_broker::{Broker, RequestError};
use afu9_schemas::error::panic_message;
use afu9_schemas::{InstanceId, Partition};
use futures::FutureExt as _;
use futures::future::join_all;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::catalog::Catalog;
use crate::config::{Config, LEASE_EXPIRES, RENEW_EVERY, STOP_AFTER};
use crate::dead_letters;
use crate::definitions::DefinitionCache;
use crate::followers::Followers;
use crate::lease::{Facts, Holder, Plan};
use crate::owner::{Owner, OwnerError, Shared};
use crate::schedule::{self, Scheduler};
use crate::stats::{Stats, add};
use crate::wait::reached;

/// How long an owner has to write its last checkpoint. After that its lease is given up all the
/// same: the next owner replays what the checkpoint lacks.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Pause after an owner ended by itself, before the partition is taken again.
const PAUSE: Duration = Duration::from_millis(500);

/// Why an orchestrator cannot begin.
#[derive(Debug, Error)]
#[error("cannot start the orchestrator")]
pub struct Error(#[from] RequestError);

/// One orchestrator process.
#[derive(Debug)]
pub struct Orchestrator {
    broker: Broker,
    config: Config,
    stats: Arc<Stats>,
}

impl Orchestrator {
    /// An orchestrator on `broker`, whose topology must exist.
    pub fn new(broker: Broker, config: Config) -> Self {
        Self {
            broker,
            config,
            stats: Arc::default(),
        }
    }

    /// What it does, live.
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }

    /// Runs until `shutdown`, then gives its partitions back.
    ///
    /// # Errors
    /// When the server does not answer at the start; afterwards it is waited for.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        // Large, and awaited inside futures that are copied around.
        Box::pin(self.run_to_the_end(shutdown)).await
    }

    async fn run_to_the_end(self, shutdown: CancellationToken) -> Result<(), Error> {
        for kind in self.broker.config().kinds.clone() {
            self.broker.adjust_work_consumers(&kind).await?;
        }
        let store = self.broker.leases().await?;
        let (writer, writing) = LogWriter::start(self.broker.clone());
        let definitions = DefinitionCache::open(&self.broker, Arc::clone(&self.stats)).await?;
        let catalog = Catalog::load(definitions.clone()).await?;
        let holds = Arc::new(watch::Sender::new(None));
        let shared = Shared {
            followers: Followers::new(catalog.clone(), self.broker.partitions()),
            definitions,
            catalog: catalog.clone(),
            broker: self.broker.clone(),
            config: self.config.clone(),
            writer: writer.clone(),
            stats: Arc::clone(&self.stats),
            holds: Arc::clone(&holds),
        };
        let scheduler = Scheduler {
            catalog: catalog.clone(),
            store: self.broker.schedules().await?,
            writer: writer.clone(),
            partitions: self.broker.partitions(),
            stats: Arc::clone(&self.stats),
            broker: self.broker.clone(),
            holds: holds.subscribe(),
        };
        let (runs_schedules, schedules) = watch::channel(false);
        // Compiling definitions and planning schedules take their time: on tasks of their own they keep no
        // lease from being renewed.
        let mut side = JoinSet::new();
        side.spawn({
            let catalog = catalog.clone();
            async move { catalog.run().await }
        });
        side.spawn(async move { scheduler.run(schedules).await });
        side.spawn({
            let (broker, stats, stop) = (
                self.broker.clone(),
                Arc::clone(&self.stats),
                shutdown.clone(),
            );
            async move { dead_letters::run(broker, writer, &stats, stop).await }
        });
        let mut coordinator = Coordinator {
            me: self.config.instance,
            shared,
            runs_schedules,
            store,
            leases: BTreeMap::new(),
            members: BTreeMap::new(),
            running: BTreeMap::new(),
            paused: BTreeMap::new(),
            tasks: JoinSet::new(),
            unreadable: BTreeSet::new(),
            beat: 0,
        };
        tokio::select! {
            () = Box::pin(coordinator.run(&shutdown)) => {}
            // A panic is a bug of ours. The process ends loudly; another takes over.
            Some(Err(error)) = side.join_next() => {
                if error.is_panic() {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
        }
        side.shutdown().await;
        coordinator.stop().await;
        drop(coordinator);
        writing.finished().await;
        Ok(())
    }
}

/// What this process knows of a lease.
#[derive(Debug, Clone)]
struct Seen {
    lease: Lease,
    revision: u64,
    changed: Instant,
}

/// An owner that runs in this process.
#[derive(Debug)]
struct Running {
    lease: Lease,
    revision: u64,
    renewed: watch::Sender<Instant>,
    stop: CancellationToken,
}

/// A task of the coordinator that has ended.
#[derive(Debug)]
enum Ended {
    Owner(Partition, Result<(), OwnerError>),
    /// The others were told of a lease given back, or that this process leaves.
    Told,
}

struct Coordinator {
    me: InstanceId,
    shared: Shared,
    store: LeaseStore,
    leases: BTreeMap<Partition, Seen>,
    members: BTreeMap<InstanceId, (u64, Instant)>,
    running: BTreeMap<Partition, Running>,
    /// Partitions whose owner ended by itself a moment ago.
    paused: BTreeMap<Partition, Instant>,
    tasks: JoinSet<Ended>,
    /// Tells whether this is the process that runs the schedules.
    runs_schedules: watch::Sender<bool>,
    /// Keys of entries that another version has written.
    unreadable: BTreeSet<String>,
    beat: u64,
}

impl Coordinator {
    async fn run(&mut self, shutdown: &CancellationToken) {
        while let Err(error) = self.watch(shutdown).await {
            let error = afu9_broker::error::chain(&error);
            tracing::warn!(error, "leases not readable, trying again");
            self.stop_unrenewed();
            self.tell_scheduler();
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Follows the leases until `shutdown`, and acts once in [`RENEW_EVERY`]; what becomes free is taken
    /// at once. Ends with an error when they cannot be followed any more.
    ///
    /// A turn that has begun is never broken off: a lease whose renewal was stored and not noted could
    /// not be given back, and everybody would wait until it expires.
    async fn watch(&mut self, shutdown: &CancellationToken) -> Result<(), RequestError> {
        let mut connections = self.shared.broker.connections();
        connections.mark_unchanged();
        let mut watch = tokio::select! {
            watch = self.store.watch() => watch?,
            () = shutdown.cancelled() => return Ok(()),
        };
        let mut up_to_date = false;
        let mut turn = tokio::time::interval(RENEW_EVERY);
        turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let expiry = self.next_expiry();
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                change = watch.next() => match change? {
                    Change::UpToDate => {
                        up_to_date = true;
                        turn.reset_immediately();
                    }
                    change => {
                        let freed = self.take_note(change);
                        if freed && up_to_date {
                            self.take_free().await;
                        }
                    }
                },
                () = reached(expiry), if up_to_date => self.take_free().await,
                _ = turn.tick() => {
                    self.beat().await?;
                    if up_to_date {
                        self.act().await;
                    }
                }
                Some(ended) = self.tasks.join_next() => self.task_ended(ended),
                // A server that lost the end of its bucket has other revisions than we know, and a watch that
                // goes on where it was tells of none of them.
                Ok(()) = connections.changed() => {
                    watch = self.store.watch().await?;
                    up_to_date = false;
                }
            }
            self.tell_scheduler();
        }
    }

    /// The owner of one certain partition runs the schedules: so there is one such process, and another
    /// one when it is gone.
    fn tell_scheduler(&self) {
        let running = self.running.get(&schedule::HOME);
        let owns = running.is_some_and(|running| !running.stop.is_cancelled());
        self.runs_schedules
            .send_if_modified(|known| std::mem::replace(known, owns) != owns);
    }

    /// Returns whether a partition became free, or somebody's share of them.
    fn take_note(&mut self, change: Change) -> bool {
        let now = Instant::now();
        match change {
            Change::Lease {
                partition,
                lease,
                revision,
            } => {
                let freed = lease.owner.is_none();
                if let Some(running) = self.running.get_mut(&partition)
                    && lease.owner != Some(self.me)
                    && revision > running.revision
                {
                    tracing::warn!(%partition, "lease lost to another orchestrator");
                    running.stop.cancel();
                }
                self.leases.insert(
                    partition,
                    Seen {
                        lease,
                        revision,
                        changed: now,
                    },
                );
                freed
            }
            Change::Member(member) => {
                self.members.insert(member.instance, (member.beat, now));
                false
            }
            Change::MemberGone(instance) => {
                self.members.remove(&instance);
                true
            }
            // Whoever wrote it renews it each second: it is told once. A lease that is there cannot be taken.
            Change::Unreadable { key, error } => {
                if self.unreadable.insert(key.clone()) {
                    tracing::error!(key, error, "entry of the owners' bucket left as it is");
                }
                false
            }
            Change::UpToDate => false,
        }
    }

    async fn beat(&mut self) -> Result<(), RequestError> {
        self.beat += 1;
        self.members.insert(self.me, (self.beat, Instant::now()));
        self.store
            .beat(&Member {
                instance: self.me,
                beat: self.beat,
            })
            .await
    }

    /// One turn: renews, takes, gives.
    async fn act(&mut self) {
        let plan = Plan::new(&self.facts());
        self.renew(&plan.renew).await;
        self.stop_unrenewed();
        self.acquire_all(plan.acquire).await;
        if let Some(partition) = plan.release
            && let Some(running) = self.running.get(&partition)
        {
            tracing::info!(%partition, "partition given to another orchestrator");
            running.stop.cancel();
        }
        for instance in plan.forget {
            if let Err(error) = self.store.forget(instance).await {
                tracing::debug!(%instance, %error, "member not forgotten");
            }
        }
    }

    /// Takes what is free between two turns.
    async fn take_free(&mut self) {
        let plan = Plan::new(&self.facts());
        self.acquire_all(plan.acquire).await;
    }

    async fn acquire_all(&mut self, partitions: Vec<Partition>) {
        for partition in partitions {
            if let Err(error) = self.acquire(partition).await {
                tracing::debug!(%partition, %error, "lease not taken");
                // The next turn tries again: nobody's renewal shall wait for a server that does not answer.
                return;
            }
        }
    }

    /// When next a lease or a member expires that nobody has heard of until then.
    fn next_expiry(&self) -> Option<Instant> {
        let now = Instant::now();
        let others = self.leases.values();
        let others = others.filter(|seen| seen.lease.owner.is_some_and(|owner| owner != self.me));
        let members = self.members.values().map(|(_, heard)| *heard);
        others
            .map(|seen| seen.changed)
            .chain(members)
            .map(|heard| heard + LEASE_EXPIRES)
            .filter(|expiry| *expiry > now)
            .min()
    }

    fn facts(&self) -> Facts {
        let now = Instant::now();
        let mut leases: BTreeMap<Partition, Holder> = self
            .leases
            .iter()
            .map(|(partition, seen)| {
                let unchanged_for = now.saturating_duration_since(seen.changed);
                (
                    *partition,
                    Holder {
                        owner: seen.lease.owner,
                        unchanged_for,
                    },
                )
            })
            .collect();
        for (partition, until) in &self.paused {
            if *until > now {
                let holder = Holder {
                    owner: Some(InstanceId::default()),
                    unchanged_for: Duration::ZERO,
                };
                leases.insert(*partition, holder);
            }
        }
        Facts {
            me: self.me,
            partitions: self.shared.broker.partitions(),
            leases,
            members: self
                .members
                .iter()
                .map(|(instance, (_, at))| (*instance, now.saturating_duration_since(*at)))
                .collect(),
            running: self.running.keys().copied().collect(),
        }
    }

    /// Renews all leases side by side: one that is not answered holds up no other.
    async fn renew(&mut self, partitions: &[Partition]) {
        let asked = Instant::now();
        let renewals = partitions.iter().filter_map(|partition| {
            let running = self.running.get(partition)?;
            let lease = Lease {
                renewal: running.lease.renewal + 1,
                ..running.lease.clone()
            };
            let (store, revision) = (&self.store, running.revision);
            Some(async move {
                let put = store.put(*partition, &lease, revision);
                let answer = tokio::time::timeout(RENEW_EVERY, put).await;
                (*partition, lease, answer)
            })
        });
        for (partition, lease, answer) in join_all(renewals).await {
            let Some(running) = self.running.get_mut(&partition) else {
                continue;
            };
            match answer {
                Ok(Ok(Swap::Stored(revision))) => {
                    running.lease = lease;
                    running.revision = revision;
                    running.renewed.send_replace(asked);
                }
                // An unanswered renewal of ours may have arrived: then the lease is still ours, as
                // the watch has told or will tell.
                Ok(Ok(Swap::Lost)) => {
                    if let Some(seen) = self.leases.get(&partition)
                        && seen.lease.owner == Some(self.me)
                        && seen.revision != running.revision
                    {
                        running.lease = seen.lease.clone();
                        running.revision = seen.revision;
                    }
                }
                Ok(Err(error)) => tracing::debug!(%partition, %error, "lease not renewed"),
                Err(_elapsed) => tracing::debug!(%partition, "lease not renewed in time"),
            }
        }
    }

    /// An owner whose lease could not be renewed stops before anybody else may begin.
    fn stop_unrenewed(&mut self) {
        for (partition, running) in &self.running {
            if running.renewed.borrow().elapsed() > STOP_AFTER && !running.stop.is_cancelled() {
                tracing::warn!(%partition, "lease could not be renewed, partition given up");
                running.stop.cancel();
            }
        }
    }

    async fn acquire(&mut self, partition: Partition) -> Result<(), RequestError> {
        let seen = self.leases.get(&partition);
        let lease = Lease {
            owner: Some(self.me),
            epoch: seen.map_or(1, |seen| seen.lease.epoch + 1),
            renewal: 0,
        };
        let expected = seen.map_or(0, |seen| seen.revision);
        let asked = Instant::now();
        match self.store.put(partition, &lease, expected).await? {
            Swap::Stored(revision) => {
                let stop = CancellationToken::new();
                let (renewed, seen_renewed) = watch::channel(asked);
                let epoch = lease.epoch;
                let (shared, stopped) = (self.shared.clone(), stop.clone());
                self.tasks.spawn(async move {
                    let run = async {
                        let owner = tokio::select! {
                            owner = Box::pin(Owner::load(shared, partition, epoch, seen_renewed)) => owner?,
                            () = stopped.cancelled() => return Ok(()),
                        };
                        Box::pin(owner.run(stopped.clone())).await
                    };
                    // A panic is a bug of ours. What the owner had in memory goes with it; those of other
                    // partitions go on, and this one is loaded again.
                    let ended = AssertUnwindSafe(run).catch_unwind().await;
                    let ended = ended.unwrap_or_else(|panic| {
                        let message = panic_message(panic.as_ref());
                        Err(OwnerError::Panicked { partition, message })
                    });
                    Ended::Owner(partition, ended)
                });
                self.leases.insert(
                    partition,
                    Seen {
                        lease: lease.clone(),
                        revision,
                        changed: asked,
                    },
                );
                self.running.insert(
                    partition,
                    Running {
                        lease,
                        revision,
                        renewed,
                        stop,
                    },
                );
            }
            Swap::Lost => tracing::debug!(%partition, "somebody else was quicker"),
        }
        Ok(())
    }

    fn task_ended(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        match ended {
            Ok(Ended::Owner(partition, result)) => self.owner_ended(partition, result),
            Ok(Ended::Told) => {}
            // A panic is a bug of ours. The process ends loudly; another takes over.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_aborted) => {}
        }
    }

    fn owner_ended(&mut self, partition: Partition, result: Result<(), OwnerError>) {
        let Some(running) = self.running.remove(&partition) else {
            return;
        };
        if partition == schedule::HOME {
            self.shared.holds.send_replace(None);
        }
        match result {
            Ok(()) => tracing::info!(%partition, "partition given up"),
            Err(error) => {
                if matches!(error, OwnerError::Panicked { .. }) {
                    add(&self.shared.stats.panics, 1);
                }
                let error = afu9_broker::error::chain(&error);
                tracing::error!(%partition, error, "partition lost");
                self.paused.insert(partition, Instant::now() + PAUSE);
            }
        }
        let (store, lease) = (self.store.clone(), running.lease);
        let free = Lease {
            owner: None,
            renewal: lease.renewal + 1,
            ..lease
        };
        let revision = running.revision;
        // If it was taken from us meanwhile, this loses the race, as it should.
        self.tasks.spawn(async move {
            match store.put(partition, &free, revision).await {
                Ok(Swap::Stored(_) | Swap::Lost) => {}
                Err(error) => tracing::debug!(%partition, %error, "lease not given back"),
            }
            Ended::Told
        });
    }

    /// Stops every owner, and gives back each lease whose owner has stopped.
    async fn stop(&mut self) {
        for running in self.running.values() {
            running.stop.cancel();
        }
        // Not at the end: as long as this process counts, the others leave it its share.
        let (store, me) = (self.store.clone(), self.me);
        self.tasks.spawn(async move {
            if let Err(error) = store.forget(me).await {
                tracing::debug!(%error, "own membership not removed");
            }
            Ended::Told
        });
        let stopped = async {
            while let Some(ended) = self.tasks.join_next().await {
                self.task_ended(ended);
            }
        };
        if tokio::time::timeout(STOP_WITHIN, stopped).await.is_err() {
            tracing::warn!("owners did not stop in time; their leases expire by themselves");
            self.tasks.abort_all();
        }
    }
}
