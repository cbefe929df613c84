//! The projector: moves history from the HISTORY stream into Postgres.
//!
//! Started by the binary, as often as one likes: projectors share the stream, and rows come out the
//! same whoever writes them. Its loop: fetch → plan transactions → write → dead-letter what Postgres
//! will never take → acknowledge.
//!
//! Invariants:
//! - A message is acknowledged only after its rows are committed or it is a dead letter.
//! - Postgres or the broker may be away for any time; the projector waits and repeats.
//! - What it holds in memory is bounded by one fetch.

use std::future::Future;
use std::time::{Duration, SystemTime};

use afu9_schemas::Timestamp;
use afu9_schemas::codec::DecodeError;
use afu9_schemas::message::HistoryBatch;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use thiserror::Error;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::Store;
use crate::store::MigrateError;

mod handle;
mod letters;
mod retention;
mod run_once;
mod stream;

pub use handle::{Handle, Status};
pub use letters::LetterProjector;
pub use retention::{Dropped, Retention};
pub use run_once::{DeadMessage, Report};
pub use stream::StreamSource;

/// One message of HISTORY, as a [`Source`] delivers it.
#[derive(Debug)]
pub struct Message {
    /// What it says, or why that could not be read.
    pub batch: Result<HistoryBatch, DecodeError>,
    /// Its place in the stream.
    pub stream_sequence: u64,
    /// How many messages the stream holds after it.
    pub pending: u64,
}

/// Where history comes from: the broker's consumer of HISTORY, or a test's.
pub trait Source: Send {
    /// Why it failed. Every failure is taken for a passing one.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The next messages: at least one, as soon as there is one, at most `max_messages`; none if
    /// there was none within `max_wait`. What is not acknowledged in time is delivered again, so
    /// they may be out of order. The call may be dropped.
    fn next_batch(
        &mut self,
        max_messages: usize,
        max_wait: Duration,
    ) -> impl Future<Output = Result<Vec<Message>, Self::Error>> + Send;

    /// Stores a dead letter for a delivered message; done when it is stored. May be repeated.
    fn dead_letter(
        &mut self,
        message: &DeadMessage,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Acknowledges every message delivered so far up to and including this place in the stream. May
    /// be repeated.
    fn acknowledge(&mut self, through: u64)
    -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// How the projector works.
#[derive(Debug, Clone)]
pub struct Config {
    /// Most messages taken at once. Each is at most 1 MiB, and what is taken is held in memory; more are
    /// taken until there are rows for every writer.
    pub max_messages: usize,
    /// Longest wait for the first message of a fetch.
    pub max_wait: Duration,
    /// How long more is waited for once there is something to write: many small transactions cost far
    /// more than one, and nobody waits for them.
    pub gather: Duration,
    /// A transaction is closed at this many rows: from here on the commit's share of a row's cost is
    /// below a tenth, while a failure repeats more work.
    pub rows_per_transaction: usize,
    /// A transaction is closed at this many bytes: steps may carry large outputs, and a statement's
    /// values are held in memory three times, here, on the wire and in Postgres.
    pub bytes_per_transaction: usize,
    /// Transactions in flight at once: while one waits for its fsync, the other inserts.
    pub writers: usize,
    /// Partitions made ahead of time.
    pub months_ahead: u16,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_messages: 32,
            max_wait: Duration::from_secs(1),
            gather: Duration::from_millis(20),
            rows_per_transaction: 1000,
            bytes_per_transaction: 8 * 1024 * 1024,
            writers: 2,
            months_ahead: 2,
        }
    }
}

/// Partitions are looked after this often; with two months ahead, a day more or less is nothing.
const PARTITIONS_EVERY: Duration = Duration::from_hours(24);

/// And this soon again where that failed.
const PARTITIONS_AGAIN: Duration = Duration::from_mins(5);

/// First and longest delay between attempts to reach Postgres or the broker. Jitter adds up to as
/// much again, so that several projectors do not come back in step; none waits over 5 s.
const BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(50))
    .with_max_delay(Duration::from_millis(2500))
    .with_jitter()
    .without_max_times();

/// Why a projector ended although nobody asked it to.
#[derive(Debug, Error)]
pub enum Error {
    /// The schema cannot be brought up to date: an operator has to look.
    #[error("history cannot be written to this database")]
    Migrate(#[source] MigrateError),
    /// A newer AFU-9 wrote this message. It stays in the stream, with all that follow, for a newer
    /// projector.
    #[error("history message {stream_sequence} was written by a newer version")]
    FromTheFuture {
        /// Its place in the stream.
        stream_sequence: u64,
    },
}

/// Moves history from a [`Source`] to a [`Store`].
#[derive(Debug)]
pub struct Projector<S> {
    config: Config,
    store: Store,
    source: S,
    handle: Handle,
}

/// Shutdown was asked for while something was waited for.
struct Stopped;

impl<S: Source> Projector<S> {
    /// A projector that does nothing until it is run.
    pub fn new(config: Config, store: Store, source: S) -> Self {
        Self {
            config,
            store,
            source,
            handle: Handle::default(),
        }
    }

    /// What it has done so far; stays valid while it runs and after.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Brings the schema up to date, then projects until `shutdown`. On shutdown the transactions in
    /// flight are finished; what is not acknowledged then is delivered again.
    ///
    /// # Errors
    /// See [`enum@Error`]. Neither Postgres nor the broker being away is one.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Error> {
        if self.migrate(&shutdown).await?.is_err() {
            return Ok(());
        }
        let mut partitions_due = Instant::now();
        loop {
            if Instant::now() >= partitions_due {
                partitions_due = Instant::now() + self.partitions().await;
            }
            let Ok(messages) = self.fetch(&shutdown).await else {
                return Ok(());
            };
            if messages.is_empty() {
                continue;
            }
            let Ok(report) = self.write(&messages, &shutdown).await else {
                return Ok(());
            };
            let Ok(()) = self.settle(&report, &shutdown).await else {
                return Ok(());
            };
            if let Some(stream_sequence) = report.from_the_future {
                return Err(Error::FromTheFuture { stream_sequence });
            }
        }
    }

    async fn migrate(&self, shutdown: &CancellationToken) -> Result<Result<(), Stopped>, Error> {
        let mut backoff = BACKOFF.build();
        loop {
            // Another process may hold the migration lock for long.
            let migrated = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(Err(Stopped)),
                migrated = self.store.migrate() => migrated,
            };
            match migrated {
                Ok(()) => {
                    self.handle.postgres_works();
                    return Ok(Ok(()));
                }
                Err(error) if error.is_retryable() => {
                    self.handle.postgres_failed(&error);
                    if pause(&mut backoff, shutdown).await.is_err() {
                        return Ok(Err(Stopped));
                    }
                }
                Err(error) => return Err(Error::Migrate(error)),
            }
        }
    }

    /// Looks after partitions and says when to do so again.
    async fn partitions(&self) -> Duration {
        match self.store.ensure_partitions(self.config.months_ahead).await {
            Ok(made) => {
                debug!(made, "monthly partitions are there");
                PARTITIONS_EVERY
            }
            Err(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot make partitions"
                );
                PARTITIONS_AGAIN
            }
        }
    }

    async fn fetch(&mut self, shutdown: &CancellationToken) -> Result<Vec<Message>, Stopped> {
        let mut backoff = BACKOFF.build();
        loop {
            let next = self
                .source
                .next_batch(self.config.max_messages, self.config.max_wait);
            let fetched = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Err(Stopped),
                fetched = next => fetched,
            };
            match fetched {
                Ok(mut messages) => {
                    self.gather(&mut messages).await;
                    // So that "everything up to here" never covers one that was not looked at.
                    messages.sort_by_key(|message| message.stream_sequence);
                    self.handle.source_works();
                    self.handle.fetched(&messages);
                    return Ok(messages);
                }
                Err(error) => self.handle.source_failed(&error),
            }
            pause(&mut backoff, shutdown).await?;
        }
    }

    /// Adds what comes within the next moment, unless there is enough for every writer.
    async fn gather(&mut self, messages: &mut Vec<Message>) {
        let until = Instant::now() + self.config.gather;
        let enough = self.config.rows_per_transaction * self.config.writers.max(1);
        let mut events = events_of(messages);
        while !messages.is_empty() && events < enough {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            match self.source.next_batch(self.config.max_messages, left).await {
                Ok(more) => {
                    events += events_of(&more);
                    messages.extend(more);
                }
                // It shows again at the next fetch.
                Err(_) => return,
            }
        }
    }

    async fn write(
        &self,
        messages: &[Message],
        shutdown: &CancellationToken,
    ) -> Result<Report, Stopped> {
        let mut backoff = BACKOFF.build();
        loop {
            match run_once::run_once(&self.config, &self.store, messages).await {
                Ok(report) => {
                    self.handle.postgres_works();
                    self.handle.wrote(&report, messages.len() as u64);
                    return Ok(report);
                }
                Err(error) => self.handle.postgres_failed(&error),
            }
            pause(&mut backoff, shutdown).await?;
        }
    }

    /// Stores the dead letters, then acknowledges.
    async fn settle(
        &mut self,
        report: &Report,
        shutdown: &CancellationToken,
    ) -> Result<(), Stopped> {
        let mut backoff = BACKOFF.build();
        let Some(through) = report.through else {
            return Ok(());
        };
        loop {
            match self.try_settle(report, through).await {
                Ok(()) => {
                    self.handle.source_works();
                    return Ok(());
                }
                Err(error) => self.handle.source_failed(&error),
            }
            pause(&mut backoff, shutdown).await?;
        }
    }

    async fn try_settle(&mut self, report: &Report, through: u64) -> Result<(), S::Error> {
        for message in &report.dead {
            self.source.dead_letter(message).await?;
        }
        self.source.acknowledge(through).await
    }
}

/// This process's clock.
fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

fn events_of(messages: &[Message]) -> usize {
    let batches = messages
        .iter()
        .filter_map(|message| message.batch.as_ref().ok());
    batches.map(|batch| batch.events.len()).sum()
}

/// Waits for the next delay of `backoff`, or for the shutdown.
async fn pause(
    backoff: &mut ExponentialBackoff,
    shutdown: &CancellationToken,
) -> Result<(), Stopped> {
    let delay = backoff.next().unwrap_or(Duration::from_secs(5));
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {
            info!("projector stops while it waits; what it holds is delivered again");
            Err(Stopped)
        }
        () = tokio::time::sleep(delay) => Ok(()),
    }
}
