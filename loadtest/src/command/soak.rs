//! `soak`: AFU-9 under a steady load, and what grows meanwhile.

use std::process::ExitCode;
use std::time::Duration;

use afu9_loadtest::soak::{self, Options};
use afu9_servers::Durability;
use anyhow::{Context as _, Result, bail};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How long, warm-up included.
    #[arg(long, default_value_t = 60.0)]
    minutes: f64,
    /// Executions started each second.
    #[arg(long, default_value_t = 100.0, value_name = "PER_SECOND")]
    rate: f64,
    /// Steps of each; none of them has an effect.
    #[arg(long, default_value_t = 5)]
    steps: usize,
    /// What is not judged, in seconds; by default a quarter of the run.
    #[arg(long, value_name = "SECONDS")]
    warm_up: Option<f64>,
    /// Seconds between two samples.
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    every: f64,
    /// Give each submission an Idempotency-Key.
    #[arg(long)]
    keyed: bool,
    /// nats-server writes to the disk before it acknowledges.
    #[arg(long)]
    durable: bool,
    #[command(flatten)]
    program: super::Program,
    /// How the report looks.
    #[arg(long, value_enum, default_value_t = super::Output::Text)]
    output: super::Output,
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let seconds = |name: &str, value: f64| {
        Duration::try_from_secs_f64(value).with_context(|| format!("{name} is {value}"))
    };
    if arguments.steps == 0 {
        bail!("--steps must be at least 1");
    }
    let length = seconds("--minutes", arguments.minutes * 60.0)?;
    let warm_up = match arguments.warm_up {
        Some(warm_up) => seconds("--warm-up", warm_up)?,
        None => length / 4,
    };
    let binary = arguments.program.path()?;
    let options = Options {
        binary,
        length,
        warm_up,
        every: seconds("--every", arguments.every)?,
        rate: arguments.rate,
        steps: arguments.steps,
        keyed: arguments.keyed,
        durability: if arguments.durable {
            Durability::Durable
        } else {
            Durability::Fast
        },
    };
    let report = soak::run(&options).await?;
    arguments.output.print(&report, &report.to_json())?;
    Ok(super::exit_code(report.is_clean()))
}
