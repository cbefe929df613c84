//! Forgetting history that is older than somebody wants to keep it, once a day.
//!
//! Runs beside the projectors, as often as there are some; what one has dropped, another finds gone.

use std::time::Duration;

use afu9_broker::error::chain;
use afu9_schemas::Timestamp;
use tokio_util::sync::CancellationToken;

use super::now;
use crate::Store;
use crate::query::QueryError;

/// Days are what is chosen in.
const DAY: Duration = Duration::from_hours(24);

/// Executions deleted by one statement: some milliseconds, so that nobody waits for its locks.
const BATCH: u32 = 500;

/// Pause between two of them: writers of history come first.
const PAUSE: Duration = Duration::from_millis(50);

/// Pause before a pass that failed is begun again: the tables may not be there yet.
const AGAIN: Duration = Duration::from_mins(5);

/// Forgets history after `keep`.
#[derive(Debug)]
pub struct Retention {
    store: Store,
    keep: Duration,
}

/// What one pass has dropped.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Executions, with what was called for them.
    pub executions: u64,
    /// Months of steps, by the names of their tables.
    pub months: Vec<String>,
}

impl Retention {
    /// One that does nothing until it is run.
    pub const fn new(store: Store, keep: Duration) -> Self {
        Self { store, keep }
    }

    /// Forgets until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        loop {
            let passed = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                passed = self.run_once(now()) => passed,
            };
            let pause = match passed {
                Ok(dropped) => {
                    if dropped != Dropped::default() {
                        let (executions, months) = (dropped.executions, dropped.months);
                        tracing::info!(executions, ?months, "old history dropped");
                    }
                    DAY
                }
                Err(error) => {
                    tracing::warn!(error = chain(&error), "old history stays for now");
                    AGAIN
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Forgets what is too old at `now`. May be dropped at any time; what is left is for the next pass.
    ///
    /// # Errors
    /// When Postgres is away or busy: try again later.
    pub async fn run_once(&self, now: Timestamp) -> Result<Dropped, QueryError> {
        let kept = i64::try_from(self.keep.as_micros()).unwrap_or(i64::MAX);
        let before = Timestamp::from_micros(now.as_micros().saturating_sub(kept));
        let mut dropped = Dropped::default();
        loop {
            let executions = self.store.drop_old_executions(before, BATCH).await?;
            dropped.executions += executions;
            if executions == 0 {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        // Each call leaves one month less to do.
        while let Some(month) = self.store.drop_old_steps(before).await? {
            dropped.months.push(month);
        }
        Ok(dropped)
    }
}
