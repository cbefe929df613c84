//! AFU-9 with all it needs, as processes: the servers, the simulated GitHub, and each role by itself.
//!
//! Used by `up` and `demo`. Data and logs are in one folder per run under the target directory;
//! dropping a [`System`] ends everything in the reverse order of its start.

use std::path::Path;
use std::time::Duration;

use afu9_servers::process::{Process, Signal, Spec};
use afu9_servers::provision::PostgresInstallation;
use afu9_servers::{Durability, NatsServer, Postgres, RunDirectory, free_port, target_dir, wait};
use anyhow::{Context as _, Result, bail};

use crate::cargo::{self, Profile};
use crate::console::Console;
use crate::http;
use crate::interrupt::Interrupt;

mod servers;
mod settings;

use servers::{Found, start_simulator};
use settings::Settings;

pub(crate) use settings::LABEL;

/// How to run it.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) name: &'static str,
    pub(crate) profile: Profile,
    pub(crate) durability: Durability,
    pub(crate) github: Github,
    pub(crate) workers: u16,
}

/// Which GitHub AFU-9 speaks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Github {
    /// A simulated one, whatever the environment says.
    Simulated,
    /// The one that the environment names, or else a simulated one.
    SimulatedByDefault,
    /// The one that the environment names, or else the real one.
    External,
}

/// Where everything is.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    pub(crate) nats_url: String,
    pub(crate) database_url: String,
    pub(crate) api_url: String,
    /// `None` when AFU-9 speaks to the real GitHub.
    pub(crate) github_url: Option<String>,
    pub(crate) token: String,
    pub(crate) webhook_secret: String,
}

/// One role of AFU-9 in a process of its own.
#[derive(Debug)]
pub(crate) struct Role {
    pub(crate) name: &'static str,
    pub(crate) process: Process,
}

/// A running AFU-9. The order of the fields is the order in which they end.
#[derive(Debug)]
pub(crate) struct System {
    pub(crate) addresses: Addresses,
    pub(crate) roles: Vec<Role>,
    pub(crate) simulator: Option<Process>,
    pub(crate) nats: Option<NatsServer>,
    pub(crate) postgres: Option<Postgres>,
    pub(crate) installation: Option<PostgresInstallation>,
    pub(crate) directory: RunDirectory,
}

/// The repository that the simulated GitHub holds.
pub(crate) const REPOSITORY: &str = "octo/factory";
/// The workflow that the demo starts.
pub(crate) const WORKFLOW: &str = "issue_to_pr";

const ROLES: [(&str, &[&str]); 4] = [
    ("orchestrator", &["orchestrator"]),
    ("projector", &["projector"]),
    ("worker", &["worker", "--kinds", "github,test"]),
    ("gateway", &["gateway"]),
];

/// Runs that stay on disk, for looking at their logs.
const KEPT_RUNS: usize = 3;
/// Roles drain what they are doing.
const END_WITHIN: Duration = Duration::from_secs(15);
/// Roles start in well under a second; the first start also creates streams and tables.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Lines of a log that say why a process has ended.
const TAIL: usize = 25;

impl System {
    /// Provisions, builds and starts everything, and returns when AFU-9 says that it is ready.
    ///
    /// # Errors
    /// With what could not be had, built or started, and the tail of the log concerned.
    pub(crate) fn start(
        options: &Options,
        console: &mut Console,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let mut settings = Settings::from_environment(options)?;
        console.heading("Provisioning");
        let found = interrupt.prefer(Found::look(&settings, options, console))?;
        console.heading("Building");
        let programs = cargo::build(options.profile, interrupt)?;
        interrupt.check()?;

        console.heading("Starting");
        let runs = target_dir().join("afu9").join("runs");
        let directory = RunDirectory::create(&runs, options.name, KEPT_RUNS)?;
        console.aside(&format!(
            "data and logs: {}",
            nearby(directory.path()).display()
        ));
        let nats =
            found.start_nats(&mut settings, directory.path(), options.durability, console)?;
        interrupt.check()?;
        let postgres = found.start_postgres(&mut settings, directory.path(), console)?;
        interrupt.check()?;
        let simulator = start_simulator(
            &programs,
            &mut settings,
            directory.path(),
            options.github,
            console,
        )?;
        let api_url = format!("http://127.0.0.1:{}", free_port()?);
        let environment = settings.environment(&api_url, directory.path())?;
        let addresses = settings.addresses(api_url)?;
        let mut system = Self {
            addresses,
            roles: Vec::new(),
            simulator,
            nats,
            postgres,
            installation: found.postgres,
            directory,
        };
        for (name, arguments) in ROLES {
            let count = if name == "worker" { options.workers } else { 1 };
            for number in 1..=count {
                system.start_role(name, number, arguments, &programs.afu9, &environment)?;
            }
        }
        interrupt.prefer(system.wait_until_ready(interrupt))?;
        system.apply_workflow(&programs.afu9, &environment)?;
        console.line(&format!("AFU-9 is ready at {}", system.addresses.api_url));
        Ok(system)
    }

    /// The first process that has ended by itself, with its log's tail.
    ///
    /// # Errors
    /// When the kernel refuses to say.
    pub(crate) fn casualty(&mut self) -> Result<Option<String>> {
        let roles = self.roles.iter_mut().map(|role| &mut role.process);
        let servers = self.nats.iter_mut().map(NatsServer::process);
        let databases = self.postgres.iter_mut().map(Postgres::process);
        for process in roles
            .chain(&mut self.simulator)
            .chain(servers)
            .chain(databases)
        {
            if let Some(status) = process.exited()? {
                let log = process.log().display();
                let (name, tail) = (process.name(), process.log_tail(TAIL));
                return Ok(Some(format!("{name} has ended ({status}); {log}:\n{tail}")));
            }
        }
        Ok(None)
    }

    /// The process ids of a role.
    pub(crate) fn pids(&self, role: &str) -> Vec<u32> {
        self.roles
            .iter()
            .filter(|one| one.name == role)
            .map(|one| one.process.pid())
            .collect()
    }

    /// The ends of the roles' logs, for a person who wants to know why.
    pub(crate) fn log_tails(&self, lines: usize) -> String {
        let tails = self.roles.iter().map(|role| {
            let (log, tail) = (role.process.log().display(), role.process.log_tail(lines));
            format!("--- {log}\n{tail}")
        });
        tails.collect::<Vec<_>>().join("\n")
    }

    /// Ends everything in order. Dropping it does the same with less patience.
    ///
    /// # Errors
    /// When something could not be ended.
    pub(crate) fn end(mut self) -> Result<()> {
        for role in &mut self.roles {
            role.process.signal(Signal::Terminate)?;
        }
        for role in &mut self.roles {
            role.process.end(Signal::Terminate, END_WITHIN)?;
        }
        if let Some(simulator) = &mut self.simulator {
            simulator.end(Signal::Terminate, END_WITHIN)?;
        }
        if let Some(nats) = &mut self.nats {
            nats.stop()?;
        }
        if let Some(postgres) = &mut self.postgres {
            postgres.stop()?;
        }
        Ok(())
    }

    fn start_role(
        &mut self,
        name: &'static str,
        number: u16,
        arguments: &[&str],
        program: &Path,
        environment: &[(String, String)],
    ) -> Result<()> {
        let mut command = settings::command(program, environment);
        command.args(arguments);
        let log = self
            .directory
            .path()
            .join("logs")
            .join(format!("{name}-{number}.log"));
        let spec = Spec {
            name: format!("afu9 {name}"),
            log,
            end_with: Signal::Terminate,
        };
        let process = Process::spawn(command, spec)?;
        self.roles.push(Role { name, process });
        Ok(())
    }

    fn wait_until_ready(&mut self, interrupt: &Interrupt) -> Result<()> {
        let api = self.addresses.api_url.clone();
        let mut last = "no answer".to_owned();
        let ready = wait::until("AFU-9 to be ready", READY_WITHIN, || {
            interrupt.check()?;
            if let Some(casualty) = self.casualty()? {
                bail!("{casualty}");
            }
            match http::get(&api, "/api/ready", None) {
                Ok(answer) if answer.status == 200 => return Ok(Some(())),
                Ok(answer) => last = format!("HTTP {}: {}", answer.status, answer.body.trim()),
                Err(error) => last = format!("{error:#}"),
            }
            Ok(None)
        });
        ready.with_context(|| format!("GET {api}/api/ready: {last}\n{}", self.log_tails(TAIL)))
    }

    fn apply_workflow(&self, afu9: &Path, environment: &[(String, String)]) -> Result<()> {
        let file = cargo::root().join(format!("schemas/workflows/{WORKFLOW}.yaml"));
        let output = settings::command(afu9, environment)
            .args(["workflows", "apply"])
            .arg(&file)
            .env("AFU9_API__URL", &self.addresses.api_url)
            .env("AFU9_API__TOKEN", &self.addresses.token)
            .output()
            .context("run afu9 workflows apply")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            bail!(
                "afu9 workflows apply {}: {}\n{said}",
                file.display(),
                output.status
            );
        }
        Ok(())
    }
}

/// Waits for something that AFU-9 does, for as long as all of its processes live.
pub(crate) fn wait_or_casualty<T>(
    system: &mut System,
    interrupt: &Interrupt,
    what: &str,
    within: Duration,
    mut probe: impl FnMut(&System) -> Result<Option<T>>,
) -> Result<T> {
    wait::until(what, within, || {
        interrupt.check()?;
        if let Some(casualty) = system.casualty()? {
            bail!("{casualty}");
        }
        probe(system)
    })
}

/// `path` as seen from where the person stands, if it is below.
fn nearby(path: &Path) -> &Path {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path)
}
