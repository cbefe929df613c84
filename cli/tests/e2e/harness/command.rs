//! The binary under test, and its operator commands.

use std::ffi::OsString;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_afu9");

/// Commands answer within seconds; those that follow an execution take as long as it does.
const WITHIN: Duration = Duration::from_secs(60);

/// What every process needs of our environment, and nothing else of it.
#[expect(
    clippy::disallowed_methods,
    reason = "the environment of children, not configuration"
)]
pub(super) fn base_environment() -> Option<(&'static str, OsString)> {
    std::env::var_os("PATH").map(|path| ("PATH", path))
}

/// How a command ended, and what it printed.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Each line of standard output as JSON.
    pub(crate) fn json_lines(&self) -> Result<Vec<Value>> {
        let lines = self.stdout.lines();
        lines
            .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
            .collect()
    }

    /// Standard output as one JSON document.
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("{self:?}"))
    }
}

/// Runs `afu9 <arguments>` with nothing but `environment`.
pub(crate) async fn afu9(environment: &[(String, String)], arguments: &[&str]) -> Result<Ended> {
    let mut command = tokio::process::Command::new(BINARY);
    command
        .args(arguments)
        .env_clear()
        .envs(base_environment())
        .kill_on_drop(true);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let ran = tokio::time::timeout(WITHIN, command.output()).await;
    let Output {
        status,
        stdout,
        stderr,
    } = ran.with_context(|| format!("afu9 {arguments:?} took over {WITHIN:?}"))??;
    let ended = Ended {
        code: status.code(),
        stdout: String::from_utf8(stdout)?,
        stderr: String::from_utf8(stderr)?,
    };
    Ok(ended)
}
