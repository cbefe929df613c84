//! What the tests share: a server of their own, bounded waits, and small messages that can be told
//! apart.

use std::future::Future;
use std::time::Duration;

use afu9_broker::config::{DEFAULT_ACK_WAIT, DEFAULT_KEY_AGE, Limits};
use afu9_broker::log::{LogReader, LogWriter};
use afu9_broker::work::{Delivery, WorkConsumer};
use afu9_broker::{Auth, Broker, Config, Durability, Replicas};
use afu9_schemas::message::{Cancel, Input, InputKind, Job};
use afu9_schemas::{ExecutionId, JobId, Lane, Partition, PartitionCount, Timestamp, WorkerKind};
use afu9_servers::fixture::{self, ServerFixture, StreamFiles};
use anyhow::{Context as _, Result, bail, ensure};
use async_nats::jetstream;
use async_nats::jetstream::consumer::pull;
use tokio::time::{Instant, timeout};

/// Far longer than anything here takes, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How long a wait sleeps before it looks again.
const POLL: Duration = Duration::from_millis(10);

/// Name of the work queue of [`kind`].
pub(crate) const WORK: &str = "AFU9_WORK_TEST";

pub(crate) struct World {
    nats: ServerFixture,
    durability: Durability,
}

impl World {
    pub(crate) async fn start() -> Result<Self> {
        Self::of(Durability::Fast).await
    }

    /// With a server into whose files one can look.
    pub(crate) async fn with_files() -> Result<Self> {
        let nats = tokio::task::spawn_blocking(|| fixture::nats_process("")).await??;
        let durability = Durability::Fast;
        Ok(Self { nats, durability })
    }

    pub(crate) async fn durable() -> Result<Self> {
        Self::of(Durability::Durable).await
    }

    async fn of(durability: Durability) -> Result<Self> {
        let server = match durability {
            Durability::Fast => afu9_servers::Durability::Fast,
            Durability::Durable => afu9_servers::Durability::Durable,
        };
        let nats = tokio::task::spawn_blocking(move || fixture::private_nats(server)).await??;
        Ok(Self { nats, durability })
    }

    pub(crate) fn config(&self) -> Config {
        Config {
            durability: self.durability,
            ..config(&self.nats.url)
        }
    }

    /// Another connection, with the topology in place.
    pub(crate) async fn broker(&self) -> Result<Broker> {
        self.broker_with(Limits::default()).await
    }

    pub(crate) async fn broker_with(&self, limits: Limits) -> Result<Broker> {
        let mut broker = Broker::connect(Config {
            limits,
            ..self.config()
        })
        .await?;
        broker.ensure_topology().await?;
        Ok(broker)
    }

    /// Another connection, whose server waits this long for a sign of life.
    pub(crate) async fn broker_waiting(&self, ack_wait: Duration) -> Result<Broker> {
        let mut broker = Broker::connect(Config {
            ack_wait,
            ..self.config()
        })
        .await?;
        broker.ensure_topology().await?;
        Ok(broker)
    }

    /// Another connection, by another way than the server's own address.
    pub(crate) async fn broker_at(&self, url: &str) -> Result<Broker> {
        let mut broker = Broker::connect(Config {
            url: url.to_owned(),
            ..self.config()
        })
        .await?;
        broker.ensure_topology().await?;
        Ok(broker)
    }

    /// Where the server listens, as `host:port`.
    pub(crate) fn address(&self) -> Result<String> {
        let (_, address) = self.nats.url.split_once("://").context("an address")?;
        Ok(address.to_owned())
    }

    /// JetStream without the crate under test.
    pub(crate) async fn jetstream(&self) -> Result<jetstream::Context> {
        Ok(jetstream::new(async_nats::connect(&self.nats.url).await?))
    }

    pub(crate) async fn stream_state(&self, stream: &str) -> Result<jetstream::stream::State> {
        let stream = self.jetstream().await?.get_stream(stream).await?;
        Ok(stream.cached_info().state.clone())
    }

    pub(crate) async fn consumer_info(
        &self,
        stream: &str,
        consumer: &str,
    ) -> Result<jetstream::consumer::Info> {
        let stream = self.jetstream().await?.get_stream(stream).await?;
        Ok(stream.consumer_info(consumer).await?)
    }

    /// Creates a consumer before the crate does, which then takes it as it is.
    pub(crate) async fn create_consumer(&self, stream: &str, config: pull::Config) -> Result<()> {
        let stream = self.jetstream().await?.get_stream(stream).await?;
        stream.create_consumer(config).await?;
        Ok(())
    }

    pub(crate) fn kill(&mut self) -> Result<()> {
        tokio::task::block_in_place(|| self.nats.kill())
    }

    pub(crate) fn restart(&mut self) -> Result<()> {
        tokio::task::block_in_place(|| self.nats.restart())
    }

    pub(crate) fn copy_stream(&self, stream: &str) -> Result<StreamFiles> {
        self.nats.copy_stream(stream)
    }

    pub(crate) fn lose_what_followed(
        &self,
        files: &StreamFiles,
        and_of_consumers: bool,
    ) -> Result<()> {
        self.nats.lose_what_followed(files, and_of_consumers)
    }

    pub(crate) fn pause(&mut self) -> Result<()> {
        tokio::task::block_in_place(|| self.nats.pause())
    }

    pub(crate) fn resume(&mut self) -> Result<()> {
        tokio::task::block_in_place(|| self.nats.resume())
    }
}

pub(crate) fn config(url: &str) -> Config {
    Config {
        url: url.to_owned(),
        auth: Auth::None,
        ca_file: None,
        name: "test".to_owned(),
        replicas: Replicas::One,
        durability: Durability::Fast,
        partitions: PartitionCount::new(4).expect("in range"),
        kinds: vec![kind()],
        ack_wait: DEFAULT_ACK_WAIT,
        key_age: DEFAULT_KEY_AGE,
        limits: Limits::default(),
    }
}

pub(crate) fn kind() -> WorkerKind {
    WorkerKind::new("test").expect("valid")
}

/// Awaits `future`, but not for ever.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> Result<T> {
    timeout(PATIENCE, future)
        .await
        .with_context(|| format!("waited {PATIENCE:?} for {what}"))
}

/// Calls `probe` until it gives a value. Its errors count as not yet: a server may be starting.
pub(crate) async fn until<T, F>(what: &str, mut probe: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        match (probe().await, Instant::now() > deadline) {
            (Ok(Some(value)), _) => return Ok(value),
            (Ok(None), true) => bail!("waited {PATIENCE:?} for {what}"),
            (Err(error), true) => return Err(error.context(format!("waited for {what}"))),
            (Ok(None) | Err(_), false) => tokio::time::sleep(POLL).await,
        }
    }
}

/// An input that is recognised by `name`; `padding` bytes larger than it need be.
pub(crate) fn input(name: impl ToString, padding: usize) -> Input {
    Input {
        execution: ExecutionId::derived("input"),
        kind: InputKind::Cancel(Cancel {
            by: name.to_string(),
            reason: (padding > 0).then(|| "x".repeat(padding)),
        }),
    }
}

/// What [`input`] made it of.
pub(crate) fn name_of(input: &Input) -> String {
    match &input.kind {
        InputKind::Cancel(cancel) => cancel.by.clone(),
        other => panic!("not one of our inputs: {other:?}"),
    }
}

pub(crate) async fn submit(writer: &LogWriter, partition: Partition, name: &str) -> Result<()> {
    writer.submit_to(partition, vec![input(name, 0)]).await?;
    Ok(())
}

/// What a partition holds behind a position, up to the input called `last`: where each message is
/// and what is in it.
pub(crate) async fn read_to(reader: &mut LogReader, last: &str) -> Result<Vec<(u64, Vec<String>)>> {
    let mut found: Vec<(u64, Vec<String>)> = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    loop {
        match timeout(PATIENCE, reader.next_batch(100)).await {
            Ok(Ok(batch)) => {
                for message in batch {
                    let names = message.envelope?.inputs.iter().map(name_of).collect();
                    found.push((message.sequence, names));
                }
            }
            Ok(Err(_)) => tokio::time::sleep(POLL).await,
            Err(_) => bail!("no message within {PATIENCE:?} of {last}"),
        }
        if found
            .iter()
            .any(|(_, names)| names.iter().any(|name| name == last))
        {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "{last} was not found");
    }
}

/// The inputs of `messages`, in their order.
pub(crate) fn names(messages: Vec<(u64, Vec<String>)>) -> Vec<String> {
    messages.into_iter().flat_map(|(_, names)| names).collect()
}

/// A job of an execution that is known by its name.
pub(crate) fn job(execution: &str, lane: Lane) -> Job {
    Job {
        id: JobId {
            execution: ExecutionId::derived(execution),
            step: 0,
            item: None,
            attempt: 1,
        },
        partition: Partition::new(0),
        step_name: execution.to_owned(),
        tool: "test.noop".parse().expect("valid"),
        params: serde_json::json!({}),
        lane,
        dispatched_at: Timestamp::from_micros(0),
        deadline: None,
        workflow: "test".to_owned(),
        traceparent: None,
        alone: false,
        state: None,
    }
}

/// Asks for one message until one comes.
pub(crate) async fn pull_one(consumer: &mut WorkConsumer) -> Result<Delivery> {
    within("a job", async {
        loop {
            consumer.ask(1).await?;
            if let Some(delivery) = consumer.next().await {
                return Ok(delivery);
            }
        }
    })
    .await?
}
