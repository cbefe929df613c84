//! Waits for the last row: what is not in Postgres has not been done.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::Instant;
use uuid::Uuid;

use crate::system::System;

/// History comes within this time after the last end, or not at all.
const WITHIN: Duration = Duration::from_secs(120);

/// Between two looks at first: what a throughput of seconds may be off by.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Each look counts rows, which takes Postgres away from writing them: where there is much to wait
/// for, looks are as far apart as this share of what was waited so far.
const SHARE: u32 = 10;

/// The beginning of a load. Ids of executions are ordered by time, so that what came later is found
/// without a look at what came before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark(Uuid);

/// What a load must have left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Rows {
    /// The status of its executions.
    pub(super) status: &'static str,
    /// Executions of this status.
    pub(super) executions: u64,
    /// Completed steps; items are no steps.
    pub(super) steps: u64,
}

impl Rows {
    /// Those of another load besides, whose executions have the same status.
    pub(super) fn add(&mut self, other: Self) {
        self.status = other.status;
        self.executions += other.executions;
        self.steps += other.steps;
    }
}

impl Mark {
    /// All executions that are started from now on.
    pub(super) fn now() -> Self {
        let now = Uuid::now_v7();
        // The first id of this millisecond: others make theirs with other random bits.
        Self(Uuid::from_u128(now.as_u128() >> 80 << 80))
    }

    /// Returns the instant at which Postgres said that it has all of `wanted`.
    pub(super) async fn wait(self, system: &System, wanted: Rows) -> Result<Instant> {
        let begun = Instant::now();
        loop {
            let executions = self.executions(system, wanted.status)?;
            if executions >= wanted.executions {
                let complete = Instant::now();
                // They are written before the end of their execution, or with it.
                let steps = self.steps(system)?;
                let status = wanted.status;
                let found = Rows {
                    status,
                    executions,
                    steps,
                };
                if found == wanted {
                    return Ok(complete);
                }
                if executions > wanted.executions || steps > wanted.steps {
                    bail!(
                        "history has {found:?}, which is more than was accepted, {wanted:?}: a submission \
                         that was answered 503 was stored, or something ran twice"
                    );
                }
            }
            if begun.elapsed() > WITHIN {
                bail!(
                    "history has {executions} of {} executions {WITHIN:?} after the last has ended; logs: {}",
                    wanted.executions,
                    system.directory().display()
                );
            }
            tokio::time::sleep(LOOK_EVERY.max(begun.elapsed() / SHARE)).await;
        }
    }

    fn executions(self, system: &System, status: &str) -> Result<u64> {
        let since = format!("workflow_executions WHERE id >= '{}'", self.0);
        count(system, &format!("{since} AND status = '{status}'"))
    }

    fn steps(self, system: &System) -> Result<u64> {
        let since = format!("workflow_steps WHERE execution_id >= '{}'", self.0);
        let completed = "status = 'completed' AND item_index = -1";
        count(system, &format!("{since} AND {completed}"))
    }
}

fn count(system: &System, from: &str) -> Result<u64> {
    let rows = system.query(&format!("SELECT count(*) FROM {from}"))?;
    let first = rows.rows.first().and_then(|row| row.first());
    let first = first.context("a count has one row")?;
    first.parse().context("a count is a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_starts_after_a_mark_is_behind_it() {
        let before = Uuid::now_v7();
        let mark = Mark::now();
        for _ in 0..100 {
            assert!(Uuid::now_v7() >= mark.0);
        }
        // Unless both fell into one millisecond.
        assert!(before < mark.0 || before.as_u128() >> 80 == mark.0.as_u128() >> 80);
    }
}
