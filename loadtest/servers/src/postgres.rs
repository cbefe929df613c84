//! One Postgres on 127.0.0.1, with the levers that tests of failure need.
//!
//! Local connections are trusted and there is no Unix socket. As root, every program of Postgres runs
//! as an unprivileged account.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::account::Account;
use crate::port::free_port;
use crate::process::{self, Process, Signal, Spec};
use crate::provision::PostgresInstallation;
use crate::{sql, wait, watchdog};

/// How to run a Postgres.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Cluster and log go here.
    pub data_dir: PathBuf,
    /// A fixed port, or any free one.
    pub port: Option<u16>,
    /// As many clients as may be connected at once.
    pub max_connections: u16,
    /// Whether a commit waits for the disk.
    pub fsync: Fsync,
}

/// Whether a commit waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// It does: the only honest choice where anything is measured.
    On,
    /// It does not: for data that nobody wants back after a crash of the machine.
    Off,
}

impl PostgresOptions {
    /// An honest Postgres on any free port.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            port: None,
            max_connections: 200,
            fsync: Fsync::On,
        }
    }
}

/// The superuser of the cluster; without a password, because only loopback can reach it.
const USER: &str = "afu9";
const DATABASE: &str = "afu9";

/// A start takes some 100 ms; recovery after a crash under load takes longer.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// The fast shutdown writes a checkpoint.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// Another process can take the chosen port first; that this often it does is not chance.
const PORT_TRIES: usize = 5;
/// After SIGKILL of its parent, a backend notices only when it next waits, and until then the
/// shared memory is in use.
const BACKENDS_GONE_WITHIN: Duration = Duration::from_secs(20);

/// A started Postgres. Dropping it ends it.
#[derive(Debug)]
pub struct Postgres {
    installation: PostgresInstallation,
    options: PostgresOptions,
    port: u16,
    process: Process,
    cluster: Cluster,
}

/// The cluster's directory, and what removes it when it had to be put elsewhere.
#[derive(Debug)]
struct Cluster {
    path: PathBuf,
    elsewhere: Option<(tempfile::TempDir, watchdog::Entry)>,
}

impl Postgres {
    /// Creates a cluster and starts it; returns when it answers and the database exists.
    ///
    /// # Errors
    /// When the cluster cannot be created or the server ends at once or does not answer in time; the
    /// error ends with the tail of its log.
    pub fn start(installation: &PostgresInstallation, options: PostgresOptions) -> Result<Self> {
        fs::create_dir_all(&options.data_dir)
            .with_context(|| format!("create {}", options.data_dir.display()))?;
        let cluster = Cluster::create(installation, &options)?;
        for attempt in 1.. {
            let port = match options.port {
                Some(port) => port,
                None => free_port()?,
            };
            let mut process = spawn(installation, &options, &cluster.path, port)?;
            match ready(&mut process, &cluster.path)? {
                None => {
                    let installation = installation.clone();
                    let server = Self {
                        installation,
                        options,
                        port,
                        process,
                        cluster,
                    };
                    server.create_database(DATABASE)?;
                    return Ok(server);
                }
                Some(_) if options.port.is_none() && attempt < PORT_TRIES => {}
                Some(status) => bail!("{}", ended(&process, status)),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// The database that exists from the start.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of(DATABASE)
    }

    /// The maintenance database, for creating and dropping others.
    #[must_use]
    pub fn admin_url(&self) -> String {
        self.url_of("postgres")
    }

    /// The client port; it stays the same across restarts.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the postmaster; it changes with a restart.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The cluster's directory: below the wanted one, except when we are root and the account that
    /// runs Postgres cannot reach that; then it is a temporary one and goes with the server.
    #[must_use]
    pub fn cluster_dir(&self) -> &Path {
        &self.cluster.path
    }

    /// The running process, to watch it or to read its log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Creates a database and returns its URL. The name must not need quoting.
    ///
    /// # Errors
    /// When it exists or the server cannot be reached.
    pub fn create_database(&self, name: &str) -> Result<String> {
        sql::Client::new(&self.installation.bin_dir, self.admin_url())
            .query(&format!("CREATE DATABASE \"{name}\""))?;
        Ok(self.url_of(name))
    }

    /// Ends it as a crash would: SIGKILL of the postmaster. The data stays.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Ends it in order, disconnecting its clients. The data stays.
    ///
    /// # Errors
    /// When it cannot be ended.
    pub fn stop(&mut self) -> Result<()> {
        self.process.end(Signal::Interrupt, STOP_PATIENCE).map(drop)
    }

    /// Starts it again on the same port and data; one that still runs is ended in order first.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        wait::until(
            "the killed Postgres to be gone",
            BACKENDS_GONE_WITHIN,
            || {
                self.process = spawn(
                    &self.installation,
                    &self.options,
                    &self.cluster.path,
                    self.port,
                )?;
                Ok(match ready(&mut self.process, &self.cluster.path)? {
                    None => Some(()),
                    Some(_) => None,
                })
            },
        )
        .with_context(|| self.process.log_tail(10))
    }

    /// Freezes the postmaster (SIGSTOP): nobody can connect any more. Connections that exist have
    /// their own processes and go on.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub fn pause(&mut self) -> Result<()> {
        self.process.signal(Signal::Stop)
    }

    /// Undoes [`Postgres::pause`].
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub fn resume(&mut self) -> Result<()> {
        self.process.signal(Signal::Continue)
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.cluster.elsewhere.is_some() {
            // It must be gone before its directory goes.
            let _ = self.process.end(Signal::Quit, STOP_PATIENCE);
        }
    }
}

impl Cluster {
    fn create(installation: &PostgresInstallation, options: &PostgresOptions) -> Result<Self> {
        let account = installation.account.as_ref();
        let reachable = account.is_none_or(|account| account.can_enter(&options.data_dir));
        let mut cluster = if reachable {
            Self {
                path: options.data_dir.join("cluster"),
                elsewhere: None,
            }
        } else {
            let parent = tempfile::Builder::new()
                .prefix("afu9-postgres-")
                .permissions(fs::Permissions::from_mode(0o755))
                .tempdir()
                .context("create a temporary directory for Postgres")?;
            let entry = watchdog::Entry::remove(parent.path())?;
            Self {
                path: parent.path().join("cluster"),
                elsewhere: Some((parent, entry)),
            }
        };
        cluster.initialise(installation, options)?;
        Ok(cluster)
    }

    fn initialise(
        &mut self,
        installation: &PostgresInstallation,
        options: &PostgresOptions,
    ) -> Result<()> {
        let account = installation.account.as_ref();
        let path = &self.path;
        fs::create_dir(path).with_context(|| format!("create {}", path.display()))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
        if let Some(account) = account {
            chown(path, Some(account.uid), Some(account.gid))
                .with_context(|| format!("give {} to {}", path.display(), account.name))?;
        }
        let output = Account::command(account, &installation.bin_dir.join("initdb"))
            .args([
                "--username",
                USER,
                "--auth",
                "trust",
                "--encoding",
                "UTF8",
                "--no-locale",
            ])
            .args(["--no-sync", "--pgdata"])
            .arg(path)
            .output()
            .context("run initdb")?;
        if !output.status.success() {
            bail!(
                "initdb ended with {}:\n{}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let settings = path.join("postgresql.conf");
        let mut text = fs::read_to_string(&settings).context("read postgresql.conf")?;
        text.push_str(&configuration(options));
        fs::write(&settings, text).context("write postgresql.conf")
    }
}

fn configuration(options: &PostgresOptions) -> String {
    let max_connections = options.max_connections;
    let fsync = match options.fsync {
        Fsync::On => "on",
        Fsync::Off => "off",
    };
    format!(
        "\n# Added by AFU-9's set-up.\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n\
         max_connections = {max_connections}\nshared_buffers = 128MB\nmax_wal_size = 2GB\nfsync = {fsync}\n\
         logging_collector = off\nlog_destination = stderr\n"
    )
}

fn spawn(
    installation: &PostgresInstallation,
    options: &PostgresOptions,
    cluster: &Path,
    port: u16,
) -> Result<Process> {
    let program = installation.bin_dir.join("postgres");
    let mut command = Account::command(installation.account.as_ref(), &program);
    command
        .arg("-D")
        .arg(cluster)
        .arg("-p")
        .arg(port.to_string());
    let log = options.data_dir.join("postgres.log");
    // SIGKILL would leave its children to find out by themselves.
    let spec = Spec {
        name: "postgres".to_owned(),
        log,
        end_with: Signal::Quit,
    };
    Process::spawn(command, spec)
}

/// `None` when the server answers, its status when it has ended before.
fn ready(process: &mut Process, cluster: &Path) -> Result<Option<ExitStatus>> {
    let log = process.log().to_owned();
    let pid = process.pid().to_string();
    wait::until("Postgres to answer", READY_WITHIN, || {
        if let Some(status) = process.exited()? {
            return Ok(Some(Some(status)));
        }
        // Postgres writes its pid into the first line of this file and its state into the eighth.
        let text = fs::read_to_string(cluster.join("postmaster.pid")).unwrap_or_default();
        let ours = text.lines().next() == Some(pid.as_str());
        let ready = text
            .lines()
            .nth(7)
            .is_some_and(|state| state.trim() == "ready");
        Ok((ours && ready).then_some(None))
    })
    .with_context(|| format!("{}:\n{}", log.display(), process::tail(&log, 10)))
}

fn ended(process: &Process, status: ExitStatus) -> String {
    format!(
        "postgres ended at its start ({status}):\n{}",
        process.log_tail(10)
    )
}
