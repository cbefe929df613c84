//! `afu9 completions`: for the shell.

use std::process::ExitCode;

use clap::CommandFactory;

use crate::arguments::Arguments;

pub(crate) fn run(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    clap_complete::generate(
        shell,
        &mut Arguments::command(),
        "afu9",
        &mut std::io::stdout(),
    );
    Ok(ExitCode::SUCCESS)
}
