//! The workers that are alive, by their heartbeats and by this process's own clock.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use afu9_broker::Broker;
use afu9_broker::error::chain;
use afu9_schemas::message::Heartbeat;
use afu9_schemas::message::heartbeat::{DEAD_AFTER, INTERVAL};
use afu9_schemas::{WorkerId, WorkerKind};
use futures::StreamExt;
use tokio::time::{Instant, sleep};

/// Most workers remembered: a fleet is hundreds at most, and heartbeats are not authenticated.
const MAX_WORKERS: usize = 10_000;

/// After this long every live worker has been heard of: two heartbeats, as one may be late.
const KNOWN_AFTER: Duration = INTERVAL.saturating_mul(2);

/// Pause before the subscription is made again.
const SUBSCRIBE_AGAIN: Duration = Duration::from_secs(1);

/// The workers heard of lately.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    workers: Mutex<HashMap<WorkerId, (Instant, Heartbeat)>>,
    /// Since when heartbeats are heard without a gap.
    hearing_since: Mutex<Option<Instant>>,
}

impl Fleet {
    /// Takes in a heartbeat that came at `now`.
    pub(crate) fn heard(&self, heartbeat: Heartbeat, now: Instant) {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.retain(|_, (at, _)| now.duration_since(*at) < DEAD_AFTER);
        if workers.len() < MAX_WORKERS || workers.contains_key(&heartbeat.worker) {
            workers.insert(heartbeat.worker.clone(), (now, heartbeat));
        }
    }

    /// Heartbeats are heard from `now` on.
    pub(crate) fn hears(&self, now: Instant) {
        *self.hearing() = Some(now);
    }

    /// Whether every live worker must have been heard of.
    pub(crate) fn is_known(&self, now: Instant) -> bool {
        self.hearing()
            .is_some_and(|since| now.duration_since(since) >= KNOWN_AFTER)
    }

    fn hearing(&self) -> MutexGuard<'_, Option<Instant>> {
        let hearing = self.hearing_since.lock();
        hearing.unwrap_or_else(PoisonError::into_inner)
    }

    /// The last heartbeat of every live worker of `kind`.
    pub(crate) fn live(&self, kind: &WorkerKind, now: Instant) -> Vec<Heartbeat> {
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers
            .values()
            .filter(|(at, heartbeat)| {
                heartbeat.kind == *kind && now.duration_since(*at) < DEAD_AFTER
            })
            .map(|(_, heartbeat)| heartbeat.clone())
            .collect()
    }
}

/// Listens to heartbeats until the task is dropped.
pub(crate) async fn watch(broker: &Broker, fleet: &Fleet) {
    loop {
        match broker.heartbeats().await {
            Ok(heartbeats) => {
                let mut heartbeats = pin!(heartbeats);
                fleet.hears(Instant::now());
                while let Some(heartbeat) = heartbeats.next().await {
                    fleet.heard(heartbeat, Instant::now());
                }
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "heartbeats cannot be heard");
            }
        }
        sleep(SUBSCRIBE_AGAIN).await;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use afu9_schemas::Timestamp;

    use super::*;

    pub(crate) fn heartbeat(worker: &str, kind: &str) -> Heartbeat {
        Heartbeat {
            worker: WorkerId::new(worker).expect("valid"),
            kind: WorkerKind::new(kind).expect("valid"),
            version: "0".to_owned(),
            host: "h".to_owned(),
            at: Timestamp::from_micros(0),
            started_at: Timestamp::from_micros(0),
            capacity: 1,
            in_flight: 0,
            oldest_job_since: None,
            finished: 0,
            last_error: None,
            draining: false,
            checks: Vec::new(),
            tools: Vec::new(),
        }
    }

    #[tokio::test]
    async fn who_is_alive_is_not_known_at_first() {
        let (fleet, now) = (Fleet::default(), Instant::now());
        assert!(!fleet.is_known(now + DEAD_AFTER), "nothing was heard");
        fleet.hears(now);
        assert!(!fleet.is_known(now + INTERVAL));
        assert!(fleet.is_known(now + KNOWN_AFTER));
    }

    #[tokio::test]
    async fn a_worker_that_is_not_heard_of_is_dead() {
        let (fleet, now) = (Fleet::default(), Instant::now());
        fleet.heard(heartbeat("a", "github"), now);
        fleet.heard(heartbeat("b", "test"), now);
        let github = WorkerKind::new("github").expect("valid");
        let just_alive = now + DEAD_AFTER - Duration::from_millis(1);
        assert_eq!(fleet.live(&github, just_alive).len(), 1);
        assert_eq!(fleet.live(&github, now + DEAD_AFTER).len(), 0);
    }
}
