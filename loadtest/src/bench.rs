//! Benchmarks of the whole system: AFU-9 as real processes with real servers, all on this machine, and
//! how fast it is at each load that has a target.
//!
//! Called by the binary's `bench` and by an end-to-end test. Like a chaos run it starts all that it
//! needs, on loopback, and ends it by process id. Only what completed counts, and the clock of a
//! throughput stops when Postgres has the last row of it. A run in which anything is missing is an
//! error and has no figures.

mod compare;
mod growth;
mod history;
mod interactive;
mod measurement;
mod meter;
mod phases;
mod scale;
mod webhooks;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use afu9_servers::Durability;
use anyhow::{Result, ensure};

use crate::system::{self, RoleKind, System};
use phases::Bench;

pub use compare::{Comparison, Sides};
pub use growth::Counts;
pub use measurement::{Measurement, Report};
pub use scale::Scale;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Phase {
    /// 5-step workflows, one at a time.
    Idle,
    /// 5-step workflows, more and more at a time: the saturation curve.
    Steps,
    /// Workflows of one step, from submission to the row in history.
    Executions,
    /// Items of lists.
    Items,
    /// 5-step workflows at half of the highest rate of `steps`.
    HalfLoad,
    /// Signed webhooks at a fixed rate.
    Webhooks,
    /// Interactive executions of one step, alone and in a storm of bulk work.
    Interactive,
    /// Steps with few and with many finished and live executions; takes long.
    Growth,
}

impl Phase {
    /// What is measured when nothing is chosen: the table of targets.
    pub const TABLE: [Self; 6] = [
        Self::Idle,
        Self::Steps,
        Self::Executions,
        Self::Items,
        Self::HalfLoad,
        Self::Webhooks,
    ];
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program `afu9`.
    pub binary: PathBuf,
    /// What an acknowledgement of NATS means; each has a run of its own.
    pub modes: Vec<Durability>,
    /// What is measured.
    pub phases: BTreeSet<Phase>,
    /// How much of each.
    pub scale: Scale,
    /// Of [`Phase::Growth`].
    pub growth: Counts,
}

impl Options {
    fn check(&self) -> Result<()> {
        ensure!(!self.phases.is_empty(), "there is nothing to measure");
        ensure!(!self.modes.is_empty(), "there is no mode to measure");
        self.growth.check()
    }
}

/// Measures each mode, and ends everything that it started.
///
/// # Errors
/// When something could not be started or looked at, and when anything that was submitted did not
/// complete or is not in history.
pub async fn run(options: &Options) -> Result<Report> {
    options.check()?;
    let mut report = Report::default();
    for mode in &options.modes {
        let measured = measure(options, &options.binary, *mode).await?;
        report.modes.push((mode.name(), measured));
    }
    Ok(report)
}

/// Runs two programs in alternation, `rounds` times each: this one, the other, the other, this one,
/// and so on, so that a machine that gets slower or faster does so for both.
///
/// # Errors
/// As [`run`], of either.
pub async fn compare(options: &Options, other: &Path, rounds: usize) -> Result<Comparison> {
    options.check()?;
    ensure!(rounds > 0, "--rounds must be at least 1");
    let mut comparison = Comparison::default();
    for mode in &options.modes {
        let mut sides = Sides::default();
        for round in 0..rounds {
            let mut order = [(true, options.binary.as_path()), (false, other)];
            if round % 2 == 1 {
                order.reverse();
            }
            for (is_this, binary) in order {
                let (name, round) = (mode.name(), round + 1);
                tracing::info!(mode = name, round, program = %binary.display(), "next run");
                let measured = measure(options, binary, *mode).await?;
                sides.add(is_this, measured);
            }
        }
        comparison.modes.push((mode.name(), sides));
    }
    Ok(comparison)
}

/// One mode of one program, on servers of its own.
async fn measure(options: &Options, binary: &Path, durability: Durability) -> Result<Measurement> {
    let mut system = System::start(&system::Options {
        binary: binary.to_owned(),
        name: "bench",
        durability,
        cluster: false,
        small_disk: None,
        roles: vec![
            (RoleKind::Orchestrator, 1),
            (RoleKind::Worker, 1),
            (RoleKind::Projector, 1),
            (RoleKind::Gateway, 1),
        ],
        routes: String::new(),
        seed: 0,
    })
    .await?;
    let directory = system.directory().to_owned();
    tracing::info!(directory = %directory.display(), "AFU-9 is ready; data and logs are there");
    let measured = Bench::new(&mut system, options).run().await?;
    let mistakes = system.end_roles()?;
    ensure!(
        mistakes.is_empty(),
        "{}; logs: {}",
        mistakes.join("; "),
        directory.display()
    );
    Ok(measured)
}
