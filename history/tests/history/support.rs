//! A database for each test, a connection to a server, a look at all its rows, and a stream in memory.

use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use afu9_broker::Broker;
use afu9_broker::config::{DEFAULT_ACK_WAIT, DEFAULT_KEY_AGE, Limits};
use afu9_history::projector::{DeadMessage, Message};
use afu9_history::{Config, Source, Store};
use afu9_schemas::PartitionCount;
use afu9_schemas::message::HistoryBatch;
use afu9_servers::fixture::{self, DatabaseFixture};
use serde_json::Value;
use sqlx::PgPool;
use tokio::sync::watch;

/// Nothing here takes more than a second or two on an idle machine.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

/// A migrated database of one test.
pub(crate) struct Database {
    pub(crate) store: Store,
    pub(crate) pool: PgPool,
    _fixture: DatabaseFixture,
}

pub(crate) fn store(url: &str) -> Store {
    Store::connect(&Config::new(url.into())).expect("a valid URL")
}

pub(crate) fn pool(url: &str) -> PgPool {
    PgPool::connect_lazy(url).expect("a valid URL")
}

pub(crate) async fn database() -> Database {
    let fixture = fixture::postgres().expect("a database");
    let store = store(&fixture.url);
    store.migrate().await.expect("migrates");
    Database {
        store,
        pool: pool(&fixture.url),
        _fixture: fixture,
    }
}

/// A connection to a server of a test, with the topology.
pub(crate) async fn broker(url: &str) -> Broker {
    let config = afu9_broker::Config {
        url: url.to_owned(),
        auth: afu9_broker::Auth::None,
        ca_file: None,
        name: "history-test".to_owned(),
        replicas: afu9_broker::Replicas::One,
        durability: afu9_broker::Durability::Fast,
        partitions: PartitionCount::new(4).expect("in range"),
        kinds: Vec::new(),
        ack_wait: DEFAULT_ACK_WAIT,
        key_age: DEFAULT_KEY_AGE,
        limits: Limits::default(),
    };
    let mut broker = Broker::connect(config).await.expect("connects");
    broker.ensure_topology().await.expect("creates the streams");
    broker
}

/// Waits until `level` holds, looking again and again, within the bound.
pub(crate) async fn eventually(level: impl Fn() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    let reached = async {
        while !level() {
            looks.tick().await;
        }
    };
    tokio::time::timeout(BOUND, reached)
        .await
        .expect("reached in time");
}

/// Every row of every table that history writes, without the bookkeeping of when it was written.
pub(crate) async fn all_rows(pool: &PgPool) -> Vec<Value> {
    sqlx::query_scalar(
        "SELECT jsonb_build_object('table', t, 'row', r - 'created_at' - 'updated_at') FROM (
             SELECT 'workflows' AS t, to_jsonb(x) AS r FROM workflows x
             UNION ALL SELECT 'repositories', to_jsonb(x) FROM repositories x
             UNION ALL SELECT 'workflow_executions', to_jsonb(x) FROM workflow_executions x
             UNION ALL SELECT 'workflow_steps', to_jsonb(x) FROM workflow_steps x
             UNION ALL SELECT 'mcp_tool_calls', to_jsonb(x) FROM mcp_tool_calls x
             UNION ALL SELECT 'audit_log', to_jsonb(x) FROM audit_log x
         ) AS every ORDER BY t, r",
    )
    .fetch_all(pool)
    .await
    .expect("reads")
}

pub(crate) async fn count(pool: &PgPool, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql)
        .fetch_one(pool)
        .await
        .expect("counts")
}

/// Writes `batch` as the projector does: writers that meet on the same rows, or a new partition, may be
/// sent back by Postgres, and then repeat.
pub(crate) async fn write_until_done(store: &Store, batch: &HistoryBatch) {
    loop {
        match store.write_batches(&[batch]).await {
            Ok(written) => return assert!(written.poison.is_empty(), "{:?}", written.poison),
            Err(error) => assert!(error.is_retryable(), "{error:?}"),
        }
    }
}

/// A stream in memory that delivers like HISTORY does.
pub(crate) struct MemorySource {
    waiting: VecDeque<Message>,
    delivered: BTreeSet<u64>,
    seen: Arc<Seen>,
}

/// What a test sees of a [`MemorySource`] after the projector has taken it.
pub(crate) struct Seen {
    acknowledged: watch::Sender<BTreeSet<u64>>,
    dead: Mutex<Vec<DeadMessage>>,
}

impl MemorySource {
    pub(crate) fn new(messages: impl IntoIterator<Item = Message>) -> (Self, Arc<Seen>) {
        let seen = Arc::new(Seen {
            acknowledged: watch::Sender::default(),
            dead: Mutex::default(),
        });
        let waiting = messages.into_iter().collect();
        (
            Self {
                waiting,
                delivered: BTreeSet::new(),
                seen: Arc::clone(&seen),
            },
            seen,
        )
    }
}

impl Seen {
    pub(crate) fn acknowledged(&self) -> BTreeSet<u64> {
        self.acknowledged.borrow().clone()
    }

    /// Waits until `count` messages are acknowledged.
    pub(crate) async fn acknowledged_count(&self, count: usize) {
        let mut acknowledged = self.acknowledged.subscribe();
        let reached = acknowledged.wait_for(|acknowledged| acknowledged.len() >= count);
        let waited = tokio::time::timeout(BOUND, reached).await;
        waited
            .expect("acknowledged in time")
            .expect("the sender lives in self");
    }

    pub(crate) fn dead(&self) -> Vec<DeadMessage> {
        self.dead.lock().expect("nobody panicked").clone()
    }
}

/// Messages of a stream, numbered from 1.
pub(crate) fn messages(batches: impl IntoIterator<Item = HistoryBatch>) -> Vec<Message> {
    let message = |(index, batch)| Message {
        batch: Ok(batch),
        stream_sequence: index as u64 + 1,
        pending: 0,
    };
    batches.into_iter().enumerate().map(message).collect()
}

impl Source for MemorySource {
    type Error = Infallible;

    async fn next_batch(
        &mut self,
        max_messages: usize,
        max_wait: Duration,
    ) -> Result<Vec<Message>, Infallible> {
        let take = self.waiting.len().min(max_messages);
        let mut messages: Vec<Message> = self.waiting.drain(..take).collect();
        self.delivered
            .extend(messages.iter().map(|message| message.stream_sequence));
        match messages.last_mut() {
            Some(last) => {
                last.pending = self.waiting.len() as u64;
            }
            None => tokio::time::sleep(max_wait).await,
        }
        Ok(messages)
    }

    async fn dead_letter(&mut self, message: &DeadMessage) -> Result<(), Infallible> {
        self.seen
            .dead
            .lock()
            .expect("nobody panicked")
            .push(message.clone());
        Ok(())
    }

    async fn acknowledge(&mut self, through: u64) -> Result<(), Infallible> {
        assert!(
            self.delivered.contains(&through),
            "acknowledged what was not delivered"
        );
        let covered = self.delivered.range(..=through);
        self.seen
            .acknowledged
            .send_modify(|acknowledged| acknowledged.extend(covered));
        Ok(())
    }
}
