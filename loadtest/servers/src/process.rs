//! A child process that cannot outlive its starter.
//!
//! Used for nats-server, Postgres and, by `cargo xtask`, for the roles of AFU-9. Each process is the
//! leader of its own group, so Ctrl-C in a terminal reaches only the program in front, which then
//! ends its children in order.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::wait;
use crate::watchdog;

/// A POSIX signal that set-up sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// The orderly request to end.
    Terminate,
    /// The orderly request to end from a keyboard; Postgres takes it as its fast shutdown.
    Interrupt,
    /// Postgres takes it as its immediate shutdown.
    Quit,
    /// Ends at once; cannot be caught.
    Kill,
    /// Stops until continued; cannot be caught.
    Stop,
    /// Continues a stopped process.
    Continue,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminate => "TERM",
            Self::Interrupt => "INT",
            Self::Quit => "QUIT",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Continue => "CONT",
        })
    }
}

/// What to do around the command of a [`Process`].
#[derive(Debug, Clone)]
pub struct Spec {
    /// For messages.
    pub name: String,
    /// Standard output and error are appended here.
    pub log: PathBuf,
    /// What ends it when its owner drops it or dies.
    pub end_with: Signal,
}

/// How long a dropped process may take to obey its signal before SIGKILL.
const DROP_PATIENCE: Duration = Duration::from_secs(5);

/// A running (or ended, but not yet forgotten) child.
#[derive(Debug)]
pub struct Process {
    child: Child,
    spec: Spec,
    status: Option<ExitStatus>,
    entry: Option<watchdog::Entry>,
}

impl Process {
    /// Starts `command` in its own process group, with no input and its output in the log file.
    ///
    /// # Errors
    /// When the log cannot be opened or the program cannot be started.
    pub fn spawn(mut command: Command, spec: Spec) -> Result<Self> {
        let log = open_log(&spec.log)?;
        let copy = log.try_clone().context("share the log file")?;
        let mut child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(copy)
            .spawn()
            .with_context(|| format!("start {}: {:?}", spec.name, command.get_program()))?;
        match watchdog::Entry::end(child.id(), spec.end_with) {
            Ok(entry) => Ok(Self {
                child,
                spec,
                status: None,
                entry: Some(entry),
            }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// The process id, which is also the id of its group.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The name given in [`Spec`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// The log file given in [`Spec`].
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.spec.log
    }

    /// The exit status, once it has ended. Does not block.
    ///
    /// # Errors
    /// When the kernel refuses to say, which is a bug of ours.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self
                .child
                .try_wait()
                .context("ask for the state of a child")?;
            if self.status.is_some() {
                self.entry = None;
            }
        }
        Ok(self.status)
    }

    /// Sends a signal. A process that has already ended is no error.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.exited()?.is_some() {
            return Ok(());
        }
        // The pid is still ours: it has not been waited for.
        send(self.child.id(), signal).with_context(|| format!("signal {}", self.spec.name))
    }

    /// Ends it with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    /// When it cannot be killed or waited for.
    pub fn kill(&mut self) -> Result<()> {
        if self.exited()?.is_some() {
            return Ok(());
        }
        self.child
            .kill()
            .with_context(|| format!("kill {}", self.spec.name))?;
        let status = self
            .child
            .wait()
            .with_context(|| format!("wait for {}", self.spec.name))?;
        self.status = Some(status);
        self.entry = None;
        Ok(())
    }

    /// Ends it with `signal`; after `patience` with SIGKILL. Returns when it is gone.
    ///
    /// # Errors
    /// When it cannot be signalled or waited for.
    pub fn end(&mut self, signal: Signal, patience: Duration) -> Result<ExitStatus> {
        self.signal(signal)?;
        // A stopped process does not see the signal until it continues.
        self.signal(Signal::Continue)?;
        let name = self.spec.name.clone();
        if wait::until(&format!("end of {name}"), patience, || self.exited()).is_err() {
            self.kill()?;
        }
        self.exited()?
            .with_context(|| format!("{name} is still running after SIGKILL"))
    }

    /// The last `lines` lines of its log, for an error message.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        tail(&self.spec.log, lines)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.end(self.spec.end_with, DROP_PATIENCE) {
            eprintln!("{} could not be ended: {error:#}", self.spec.name);
        }
    }
}

/// Sends `signal` to `pid`. Use [`Process::signal`] for an own child: it knows when the pid is stale.
///
/// # Errors
/// When there is no such process, or it is not ours to signal.
pub fn send(pid: u32, signal: Signal) -> Result<()> {
    // The shell's built-in: the system call needs unsafe code, and `kill` need not be installed.
    let output = Command::new("sh")
        .args([
            "-c",
            r#"kill -s "$0" "$1""#,
            &signal.to_string(),
            &pid.to_string(),
        ])
        .stdin(Stdio::null())
        .output()
        .context("run kill (needs sh)")?;
    if !output.status.success() {
        bail!(
            "kill -s {signal} {pid}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// The last `lines` lines of a log file, or a note why there are none.
#[must_use]
pub fn tail(log: &Path, lines: usize) -> String {
    /// More than any sensible tail needs, and little enough to read at once.
    const TAIL_BYTES: u64 = 64 * 1024;
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    match read() {
        Ok(text) => {
            let all: Vec<&str> = text.lines().collect();
            all[all.len().saturating_sub(lines)..].join("\n")
        }
        Err(error) => format!("({}: {error})", log.display()),
    }
}

fn open_log(path: &Path) -> Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("open {}", path.display()))
}
