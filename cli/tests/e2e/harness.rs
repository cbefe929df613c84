//! One AFU-9 with everything it needs: a nats-server and a database of its own, a simulated GitHub in
//! this process, and its roles as processes of the binary under test.
//!
//! A test that does not get to [`Factory::finish`] has failed: the ends of the roles' logs are then
//! printed. Whatever was started ends with the test, also when the test is killed.

pub(crate) mod api;
pub(crate) mod command;
pub(crate) mod database;
pub(crate) mod definition;
pub(crate) mod github;
pub(crate) mod leases;
mod role;
pub(crate) mod wait;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use afu9_loadtest::simulated_github::{Running, serve};
use afu9_servers::fixture::{self, ServerFixture};
use afu9_servers::process::Signal;
use afu9_servers::{Durability, RunDirectory, free_port, target_dir};
use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::{CancellationToken, DropGuard};

use api::Api;
use database::{Database, Storage};
use role::Role;

/// The API token of the tests.
pub(crate) const TOKEN: &str = "e2e-token";

/// What signs the webhooks.
pub(crate) const SECRET: &str = "e2e-webhook-secret";

/// One run of each role; `orchestrator` and the others are also their names.
pub(crate) const ROLES: [&str; 4] = ["projector", "orchestrator", "worker", "gateway"];

/// A role that was told to end does so within its drain deadline.
const END_WITHIN: Duration = Duration::from_secs(45);

/// Logs of this many older tests are kept.
const RUNS_KEPT: usize = 12;

/// Lines of each log that a failed test shows.
const TAIL_LINES: usize = 25;

const ROUTES: &str = r#"
[[route]]
name = "fix"
event = "issues"
action = "labeled"
repositories = ["octo/factory"]
filter = "event.label.name == 'afu9'"
workflow = "issue_to_pr"
input = { issue_number = "${event.issue.number}" }
"#;

/// The system under test.
pub(crate) struct Factory {
    pub(crate) nats: ServerFixture,
    pub(crate) database: Option<Database>,
    pub(crate) github: Running,
    pub(crate) api: Api,
    environment: Vec<(String, String)>,
    roles: BTreeMap<String, Role>,
    directory: RunDirectory,
    finished: bool,
    _github: DropGuard,
}

impl Factory {
    /// Starts the servers, and no role yet. `issues` is how many open issues GitHub has.
    pub(crate) async fn new(storage: Storage, issues: u64) -> Result<Self> {
        Self::with_nats(storage, issues, || fixture::private_nats(Durability::Fast)).await
    }

    /// The same with another nats-server.
    pub(crate) async fn with_nats(
        storage: Storage,
        issues: u64,
        nats: impl FnOnce() -> Result<ServerFixture> + Send + 'static,
    ) -> Result<Self> {
        let started = tokio::task::spawn_blocking(move || {
            let nats = nats()?;
            let directory = RunDirectory::create(&target_dir().join("afu9/e2e"), "run", RUNS_KEPT)?;
            anyhow::Ok((nats, Database::new(storage)?, directory, free_port()?))
        });
        let (nats, database, directory, port) = started.await??;
        let shutdown = CancellationToken::new();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let github = serve(listener, github::config(issues), shutdown.clone()).await?;
        let routes = directory.path().join("routes.toml");
        std::fs::write(&routes, ROUTES).context("write the routes")?;
        let base = format!("http://127.0.0.1:{port}");
        let hash: String = Sha256::digest(TOKEN)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let mut environment = vec![
            ("AFU9_NATS__URL", nats.url.clone()),
            ("AFU9_GATEWAY__LISTEN", format!("127.0.0.1:{port}")),
            ("AFU9_GATEWAY__WEBHOOK_SECRETS", SECRET.to_owned()),
            ("AFU9_GATEWAY__TOKENS", format!("e2e:admin:{hash}")),
            ("AFU9_GATEWAY__ROUTES_FILE", routes.display().to_string()),
            ("AFU9_GITHUB__BASE_URL", github.base_url.clone()),
            ("AFU9_GITHUB__TOKEN", github::TOKEN.to_owned()),
            ("AFU9_WORKER__ALLOW_TEST_KIND", "true".to_owned()),
            ("AFU9_LOG__FORMAT", "text".to_owned()),
            ("AFU9_API__URL", base.clone()),
            ("AFU9_API__TOKEN", TOKEN.to_owned()),
        ];
        environment.extend(
            database
                .as_ref()
                .map(|db| ("AFU9_DATABASE__URL", db.url.clone())),
        );
        let environment = environment
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        Ok(Self {
            nats,
            database,
            github,
            api: Api::new(base)?,
            environment,
            roles: BTreeMap::new(),
            directory,
            finished: false,
            _github: shutdown.drop_guard(),
        })
    }

    /// Starts the servers and one of each role, and waits until the gateway answers.
    pub(crate) async fn start(storage: Storage, issues: u64) -> Result<Self> {
        let mut factory = Self::new(storage, issues).await?;
        for name in ROLES {
            if name != "projector" || factory.database.is_some() {
                factory.launch(name, &[name])?;
            }
        }
        factory.wait_until_answering().await?;
        Ok(factory)
    }

    /// Starts `afu9 <arguments>` under a name of its own.
    pub(crate) fn launch(&mut self, name: &str, arguments: &[&str]) -> Result<()> {
        let log = self.directory.path().join(format!("{name}.log"));
        let role = Role::spawn(name, arguments, self.environment.clone(), log)?;
        self.roles.insert(name.to_owned(), role);
        Ok(())
    }

    /// Waits until the gateway answers.
    pub(crate) async fn wait_until_answering(&self) -> Result<()> {
        self.api.wait_until_answering().await
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, name: &str) -> Result<()> {
        let role = self.role(name)?;
        role.ended = true;
        tokio::task::block_in_place(|| role.process.kill())
    }

    /// Starts a role again as it was started before.
    pub(crate) fn restart(&mut self, name: &str) -> Result<()> {
        self.role(name)?.restart()
    }

    /// Starts a role again if it has ended by itself. Returns whether it had.
    pub(crate) fn revive(&mut self, name: &str) -> Result<bool> {
        let role = self.role(name)?;
        let has_ended = role.process.exited()?.is_some();
        if has_ended {
            role.restart()?;
        }
        Ok(has_ended)
    }

    /// SIGTERM; returns when it has ended.
    pub(crate) fn end(&mut self, name: &str) -> Result<ExitStatus> {
        let role = self.role(name)?;
        role.ended = true;
        tokio::task::block_in_place(|| role.process.end(Signal::Terminate, END_WITHIN))
    }

    /// SIGSTOP.
    pub(crate) fn pause(&mut self, name: &str) -> Result<()> {
        self.role(name)?.process.signal(Signal::Stop)
    }

    /// SIGCONT.
    pub(crate) fn resume(&mut self, name: &str) -> Result<()> {
        self.role(name)?.process.signal(Signal::Continue)
    }

    /// Starts another gateway, at an address of its own.
    pub(crate) fn launch_gateway_at_its_own(&mut self, name: &str) -> Result<Api> {
        let address = format!("127.0.0.1:{}", free_port()?);
        let listen = "AFU9_GATEWAY__LISTEN";
        let known = self.environment.iter().find(|(name, _)| name == listen);
        let before = known.map(|(_, address)| address.clone());
        self.configure(listen, Some(&address));
        self.launch(name, &["gateway"])?;
        self.configure(listen, before.as_deref());
        Api::new(format!("http://{address}"))
    }

    /// SIGKILL of the nats-server, and a new one on the same port and data.
    pub(crate) fn kill_and_restart_nats(&mut self) -> Result<()> {
        tokio::task::block_in_place(|| {
            self.nats.kill()?;
            self.nats.restart()
        })
    }

    /// The log of a role since it was first started.
    pub(crate) fn log_of(&self, name: &str) -> Result<String> {
        let role = self
            .roles
            .get(name)
            .with_context(|| format!("there is no role {name}"))?;
        std::fs::read_to_string(role.process.log()).context("read a log")
    }

    /// Changes what configures the roles and commands that are started from now on.
    pub(crate) fn configure(&mut self, name: &str, value: Option<&str>) {
        self.environment.retain(|(known, _)| known != name);
        self.environment
            .extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }

    /// What configures roles and commands.
    pub(crate) fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// A directory for the test's own files.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The database of a test that has one.
    pub(crate) fn database(&mut self) -> &mut Database {
        self.database.as_mut().expect("the test wanted a database")
    }

    /// Ends every role in order and checks that each still ran and ends well, without a panic.
    pub(crate) fn finish(mut self) -> Result<()> {
        let mut mistakes = Vec::new();
        tokio::task::block_in_place(|| {
            for (name, role) in &mut self.roles {
                if role.process.exited()?.is_some() && !role.ended {
                    mistakes.push(format!("{name} had ended by itself"));
                }
                role.process.signal(Signal::Terminate)?;
            }
            for (name, role) in &mut self.roles {
                let status = role.process.end(Signal::Terminate, END_WITHIN)?;
                if !role.ended && !status.success() {
                    mistakes.push(format!("{name} ended with {status}"));
                }
                if std::fs::read_to_string(role.process.log())?.contains("panicked at") {
                    mistakes.push(format!("{name} panicked"));
                }
            }
            anyhow::Ok(())
        })?;
        if !mistakes.is_empty() {
            bail!("at the end: {}", mistakes.join(", "));
        }
        self.finished = true;
        Ok(())
    }

    fn role(&mut self, name: &str) -> Result<&mut Role> {
        self.roles
            .get_mut(name)
            .with_context(|| format!("there is no role {name}"))
    }
}

impl Drop for Factory {
    fn drop(&mut self) {
        if !self.finished {
            eprintln!(
                "the test did not finish; logs are in {}",
                self.directory.path().display()
            );
            for (name, role) in &self.roles {
                eprintln!(
                    "--- the end of {name}'s log\n{}",
                    role.process.log_tail(TAIL_LINES)
                );
            }
        }
        // All at once: nobody shall wait for another while its server goes away.
        for role in self.roles.values_mut() {
            if let Err(error) = role.process.kill() {
                eprintln!("{error:#}");
            }
        }
    }
}
