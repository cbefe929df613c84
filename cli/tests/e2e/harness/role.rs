//! A role of AFU-9 as a process.

use std::path::PathBuf;
use std::process::Command;

use afu9_servers::process::{Process, Signal, Spec};
use anyhow::Result;

use super::command;

/// A process of the binary under test. It ends with this value, or with the test's process.
pub(super) struct Role {
    pub(super) process: Process,
    /// It was ended by the test, and not started again.
    pub(super) ended: bool,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Role {
    pub(super) fn spawn(
        name: &str,
        arguments: &[&str],
        environment: Vec<(String, String)>,
        log: PathBuf,
    ) -> Result<Self> {
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        let process = spawn(name, &arguments, &environment, log)?;
        Ok(Self {
            process,
            ended: false,
            arguments,
            environment,
        })
    }

    /// Starts it again, with its log going on.
    pub(super) fn restart(&mut self) -> Result<()> {
        let (name, log) = (
            self.process.name().to_owned(),
            self.process.log().to_owned(),
        );
        self.process = spawn(&name, &self.arguments, &self.environment, log)?;
        self.ended = false;
        Ok(())
    }
}

fn spawn(
    name: &str,
    arguments: &[String],
    environment: &[(String, String)],
    log: PathBuf,
) -> Result<Process> {
    let mut command = Command::new(command::BINARY);
    command
        .args(arguments)
        .env_clear()
        .envs(command::base_environment());
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    Process::spawn(
        command,
        Spec {
            name: name.to_owned(),
            log,
            end_with: Signal::Kill,
        },
    )
}
