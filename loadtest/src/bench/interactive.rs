//! What somebody waits for, while thousands of jobs that nobody waits for are queued for the same workers.

use std::time::Duration;

use afu9_schemas::Lane;
use anyhow::{Result, bail};

use super::measurement::Run;
use super::phases::{Bench, Load};
use super::scale::MOST_EXECUTIONS;
use crate::load::{Pace, Shape};

/// The storm begins so long before, and starts lists for so long after: it blows all the time.
const MARGIN: Duration = Duration::from_secs(1);

/// How long the items of the slow lists take, as those do that call something, and which part of the usual
/// number there are.
const SLOW_MS: u64 = 100;
const SLOW_SHARE: usize = 10;

impl Bench<'_> {
    pub(super) async fn interactive(&mut self) -> Result<()> {
        let scale = self.options.scale;
        let urgent = Load {
            name: "interactive",
            shape: Shape::Steps(1),
            lane: Lane::Interactive,
            pace: Pace::Rate(scale.interactive_per_s),
            most: MOST_EXECUTIONS,
            length: scale.paced_length,
        };
        let alone = self.load(&urgent).await?;
        // Jobs of no time use up the processors; jobs that take theirs use up the workers.
        let (storm, stormy) = self.stormy("storm", scale.items, 0, &urgent).await?;
        let (queue, queued) = self
            .stormy("queue", scale.items / SLOW_SHARE, SLOW_MS, &urgent)
            .await?;
        self.out.set("interactive_p50_ms", alone.p50_ms);
        self.out.set("interactive_p99_ms", alone.p99_ms);
        self.out.set("interactive_storm_p50_ms", stormy.p50_ms);
        self.out.set("interactive_storm_p99_ms", stormy.p99_ms);
        self.out.set("interactive_queued_p50_ms", queued.p50_ms);
        self.out.set("interactive_queued_p99_ms", queued.p99_ms);
        self.out.loads.extend([alone, storm, stormy, queue, queued]);
        Ok(())
    }

    /// Runs `urgent` while lists whose items take `ms` milliseconds are in progress all the time.
    async fn stormy(
        &mut self,
        name: &'static str,
        items: usize,
        ms: u64,
        urgent: &Load,
    ) -> Result<(Run, Run)> {
        let scale = self.options.scale;
        let storm = Load {
            name,
            shape: Shape::Items {
                count: items,
                parallel: scale.parallel.min(items),
                ms,
            },
            lane: Lane::Bulk,
            pace: Pace::Concurrency(scale.lists),
            most: MOST_EXECUTIONS,
            length: scale.paced_length + MARGIN * 2,
        };
        let urgent = Load {
            name: "interactive beside it",
            ..*urgent
        };
        let runs = self
            .loads(&[(storm, Duration::ZERO), (urgent, MARGIN)])
            .await?;
        let Ok([storm, stormy]) = <[Run; 2]>::try_from(runs) else {
            bail!("two loads have two runs");
        };
        Ok((storm, stormy))
    }
}
