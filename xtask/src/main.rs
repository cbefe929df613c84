//! The set-up and test commands of this repository: `cargo xtask <command>`.
//!
//! Everything that a script would otherwise hold is here, so that people, CI and other programs run
//! the same. Nothing of the product depends on it.

#![expect(
    clippy::disallowed_methods,
    reason = "set-up is steered by the environment and hands it on; it polls other processes"
)]

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod cargo;
mod console;
mod demo;
mod http;
mod interrupt;
mod system;
mod test;
mod up;
mod verify;

use cargo::Profile;
use console::Console;
use interrupt::{Interrupt, Interrupted};

#[derive(Debug, Parser)]
#[command(
    name = "xtask",
    bin_name = "cargo xtask",
    about = "Set up, check, test and try AFU-9"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check everything that needs no servers: format, lints, docs, dependency policy
    Verify,
    /// Run all tests against real servers
    Test {
        /// Arguments for the test runner; doctests are skipped then
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Turn an issue of a simulated GitHub into a pull request, and show how
    Demo(Demo),
    /// Run AFU-9 with everything it needs until Ctrl-C
    Up(Up),
    /// Find or install the servers, and print what was found
    Provision,
}

#[derive(Debug, Args)]
struct Demo {
    /// Leave everything running afterwards, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Build with optimisation
    #[arg(long)]
    release: bool,
}

#[derive(Debug, Args)]
struct Up {
    /// JetStream writes reach the disk before they are acknowledged
    #[arg(long)]
    durable: bool,
    /// Start no simulated GitHub
    #[arg(long)]
    without_simulators: bool,
    /// Build with optimisation (the default, because this is used for load)
    #[arg(long, conflicts_with = "debug")]
    release: bool,
    /// Build without optimisation
    #[arg(long)]
    debug: bool,
    /// How to print the addresses
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// How many worker processes to start
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(0..=64))]
    workers: u16,
    /// Go on when a process dies, for tests that kill them
    #[arg(long)]
    no_supervise: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Text,
    /// One line of JSON on standard output; everything else goes to standard error
    Json,
}

/// What a shell reports for a program that Ctrl-C ended.
const EXIT_INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = Interrupt::watch().and_then(|interrupt| run(cli.command, &interrupt));
    match result {
        Ok(code) => code,
        Err(error) if error.is::<Interrupted>() => {
            eprintln!("interrupted; everything that was started has ended");
            ExitCode::from(EXIT_INTERRUPTED)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command, interrupt: &Interrupt) -> anyhow::Result<ExitCode> {
    let mut console = Console::stdout(interrupt.clone());
    match command {
        Command::Verify => verify::run(&mut console, interrupt),
        Command::Test { arguments } => test::run(&arguments, &mut console, interrupt),
        Command::Demo(Demo { keep, release }) => {
            let profile = if release {
                Profile::Release
            } else {
                Profile::Dev
            };
            let after = if keep {
                demo::After::Keep
            } else {
                demo::After::End
            };
            demo::run(profile, after, &mut console, interrupt)
        }
        Command::Up(up) => up::run(&up, interrupt),
        Command::Provision => provision(&mut console, interrupt),
    }
}

fn provision(console: &mut Console, interrupt: &Interrupt) -> anyhow::Result<ExitCode> {
    use afu9_servers::provision::{nats_server, postgres};
    let target = afu9_servers::target_dir();
    let nats = interrupt.prefer(nats_server(&target, console))?;
    console.line(&format!(
        "nats-server {} ({}): {}",
        nats.version,
        nats.source,
        nats.path.display()
    ));
    let postgres = interrupt.prefer(postgres(&target, console))?;
    let folder = postgres.bin_dir.display();
    console.line(&format!(
        "Postgres {} ({}): {folder}",
        postgres.version, postgres.source
    ));
    if let Some(account) = postgres.account {
        console.line(&format!(
            "Postgres runs as `{}`, because it refuses to be root",
            account.name
        ));
    }
    Ok(ExitCode::SUCCESS)
}
