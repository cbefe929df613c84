//! `bench`: how fast AFU-9 is on this machine, and how it compares with another build.

use std::path::PathBuf;
use std::process::ExitCode;

use afu9_loadtest::bench::{self, Counts, Options, Phase, Scale};
use afu9_servers::Durability;
use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What an acknowledgement of nats-server means.
    #[arg(long, value_enum, default_value_t = Mode::Both)]
    mode: Mode,
    /// Only these loads, separated by commas; growth is measured only where it is asked for.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Phase>,
    /// Only whether everything works: seconds, and figures that say nothing.
    #[arg(long)]
    quick: bool,
    /// Another program afu9, which is run in alternation with this one and compared with it.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// How often each of both is run.
    #[arg(long, default_value_t = 5, requires = "against")]
    rounds: usize,
    /// Of growth: how many finished executions, before and after.
    #[arg(long, value_name = "FEW,MANY", value_delimiter = ',', num_args = 1,
          default_values_t = Counts::default().finished)]
    finished: Vec<usize>,
    /// Of growth: how many live executions, before and after.
    #[arg(long, value_name = "FEW,MANY", value_delimiter = ',', num_args = 1,
          default_values_t = Counts::default().live)]
    live: Vec<usize>,
    #[command(flatten)]
    program: super::Program,
    /// How the report looks.
    #[arg(long, value_enum, default_value_t = super::Output::Text)]
    output: super::Output,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    /// Acknowledged is what the operating system has.
    Fast,
    /// Acknowledged is what is on the disk.
    Durable,
    /// One after the other.
    Both,
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    if cfg!(debug_assertions) && !arguments.quick {
        tracing::warn!("this is a build without optimisation: its figures say nothing");
    }
    let binary = arguments.program.path()?;
    let pair = |name: &str, values: Vec<usize>| {
        <[usize; 2]>::try_from(values)
            .ok()
            .with_context(|| format!("--{name} takes two numbers, as in --{name} 1000,10000"))
    };
    let phases = if arguments.only.is_empty() {
        Phase::TABLE.to_vec()
    } else {
        arguments.only
    };
    let options = Options {
        binary,
        modes: match arguments.mode {
            Mode::Fast => vec![Durability::Fast],
            Mode::Durable => vec![Durability::Durable],
            Mode::Both => vec![Durability::Fast, Durability::Durable],
        },
        phases: phases.into_iter().collect(),
        scale: if arguments.quick {
            Scale::QUICK
        } else {
            Scale::FULL
        },
        growth: Counts {
            finished: pair("finished", arguments.finished)?,
            live: pair("live", arguments.live)?,
        },
    };
    let (text, json) = match arguments.against {
        Some(other) => {
            if !other.is_file() {
                bail!("{} is no program to compare with", other.display());
            }
            let compared = bench::compare(&options, &other, arguments.rounds).await?;
            (compared.to_string(), compared.to_json())
        }
        None => {
            let report = bench::run(&options).await?;
            (report.to_string(), report.to_json())
        }
    };
    arguments.output.print(&text, &json)?;
    Ok(ExitCode::SUCCESS)
}
