//! Writing rows: one transaction per call, one statement per table, values as arrays (UNNEST).
//!
//! Called by the projector. Everything here may be repeated, interrupted and run concurrently.

use std::time::Duration;

use afu9_schemas::message::HistoryBatch;
use thiserror::Error;
use tokio::time::timeout;

use crate::failure::Failure;
use crate::{Rows, Store};

mod audit;
mod columns;
mod dead_letters;
mod executions;
mod repositories;
mod retention;
mod steps;
mod tool_calls;
mod workflows;

pub use dead_letters::Settlement;

/// A transaction of a thousand rows takes tens of milliseconds. One that takes this long talks to a
/// server that hangs, or waits for a lock that somebody forgot.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// A message is acknowledged once its rows are committed, and is gone from the stream some day. So a
/// commit must mean that the rows are on disk, whatever the server's default says. Switching this off
/// would save one fsync per thousand rows, and a crash of Postgres could then lose rows for good.
const BEGIN: &str = "BEGIN; SET LOCAL synchronous_commit = on";

/// Why rows were not written. Nothing of them was.
#[derive(Debug, Error)]
pub enum WriteError {
    /// Postgres is away or not set up: the same rows can be written later.
    #[error("the database is not available for history")]
    Unavailable(#[source] sqlx::Error),
    /// No answer in time; the rows may even be there. Write them again.
    #[error("the database did not finish writing history within {} s", WRITE_TIMEOUT.as_secs())]
    Timeout,
    /// Postgres will never take these values.
    #[error("the database refused rows of history")]
    Refused(#[source] sqlx::Error),
}

impl WriteError {
    /// Whether the same rows can be written later.
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }

    fn new(error: sqlx::Error) -> Self {
        match Failure::of(&error) {
            Failure::Data => Self::Refused(error),
            Failure::Away | Failure::Setup => Self::Unavailable(error),
        }
    }
}

/// A batch that Postgres will never take.
#[derive(Debug)]
pub struct Poison {
    /// Its position among the batches given to [`Store::write_batches`].
    pub index: usize,
    /// Why.
    pub error: WriteError,
}

/// What became of some batches.
#[derive(Debug, Default)]
pub struct Written {
    /// Rows inserted or changed; repetitions count for nothing.
    pub rows: u64,
    /// Batches of which nothing was written; all others are completely written.
    pub poison: Vec<Poison>,
}

impl Store {
    /// Writes `rows` in one transaction and returns how many were inserted or changed.
    ///
    /// Cancel-safe: a dropped call has written all or nothing, and may be repeated.
    ///
    /// # Errors
    /// [`WriteError::is_retryable`] says whether the same rows can be written later.
    pub async fn write(&self, rows: &Rows) -> Result<u64, WriteError> {
        match timeout(WRITE_TIMEOUT, self.transaction(rows)).await {
            Ok(written) => written.map_err(WriteError::new),
            Err(_) => Err(WriteError::Timeout),
        }
    }

    async fn transaction(&self, rows: &Rows) -> Result<u64, sqlx::Error> {
        let mut transaction = self.pool().begin_with(BEGIN).await?;
        let mut written = workflows::apply(&mut transaction, rows).await?;
        written += workflows::mention(&mut transaction, rows).await?;
        written += executions::upsert(&mut transaction, rows).await?;
        written += steps::upsert(&mut transaction, rows).await?;
        written += tool_calls::insert(&mut transaction, rows).await?;
        written += audit::append(&mut transaction, rows).await?;
        // Last: many executions share few repositories, and the fewer statements follow, the shorter
        // another writer waits for these rows.
        written += repositories::upsert(&mut transaction, rows).await?;
        transaction.commit().await?;
        Ok(written)
    }

    /// Writes `batches`, together where possible. Where Postgres refuses some value, the batches are
    /// divided until those that hold such values stand alone, and all others are written.
    ///
    /// Cancel-safe: may be repeated.
    ///
    /// # Errors
    /// Only such after which all of `batches` should be written again, later.
    pub async fn write_batches(&self, batches: &[&HistoryBatch]) -> Result<Written, WriteError> {
        let mut written = Written::default();
        // What is still to be written: each part with the position of its first batch.
        let mut parts = vec![(0, batches)];
        while let Some((index, part)) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            let rows = Rows::from_batches(part.iter().copied());
            match self.write(&rows).await {
                Ok(count) => written.rows += count,
                Err(error) if error.is_retryable() => return Err(error),
                Err(error) if part.len() == 1 => written.poison.push(Poison { index, error }),
                Err(_) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.push((index + first.len(), second));
                    parts.push((index, first));
                }
            }
        }
        Ok(written)
    }
}
