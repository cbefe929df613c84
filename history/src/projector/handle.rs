//! What a projector tells about itself: counters for metrics and readiness, and log lines at
//! transitions (lost, back, behind, caught up), never for every attempt.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use afu9_broker::error::chain;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::projector::{Message, Report};

/// So many messages behind is worth a line in the log: minutes of a busy system.
const BEHIND: u64 = 10_000;

/// So few are the ordinary state of a busy system.
const CAUGHT_UP: u64 = 100;

/// A view of a projector at work. Cheap to clone and to ask.
#[derive(Debug, Clone, Default)]
pub struct Handle(Arc<Shared>);

/// What a projector has done and how it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Rows inserted or changed since it started.
    pub rows_written: u64,
    /// Messages written or made dead letters.
    pub messages: u64,
    /// Messages that became dead letters.
    pub poison: u64,
    /// Events left out because they named no execution.
    pub malformed: u64,
    /// Messages that wait in the stream behind the last one fetched.
    pub lag_messages: u64,
    /// Whether the last attempt to use Postgres succeeded.
    pub postgres: bool,
    /// Whether the last attempt to use the stream succeeded.
    pub source: bool,
    /// The last error of either, with its causes; stays after it is over.
    pub last_error: Option<String>,
}

#[derive(Debug, Default)]
struct Shared {
    rows: AtomicU64,
    messages: AtomicU64,
    poison: AtomicU64,
    malformed: AtomicU64,
    lag: AtomicU64,
    health: Mutex<Health>,
}

#[derive(Debug, Default)]
struct Health {
    postgres: Side,
    source: Side,
    behind: bool,
    last_error: Option<String>,
}

/// One of the two servers a projector stands between.
#[derive(Debug, Default, Clone, Copy)]
enum Side {
    #[default]
    Untried,
    Works,
    Lost {
        since: Instant,
    },
}

impl Handle {
    /// How the projector is now.
    pub fn status(&self) -> Status {
        let health = self.health();
        Status {
            rows_written: self.0.rows.load(Ordering::Relaxed),
            messages: self.0.messages.load(Ordering::Relaxed),
            poison: self.0.poison.load(Ordering::Relaxed),
            malformed: self.0.malformed.load(Ordering::Relaxed),
            lag_messages: self.0.lag.load(Ordering::Relaxed),
            postgres: matches!(health.postgres, Side::Works),
            source: matches!(health.source, Side::Works),
            last_error: health.last_error.clone(),
        }
    }

    pub(super) fn postgres_works(&self) {
        works(&mut self.health().postgres, "postgres");
    }

    pub(super) fn postgres_failed(&self, error: &dyn std::error::Error) {
        let health = &mut *self.health();
        failed(
            &mut health.postgres,
            &mut health.last_error,
            "postgres",
            error,
        );
    }

    pub(super) fn source_works(&self) {
        works(&mut self.health().source, "history stream");
    }

    pub(super) fn source_failed(&self, error: &dyn std::error::Error) {
        let health = &mut *self.health();
        failed(
            &mut health.source,
            &mut health.last_error,
            "history stream",
            error,
        );
    }

    /// Notes how far behind the last fetch left us.
    pub(super) fn fetched(&self, messages: &[Message]) {
        let lag = messages.last().map_or(0, |message| message.pending);
        self.0.lag.store(lag, Ordering::Relaxed);
        let health = &mut *self.health();
        if !health.behind && lag >= BEHIND {
            health.behind = true;
            info!(lag_messages = lag, "history is behind");
        } else if health.behind && lag <= CAUGHT_UP {
            health.behind = false;
            info!(lag_messages = lag, "history has caught up");
        }
    }

    /// Notes what a round achieved.
    pub(super) fn wrote(&self, report: &Report, messages: u64) {
        self.0.rows.fetch_add(report.rows, Ordering::Relaxed);
        self.0.messages.fetch_add(messages, Ordering::Relaxed);
        self.0
            .poison
            .fetch_add(report.dead.len() as u64, Ordering::Relaxed);
        self.0
            .malformed
            .fetch_add(report.malformed, Ordering::Relaxed);
        if report.malformed > 0 {
            error!(
                count = report.malformed,
                "history events without an execution were left out"
            );
        }
        for dead in &report.dead {
            error!(
                stream_sequence = dead.stream_sequence,
                reason = dead.reason,
                "history message cannot be written and becomes a dead letter"
            );
        }
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        // What it protects is valid after every statement.
        self.0.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn works(side: &mut Side, name: &'static str) {
    if let Side::Lost { since } = *side {
        info!(
            server = name,
            lost_ms = since.elapsed().as_millis() as u64,
            "server is back"
        );
    }
    *side = Side::Works;
}

fn failed(
    side: &mut Side,
    last_error: &mut Option<String>,
    name: &'static str,
    error: &dyn std::error::Error,
) {
    let reason = chain(error);
    if !matches!(side, Side::Lost { .. }) {
        warn!(
            server = name,
            error = reason,
            "server lost, history waits in its stream"
        );
        *side = Side::Lost {
            since: Instant::now(),
        };
    }
    *last_error = Some(reason);
}
