//! Finds the servers that AFU-9 needs, or installs them without touching the system where that is
//! possible.
//!
//! Called by `cargo xtask` before everything else and by [`crate::fixture`] when a test runs without
//! it. Every function is idempotent, quick when the work is done, and safe in several processes at
//! once; an installation is either complete or not there.

use std::fmt;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::wait;

mod nats;
mod postgres;
mod python;

pub use nats::{NatsServerBinary, nats_server};
pub use postgres::{PostgresInstallation, postgres};

/// Who watches set-up: a terminal, or the log of a test.
pub trait Progress {
    /// Something that takes noticeable time begins, or something worth knowing was found.
    fn note(&mut self, message: &str);

    /// Whether the person has had enough; long steps then end early.
    fn interrupted(&self) -> bool {
        false
    }
}

/// A listener that prints to standard error.
#[derive(Debug, Default)]
pub struct PrintProgress;

impl Progress for PrintProgress {
    fn note(&mut self, message: &str) {
        eprintln!("{message}");
    }
}

/// Where a server program was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Named by an environment variable.
    Environment,
    /// In a folder of `PATH`.
    Path,
    /// In one of the folders where packages put it.
    System,
    /// Installed by us as a system package.
    SystemPackage,
    /// Installed by us from the Python Package Index, under the target directory.
    PythonPackage,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Environment => "environment",
            Self::Path => "PATH",
            Self::System => "system",
            Self::SystemPackage => "system package",
            Self::PythonPackage => "Python package",
        })
    }
}

/// Downloads are some 20 MB; a package manager may first have to fetch its lists.
const STEP_WITHIN: Duration = Duration::from_secs(900);

/// Runs a long step, ends it when interrupted, and returns its output.
fn run(command: &mut Command, log: &dyn Progress) -> Result<()> {
    let what = format!("{:?}", command.get_program());
    let mut output = tempfile::tempfile().context("create a temporary file")?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(output.try_clone().context("share the output file")?)
        .stderr(output.try_clone().context("share the output file")?)
        .spawn()
        .with_context(|| format!("run {what}"))?;
    let status: Result<ExitStatus> = wait::until(&what, STEP_WITHIN, || {
        if log.interrupted() {
            bail!("interrupted");
        }
        child.try_wait().context("wait for a child")
    });
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            output.seek(SeekFrom::Start(0))?;
            let mut text = String::new();
            let _ = output.read_to_string(&mut text);
            let lines: Vec<&str> = text.lines().collect();
            let tail = lines[lines.len().saturating_sub(8)..].join("\n    ");
            bail!("{command:?} ended with {status}:\n    {tail}")
        }
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

/// What a program says when asked for its version.
fn version_line(program: &Path) -> Result<String> {
    let output = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {} --version", program.display()))?;
    if !output.status.success() {
        bail!(
            "{} --version ended with {}",
            program.display(),
            output.status
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The first word of `line` that starts with a digit (after an optional `v`), and its leading numbers.
fn parse_version(line: &str) -> Option<(String, Vec<u32>)> {
    line.split_whitespace().find_map(|word| {
        let word = word.trim_start_matches('v');
        let plain = word
            .split(|c: char| !c.is_ascii_digit() && c != '.')
            .next()?;
        let numbers: Vec<u32> = plain
            .split('.')
            .map_while(|part| part.parse().ok())
            .collect();
        (!numbers.is_empty()).then(|| (word.to_owned(), numbers))
    })
}

/// The programs of this name in `PATH`, in its order.
fn on_path(program: &str) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .filter(|candidate| candidate.is_file())
        .collect()
}

/// A non-empty environment variable.
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_programs_say() {
        let numbers = |line| parse_version(line).map(|(_, numbers)| numbers);
        assert_eq!(numbers("nats-server: v2.15.1"), Some(vec![2, 15, 1]));
        assert_eq!(numbers("nats-server: v2.12.0-RC.2"), Some(vec![2, 12, 0]));
        assert_eq!(
            numbers("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)"),
            Some(vec![15, 14])
        );
        assert_eq!(numbers("postgres (PostgreSQL) 19beta1"), Some(vec![19]));
        assert_eq!(numbers("no version"), None);
    }
}
