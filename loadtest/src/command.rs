//! The subcommands of the binary, one module each.

pub(crate) mod bench;
pub(crate) mod chaos;
pub(crate) mod run;
pub(crate) mod simulate_github;
pub(crate) mod soak;

use std::fmt::Display;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// How results are printed.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For programs: one line.
    Json,
}

impl Output {
    /// Prints a report, which is the same in both forms.
    fn print(self, text: &dyn Display, json: &Value) -> Result<()> {
        let text = match self {
            Self::Text => text.to_string(),
            Self::Json => json.to_string(),
        };
        writeln!(std::io::stdout(), "{}", text.trim_end()).context("print the report")
    }
}

/// What is put to the test.
#[derive(Debug, clap::Args)]
pub(crate) struct Program {
    /// The program afu9; by default the one beside this program.
    #[arg(long, value_name = "FILE")]
    afu9: Option<PathBuf>,
}

impl Program {
    fn path(self) -> Result<PathBuf> {
        match self.afu9 {
            Some(path) => Ok(path),
            None => afu9_loadtest::chaos::beside_this_program(),
        }
    }
}

/// How the program ends: whoever runs it in a script need not read the report.
fn exit_code(is_clean: bool) -> ExitCode {
    if is_clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
