//! Heartbeats: the worker says that it lives, what it does, and how its dependencies are.

use afu9_schemas::message::Heartbeat;
use afu9_schemas::message::heartbeat::INTERVAL;
use tokio_util::sync::CancellationToken;

use super::now;
use super::{Checks, Shared};

/// Runs until `end`. From `shutdown` on the heartbeats say that the worker drains.
pub(super) async fn run(
    shared: Shared,
    checks: Option<Checks>,
    shutdown: CancellationToken,
    end: CancellationToken,
) {
    let started_at = now();
    let tools = shared.toolbox.names();
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut draining = false;
    loop {
        tokio::select! {
            () = end.cancelled() => return,
            () = shutdown.cancelled(), if !draining => draining = true,
            _ = interval.tick() => {}
        }
        let checks = match &checks {
            Some(checks) => tokio::select! {
                checked = checks() => checked,
                () = end.cancelled() => return,
            },
            None => Vec::new(),
        };
        let summary = shared.in_flight.summary();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let heartbeat = Heartbeat {
            worker: shared.config.worker.clone(),
            kind: shared.toolbox.kind().clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: shared.config.host.clone(),
            at: now(),
            started_at,
            capacity: count(shared.in_flight.capacity),
            in_flight: count(summary.running),
            oldest_job_since: summary.oldest_since,
            finished: summary.finished,
            last_error: summary.last_error,
            draining,
            checks,
            tools: tools.clone(),
        };
        if let Err(error) = shared.broker.publish_heartbeat(&heartbeat).await {
            tracing::debug!(%error, "heartbeat not sent");
        }
    }
}
