//! The router: turns stored webhook deliveries into executions.
//!
//! Runs in every gateway; all of them share the inbox. A delivery is acknowledged only after every
//! start it leads to is in the input log, and every failure that cannot be mended is a dead letter.
//! So a router may die at any point: the delivery is routed again, and decides the same.

mod routing;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use afu9_broker::error::chain;
use afu9_broker::inbox::{Inbox, InboxMessage};
use futures::FutureExt;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use routing::Verdict;

/// Deliveries routed side by side: enough that one slow answer does not hold up the others.
const ROUTED_AT_ONCE: usize = 32;

/// Longest time for one try. Below the inbox's patience (30 s), after which another router would
/// take the delivery as well.
const TRY_TIMEOUT: Duration = Duration::from_secs(25);

/// Tries before a delivery is set aside: with the delays below, about an hour.
const MAX_TRIES: u64 = 20;

/// Delay before the second try; doubles with each.
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// Longest delay between two tries.
const MAX_DELAY: Duration = Duration::from_secs(300);

/// Pause before an inbox that could not be read is opened again.
const OPEN_AGAIN: Duration = Duration::from_secs(1);

/// Routes deliveries until `stop`, then ends those under way.
pub(crate) async fn run(app: Arc<App>, stop: CancellationToken) {
    let mut under_way: JoinSet<()> = JoinSet::new();
    // A delivery that is routed without the rules of definitions would start too little.
    stop.run_until_cancelled(app.catalog.loaded()).await;
    while !stop.is_cancelled() {
        let opened = stop.run_until_cancelled(app.broker.inbox()).await;
        let error = match opened {
            None => break,
            Some(Err(error)) => error,
            Some(Ok(mut inbox)) => match read(&app, &mut inbox, &mut under_way, &stop).await {
                None => break,
                Some(error) => error,
            },
        };
        tracing::debug!(error = %chain(&error), "inbox reopened");
        stop.run_until_cancelled(sleep(OPEN_AGAIN)).await;
    }
    while under_way.join_next().await.is_some() {}
}

/// Reads deliveries until `stop` (`None`), or until the inbox cannot be read.
async fn read(
    app: &Arc<App>,
    inbox: &mut Inbox,
    under_way: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> Option<afu9_broker::RequestError> {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            Some(_) = under_way.join_next() => {}
            next = inbox.next(), if under_way.len() < ROUTED_AT_ONCE => match next {
                Ok(message) => {
                    under_way.spawn(one(Arc::clone(app), message));
                }
                Err(error) => return Some(error),
            },
        }
    }
}

/// Routes one delivery: decides, then tells the inbox.
async fn one(app: Arc<App>, message: InboxMessage) {
    let tried = AssertUnwindSafe(timeout(TRY_TIMEOUT, routing::route(&app, &message)));
    let verdict = match tried.catch_unwind().await {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(_elapsed)) => Verdict::Again {
            why: "routing took too long".to_owned(),
        },
        Err(_panic) => {
            app.metrics.panics.add();
            Verdict::Again {
                why: "routing panicked".to_owned(),
            }
        }
    };
    let told = match verdict {
        Verdict::Routed => {
            app.metrics.deliveries_routed.add();
            message.routed().await
        }
        Verdict::Unmatched => {
            app.metrics.deliveries_unmatched.add();
            message.routed().await
        }
        Verdict::Newer => {
            app.metrics.deliveries_retried.add();
            message.again(MAX_DELAY).await
        }
        Verdict::Again { why } if message.tries < MAX_TRIES => {
            app.metrics.deliveries_retried.add();
            tracing::warn!(
                tries = message.tries,
                reason = why,
                "delivery is routed again later"
            );
            message.again(delay(message.tries)).await
        }
        Verdict::Again { why } => match routing::give_up(&app, &message, &why).await {
            Ok(()) => {
                app.metrics.deliveries_dead.add();
                tracing::error!(tries = message.tries, reason = why, "delivery set aside");
                message.routed().await
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "dead letter not stored");
                message.again(MAX_DELAY).await
            }
        },
    };
    if let Err(error) = told {
        tracing::debug!(error = %chain(&error), "delivery not acknowledged");
    }
}

/// The delay after try number `tries`.
fn delay(tries: u64) -> Duration {
    let doublings = u32::try_from(tries.saturating_sub(1))
        .unwrap_or(u32::MAX)
        .min(16);
    FIRST_DELAY.saturating_mul(1 << doublings).min(MAX_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_and_tries_last_about_an_hour() {
        assert_eq!(delay(1), FIRST_DELAY);
        assert_eq!(delay(3), FIRST_DELAY * 4);
        assert_eq!(delay(u64::MAX), MAX_DELAY);
        let all: Duration = (1..MAX_TRIES).map(delay).sum();
        assert!((2400..7200).contains(&all.as_secs()), "{all:?}");
    }
}
