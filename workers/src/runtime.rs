//! The worker runtime: `pull (free slots only) → decode → deadline and cancel check → run the tool
//! under a timeout, with signs of life → publish the result → acknowledge`.
//!
//! A job is acknowledged only after its result is stored, so that a worker may die at any instant.
//! A job that workers were lost with runs alone, so that it is told from those that were only beside it.
//! Shutdown has two stages: stop pulling and wait for what runs; then cancel it and hand it back.

mod alone;
mod gate;
mod heartbeat;
mod in_flight;
mod job;
mod lane;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use afu9_broker::log::{LogWriter, Outside};
use afu9_broker::{Broker, RequestError};
use afu9_schemas::message::{DependencyCheck, WorkReply};
use afu9_schemas::tool::kind_profile;
use afu9_schemas::{Lane, Timestamp, WorkerId, WorkerKind};
use futures::StreamExt;
use futures::future::BoxFuture;
use thiserror::Error;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::tool::Toolbox;
pub use gate::Gate;
use in_flight::InFlight;

/// How long what runs may go on after the worker was told to stop.
pub const DEFAULT_DRAIN: Duration = Duration::from_secs(25);

/// Of the slots, one in this many is kept for the interactive lane.
const INTERACTIVE_SHARE: usize = 4;

/// Signs of life within the server's patience with a job: two of them may be lost.
const SIGNS_OF_LIFE: u32 = 3;

/// Pause before the worker listens to questions again after it could not.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What can be set about a worker.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its name, unique among live workers.
    pub worker: WorkerId,
    /// The host it runs on, for people.
    pub host: String,
    /// How many jobs it runs at once; the kind's default if not given.
    pub slots: Option<usize>,
    /// How long what runs may go on after shutdown began.
    pub drain: Duration,
    /// The same for all workers of a process, so that a job that crashes them can run alone.
    pub gate: Gate,
}

/// Checks what the tools depend on; called before heartbeats.
pub type Checks = Arc<dyn Fn() -> BoxFuture<'static, Vec<DependencyCheck>> + Send + Sync>;

/// Why a worker cannot begin, or ended by itself.
#[derive(Debug, Error)]
pub enum Error {
    /// There is no such kind.
    #[error("there is no worker kind `{0}`")]
    UnknownKind(String),
    /// The server does not answer.
    #[error("cannot start the worker")]
    Broker(#[from] RequestError),
}

/// One worker of one kind.
pub struct Worker {
    broker: Broker,
    toolbox: Toolbox,
    config: Config,
    checks: Option<Checks>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("config", &self.config)
            .field("toolbox", &self.toolbox)
            .finish_non_exhaustive()
    }
}

/// What the parts of one worker share.
#[derive(Clone)]
struct Shared {
    broker: Broker,
    toolbox: Arc<Toolbox>,
    config: Config,
    writer: LogWriter,
    in_flight: Arc<InFlight>,
    tool_timeout: Duration,
    /// Told when running tools must stop and their jobs be handed back.
    abandon: CancellationToken,
}

impl Shared {
    fn gate(&self) -> &Gate {
        &self.config.gate
    }

    /// How often the server is told that a job is being worked on.
    fn sign_of_life(&self) -> Duration {
        self.broker.config().ack_wait / SIGNS_OF_LIFE
    }
}

/// Pause before a work queue that is not there is looked for again: at first, and at most, so that work
/// begins within seconds of its being there.
const QUEUE_PAUSE: Duration = Duration::from_millis(250);
const MAX_QUEUE_PAUSE: Duration = Duration::from_secs(5);

impl Worker {
    /// A worker with the tools of `toolbox`.
    pub fn new(broker: Broker, toolbox: Toolbox, config: Config) -> Self {
        Self {
            broker,
            toolbox,
            config,
            checks: None,
        }
    }

    /// The same worker with dependency checks in its heartbeats.
    #[must_use]
    pub fn with_checks(mut self, checks: Checks) -> Self {
        self.checks = Some(checks);
        self
    }

    /// Waits for the work queue. In durable mode it is in the memory of a server that may have been
    /// restarted; then an orchestrator creates it again.
    async fn queue_is_there(&self, kind: &WorkerKind) {
        let mut pause = QUEUE_PAUSE;
        while let Err(error) = self.broker.ensure_work_consumers(kind).await {
            let error = afu9_broker::error::chain(&error);
            tracing::warn!(%kind, error, "the work queue is not there yet, waiting for it");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_QUEUE_PAUSE);
        }
    }

    /// Runs until `shutdown`, then drains.
    ///
    /// # Errors
    /// When it cannot begin. Once it has begun, the server is waited for.
    ///
    /// # Panics
    /// When one of its own tasks panicked, which is a bug: the process shall end loudly rather than
    /// be half alive. A tool that panics fails its job and nothing else.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let kind = self.toolbox.kind().clone();
        let profile = kind_profile(&kind).ok_or_else(|| Error::UnknownKind(kind.to_string()))?;
        tokio::select! {
            () = self.queue_is_there(&kind) => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        let slots = self.config.slots.unwrap_or(profile.default_slots).max(2);
        let in_flight = Arc::new(InFlight::new(slots));
        let cancels = self.broker.cancels().await?;
        let (writer, writing) = LogWriter::start_outside(self.broker.clone(), Outside::Worker);
        let abandon = CancellationToken::new();
        let shared = Shared {
            broker: self.broker.clone(),
            toolbox: Arc::new(self.toolbox),
            config: self.config,
            writer,
            in_flight: Arc::clone(&in_flight),
            tool_timeout: profile.tool_timeout,
            abandon: abandon.clone(),
        };
        tracing::info!(%kind, worker = %shared.config.worker, slots, "worker started");

        let side = CancellationToken::new();
        let mut side_tasks = JoinSet::new();
        side_tasks.spawn(heartbeat::run(
            shared.clone(),
            self.checks,
            shutdown.clone(),
            side.clone(),
        ));
        side_tasks.spawn({
            let (in_flight, side) = (Arc::clone(&in_flight), side.clone());
            async move {
                let mut cancels = std::pin::pin!(cancels);
                loop {
                    tokio::select! {
                        () = side.cancelled() => return,
                        Some(notice) = cancels.next() => in_flight.cancel(notice),
                    }
                }
            }
        });

        side_tasks.spawn(answer_questions(shared.clone(), side.clone()));

        let interactive = (slots / INTERACTIVE_SHARE).max(1);
        let mut lanes = JoinSet::new();
        for lane in Lane::ALL {
            let slots = match lane {
                Lane::Interactive => interactive,
                Lane::Bulk => slots - interactive,
            };
            let messages = (slots / profile.jobs_per_message).max(1);
            lanes.spawn(lane::run(shared.clone(), lane, messages, shutdown.clone()));
        }
        lanes.spawn(alone::run(shared.clone(), shutdown.clone()));
        while let Some(ended) = lanes.join_next().await {
            resume_panic(ended);
        }
        side.cancel();
        while let Some(ended) = side_tasks.join_next().await {
            resume_panic(ended);
        }
        drop(shared);
        writing.finished().await;
        self.broker.flush().await?;
        Ok(())
    }
}

/// This process's clock.
pub(crate) fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

/// Tells whoever asks which jobs this worker runs, until `end`.
async fn answer_questions(shared: Shared, end: CancellationToken) {
    let answering = async {
        loop {
            let answered = shared.broker.answer_work_queries(|query| {
                let running = shared.in_flight.running(&query.jobs);
                (!running.is_empty()).then(|| WorkReply {
                    worker: shared.config.worker.clone(),
                    running,
                })
            });
            if let Err(error) = answered.await {
                tracing::debug!(%error, "questions not readable, trying again");
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    };
    tokio::select! {
        () = end.cancelled() => {}
        () = answering => {}
    }
}

fn resume_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}
