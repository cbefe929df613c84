//! A role of AFU-9 as a process that is started again when it has ended by itself.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use afu9_servers::process::{Process, Signal, Spec};
use anyhow::Result;
use serde::Serialize;

/// Which role a process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RoleKind {
    Orchestrator,
    /// A worker of the kind `github`.
    GithubWorker,
    /// A worker of the kind `test`, which poison may crash.
    TestWorker,
    /// A worker of all kinds, as `cargo xtask up` starts it.
    Worker,
    Projector,
    Gateway,
}

impl RoleKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Orchestrator => "orchestrator",
            Self::GithubWorker => "github-worker",
            Self::TestWorker => "test-worker",
            Self::Worker => "worker",
            Self::Projector => "projector",
            Self::Gateway => "gateway",
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Orchestrator => &["orchestrator"],
            Self::GithubWorker => &["worker", "--kinds", "github"],
            Self::TestWorker => &["worker", "--kinds", "test"],
            Self::Worker => &["worker", "--kinds", "github,test"],
            Self::Projector => &["projector"],
            Self::Gateway => &["gateway"],
        }
    }
}

/// A supervisor waits before it starts something again that has ended: so does ours.
const RESTART_AFTER: Duration = Duration::from_millis(500);

/// A role as a process.
#[derive(Debug)]
pub(crate) struct Role {
    pub(crate) kind: RoleKind,
    /// `orchestrator-1` and the like.
    pub(crate) name: String,
    pub(crate) process: Process,
    /// How often it ended by itself.
    pub(crate) restarts: u32,
    /// It was killed, and whoever did it starts it again.
    held_down: bool,
    seen_ended: Option<Instant>,
    binary: PathBuf,
    environment: Vec<(String, String)>,
}

impl Role {
    pub(super) fn start(
        kind: RoleKind,
        number: usize,
        binary: &Path,
        environment: Vec<(String, String)>,
        log: PathBuf,
    ) -> Result<Self> {
        let name = format!("{}-{number}", kind.name());
        let process = spawn(kind, &name, binary, &environment, log)?;
        Ok(Self {
            kind,
            name,
            process,
            restarts: 0,
            held_down: false,
            seen_ended: None,
            binary: binary.to_owned(),
            environment,
        })
    }

    /// SIGKILL; it stays down until [`Role::again`].
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.held_down = true;
        tokio::task::block_in_place(|| self.process.kill())
    }

    /// Starts it again, with its log going on.
    pub(crate) fn again(&mut self) -> Result<()> {
        let log = self.process.log().to_owned();
        self.process = spawn(self.kind, &self.name, &self.binary, &self.environment, log)?;
        self.held_down = false;
        self.seen_ended = None;
        Ok(())
    }

    /// SIGSTOP.
    pub(crate) fn freeze(&mut self) -> Result<()> {
        self.process.signal(Signal::Stop)
    }

    /// SIGCONT.
    pub(crate) fn thaw(&mut self) -> Result<()> {
        self.process.signal(Signal::Continue)
    }

    pub(super) fn supervise(&mut self) -> Result<()> {
        if self.held_down || self.process.exited()?.is_none() {
            return Ok(());
        }
        let ended = *self.seen_ended.get_or_insert_with(Instant::now);
        if ended.elapsed() < RESTART_AFTER {
            return Ok(());
        }
        let status = self.process.exited()?;
        tracing::info!(
            role = self.name,
            ?status,
            "has ended by itself, starting it again"
        );
        self.restarts += 1;
        self.again()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the environment of children, not configuration"
)]
fn spawn(
    kind: RoleKind,
    name: &str,
    binary: &Path,
    environment: &[(String, String)],
    log: PathBuf,
) -> Result<Process> {
    let mut command = Command::new(binary);
    command
        .args(kind.arguments())
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .envs(environment.iter().map(|(name, value)| (name, value)));
    Process::spawn(
        command,
        Spec {
            name: name.to_owned(),
            log,
            end_with: Signal::Kill,
        },
    )
}
