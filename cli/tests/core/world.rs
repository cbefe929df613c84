//! What the tests of the core share: a nats-server of their own, roles in this process, and all
//! history as it is published.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use afu9_broker::log::LogWriter;
use afu9_broker::{Auth, Broker, Config, Durability, Replicas};
use afu9_orchestrator::{Orchestrator, Stats, StatsSnapshot};
use afu9_schemas::definition::ReadOptions;
use afu9_schemas::message::history::{ExecutionEnded, HistoryKind, StepEnded};
use afu9_schemas::message::{
    HistoryEvent, Input, InputKind, Query, QueryReply, Start, Trigger, TriggerKind, WorkflowRef,
};
use afu9_schemas::view::StepStatus;
use afu9_schemas::{ExecutionId, Lane, PartitionCount, Timestamp, WorkerId, WorkerKind};
use afu9_servers::fixture::{self, ServerFixture};
use afu9_workers::runtime;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Far longer than anything here takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    nats: ServerFixture,
    durability: Durability,
    broker: Broker,
    writer: LogWriter,
    events: Arc<Mutex<Vec<HistoryEvent>>>,
    tracker: TaskTracker,
    end: CancellationToken,
}

pub(crate) struct Role {
    stop: CancellationToken,
    task: JoinHandle<Result<()>>,
    stats: Option<Arc<Stats>>,
}

impl Role {
    pub(crate) async fn stop(self) -> Result<()> {
        self.stop.cancel();
        self.task.await?
    }

    /// Ends it at its next await, without any farewell.
    pub(crate) async fn abort(self) {
        self.task.abort();
        let _aborted = self.task.await;
    }

    pub(crate) fn stats(&self) -> StatsSnapshot {
        self.stats
            .as_ref()
            .map(|stats| stats.snapshot())
            .unwrap_or_default()
    }
}

impl World {
    pub(crate) async fn start() -> Result<Self> {
        Self::start_with(Durability::Fast).await
    }

    pub(crate) async fn start_with(durability: Durability) -> Result<Self> {
        // Shown when a test fails, or with --nocapture; RUST_LOG chooses what.
        let _already_set = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let nats = tokio::task::spawn_blocking(move || {
            fixture::private_nats(match durability {
                Durability::Fast => afu9_servers::Durability::Fast,
                Durability::Durable => afu9_servers::Durability::Durable,
            })
        })
        .await??;
        let mut broker = Broker::connect(config(&nats.url, durability)).await?;
        broker.ensure_topology().await?;
        let (writer, _writing) = LogWriter::start(broker.clone());
        let events = Arc::new(Mutex::new(Vec::new()));
        let tracker = TaskTracker::new();
        let end = CancellationToken::new();
        let mut history = broker.observe_history().await?;
        tracker.spawn({
            let (events, end) = (Arc::clone(&events), end.clone());
            let broker = broker.clone();
            async move {
                let mut last = 0;
                loop {
                    let batch = tokio::select! {
                        batch = history.next_batch(256) => batch,
                        () = end.cancelled() => return,
                    };
                    let Ok(batch) = batch else {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        if let Ok(reopened) = broker.observe_history().await {
                            history = reopened;
                        }
                        continue;
                    };
                    for message in batch {
                        if message.stream_sequence <= last {
                            continue;
                        }
                        last = message.stream_sequence;
                        let decoded = message.decode().expect("our own history");
                        events.lock().expect("not poisoned").extend(decoded.events);
                    }
                }
            }
        });
        Ok(Self {
            nats,
            durability,
            broker,
            writer,
            events,
            tracker,
            end,
        })
    }

    pub(crate) fn broker(&self) -> &Broker {
        &self.broker
    }

    pub(crate) fn orchestrator(&self) -> Role {
        let stop = CancellationToken::new();
        let (url, durability) = (self.nats.url.clone(), self.durability);
        let stopped = stop.clone();
        let (sender, receiver) = std::sync::mpsc::channel();
        let task = self.tracker.spawn(async move {
            let mut broker = Broker::connect(config(&url, durability)).await?;
            broker.ensure_topology().await?;
            let orchestrator = Orchestrator::new(broker, afu9_orchestrator::Config::default());
            sender.send(orchestrator.stats())?;
            orchestrator.run(stopped).await?;
            Ok(())
        });
        let stats = tokio::task::block_in_place(|| receiver.recv().ok());
        Role { stop, task, stats }
    }

    pub(crate) fn worker(&self) -> Role {
        let stop = CancellationToken::new();
        let (url, durability, stopped) = (self.nats.url.clone(), self.durability, stop.clone());
        let task = self.tracker.spawn(async move {
            let broker = Broker::connect(config(&url, durability)).await?;
            let config = runtime::Config {
                worker: WorkerId::new("test-1")?,
                host: "here".to_owned(),
                slots: None,
                drain: Duration::from_secs(5),
            };
            let worker = runtime::Worker::new(broker, afu9_workers::test::toolbox(), config);
            worker.run(stopped).await?;
            Ok(())
        });
        Role {
            stop,
            task,
            stats: None,
        }
    }

    pub(crate) async fn apply(&self, source: &str) -> Result<WorkflowRef> {
        let compiled = afu9_engine::workflow::compile(source, ReadOptions::default())
            .map_err(|mistakes| anyhow::anyhow!("{mistakes:?}"))?;
        let name = &compiled.workflow.definition.name;
        let now = Timestamp::from_micros(0);
        let applied = self
            .broker
            .definitions()
            .await?
            .apply(name, &compiled.value, "test", now)
            .await?;
        Ok(applied.record.workflow)
    }

    pub(crate) async fn start_many(
        &self,
        workflow: &WorkflowRef,
        input: Value,
        count: usize,
    ) -> Result<Vec<ExecutionId>> {
        let mut ids = Vec::new();
        for _ in 0..count {
            let execution = ExecutionId::new();
            let start = Start {
                workflow: workflow.clone(),
                input: input.clone(),
                repository: None,
                trigger: Trigger {
                    kind: TriggerKind::Manual,
                    by: "test".to_owned(),
                    delivery: None,
                },
                lane: Lane::Bulk,
                traceparent: None,
            };
            self.submit(execution, InputKind::Start(Box::new(start)))
                .await?;
            ids.push(execution);
        }
        Ok(ids)
    }

    pub(crate) async fn submit(&self, execution: ExecutionId, kind: InputKind) -> Result<()> {
        self.writer.submit(Input { execution, kind }).await?;
        Ok(())
    }

    pub(crate) fn events(&self) -> Vec<HistoryEvent> {
        self.events.lock().expect("not poisoned").clone()
    }

    /// How many executions have ended.
    pub(crate) fn ended(&self) -> usize {
        let ended = |event: &&HistoryEvent| matches!(event.kind, HistoryKind::ExecutionEnded(_));
        self.events
            .lock()
            .expect("not poisoned")
            .iter()
            .filter(ended)
            .count()
    }

    pub(crate) async fn wait_for_ends(
        &self,
        ids: &[ExecutionId],
    ) -> Result<HashMap<ExecutionId, ExecutionEnded>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ends: HashMap<ExecutionId, ExecutionEnded> = self
                .events()
                .into_iter()
                .filter_map(|event| match event.kind {
                    HistoryKind::ExecutionEnded(ended) => Some((event.execution?, *ended)),
                    _ => None,
                })
                .collect();
            let missing: Vec<_> = ids.iter().filter(|id| !ends.contains_key(id)).collect();
            if missing.is_empty() {
                return Ok(ends);
            }
            if Instant::now() > deadline {
                let first = *missing[0];
                let partition = self.broker.partitions().of(first);
                let view = self
                    .broker
                    .ask(partition, &Query::Show { execution: first })
                    .await?;
                bail!(
                    "{} of {} did not end, for example {view:?}",
                    missing.len(),
                    ids.len()
                );
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn wait_until_running(&self, id: ExecutionId) -> Result<()> {
        let partition = self.broker.partitions().of(id);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(QueryReply::Execution(view)) = self
                .broker
                .ask(partition, &Query::Show { execution: id })
                .await?
                && view
                    .steps
                    .iter()
                    .any(|step| step.status == StepStatus::Running)
            {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{id} does not run");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn wait_until_log_is_empty(&self, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        loop {
            let held = self.broker.log_size().await?;
            if held == 0 {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the log still holds {held} messages");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn step(&self, id: ExecutionId, name: &str) -> StepEnded {
        self.events()
            .into_iter()
            .find_map(|event| match event.kind {
                HistoryKind::StepEnded(step)
                    if event.execution == Some(id) && step.name == name =>
                {
                    Some(*step)
                }
                _ => None,
            })
            .context(format!("step {name} of {id}"))
            .expect("the step has ended")
    }

    /// Every execution's events are numbered from 1 without a gap; a number that comes twice (after
    /// a replay) says the same thing twice.
    pub(crate) fn assert_history_is_gapless(&self) {
        let mut by_execution: BTreeMap<ExecutionId, BTreeMap<u32, HistoryEvent>> = BTreeMap::new();
        for event in self.events() {
            let Some(id) = event.execution else { continue };
            let numbered = by_execution.entry(id).or_default();
            match numbered.get(&event.number) {
                Some(before) => assert_eq!(before.kind, event.kind, "{id}: {}", event.number),
                None => {
                    numbered.insert(event.number, event);
                }
            }
        }
        for (id, events) in by_execution {
            let numbers: Vec<u32> = events.keys().copied().collect();
            let expected: Vec<u32> = (1..=u32::try_from(numbers.len()).expect("few")).collect();
            assert_eq!(numbers, expected, "{id}");
        }
    }

    pub(crate) fn kill_and_restart_nats(&mut self) -> Result<()> {
        tokio::task::block_in_place(|| {
            self.nats.kill()?;
            self.nats.restart()
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

fn config(url: &str, durability: Durability) -> Config {
    Config {
        url: url.to_owned(),
        auth: Auth::None,
        ca_file: None,
        name: "test".to_owned(),
        replicas: Replicas::One,
        durability,
        partitions: PartitionCount::new(4).expect("in range"),
        kinds: vec![WorkerKind::new("test").expect("valid")],
        limits: afu9_broker::config::Limits::default(),
    }
}
