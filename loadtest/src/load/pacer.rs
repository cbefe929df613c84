//! Starts at a fixed rate, whatever becomes of those before.
//!
//! A thread of its own keeps the time: a timer of the runtime has steps of a millisecond, which is as
//! much as what is measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::sync::Semaphore;

/// Gives out starts as they become due; ends with its drop.
#[derive(Debug)]
pub(crate) struct Pacer {
    begun: Instant,
    rate: f64,
    count: usize,
    /// One permit for each start that is due.
    due: Arc<Semaphore>,
    given: AtomicUsize,
    stop: Arc<AtomicBool>,
    thread: Thread,
}

impl Pacer {
    /// `count` starts from now on, `rate` of them each second.
    pub(crate) fn start(rate: f64, count: usize) -> Result<Self> {
        let begun = Instant::now();
        let due = Arc::new(Semaphore::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let (permits, stopped) = (Arc::clone(&due), Arc::clone(&stop));
        let keep_time = move || {
            let mut given = 0;
            while given < count && !stopped.load(Ordering::Relaxed) {
                let passed = begun.elapsed().as_secs_f64() * rate;
                // The first is due at once.
                let wanted = (passed as usize + 1).min(count);
                permits.add_permits(wanted.saturating_sub(given));
                given = given.max(wanted);
                let next = at(begun, rate, given);
                thread::park_timeout(next.saturating_duration_since(Instant::now()));
            }
        };
        let handle = thread::Builder::new()
            .name("pacer".to_owned())
            .spawn(keep_time)
            .context("start the thread that keeps the time")?;
        Ok(Self {
            begun,
            rate,
            count,
            due,
            given: AtomicUsize::new(0),
            stop,
            thread: handle.thread().clone(),
        })
    }

    /// Waits for the next start and returns when it was due; `None` after the last.
    pub(crate) async fn next(&self) -> Option<Instant> {
        let index = self.given.fetch_add(1, Ordering::Relaxed);
        if index >= self.count {
            return None;
        }
        // Never closed.
        self.due.acquire().await.ok()?.forget();
        Some(at(self.begun, self.rate, index))
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }
}

fn at(begun: Instant, rate: f64, index: usize) -> Instant {
    begun + Duration::from_secs_f64(index as f64 / rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn as_many_starts_as_were_asked_for_and_none_before_its_time() -> Result<()> {
        let pacer = Pacer::start(1_000.0, 20)?;
        let mut dues = Vec::new();
        while let Some(due) = pacer.next().await {
            assert!(Instant::now() >= due);
            dues.push(due);
        }
        assert_eq!(dues.len(), 20);
        assert_eq!(dues[19] - dues[0], Duration::from_millis(19));
        Ok(())
    }
}
