//! `chaos`: AFU-9 under load while everything fails, and whether its promises held.

use std::process::ExitCode;
use std::time::Duration;

use afu9_loadtest::chaos::{self, Options};
use afu9_servers::Durability;
use anyhow::{Result, bail};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How long faults strike; a fraction is fine.
    #[arg(long, default_value_t = 3.0)]
    minutes: f64,
    /// Decides work and faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Executions started each second.
    #[arg(long, default_value_t = 5.0, value_name = "PER_SECOND")]
    rate: f64,
    /// nats-server writes to the disk before it acknowledges.
    #[arg(long)]
    durable: bool,
    /// A cluster of three nats-servers with three copies of everything.
    #[arg(long)]
    cluster: bool,
    /// Put the store of nats-server on a small file system in memory, and fill it: one more fault.
    /// Needs root, or a system that lets anybody make namespaces.
    #[arg(long, conflicts_with = "cluster")]
    small_disk: bool,
    #[command(flatten)]
    program: super::Program,
    /// How the report looks.
    #[arg(long, value_enum, default_value_t = super::Output::Text)]
    output: super::Output,
}

/// Shorter runs have no room for a fault.
const MIN_MINUTES: f64 = 0.25;

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let most = Options::MAX_LENGTH.as_secs_f64() / 60.0;
    if !(MIN_MINUTES..=most).contains(&arguments.minutes) {
        bail!("--minutes must be from {MIN_MINUTES} to {most}");
    }
    let binary = arguments.program.path()?;
    let options = Options {
        binary,
        length: Duration::from_secs_f64(arguments.minutes * 60.0),
        seed: arguments.seed,
        durability: if arguments.durable {
            Durability::Durable
        } else {
            Durability::Fast
        },
        cluster: arguments.cluster,
        small_disk: arguments.small_disk,
        rate: arguments.rate,
    };
    let report = chaos::run(&options).await?;
    arguments.output.print(&report, &report.to_json())?;
    Ok(super::exit_code(report.is_clean()))
}
