//! `run`: load on a running AFU-9, and what came of it.

use std::process::ExitCode;

use afu9_loadtest::load::{self, Pace, Plan, Shape};
use afu9_schemas::Lane;
use anyhow::{Result, bail};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Executions in all.
    #[arg(long, default_value_t = 1000)]
    workflows: usize,
    /// Steps of each; none of them has an effect.
    #[arg(long, default_value_t = 5)]
    steps: usize,
    /// Instead of steps: one step with this many items.
    #[arg(long, conflicts_with = "steps")]
    items: Option<usize>,
    /// Items of an execution in progress at a time.
    #[arg(long, default_value_t = 1000, requires = "items")]
    parallel: usize,
    /// Instead of steps: each execution sleeps for thirty days, and counts once it is accepted.
    #[arg(long, conflicts_with_all = ["steps", "items"])]
    sleeping: bool,
    /// This many in progress at any time.
    #[arg(long, default_value_t = 100, conflicts_with = "rate")]
    concurrency: usize,
    /// Instead: this many started each second, with latency from the instant each was due.
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<f64>,
    /// Address of the gateway.
    #[arg(long, env = "AFU9_API__URL", default_value = "http://127.0.0.1:3000")]
    api_url: String,
    /// A token that may store and start workflows.
    #[arg(long, env = "AFU9_API__TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// How the report looks.
    #[arg(long, value_enum, default_value_t = super::Output::Text)]
    output: super::Output,
}

/// Most executions of one run: the memory for their ids is ours.
const MAX_WORKFLOWS: usize = 10_000_000;

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    if arguments.workflows == 0 || arguments.workflows > MAX_WORKFLOWS {
        bail!("--workflows must be from 1 to {MAX_WORKFLOWS}");
    }
    if arguments.steps == 0 || arguments.items == Some(0) || arguments.parallel == 0 {
        bail!("--steps, --items and --parallel must be at least 1");
    }
    if arguments.concurrency == 0 {
        bail!("--concurrency must be at least 1");
    }
    let shape = match arguments.items {
        _ if arguments.sleeping => Shape::Sleeping,
        Some(count) => Shape::Items {
            count,
            parallel: arguments.parallel,
            ms: 0,
        },
        None => Shape::Steps(arguments.steps),
    };
    let pace = match arguments.rate {
        Some(rate) if rate > 0.0 && rate.is_finite() => Pace::Rate(rate),
        Some(_) => bail!("--rate must be above 0"),
        None => Pace::Concurrency(arguments.concurrency),
    };
    let plan = Plan {
        api_url: arguments.api_url,
        token: arguments.token,
        workflows: arguments.workflows,
        length: None,
        shape,
        lane: Lane::Bulk,
        pace,
    };
    let report = load::run(&plan).await?;
    arguments.output.print(&report, &report.to_json())?;
    Ok(super::exit_code(report.is_clean()))
}
