//! Waiting for a level, with a bound: the one place in set-up that sleeps.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// The first pause; it doubles up to [`LAST_PAUSE`], so quick things are seen quickly and slow ones
/// cost little.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LAST_PAUSE: Duration = Duration::from_millis(50);

/// Calls `probe` until it returns a value, at least once and for at most `within`.
///
/// # Errors
/// At once with the probe's own error; after `within` with an error that names `what`.
pub fn until<T>(
    what: &str,
    within: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(value) = probe()? {
            return Ok(value);
        }
        if start.elapsed() >= within {
            bail!("waited {within:?} for {what}");
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LAST_PAUSE);
    }
}
