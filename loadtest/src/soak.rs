//! Soak: AFU-9 as real processes under a steady load, looked at again and again. What grows although
//! the load does not is a leak.
//!
//! Called by the binary's `soak`. Like a chaos run it starts all that it needs, on loopback, and ends
//! it by process id.

mod growth;
mod load;
mod report;
mod sample;

use std::path::PathBuf;
use std::time::Duration;

use afu9_servers::Durability;
use anyhow::{Result, ensure};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::system::{self, RoleKind, System};
use load::{Counts, Load};
use sample::Sample;

pub use report::Report;

/// How long what was started may take to end, once nothing more is started.
const REST_WITHIN: Duration = Duration::from_secs(120);

/// Between two looks at what has ended.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program `afu9`.
    pub binary: PathBuf,
    /// How long, warm-up included.
    pub length: Duration,
    /// What is not judged: caches fill, allocators find their size.
    pub warm_up: Duration,
    /// Between two samples.
    pub every: Duration,
    /// Executions started each second.
    pub rate: f64,
    /// Steps of each.
    pub steps: usize,
    /// Each submission has an `Idempotency-Key`, which AFU-9 keeps.
    pub keyed: bool,
    /// What an acknowledgement of NATS means.
    pub durability: Durability,
}

impl Options {
    /// Longest run.
    pub const MAX_LENGTH: Duration = Duration::from_secs(24 * 3600);

    /// Fewest samples that are judged: each end of the run is the middle one of a fifth of them.
    pub const MIN_SAMPLES: u64 = 10;

    fn system(&self) -> system::Options {
        system::Options {
            binary: self.binary.clone(),
            name: "soak",
            durability: self.durability,
            cluster: false,
            small_disk: None,
            roles: vec![
                (RoleKind::Orchestrator, 1),
                (RoleKind::TestWorker, 1),
                (RoleKind::Projector, 1),
                (RoleKind::Gateway, 1),
            ],
            routes: String::new(),
            seed: 0,
        }
    }

    fn check(&self) -> Result<()> {
        ensure!(
            self.length <= Self::MAX_LENGTH,
            "a run may take {:?} at most",
            Self::MAX_LENGTH
        );
        ensure!(
            self.rate > 0.0 && self.rate.is_finite(),
            "the rate must be above 0"
        );
        ensure!(self.every > Duration::ZERO, "samples must be apart");
        let judged = self.length.saturating_sub(self.warm_up).as_secs_f64();
        let samples = judged / self.every.as_secs_f64();
        ensure!(
            samples >= Self::MIN_SAMPLES as f64,
            "{samples:.0} samples after the warm-up are too few: {} are needed",
            Self::MIN_SAMPLES
        );
        Ok(())
    }
}

/// Runs it, and ends everything that it started.
///
/// # Errors
/// When something could not be started or looked at. What grew or went wrong is in the report.
pub async fn run(options: &Options) -> Result<Report> {
    options.check()?;
    let mut system = System::start(&options.system()).await?;
    tracing::info!(directory = %system.directory().display(), "AFU-9 is ready; data and logs are there");
    let load = Load::new(options, &system.gateways[0])?;
    load.prepare().await?;
    let begun = Instant::now();
    let stop = CancellationToken::new();
    let (counts, samples) = tokio::try_join!(
        load.run(begun, options.length, &stop),
        watch(&mut system, options, begun, &stop)
    )?;
    let ended = rest(&system, &counts).await?;
    let restarts = system.roles.iter().map(|role| role.restarts).sum();
    let mistakes = system.end_roles()?;
    Ok(Report::new(
        options, counts, ended, restarts, mistakes, &samples,
    ))
}

/// Takes samples until the time is over.
async fn watch(
    system: &mut System,
    options: &Options,
    begun: Instant,
    stop: &CancellationToken,
) -> Result<Vec<Sample>> {
    let _stop = stop.clone().drop_guard();
    let mut samples = Vec::new();
    let mut next = begun;
    while begun.elapsed() < options.length {
        tokio::time::sleep_until(next).await;
        system.supervise()?;
        let sample = Sample::take(system, begun.elapsed()).await?;
        tracing::info!("{sample}");
        if sample.at >= options.warm_up {
            samples.push(sample);
        }
        next += options.every;
    }
    Ok(samples)
}

/// Waits until everything that was accepted is in history, and returns how many executions ended.
async fn rest(system: &System, counts: &Counts) -> Result<u64> {
    let begun = Instant::now();
    loop {
        let ended = sample::count(
            system,
            "workflow_executions WHERE status IN ('completed', 'failed', 'cancelled')",
        )?;
        if ended >= counts.accepted || begun.elapsed() > REST_WITHIN {
            return Ok(ended);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
