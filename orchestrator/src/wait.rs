//! Waiting for what may not be there, in the branches of a `select!`: what is not there never comes.

use std::future::pending;

use futures::future::BoxFuture;
use tokio::time::{Instant, sleep_until};

/// Waits until `instant`.
///
/// Cancel safety: safe.
pub(crate) async fn reached(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => pending().await,
    }
}

/// Waits for what is under way. Whoever calls takes it away when it has ended: it must not be polled
/// again.
///
/// Cancel safety: safe.
pub(crate) async fn maybe<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}
