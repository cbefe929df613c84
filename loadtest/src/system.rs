//! AFU-9 with all it needs, as processes on this machine: nats-server (one, or a cluster of three),
//! Postgres, and each role by itself; the simulated GitHub runs in this process.
//!
//! Used by `chaos`, `soak` and `bench`. Everything is on loopback, and ends with the [`System`] or with this
//! process, by process id.

mod role;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use afu9_servers::process::Signal;
use afu9_servers::provision::{self, PostgresInstallation, PrintProgress};
use afu9_servers::{
    Durability, NatsOptions, NatsServer, Postgres, PostgresOptions, RunDirectory, SmallDisk,
    free_port, sql, target_dir,
};
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::nats::Nats;
use crate::simulated_github::{Config, RepositorySeed, Running, TokenSeed, serve};

pub(crate) use role::{Role, RoleKind};

/// The repository that everything happens in.
pub(crate) const REPOSITORY: &str = "octo/factory";

/// The API token of a run; it protects nothing.
pub(crate) const TOKEN: &str = "loadtest-token";

/// What signs the webhooks of a run.
pub(crate) const WEBHOOK_SECRET: &str = "loadtest-webhook-secret";

/// The token that the simulated GitHub accepts.
const GITHUB_TOKEN: &str = "sim-token";

/// Runs that stay on disk, for looking at their logs.
const KEPT_RUNS: usize = 3;

/// The first start creates streams and tables, and on a busy machine takes a while.
const READY_WITHIN: Duration = Duration::from_secs(90);

/// Roles drain what they are doing; a process as a whole ends after 40 s.
const END_WITHIN: Duration = Duration::from_secs(45);

/// A cluster elects its leader within seconds.
const ELECTED_WITHIN: Duration = Duration::from_secs(60);

/// Succeeds when all tables are there that runs look at.
const LAST_TABLE: &str = "SELECT count(*) FROM mcp_tool_calls";

const PAUSE: Duration = Duration::from_millis(100);

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The program `afu9`.
    pub(crate) binary: PathBuf,
    /// Names the folder of data and logs.
    pub(crate) name: &'static str,
    pub(crate) durability: Durability,
    /// Three nats-servers with three copies of everything.
    pub(crate) cluster: bool,
    /// The store of the nats-server is on a file system of so many MiB of its own.
    pub(crate) small_disk: Option<u32>,
    /// How many processes of which role.
    pub(crate) roles: Vec<(RoleKind, usize)>,
    /// The routes file of the gateways.
    pub(crate) routes: String,
    /// Seeds the faults of the simulated GitHub.
    pub(crate) seed: u64,
}

/// A running AFU-9. The order of the fields is the order in which they end.
#[derive(Debug)]
pub(crate) struct System {
    pub(crate) roles: Vec<Role>,
    pub(crate) servers: Vec<NatsServer>,
    pub(crate) disk: Option<SmallDisk>,
    pub(crate) postgres: Postgres,
    pub(crate) github: Running,
    pub(crate) nats: Nats,
    /// Where each gateway is.
    pub(crate) gateways: Vec<String>,
    sql: sql::Client,
    directory: RunDirectory,
    _github: DropGuard,
}

/// `afu9` in the folder of the running program: both are built together.
///
/// # Errors
/// When it is not there.
pub fn beside_this_program() -> Result<PathBuf> {
    let program = std::env::current_exe().context("find this program")?;
    let found = program.with_file_name("afu9");
    if !found.is_file() {
        bail!(
            "{} does not exist: build it with `cargo build -p afu9`, or name the program with --afu9",
            found.display()
        );
    }
    Ok(found)
}

/// The last line of a report on what became of a system.
pub(crate) fn verdict(is_clean: bool) -> &'static str {
    if is_clean { "clean" } else { "NOT clean" }
}

impl System {
    /// Starts everything, and returns when every gateway says that it is ready.
    pub(crate) async fn start(options: &Options) -> Result<Self> {
        let blocking = options.clone();
        let servers = tokio::task::spawn_blocking(move || Servers::start(&blocking));
        let servers = servers.await.context("starting the servers panicked")??;
        let shutdown = CancellationToken::new();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .context("listen for the simulated GitHub")?;
        let github = serve(listener, github_config(options.seed), shutdown.clone()).await?;
        let nats = Nats::new(servers.nats.iter().map(NatsServer::port));
        if options.cluster {
            wait_for_leader(&nats, servers.nats.len()).await?;
        }
        let mut system = Self {
            roles: Vec::new(),
            nats,
            gateways: Vec::new(),
            sql: sql::Client::new(&servers.installation.bin_dir, servers.postgres.url()),
            servers: servers.nats,
            disk: servers.disk,
            postgres: servers.postgres,
            github,
            directory: servers.directory,
            _github: shutdown.drop_guard(),
        };
        system.start_roles(options)?;
        system.wait_until_ready().await?;
        Ok(system)
    }

    /// Where data and logs are.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Runs one statement in AFU-9's database.
    pub(crate) fn query(&self, statement: &str) -> Result<sql::Rows> {
        tokio::task::block_in_place(|| self.sql.query(statement))
    }

    /// Starts what has ended without having been told to, as a supervisor would.
    pub(crate) fn supervise(&mut self) -> Result<()> {
        for role in &mut self.roles {
            role.supervise()?;
        }
        Ok(())
    }

    /// Ends every role in order; what of it went wrong is returned.
    pub(crate) fn end_roles(&mut self) -> Result<Vec<String>> {
        let mut mistakes = Vec::new();
        tokio::task::block_in_place(|| {
            for role in &mut self.roles {
                role.process.signal(Signal::Terminate)?;
            }
            for role in &mut self.roles {
                let status = role.process.end(Signal::Terminate, END_WITHIN)?;
                if !status.success() {
                    mistakes.push(format!("{} ended with {status}", role.name));
                }
                let log = std::fs::read_to_string(role.process.log()).unwrap_or_default();
                if let Some(line) = log.lines().find(|line| line.contains("panicked at")) {
                    mistakes.push(format!("{} panicked: {line}", role.name));
                }
            }
            anyhow::Ok(())
        })?;
        Ok(mistakes)
    }

    fn start_roles(&mut self, options: &Options) -> Result<()> {
        let routes = self.directory().join("routes.toml");
        std::fs::write(&routes, &options.routes).context("write the routes")?;
        let base = self.environment(options, &routes);
        for (kind, count) in &options.roles {
            for number in 1..=*count {
                let mut environment = base.clone();
                if *kind == RoleKind::Gateway {
                    let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
                    self.gateways.push(format!("http://{address}"));
                    environment.push(("AFU9_GATEWAY__LISTEN".to_owned(), address.to_string()));
                }
                let log = self
                    .directory()
                    .join(format!("{}-{number}.log", kind.name()));
                let role = Role::start(*kind, number, &options.binary, environment, log)?;
                self.roles.push(role);
            }
        }
        Ok(())
    }

    fn environment(&self, options: &Options, routes: &Path) -> Vec<(String, String)> {
        let urls: Vec<String> = self.servers.iter().map(NatsServer::url).collect();
        let hash = hex::encode(Sha256::digest(TOKEN.as_bytes()));
        let replicas = if options.cluster { "3" } else { "1" };
        [
            ("AFU9_NATS__URL", urls.join(",")),
            (
                "AFU9_NATS__DURABILITY",
                options.durability.name().to_owned(),
            ),
            ("AFU9_NATS__REPLICAS", replicas.to_owned()),
            ("AFU9_DATABASE__URL", self.postgres.url()),
            ("AFU9_GATEWAY__WEBHOOK_SECRETS", WEBHOOK_SECRET.to_owned()),
            ("AFU9_GATEWAY__TOKENS", format!("loadtest:admin:{hash}")),
            ("AFU9_GATEWAY__ROUTES_FILE", routes.display().to_string()),
            ("AFU9_GITHUB__BASE_URL", self.github.base_url.clone()),
            ("AFU9_GITHUB__TOKEN", GITHUB_TOKEN.to_owned()),
            ("AFU9_WORKER__ALLOW_TEST_KIND", "true".to_owned()),
            ("AFU9_LOG__FORMAT", "text".to_owned()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(5))
            .build()
            .context("build the HTTP client")?;
        let deadline = tokio::time::Instant::now() + READY_WITHIN;
        for gateway in self.gateways.clone() {
            loop {
                self.supervise()?;
                let answer = http.get(format!("{gateway}/api/ready")).send().await;
                let said = match answer {
                    Ok(answer) if answer.status().is_success() => break,
                    Ok(answer) => answer.text().await.unwrap_or_default(),
                    Err(error) => format!("{error:#}"),
                };
                if tokio::time::Instant::now() > deadline {
                    let directory = self.directory().display();
                    bail!(
                        "{gateway} is not ready after {READY_WITHIN:?} ({said}); logs: {directory}"
                    );
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        // A gateway is ready when Postgres answers; the tables are the projector's to make.
        while let Err(error) = self.query(LAST_TABLE) {
            self.supervise()?;
            if tokio::time::Instant::now() > deadline {
                return Err(error.context("the projector has not made its tables"));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }
}

/// The servers, before there is anything else.
struct Servers {
    nats: Vec<NatsServer>,
    disk: Option<SmallDisk>,
    postgres: Postgres,
    installation: PostgresInstallation,
    directory: RunDirectory,
}

impl Servers {
    fn start(options: &Options) -> Result<Self> {
        let target = target_dir();
        let binary = provision::nats_server(&target, &mut PrintProgress)?;
        let installation = provision::postgres(&target, &mut PrintProgress)?;
        let runs = target.join("afu9").join(options.name);
        let directory = RunDirectory::create(&runs, "run", KEPT_RUNS)?;
        let disk = match options.small_disk {
            Some(mebibytes) => {
                let path = directory.path().join("disk");
                Some(SmallDisk::create(&path, mebibytes)?)
            }
            None => None,
        };
        let mut nats = Vec::new();
        for mut settings in nats_options(options, directory.path())? {
            if let Some(disk) = &disk {
                settings.store_dir = Some(disk.path().join("jetstream"));
                settings.through = disk.through();
            }
            nats.push(NatsServer::start(&binary, settings)?);
        }
        let postgres = PostgresOptions::new(directory.path().join("postgres"));
        let postgres = Postgres::start(&installation, postgres)?;
        Ok(Self {
            nats,
            disk,
            postgres,
            installation,
            directory,
        })
    }
}

fn nats_options(options: &Options, directory: &Path) -> Result<Vec<NatsOptions>> {
    let server = |folder: &str| NatsOptions {
        durability: options.durability,
        ..NatsOptions::new(directory.join(folder))
    };
    if !options.cluster {
        return Ok(vec![server("nats")]);
    }
    let ports = [free_port()?, free_port()?, free_port()?];
    let routes: Vec<String> = ports
        .iter()
        .map(|port| format!("\"nats://127.0.0.1:{port}\""))
        .collect();
    let routes = routes.join(", ");
    let clustered = (1..).zip(ports).map(|(number, port)| NatsOptions {
        extra_config: format!(
            "cluster {{\n  name: afu9\n  listen: \"127.0.0.1:{port}\"\n  routes: [{routes}]\n}}\n"
        ),
        ..server(&format!("nats-{number}"))
    });
    Ok(clustered.collect())
}

/// Until it has elected a leader and all are there, a cluster can create no stream of three copies.
async fn wait_for_leader(nats: &Nats, size: usize) -> Result<()> {
    let deadline = tokio::time::Instant::now() + ELECTED_WITHIN;
    let probe = serde_json::json!({
        "name": "LOADTEST_PROBE", "subjects": ["loadtest.probe"], "num_replicas": size,
        "storage": "memory", "max_bytes": 1024, "retention": "limits", "discard": "new",
    });
    loop {
        let created = nats.api("STREAM.CREATE.LOADTEST_PROBE", &probe).await;
        let deleted = nats.api("STREAM.DELETE.LOADTEST_PROBE", &Value::Null).await;
        match created.and(deleted) {
            Ok(_) => return Ok(()),
            Err(error) if tokio::time::Instant::now() > deadline => {
                return Err(error.context("the cluster of nats-servers has no leader"));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

fn github_config(seed: u64) -> Config {
    Config {
        repositories: vec![RepositorySeed {
            issues: Vec::new(),
            ..RepositorySeed::demo(REPOSITORY)
        }],
        tokens: vec![TokenSeed::writer("worker", GITHUB_TOKEN)],
        // Limits are injected as faults, where they are wanted.
        primary_limit: u32::MAX,
        seed,
        ..Config::default()
    }
}
