//! Runs cargo from within `cargo xtask`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use afu9_servers::process::{Signal, send};
use afu9_servers::wait;
use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::interrupt::{Interrupt, Interrupted};

/// How to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Dev,
    Release,
}

/// The programs of the product that set-up starts.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) afu9: PathBuf,
    pub(crate) loadtest: PathBuf,
}

/// What cargo and its children may take to end when asked to.
const END_WITHIN: Duration = Duration::from_secs(10);

/// The folder of the workspace.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// A cargo command in the workspace, with nothing left of the cargo that runs us: its variables
/// would make some build scripts believe that their input has changed, and run again.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(root());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name.as_ref());
        }
    }
    command
}

/// Whether `cargo <subcommand>` is installed.
pub(crate) fn has(subcommand: &str) -> bool {
    let output = command(&[subcommand, "--version"])
        .stdin(Stdio::null())
        .output();
    output.is_ok_and(|output| output.status.success())
}

/// Runs a command in front, with our own input and output.
///
/// # Errors
/// When it cannot be run, or with [`Interrupted`]; the command has ended then.
pub(crate) fn run(command: &mut Command, interrupt: &Interrupt) -> Result<ExitStatus> {
    let mut child = command
        .spawn()
        .with_context(|| format!("run {:?}", command.get_program()))?;
    loop {
        if let Some(status) = child.try_wait().context("wait for a child")? {
            interrupt.check()?;
            return Ok(status);
        }
        if interrupt.pause().is_err() {
            // From a terminal it has had its own Ctrl-C already; from elsewhere it has not.
            let _ = send(child.id(), Signal::Terminate);
            let ended = wait::until("cargo to end", END_WITHIN, || Ok(child.try_wait()?));
            if ended.is_err() {
                let _ = child.kill();
                let _ = child.wait();
            }
            return Err(Interrupted.into());
        }
    }
}

/// Builds the programs.
///
/// # Errors
/// When they do not build; the compiler has said why.
pub(crate) fn build(profile: Profile, interrupt: &Interrupt) -> Result<Programs> {
    let mut arguments = vec![
        "build",
        "--bins",
        "--package",
        "afu9",
        "--package",
        "afu9-loadtest",
    ];
    arguments.push("--message-format=json-render-diagnostics");
    if profile == Profile::Release {
        arguments.push("--release");
    }
    let (reader, writer) = std::io::pipe().context("create a pipe")?;
    let mut command = command(&arguments);
    command.stdout(writer);
    let messages = thread::spawn(move || executables(BufReader::new(reader)));
    let status = run(&mut command, interrupt);
    // The pipe ends only when nobody holds its writing end any more.
    drop(command);
    let mut built = messages.join().unwrap_or_default();
    if !status?.success() {
        bail!("cargo {} failed", arguments.join(" "));
    }
    let mut program = |name: &str| {
        built
            .remove(name)
            .with_context(|| format!("cargo built no program `{name}`"))
    };
    Ok(Programs {
        afu9: program("afu9")?,
        loadtest: program("afu9-loadtest")?,
    })
}

fn executables(messages: impl BufRead) -> BTreeMap<String, PathBuf> {
    let parsed = messages.lines().map_while(Result::ok);
    parsed
        .filter_map(|line| {
            let message: Value = serde_json::from_str(&line).ok()?;
            let name = message["target"]["name"].as_str()?.to_owned();
            Some((name, PathBuf::from(message["executable"].as_str()?)))
        })
        .collect()
}
