//! The one binary of AFU-9: every role and every operator command.

mod arguments;
mod client;
mod command;
mod logging;
mod output;
mod role;
mod settings;

use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::{Builder, Runtime};

use arguments::{Arguments, Command};
use output::Output;

/// Messages are small and many: with the system's allocator a quarter of a role's time went into it
/// (`docs/performance.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let output = Output::new(arguments.output);
    let runtime = match runtime(&arguments) {
        Ok(runtime) => runtime,
        Err(error) => {
            output.failed(&anyhow::Error::new(error).context("cannot start the runtime"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(arguments, output)) {
        Ok(code) => code,
        Err(error) => {
            output.failed(&error);
            command::exit_code_of(&error)
        }
    }
}

/// A role on one thread wakes no other thread for each message it gets; more cores are used by more
/// processes.
fn runtime(arguments: &Arguments) -> std::io::Result<Runtime> {
    let threads = arguments.threads.unwrap_or(match arguments.command {
        Command::Dev => std::thread::available_parallelism()?,
        _ => NonZeroUsize::MIN,
    });
    let mut builder = if threads == NonZeroUsize::MIN {
        Builder::new_current_thread()
    } else {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(threads.get());
        builder
    };
    builder.enable_all().build()
}

async fn run(arguments: Arguments, output: Output) -> anyhow::Result<ExitCode> {
    let settings = || settings::Settings::load(arguments.config.as_deref());
    match arguments.command {
        Command::Completions { shell } => command::completions::run(shell),
        Command::Workflows(workflows) => {
            command::workflows::run(workflows, &settings, output).await
        }
        Command::Executions(executions) => {
            command::executions::run(executions, &settings()?, output).await
        }
        Command::Hold(hold) => command::hold::hold(hold, &settings()?, output).await,
        Command::Release(hold) => command::hold::release(hold, &settings()?, output).await,
        Command::Holds => command::hold::list(&settings()?, output).await,
        Command::Schedules(schedules) => {
            command::schedules::run(schedules, &settings()?, output).await
        }
        Command::DeadLetters(command) => {
            command::dead_letters::run(command, &settings()?, output).await
        }
        Command::Audit(audit) => command::audit::run(audit, &settings()?, output).await,
        Command::Run(run) => command::run::run(run, &settings()?, output).await,
        Command::Doctor => command::doctor::run(settings(), output).await,
        Command::Dev => role::run(&[role::Role::All], settings()?, None, output).await,
        Command::Orchestrator => {
            role::run(&[role::Role::Orchestrator], settings()?, None, output).await
        }
        Command::Projector => role::run(&[role::Role::Projector], settings()?, None, output).await,
        Command::Gateway => role::run(&[role::Role::Gateway], settings()?, None, output).await,
        Command::Worker { kinds } => {
            role::run(&[role::Role::Worker], settings()?, kinds, output).await
        }
    }
}
