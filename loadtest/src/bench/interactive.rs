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
        let storm = Load {
            name: "storm",
            shape: Shape::Items {
                count: scale.items,
                parallel: scale.parallel,
            },
            lane: Lane::Bulk,
            pace: Pace::Concurrency(scale.lists),
            most: MOST_EXECUTIONS,
            length: scale.paced_length + MARGIN * 2,
        };
        let urgent = Load {
            name: "in the storm",
            ..urgent
        };
        let runs = self
            .loads(&[(storm, Duration::ZERO), (urgent, MARGIN)])
            .await?;
        let Ok([storm, stormy]) = <[Run; 2]>::try_from(runs) else {
            bail!("two loads have two runs");
        };
        self.out.set("interactive_p50_ms", alone.p50_ms);
        self.out.set("interactive_p99_ms", alone.p99_ms);
        self.out.set("interactive_storm_p50_ms", stormy.p50_ms);
        self.out.set("interactive_storm_p99_ms", stormy.p99_ms);
        self.out.loads.extend([alone, storm, stormy]);
        Ok(())
    }
}
