//! Whether cost grows with what is there: steps per second with few and with many finished
//! executions, and with few and with many that are live.

use afu9_schemas::Lane;
use anyhow::{Result, ensure};

use crate::load::{Pace, Shape};

use super::phases::{Bench, Load, STEPS};
use super::scale::{FILL_AT_MOST, MOST_EXECUTIONS};

/// How many executions there are, before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Finished ones, whose history is in Postgres.
    pub finished: [usize; 2],
    /// Live ones, which sleep.
    pub live: [usize; 2],
}

impl Default for Counts {
    /// A tenth of what is promised of finished ones: it takes a minute instead of many.
    fn default() -> Self {
        Self {
            finished: [10_000, 100_000],
            live: [1_000, 100_000],
        }
    }
}

impl Counts {
    /// Most executions of either kind.
    pub const MOST: usize = 10_000_000;

    pub(super) fn check(&self) -> Result<()> {
        for [few, many] in [self.finished, self.live] {
            ensure!(
                few < many && many <= Self::MOST,
                "{few} and {many} executions cannot be compared: give two numbers in order, up to {}",
                Self::MOST
            );
        }
        Ok(())
    }
}

/// Steps per second with so many executions there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Size {
    pub(super) finished: usize,
    pub(super) live: usize,
    pub(super) steps_per_s: f64,
}

impl Bench<'_> {
    pub(super) async fn growth(&mut self) -> Result<()> {
        let Counts { finished, live } = self.options.growth;
        let mut sizes = Vec::new();
        for wanted in finished {
            while self.finished < wanted {
                self.fill(Shape::Steps(STEPS), wanted - self.finished)
                    .await?;
            }
            sizes.push(self.size().await?);
        }
        for wanted in live {
            while self.live < wanted {
                self.fill(Shape::Sleeping, wanted - self.live).await?;
            }
            sizes.push(self.size().await?);
        }
        let speed: Vec<f64> = sizes.iter().map(|size| size.steps_per_s).collect();
        self.out.set("growth_finished_ratio", speed[1] / speed[0]);
        self.out.set("growth_live_ratio", speed[3] / speed[2]);
        self.out.growth = sizes;
        Ok(())
    }

    async fn fill(&mut self, shape: Shape, missing: usize) -> Result<()> {
        let filling = Load {
            name: "growth, filling",
            shape,
            lane: Lane::Bulk,
            pace: Pace::Concurrency(self.options.scale.growth_concurrency),
            most: missing.min(MOST_EXECUTIONS),
            length: FILL_AT_MOST,
        };
        self.load(&filling).await?;
        Ok(())
    }

    async fn size(&mut self) -> Result<Size> {
        let scale = self.options.scale;
        let (finished, live) = (self.finished, self.live);
        let measuring = Load {
            name: "growth",
            shape: Shape::Steps(STEPS),
            lane: Lane::Bulk,
            pace: Pace::Concurrency(scale.growth_concurrency),
            most: scale.growth,
            length: FILL_AT_MOST,
        };
        let mut speeds = Vec::new();
        for _ in 0..scale.growth_repeats {
            speeds.push(self.load(&measuring).await?.jobs_per_s());
        }
        speeds.sort_by(f64::total_cmp);
        Ok(Size {
            finished,
            live,
            steps_per_s: speeds[speeds.len() / 2],
        })
    }
}
