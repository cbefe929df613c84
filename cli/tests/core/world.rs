//! What the tests of the core share: a nats-server of their own, roles in this process, and all
//! history as it is published.
//!
//! `record` keeps the history, `look` asks what is and waits for it, `wish` asks for changes, and
//! `probe` is a worker that notes when it runs what, and `server` looks at the streams as they are.

mod look;
mod probe;
mod record;
mod server;
mod wish;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use afu9_broker::config::{DEFAULT_ACK_WAIT, DEFAULT_KEY_AGE, Limits};
use afu9_broker::log::LogWriter;
use afu9_broker::{Auth, Broker, Config, Durability, Replicas};
use afu9_engine::Workflow;
use afu9_engine::submit::{self, SubmitError};
use afu9_orchestrator::{Orchestrator, Stats, StatsSnapshot};
use afu9_schemas::definition::ReadOptions;
use afu9_schemas::message::{Input, InputKind, Start, Trigger, TriggerKind, WorkflowRef};
use afu9_schemas::{
    DefinitionHash, ExecutionId, Partition, PartitionCount, Timestamp, WorkerId, WorkerKind,
};
use afu9_servers::fixture::{self, ServerFixture};
use afu9_workers::runtime;
use afu9_workers::tool::Toolbox;
use anyhow::{Context, Result};
use futures::future::try_join_all;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use probe::Probe;
use record::Record;
pub(crate) use server::{Server, until};
pub(crate) use wish::wish;

/// Far longer than anything here takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a wait sleeps before it asks again.
const POLL: Duration = Duration::from_millis(10);

/// Inputs that are handed to the writer together.
const SUBMITTED_AT_ONCE: usize = 256;

pub(crate) struct World {
    pub(crate) nats: ServerFixture,
    shape: Shape,
    broker: Broker,
    writer: LogWriter,
    /// What was applied, compiled.
    workflows: Mutex<HashMap<DefinitionHash, Arc<Workflow>>>,
    record: Record,
    tracker: TaskTracker,
    end: CancellationToken,
}

/// What a world is like.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) durability: Durability,
    pub(crate) kinds: Vec<&'static str>,
    pub(crate) limits: Limits,
    pub(crate) ack_wait: Duration,
    /// One looks into the files of its server.
    pub(crate) files: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            durability: Durability::Fast,
            kinds: vec!["test", "github"],
            limits: Limits::default(),
            ack_wait: DEFAULT_ACK_WAIT,
            files: false,
        }
    }
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

    /// Waits until it ends by itself.
    pub(crate) async fn ended(&self) {
        while !self.task.is_finished() {
            tokio::time::sleep(POLL).await;
        }
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
        Self::start_as(Shape {
            durability,
            ..Shape::default()
        })
        .await
    }

    pub(crate) async fn start_as(shape: Shape) -> Result<Self> {
        let (durability, files) = (shape.durability, shape.files);
        // Shown when a test fails, or with --nocapture; RUST_LOG chooses what.
        let _already_set = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let nats = tokio::task::spawn_blocking(move || match durability {
            Durability::Fast if files => fixture::nats_process(""),
            Durability::Fast => fixture::private_nats(afu9_servers::Durability::Fast),
            Durability::Durable => fixture::private_nats(afu9_servers::Durability::Durable),
        })
        .await??;
        let mut broker = Broker::connect(config(&nats.url, &shape)).await?;
        broker.ensure_topology().await?;
        let (writer, _writing) = LogWriter::start(broker.clone());
        let record = Record::default();
        let tracker = TaskTracker::new();
        let end = CancellationToken::new();
        let history = broker.observe_history().await?;
        tracker.spawn(record::keep(
            record.clone(),
            broker.clone(),
            history,
            end.clone(),
        ));
        Ok(Self {
            nats,
            shape,
            broker,
            writer,
            workflows: Mutex::default(),
            record,
            tracker,
            end,
        })
    }

    pub(crate) fn url(&self) -> &str {
        &self.nats.url
    }

    pub(crate) fn broker(&self) -> &Broker {
        &self.broker
    }

    /// A connection of its own.
    pub(crate) async fn connect(&self) -> Result<Broker> {
        let mut broker = Broker::connect(config(&self.nats.url, &self.shape)).await?;
        broker.ensure_topology().await?;
        Ok(broker)
    }

    pub(crate) fn orchestrator(&self) -> Role {
        self.orchestrator_with(afu9_orchestrator::Config::default())
    }

    pub(crate) fn orchestrator_with(&self, role: afu9_orchestrator::Config) -> Role {
        let stop = CancellationToken::new();
        let (url, shape) = (self.nats.url.clone(), self.shape.clone());
        let stopped = stop.clone();
        let (sender, receiver) = std::sync::mpsc::channel();
        let task = self.tracker.spawn(async move {
            let mut broker = Broker::connect(config(&url, &shape)).await?;
            broker.ensure_topology().await?;
            let orchestrator = Orchestrator::new(broker, role);
            sender.send(orchestrator.stats())?;
            orchestrator.run(stopped).await?;
            Ok(())
        });
        let stats = tokio::task::block_in_place(|| receiver.recv().ok());
        Role { stop, task, stats }
    }

    /// A worker of the test kind.
    pub(crate) fn worker(&self) -> Role {
        self.worker_with(afu9_workers::test::toolbox())
    }

    /// A worker with these tools.
    pub(crate) fn worker_with(&self, toolbox: Toolbox) -> Role {
        let stop = CancellationToken::new();
        let (url, shape, stopped) = (self.nats.url.clone(), self.shape.clone(), stop.clone());
        let task = self.tracker.spawn(async move {
            let broker = Broker::connect(config(&url, &shape)).await?;
            let config = runtime::Config {
                worker: WorkerId::new("test-1")?,
                host: "here".to_owned(),
                slots: None,
                drain: Duration::from_secs(5),
                gate: runtime::Gate::default(),
            };
            let worker = runtime::Worker::new(broker, toolbox, config);
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
        let name = compiled.workflow.definition.name.clone();
        let now = Timestamp::from_micros(0);
        let applied = self
            .broker
            .definitions()
            .await?
            .apply(&name, &compiled.value, "test", now)
            .await?;
        let reference = applied.record.workflow;
        self.workflows
            .lock()
            .expect("not poisoned")
            .insert(reference.hash, Arc::new(compiled.workflow));
        Ok(reference)
    }

    /// What was applied as `reference`.
    pub(crate) fn workflow(&self, reference: &WorkflowRef) -> Arc<Workflow> {
        let workflows = self.workflows.lock().expect("not poisoned");
        Arc::clone(&workflows[&reference.hash])
    }

    /// A submission by `test`, with what the definition says about it filled in.
    pub(crate) fn submission(
        &self,
        workflow: &WorkflowRef,
        input: Value,
    ) -> Result<Start, SubmitError> {
        let mut start = Start::new(
            workflow.clone(),
            input,
            Trigger {
                kind: TriggerKind::Manual,
                by: "test".to_owned(),
                delivery: None,
                depth: 0,
                initiator: None,
            },
        );
        submit::prepare(&self.workflow(workflow), &mut start)?;
        Ok(start)
    }

    pub(crate) async fn start_many(
        &self,
        workflow: &WorkflowRef,
        input: Value,
        count: usize,
    ) -> Result<Vec<ExecutionId>> {
        let start = self.submission(workflow, input)?;
        self.submit_starts(vec![start; count]).await
    }

    /// One execution.
    pub(crate) async fn start_one(
        &self,
        workflow: &WorkflowRef,
        input: Value,
    ) -> Result<ExecutionId> {
        let ids = self.start_many(workflow, input, 1).await?;
        Ok(ids[0])
    }

    /// Stores submissions under new ids; those of one key in their order.
    pub(crate) async fn submit_starts(&self, starts: Vec<Start>) -> Result<Vec<ExecutionId>> {
        let partitions = self.broker.partitions();
        let submitted = starts.into_iter().map(|start| {
            let id = ExecutionId::new_for(start.key.as_deref(), partitions);
            (id, InputKind::Start(Box::new(start)))
        });
        self.submit_all(submitted).await
    }

    pub(crate) async fn submit(&self, execution: ExecutionId, kind: InputKind) -> Result<()> {
        self.submit_all([(execution, kind)]).await?;
        Ok(())
    }

    /// Stores inputs, those of one partition in their order, and returns the executions they are
    /// for.
    pub(crate) async fn submit_all(
        &self,
        inputs: impl IntoIterator<Item = (ExecutionId, InputKind)>,
    ) -> Result<Vec<ExecutionId>> {
        let mut ids = Vec::new();
        let mut by_partition: BTreeMap<Partition, Vec<Input>> = BTreeMap::new();
        for (execution, kind) in inputs {
            ids.push(execution);
            let partition = self.broker.partitions().of(execution);
            let inputs = by_partition.entry(partition).or_default();
            inputs.push(Input { execution, kind });
        }
        let writing = by_partition
            .into_iter()
            .map(|(partition, inputs)| async move {
                for chunk in inputs.chunks(SUBMITTED_AT_ONCE) {
                    let stored = self.writer.submit_to(partition, chunk.to_vec()).await;
                    stored.context("the log takes inputs")?;
                }
                anyhow::Ok(())
            });
        try_join_all(writing).await?;
        Ok(ids)
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

pub(crate) fn config(url: &str, shape: &Shape) -> Config {
    Config {
        url: url.to_owned(),
        auth: Auth::None,
        ca_file: None,
        name: "test".to_owned(),
        replicas: Replicas::One,
        durability: shape.durability,
        partitions: PartitionCount::new(4).expect("in range"),
        kinds: shape
            .kinds
            .iter()
            .map(|kind| WorkerKind::new(*kind).expect("valid"))
            .collect(),
        ack_wait: shape.ack_wait,
        key_age: DEFAULT_KEY_AGE,
        limits: shape.limits,
    }
}
