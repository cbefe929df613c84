//! How much of each load: enough that a second of disturbance does not decide, and bounded in count
//! and in time.

use std::time::Duration;

/// How much of each load.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// 5-step workflows that are not measured: caches fill, connections open.
    pub(super) warm_up: usize,
    /// So many of them at a time.
    pub(super) warm_up_concurrency: usize,
    /// 5-step workflows, one at a time: a p99 of twenty.
    pub(super) idle: usize,
    /// How many 5-step workflows at a time: the points of the saturation curve.
    pub(super) curve: &'static [usize],
    /// How many single-step workflows at a time; the best counts.
    pub(super) executions: &'static [usize],
    /// Items of a list.
    pub(super) items: usize,
    /// Of them at a time.
    pub(super) parallel: usize,
    /// Lists at a time.
    pub(super) lists: usize,
    /// How long each load of unknown speed starts something new.
    pub(super) length: Duration,
    /// How long each load at a fixed rate.
    pub(super) paced_length: Duration,
    /// Webhooks each second.
    pub(super) webhooks_per_s: f64,
    /// Interactive executions each second.
    pub(super) interactive_per_s: f64,
    /// 5-step workflows of each measurement of growth, at `growth_concurrency`.
    pub(super) growth: usize,
    /// Measurements at each size; the middle one counts.
    pub(super) growth_repeats: usize,
    /// At a time, measured or not.
    pub(super) growth_concurrency: usize,
}

impl Scale {
    /// What figures are made with.
    pub const FULL: Self = Self {
        warm_up: 5_000,
        warm_up_concurrency: 64,
        idle: 2_000,
        curve: &[8, 32, 64, 128, 256, 512, 1024],
        executions: &[128, 512],
        items: 10_000,
        parallel: 1_000,
        lists: 4,
        length: Duration::from_secs(5),
        paced_length: Duration::from_secs(10),
        webhooks_per_s: 2_000.0,
        interactive_per_s: 100.0,
        growth: 5_000,
        growth_repeats: 3,
        growth_concurrency: 256,
    };

    /// Whether everything works, in seconds, also without optimisation; its figures say nothing.
    pub const QUICK: Self = Self {
        warm_up: 20,
        warm_up_concurrency: 4,
        idle: 20,
        curve: &[4, 16],
        executions: &[16],
        items: 100,
        parallel: 50,
        lists: 2,
        length: Duration::from_millis(500),
        paced_length: Duration::from_secs(1),
        webhooks_per_s: 50.0,
        interactive_per_s: 20.0,
        growth: 50,
        growth_repeats: 1,
        growth_concurrency: 16,
    };
}

/// Most executions of one load, however fast: what both sides keep of them is memory.
pub(super) const MOST_EXECUTIONS: usize = 200_000;

/// One at a time is over after this time, however slow.
pub(super) const IDLE_AT_MOST: Duration = Duration::from_secs(30);

/// Filling up is counted, not timed; so long it may take.
pub(super) const FILL_AT_MOST: Duration = Duration::from_secs(3600);
