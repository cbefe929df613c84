//! One nats-server with JetStream on 127.0.0.1, with the levers that tests of failure need.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::port::{free_port, random};
use crate::process::{self, Process, Signal, Spec};
use crate::provision::NatsServerBinary;
use crate::wait;

/// When JetStream writes reach the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Written to the operating system at once, to the disk every two minutes: the server's default.
    #[default]
    Fast,
    /// Written to the disk before it is acknowledged (`sync_interval: always`).
    Durable,
}

impl Durability {
    /// Its name, in configuration and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Durable => "durable",
        }
    }
}

/// How to run a nats-server.
#[derive(Debug, Clone)]
pub struct NatsOptions {
    /// Configuration, store and log go here.
    pub data_dir: PathBuf,
    /// When writes reach the disk.
    pub durability: Durability,
    /// A fixed port, or any free one.
    pub port: Option<u16>,
    /// More lines for the server's configuration file.
    pub extra_config: String,
    /// Where the store is, if not below `data_dir`.
    pub store_dir: Option<PathBuf>,
    /// A program and its arguments that run the server in turn, and become it.
    pub through: Vec<String>,
}

impl NatsOptions {
    /// A fast server on any free port.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            durability: Durability::default(),
            port: None,
            extra_config: String::new(),
            store_dir: None,
            through: Vec::new(),
        }
    }
}

/// JetStream's own bounds: far above what tests and load runs on one machine store.
const MAX_MEMORY_STORE: &str = "2GB";
const MAX_FILE_STORE: &str = "50GB";

/// A start takes some 50 ms; recovering a large store after a crash takes longer.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// nats-server flushes its stores when it ends in order.
const STOP_PATIENCE: Duration = Duration::from_secs(15);
/// Another process can take the chosen port first; that this often it does is not chance.
const PORT_TRIES: usize = 5;

/// A started nats-server. Dropping it ends it.
#[derive(Debug)]
pub struct NatsServer {
    binary: PathBuf,
    options: NatsOptions,
    name: String,
    port: u16,
    process: Process,
}

impl NatsServer {
    /// Starts the server and returns when it answers clients.
    ///
    /// # Errors
    /// When it ends at once or does not answer in time; the error ends with the tail of its log.
    pub fn start(binary: &NatsServerBinary, options: NatsOptions) -> Result<Self> {
        fs::create_dir_all(&options.data_dir)
            .with_context(|| format!("create {}", options.data_dir.display()))?;
        let name = format!("afu9-{:08x}", random() & 0xffff_ffff);
        for attempt in 1.. {
            let port = match options.port {
                Some(port) => port,
                None => free_port()?,
            };
            let mut process = spawn(&binary.path, &options, &name, port)?;
            match ready(&mut process, &name, port)? {
                None => {
                    let binary = binary.path.clone();
                    return Ok(Self {
                        binary,
                        options,
                        name,
                        port,
                        process,
                    });
                }
                Some(_) if options.port.is_none() && attempt < PORT_TRIES => {}
                Some(status) => bail!("{}", ended(&process, status)),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// `nats://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The client port; it stays the same across restarts.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id; it changes with a restart.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where its configuration, store and log are.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.options.data_dir
    }

    /// The running process, to watch it or to read its log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Ends it as a crash would: SIGKILL. The store stays.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Ends it in order. The store stays.
    ///
    /// # Errors
    /// When it cannot be ended.
    pub fn stop(&mut self) -> Result<()> {
        self.process.end(Signal::Terminate, STOP_PATIENCE).map(drop)
    }

    /// Starts it again on the same port and store; one that still runs is ended in order first.
    ///
    /// # Errors
    /// As [`NatsServer::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.process = spawn(&self.binary, &self.options, &self.name, self.port)?;
        match ready(&mut self.process, &self.name, self.port)? {
            None => Ok(()),
            Some(status) => bail!("{}", ended(&self.process, status)),
        }
    }

    /// Freezes it (SIGSTOP): connections stay open and nothing is answered.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub fn pause(&mut self) -> Result<()> {
        self.process.signal(Signal::Stop)
    }

    /// Undoes [`NatsServer::pause`].
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub fn resume(&mut self) -> Result<()> {
        self.process.signal(Signal::Continue)
    }
}

fn spawn(binary: &Path, options: &NatsOptions, name: &str, port: u16) -> Result<Process> {
    let path = options.data_dir.join("nats.conf");
    fs::write(&path, configuration(options, name, port))
        .with_context(|| format!("write {}", path.display()))?;
    let mut command = match options.through.split_first() {
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments).arg(binary);
            command
        }
        None => Command::new(binary),
    };
    command.arg("--config").arg(&path);
    let log = options.data_dir.join("nats.log");
    let spec = Spec {
        name: "nats-server".to_owned(),
        log,
        end_with: Signal::Kill,
    };
    Process::spawn(command, spec)
}

fn configuration(options: &NatsOptions, name: &str, port: u16) -> String {
    let below = options.data_dir.join("jetstream");
    let store = options.store_dir.as_ref().unwrap_or(&below);
    let sync = match options.durability {
        Durability::Fast => "",
        Durability::Durable => "  sync_interval: always\n",
    };
    let extra = &options.extra_config;
    format!(
        "server_name: \"{name}\"\nlisten: \"127.0.0.1:{port}\"\njetstream {{\n  store_dir: {store:?}\n  \
         max_memory_store: {MAX_MEMORY_STORE}\n  max_file_store: {MAX_FILE_STORE}\n{sync}}}\n{extra}\n"
    )
}

/// `None` when the server answers, its status when it has ended before.
fn ready(process: &mut Process, name: &str, port: u16) -> Result<Option<ExitStatus>> {
    let log = process.log().to_owned();
    wait::until("nats-server to answer", READY_WITHIN, || {
        if let Some(status) = process.exited()? {
            return Ok(Some(Some(status)));
        }
        // The name tells our server from one that has taken the port before it.
        Ok((server_name(port).as_deref() == Some(name)).then_some(None))
    })
    .with_context(|| format!("{}:\n{}", log.display(), process::tail(&log, 10)))
}

fn ended(process: &Process, status: ExitStatus) -> String {
    format!(
        "nats-server ended at its start ({status}):\n{}",
        process.log_tail(10)
    )
}

/// The name in the INFO line that a nats-server sends to every new connection.
pub(crate) fn server_name(port: u16) -> Option<String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    let info: serde_json::Value = serde_json::from_str(line.strip_prefix("INFO ")?).ok()?;
    info.get("server_name")?.as_str().map(str::to_owned)
}
