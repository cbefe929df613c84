//! `afu9-loadtest`: runs simulations of the outside world.

mod command;

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
    /// Runs a simulated GitHub until it is told to end.
    SimulateGithub(command::simulate_github::Arguments),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    match Arguments::parse().command {
        Command::SimulateGithub(arguments) => command::simulate_github::run(arguments).await,
    }
}
