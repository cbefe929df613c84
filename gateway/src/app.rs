//! What handlers, the router and the watchers share.

use std::sync::Arc;

use afu9_broker::Broker;
use afu9_broker::kv::{IdempotencyStore, ScheduleStore};
use afu9_broker::log::LogWriter;
use afu9_history::Store;
use afu9_schemas::Timestamp;
use tokio::sync::{OnceCell, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::accepted::Accepted;
use crate::catalog::Catalog;
use crate::config::Config;
use crate::dead_letters::DeadLetters;
use crate::definitions::Definitions;
use crate::feed::Feed;
use crate::fleet::Fleet;
use crate::metrics::Metrics;
use crate::observed::Observed;
use crate::orchestrators::Orchestrators;
use crate::stored::Stored;

/// Event streams open at once. They share one reader, so that each costs little more than its
/// connection.
const MAX_STREAMS: usize = 1024;

/// What handlers, the router and the watchers share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) broker: Broker,
    pub(crate) log: LogWriter,
    pub(crate) stored: Stored,
    pub(crate) observed: Observed,
    pub(crate) definitions: Definitions,
    pub(crate) catalog: Catalog,
    pub(crate) idempotency: OnceCell<IdempotencyStore>,
    pub(crate) schedules: OnceCell<ScheduleStore>,
    pub(crate) accepted: Accepted,
    pub(crate) fleet: Fleet,
    pub(crate) orchestrators: Orchestrators,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) feed: Feed,
    pub(crate) metrics: Arc<Metrics>,
    /// One permit for each request that may be answered at once.
    pub(crate) requests: Arc<Semaphore>,
    /// One permit for each byte of a body that may be held.
    pub(crate) bodies: Arc<Semaphore>,
    /// One permit for each event stream that may be open.
    pub(crate) streams: Arc<Semaphore>,
    /// Told when the gateway ends: answers that go on for ever must end too.
    pub(crate) closing: CancellationToken,
}

impl App {
    pub(crate) fn new(
        config: Config,
        broker: Broker,
        store: Option<Store>,
        log: LogWriter,
        metrics: Arc<Metrics>,
        closing: CancellationToken,
    ) -> Self {
        let requests = Arc::new(Semaphore::new(config.limits.requests));
        let bodies = Arc::new(Semaphore::new(config.limits.bodies_bytes));
        Self {
            definitions: Definitions::new(broker.clone()),
            config,
            broker,
            log,
            stored: Stored::new(store),
            observed: Observed::default(),
            catalog: Catalog::default(),
            idempotency: OnceCell::new(),
            schedules: OnceCell::new(),
            accepted: Accepted::default(),
            fleet: Fleet::default(),
            orchestrators: Orchestrators::default(),
            dead_letters: DeadLetters::default(),
            feed: Feed::default(),
            metrics,
            requests,
            bodies,
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            closing,
        }
    }
}

/// This process's clock.
pub(crate) fn now() -> Timestamp {
    chrono::Utc::now().into()
}
