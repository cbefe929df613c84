//! Ctrl-C and SIGTERM: the first asks for an orderly end, the second ends at once and leaves the
//! rest to the watchdog of the started processes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

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

impl Interrupt {
    /// Begins to watch for signals.
    pub(crate) fn watch() -> Result<Self> {
        let requested = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // In this order: only a second signal finds the flag set.
            let exit_code = i32::from(crate::EXIT_INTERRUPTED);
            flag::register_conditional_shutdown(signal, exit_code, Arc::clone(&requested))
                .and_then(|_| flag::register(signal, Arc::clone(&requested)))
                .context("watch for signals")?;
        }
        Ok(Self { requested })
    }

    pub(crate) fn requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }

    /// # Errors
    /// [`Interrupted`] when it was requested.
    pub(crate) fn check(&self) -> Result<()> {
        if self.requested() { Err(Interrupted.into()) } else { Ok(()) }
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
        std::thread::sleep(PAUSE);
        self.check()
    }
}
