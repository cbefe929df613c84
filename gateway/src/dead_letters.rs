//! Dead letters: how many wait to be looked at, and for how long. The alarm is measured by the gateway
//! on its own clock, again and again, and never as a side effect of somebody asking.

use std::sync::Arc;
use std::time::Duration;

use afu9_broker::error::chain;
use afu9_schemas::Timestamp;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::app::{App, now};
use crate::stored::{OpenLetters, StoredError};

/// How often they are counted.
const WATCH_EVERY: Duration = Duration::from_secs(15);

/// How old a count may be: whoever asks often costs the database nothing more.
const FRESH_FOR: Duration = Duration::from_secs(2);

/// The last count.
#[derive(Debug, Default)]
pub(crate) struct DeadLetters {
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    counted: Option<(Instant, Arc<Backlog>)>,
    alarmed: bool,
}

/// The open dead letters.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    /// By their reasons.
    pub(crate) open: Vec<OpenLetters>,
}

impl Backlog {
    /// How many there are.
    pub(crate) fn count(&self) -> i64 {
        self.open.iter().map(|open| open.count).sum()
    }

    /// For how long the oldest of them waits.
    pub(crate) fn oldest(&self, now: Timestamp) -> Option<Duration> {
        let oldest = self.open.iter().map(OpenLetters::oldest).min()?;
        Some(now.since(oldest))
    }

    /// For how long the oldest waits, if that is too long.
    pub(crate) fn overdue(&self, now: Timestamp, alarm: Duration) -> Option<Duration> {
        self.oldest(now).filter(|age| *age >= alarm)
    }
}

impl App {
    /// The open dead letters as they were a moment ago; `None` without a database.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(crate) async fn open_letters(&self) -> Result<Option<Arc<Backlog>>, StoredError> {
        let mut last = self.dead_letters.last.lock().await;
        if let Some((at, backlog)) = &last.counted
            && at.elapsed() < FRESH_FOR
        {
            return Ok(Some(Arc::clone(backlog)));
        }
        let Some(open) = self.stored.open_letters().await? else {
            return Ok(None);
        };
        let backlog = Arc::new(Backlog { open });
        last.counted = Some((Instant::now(), Arc::clone(&backlog)));
        let overdue = backlog.overdue(now(), self.config.dead_letter_alarm);
        if let (Some(age), false) = (overdue, last.alarmed) {
            tracing::warn!(
                open = backlog.count(),
                oldest_s = age.as_secs(),
                alarm_s = self.config.dead_letter_alarm.as_secs(),
                "dead letters wait for somebody to replay or discard them"
            );
        } else if overdue.is_none() && last.alarmed {
            tracing::info!(
                open = backlog.count(),
                "no dead letter waits for too long any more"
            );
        }
        last.alarmed = overdue.is_some();
        Ok(Some(backlog))
    }
}

/// Counts for ever.
pub(crate) async fn watch(app: &App) {
    loop {
        if let Err(error) = app.open_letters().await {
            tracing::debug!(
                error = chain(&error),
                "dead letters cannot be counted for now"
            );
        }
        sleep(WATCH_EVERY).await;
    }
}
