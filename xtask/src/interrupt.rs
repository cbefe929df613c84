//! Ctrl-C and SIGTERM: the first asks for an orderly end; who asks again later wants it at once, and
//! the watchdog of the started processes does the rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Whether somebody has asked us to end.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt {
    requested: Arc<AtomicBool>,
}

/// The error of everything that ends early because of it.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Often enough that Ctrl-C feels immediate.
const PAUSE: Duration = Duration::from_millis(50);

/// Some programs signal both the process and its group: that is one request, not two.
const SAME_REQUEST: Duration = Duration::from_secs(1);

impl Interrupt {
    /// Begins to watch for signals.
    pub(crate) fn watch() -> Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("watch for signals")?;
        let requested = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&requested);
        thread::spawn(move || {
            let mut first = None;
            for _ in signals.forever() {
                flag.store(true, Ordering::SeqCst);
                if first.get_or_insert_with(Instant::now).elapsed() > SAME_REQUEST {
                    std::process::exit(i32::from(crate::EXIT_INTERRUPTED));
                }
            }
        });
        Ok(Self { requested })
    }

    pub(crate) fn requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }

    /// # Errors
    /// [`Interrupted`] when it was requested.
    pub(crate) fn check(&self) -> Result<()> {
        if self.requested() {
            Err(Interrupted.into())
        } else {
            Ok(())
        }
    }

    /// An error that happened while interrupted is most likely its consequence.
    pub(crate) fn prefer<T>(&self, result: Result<T>) -> Result<T> {
        match result {
            Err(_) if self.requested() => Err(Interrupted.into()),
            other => other,
        }
    }

    /// A short pause for loops that poll.
    ///
    /// # Errors
    /// [`Interrupted`] when it was requested.
    pub(crate) fn pause(&self) -> Result<()> {
        thread::sleep(PAUSE);
        self.check()
    }
}
