//! The outside systems of a run: what is found, installed and started before AFU-9 itself.

use std::fs;
use std::path::{Path, PathBuf};

use afu9_servers::process::{Process, Signal, Spec};
use afu9_servers::provision::{self, PostgresInstallation};
use afu9_servers::{
    Durability, NatsOptions, NatsServer, Postgres, PostgresOptions, target_dir, wait,
};
use anyhow::{Result, bail};
use serde_json::Value;

use super::settings::{self, Settings};
use super::{Github, Options, READY_WITHIN, REPOSITORY, TAIL};
use crate::cargo::Programs;
use crate::console::Console;

/// The servers that must be started, because the environment names none.
pub(super) struct Found {
    nats: Option<provision::NatsServerBinary>,
    pub(super) postgres: Option<PostgresInstallation>,
}

impl Found {
    /// Looks for them, and installs what is missing.
    pub(super) fn look(
        settings: &Settings,
        options: &Options,
        console: &mut Console,
    ) -> Result<Self> {
        let target = target_dir();
        let nats = match &settings.nats_url {
            Some(url) => {
                console.line(&format!("NATS: {url}, as the environment says"));
                if options.durability == Durability::Durable {
                    console.aside("whether it is durable is a setting of that server");
                }
                None
            }
            None => {
                let found = provision::nats_server(&target, console)?;
                console.line(&format!("nats-server {} ({})", found.version, found.source));
                Some(found)
            }
        };
        let postgres = if settings.database_url.is_some() {
            console.line("Postgres: as the environment says");
            None
        } else {
            let found = provision::postgres(&target, console)?;
            console.line(&format!("Postgres {} ({})", found.version, found.source));
            Some(found)
        };
        Ok(Self { nats, postgres })
    }

    pub(super) fn start_nats(
        &self,
        settings: &mut Settings,
        directory: &Path,
        durability: Durability,
        console: &mut Console,
    ) -> Result<Option<NatsServer>> {
        let Some(binary) = &self.nats else {
            return Ok(None);
        };
        let options = NatsOptions {
            durability,
            ..NatsOptions::new(directory.join("nats"))
        };
        let server = NatsServer::start(binary, options)?;
        console.line(&format!("nats-server at {}", server.url()));
        settings.nats_url = Some(server.url());
        Ok(Some(server))
    }

    pub(super) fn start_postgres(
        &self,
        settings: &mut Settings,
        directory: &Path,
        console: &mut Console,
    ) -> Result<Option<Postgres>> {
        let Some(installation) = &self.postgres else {
            return Ok(None);
        };
        let wanted = directory.join("postgres");
        let server = Postgres::start(installation, PostgresOptions::new(&wanted))?;
        console.line(&format!("Postgres at {}", server.url()));
        if !server.cluster_dir().starts_with(&wanted) {
            let (folder, account) = (server.cluster_dir().display(), &installation.account);
            let name = account
                .as_ref()
                .map_or("its account", |account| &account.name);
            console.aside(&format!(
                "its data is in {folder}: `{name}` cannot enter the target directory"
            ));
        }
        settings.database_url = Some(server.url());
        Ok(Some(server))
    }
}

/// Starts the simulated GitHub where one is wanted.
pub(super) fn start_simulator(
    programs: &Programs,
    settings: &mut Settings,
    directory: &Path,
    github: Github,
    console: &mut Console,
) -> Result<Option<Process>> {
    match (github, &settings.github_url) {
        (Github::External, _) => return Ok(None),
        (Github::SimulatedByDefault, Some(url)) => {
            console.line(&format!("GitHub: {url}, as the environment says"));
            return Ok(None);
        }
        (Github::Simulated, Some(url)) => {
            console.aside(&format!(
                "not using {url}: this run looks into a simulated GitHub"
            ));
        }
        (_, None) => {}
    }
    let mut command = settings::command(&programs.loadtest, &[]);
    command.args([
        "simulate-github",
        "--listen",
        "127.0.0.1:0",
        "--repository",
        REPOSITORY,
    ]);
    command
        .arg("--token")
        .arg(format!("demo={}", settings::SIMULATOR_TOKEN));
    command.args(["--output", "json"]);
    let log: PathBuf = directory.join("logs").join("simulated-github.log");
    let name = "simulated GitHub".to_owned();
    let mut process = Process::spawn(
        command,
        Spec {
            name,
            log,
            end_with: Signal::Terminate,
        },
    )?;
    let url = wait::until("the simulated GitHub", READY_WITHIN, || {
        if let Some(status) = process.exited()? {
            bail!(
                "the simulated GitHub has ended ({status}):\n{}",
                process.log_tail(TAIL)
            );
        }
        let log = fs::read_to_string(process.log()).unwrap_or_default();
        Ok(log.lines().find_map(|line| {
            let ready: Value = serde_json::from_str(line).ok()?;
            Some(ready["base_url"].as_str()?.to_owned())
        }))
    })?;
    console.line(&format!("simulated GitHub at {url}"));
    settings.use_simulator(url);
    Ok(Some(process))
}
