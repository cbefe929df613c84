//! Roles: parse, build (may fail), log what was built, run, wait, drain.
//!
//! Every role can run alone, as often as one likes, or all of them in one process. Each has a
//! connection to NATS of its own, so that the server shows who does what.

mod build;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) use build::{github, store};

use crate::output::Output;
use crate::settings::Settings;

/// How long all roles together have to drain. Longer than each has for itself.
const DRAIN: Duration = Duration::from_secs(40);

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    All,
    Orchestrator,
    Worker,
    Projector,
    Gateway,
}

/// Runs roles until the process is told to end, or one of them ends by itself.
pub(crate) async fn run(
    roles: &[Role],
    settings: Settings,
    kinds: Option<Vec<String>>,
    output: Output,
) -> anyhow::Result<ExitCode> {
    crate::logging::start(&settings.log)?;
    let shutdown = CancellationToken::new();
    let mut running = JoinSet::new();
    let built = tokio::select! {
        built = build::build(roles, settings, kinds, output) => built?,
        signal = signal() => {
            tracing::info!(signal = signal?, "told to end before everything was started");
            return Ok(ExitCode::SUCCESS);
        }
    };
    for (name, role) in built {
        let role = role(shutdown.clone());
        running.spawn(async move { (name, role.await) });
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        "started"
    );
    let failed = tokio::select! {
        signal = signal() => {
            tracing::info!(signal = signal?, "told to end");
            None
        }
        Some(ended) = running.join_next() => Some(ended),
    };
    shutdown.cancel();
    let mut outcome = match failed {
        None => Ok(ExitCode::SUCCESS),
        Some(ended) => judge(ended, true),
    };
    let drained = async {
        while let Some(ended) = running.join_next().await {
            let judged = judge(ended, false);
            if outcome.is_ok() {
                outcome = judged;
            }
        }
    };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        bail!("not everything ended within {} s", DRAIN.as_secs());
    }
    tracing::info!("ended");
    outcome
}

type Ended = Result<(&'static str, anyhow::Result<()>), tokio::task::JoinError>;

/// A role that ends although nobody told it to is a failure, whatever it says itself.
fn judge(ended: Ended, unexpected: bool) -> anyhow::Result<ExitCode> {
    let (name, result) = ended.context("a role panicked")?;
    result.with_context(|| format!("the {name} failed"))?;
    if unexpected {
        bail!("the {name} ended unexpectedly");
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits for the wish to end, and says which it was.
async fn signal() -> anyhow::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.context("cannot listen for SIGINT")?;
            Ok("SIGINT")
        }
        _ = terminate.recv() => Ok("SIGTERM"),
    }
}
