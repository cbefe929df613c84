//! The projector at work: acknowledgement, dead letters, and servers that go away.

use std::sync::Arc;

use afu9_broker::history::history_message;
use afu9_history::projector::{Config, Error, Message};
use afu9_history::{Handle, Projector, Store, StreamSource};
use afu9_schemas::codec;
use afu9_schemas::message::HistoryBatch;
use afu9_servers::fixture;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::stories::{Story, after, batch, workflow};
use crate::support::{
    BOUND, MemorySource, Seen, broker, count, database, eventually, messages, pool, store,
};

struct Running {
    handle: Handle,
    seen: Arc<Seen>,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), Error>>,
}

fn project(store: &Store, messages: Vec<Message>) -> Running {
    let (source, seen) = MemorySource::new(messages);
    // Small rounds, so that there are many of them.
    let config = Config {
        max_messages: 8,
        rows_per_transaction: 40,
        ..Config::default()
    };
    let projector = Projector::new(config, store.clone(), source);
    let (handle, shutdown) = (projector.handle(), CancellationToken::new());
    #[expect(
        clippy::disallowed_methods,
        reason = "the test owns the task and looks at its end"
    )]
    let task = tokio::spawn(projector.run(shutdown.clone()));
    Running {
        handle,
        seen,
        shutdown,
        task,
    }
}

impl Running {
    async fn stop(self) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(BOUND, self.task)
            .await
            .expect("stops in time");
        ended.expect("does not panic").expect("nothing was wrong");
    }
}

/// The whole way: published to a real HISTORY stream, into a real Postgres.
#[tokio::test]
async fn history_goes_from_the_stream_to_the_tables() {
    let nats = fixture::nats().expect("a server");
    let database = database().await;
    let broker = broker(&nats.url).await;

    let far = afu9_schemas::Timestamp::from_micros(-725_000_000_000_000_000);
    let mut batches = stories(40);
    batches[7] = batch(Story::new(workflow("poison")).at(far).events());
    for batch in &batches {
        let message = history_message(batch).expect("encodes");
        broker.publish(message).await.expect("is stored");
    }
    let source = StreamSource::new(broker.clone());
    let projector = Projector::new(Config::default(), database.store.clone(), source);
    let (handle, shutdown) = (projector.handle(), CancellationToken::new());
    let (ended, ()) = tokio::join!(projector.run(shutdown.clone()), async {
        eventually(|| handle.status().messages >= 40).await;
        shutdown.cancel();
    });
    ended.expect("nothing was wrong");

    assert_eq!(
        count(&database.pool, "SELECT count(*) FROM workflow_executions").await,
        39
    );
    assert_eq!(
        count(&database.pool, "SELECT count(*) FROM workflow_steps").await,
        195
    );
    assert_eq!(
        (handle.status().poison, handle.status().lag_messages),
        (1, 0)
    );
}

fn stories(count: usize) -> Vec<HistoryBatch> {
    (0..count)
        .map(|_| batch(Story::new(workflow("build")).events()))
        .collect()
}

#[tokio::test]
async fn everything_is_written_and_then_acknowledged() {
    let database = database().await;
    let running = project(&database.store, messages(stories(50)));
    running.seen.acknowledged_count(50).await;

    assert_eq!(
        count(&database.pool, "SELECT count(*) FROM workflow_executions").await,
        50
    );
    assert_eq!(
        count(&database.pool, "SELECT count(*) FROM workflow_steps").await,
        250
    );
    let status = running.handle.status();
    assert!(
        status.postgres && status.source && status.last_error.is_none(),
        "{status:?}"
    );
    // 50 executions with 5 steps and 5 calls each, a workflow and a repository.
    assert_eq!(
        (status.messages, status.rows_written, status.poison),
        (50, 552, 0)
    );
    assert_eq!(status.lag_messages, 0);
    running.stop().await;
}

#[tokio::test]
async fn what_cannot_be_written_becomes_a_dead_letter() {
    let database = database().await;
    let mut messages = messages(stories(20));
    let far = afu9_schemas::Timestamp::from_micros(-725_000_000_000_000_000);
    messages[3].batch = Ok(batch(Story::new(workflow("poison")).at(far).events()));
    messages[7].batch = codec::decode(&[codec::WIRE_VERSION, 0xc1]);
    let running = project(&database.store, messages);
    running.seen.acknowledged_count(20).await;

    let mut dead: Vec<u64> = running
        .seen
        .dead()
        .iter()
        .map(|dead| dead.stream_sequence)
        .collect();
    dead.sort_unstable();
    assert_eq!(dead, [4, 8]);
    assert!(
        running
            .seen
            .dead()
            .iter()
            .all(|dead| !dead.reason.is_empty())
    );
    assert_eq!(running.handle.status().poison, 2);
    assert_eq!(
        count(&database.pool, "SELECT count(*) FROM workflow_executions").await,
        18
    );
    running.stop().await;
}

#[tokio::test]
async fn a_message_from_a_newer_version_stays_in_the_stream() {
    let database = database().await;
    let mut messages = messages(stories(20));
    messages[12].batch = codec::decode(&[codec::WIRE_VERSION + 1]);
    // Redelivered ones come late: what is behind the newer message must not count as written.
    messages[8..16].reverse();
    let running = project(&database.store, messages);
    let ended = tokio::time::timeout(BOUND, running.task)
        .await
        .expect("ends")
        .expect("no panic");

    assert!(
        matches!(
            ended,
            Err(Error::FromTheFuture {
                stream_sequence: 13
            })
        ),
        "{ended:?}"
    );
    assert_eq!(running.seen.acknowledged(), (1..=12).collect());
    assert_eq!(
        count(&database.pool, "SELECT count(*) FROM workflow_executions").await,
        12
    );
}

// Several threads: killing and restarting block one, and the projector must meet the gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_killed_in_the_middle_of_writes_loses_nothing() {
    let mut server = fixture::private_postgres().expect("a server");
    let store = store(&server.url);
    const MESSAGES: usize = 600;
    let running = project(&store, messages(stories(MESSAGES)));

    for count in [100, 300] {
        running.seen.acknowledged_count(count).await;
        server.kill().expect("killed");
        eventually(|| !running.handle.status().postgres).await;
        assert!(running.seen.acknowledged().len() < MESSAGES);
        server.restart().expect("is back");
    }
    running.seen.acknowledged_count(MESSAGES).await;

    let pool = pool(&server.url);
    assert_eq!(
        count(&pool, "SELECT count(*) FROM workflow_executions").await,
        600
    );
    assert_eq!(
        count(
            &pool,
            "SELECT count(*) FROM workflow_executions WHERE status = 'completed'"
        )
        .await,
        600
    );
    assert_eq!(
        count(&pool, "SELECT count(*) FROM workflow_steps").await,
        3000
    );
    assert_eq!(
        count(&pool, "SELECT count(*) FROM mcp_tool_calls").await,
        3000
    );
    let status = running.handle.status();
    assert!(status.postgres && status.last_error.is_some(), "{status:?}");
    running.stop().await;
}

#[tokio::test]
async fn a_projector_starts_and_stops_while_postgres_is_away() {
    let mut server = fixture::private_postgres().expect("a server");
    let store = store(&server.url);
    server.kill().expect("killed");
    project(&store, messages(stories(1))).stop().await;

    let running = project(&store, messages(stories(5)));
    server.restart().expect("is back");
    running.seen.acknowledged_count(5).await;
    let pool = pool(&server.url);
    assert_eq!(
        count(&pool, "SELECT count(*) FROM workflow_steps").await,
        25
    );
    running.stop().await;
}

#[tokio::test]
async fn two_projectors_with_the_same_messages_write_them_once() {
    let database = database().await;
    let batches: Vec<HistoryBatch> = (0..100)
        .map(|n| {
            batch(
                Story::new(workflow("build"))
                    .at(after(crate::stories::NOON, n))
                    .events(),
            )
        })
        .collect();
    let first = project(&database.store, messages(batches.clone()));
    let second = project(&store_of(&database), messages(batches));
    first.seen.acknowledged_count(100).await;
    second.seen.acknowledged_count(100).await;

    assert_eq!(
        count(&database.pool, "SELECT count(*) FROM workflow_executions").await,
        100
    );
    assert_eq!(
        count(&database.pool, "SELECT count(*) FROM workflow_steps").await,
        500
    );
    assert_eq!(first.seen.dead().len() + second.seen.dead().len(), 0);
    first.stop().await;
    second.stop().await;
}

fn store_of(database: &crate::support::Database) -> Store {
    database.store.clone()
}
