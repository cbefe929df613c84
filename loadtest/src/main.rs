//! `afu9-loadtest`: load on AFU-9, and simulations of the outside world.

mod command;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Simulations of the outside world, and load on AFU-9.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts many executions and reports throughput, latency and what was lost.
    Run(command::run::Arguments),
    /// Runs a simulated GitHub until it is told to end.
    SimulateGithub(command::simulate_github::Arguments),
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    match Arguments::parse().command {
        Command::Run(arguments) => command::run::run(arguments).await,
        Command::SimulateGithub(arguments) => {
            command::simulate_github::run(arguments).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
