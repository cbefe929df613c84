//! `afu9-loadtest`: load on AFU-9, and simulations of the outside world.

mod command;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    /// Measures how fast AFU-9 is on this machine.
    Bench(command::bench::Arguments),
    /// Runs AFU-9 under load while everything fails, and checks what it promises.
    Chaos(command::chaos::Arguments),
    /// Runs AFU-9 under a steady load, and tells what grows.
    Soak(command::soak::Arguments),
    /// Runs a simulated GitHub until it is told to end.
    SimulateGithub(command::simulate_github::Arguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    match run(Arguments::parse().command).await {
        Ok(code) => code,
        Err(error) => {
            // One line with the causes; a backtrace helps nobody who mistyped an address.
            let _closed = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(arguments) => command::run::run(arguments).await,
        Command::Bench(arguments) => command::bench::run(arguments).await,
        Command::Chaos(arguments) => command::chaos::run(arguments).await,
        Command::Soak(arguments) => command::soak::run(arguments).await,
        Command::SimulateGithub(arguments) => {
            command::simulate_github::run(arguments).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
