//! Migrations and partitions.

use afu9_schemas::Timestamp;
use afu9_servers::fixture;

use crate::stories::{NOON, Story, after, batch, workflow};
use crate::support::{count, database, pool, store, write_until_done};

#[tokio::test]
async fn migrations_run_twice_and_in_several_processes_at_once() {
    let fixture = fixture::postgres().expect("a database");
    let stores: Vec<_> = (0..4).map(|_| store(&fixture.url)).collect();
    let all = futures::future::try_join_all(stores.iter().map(|store| store.migrate()));
    all.await.expect("one migrates, the others find it done");
    stores[0]
        .migrate()
        .await
        .expect("a second time changes nothing");

    let pool = pool(&fixture.url);
    let tables = count(
        &pool,
        "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public' AND table_name IN (
             'workflows', 'workflow_executions', 'workflow_steps', 'mcp_servers', 'repositories',
             'agent_runs', 'mcp_tool_calls')",
    );
    assert_eq!(tables.await, 7);
    let servers = "SELECT count(*) FROM mcp_servers WHERE (name, endpoint) IN (
         ('github', 'http://localhost:3001'), ('deploy', 'http://localhost:3002'),
         ('observability', 'http://localhost:3003'))";
    assert_eq!(count(&pool, servers).await, 3);
    let zoneless = "SELECT count(*) FROM information_schema.columns
         WHERE table_schema = 'public' AND data_type = 'timestamp without time zone'";
    assert_eq!(count(&pool, zoneless).await, 0);
}

#[tokio::test]
async fn a_schema_newer_than_this_build_is_left_alone() {
    let database = database().await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'from a newer build', true, '\\x00', 0)",
    )
    .execute(&database.pool)
    .await
    .expect("inserts");
    database.store.migrate().await.expect("nothing to do");
}

#[tokio::test]
async fn partitions_are_made_ahead_and_only_once() {
    let database = database().await;
    let both = tokio::join!(
        database.store.ensure_partitions(2),
        database.store.ensure_partitions(2)
    );
    let made = both.0.expect("makes") + both.1.expect("makes");
    assert_eq!(made, 4, "last month, this one and two ahead");
    assert_eq!(
        database
            .store
            .ensure_partitions(2)
            .await
            .expect("nothing to do"),
        0
    );
}

#[tokio::test]
async fn rows_without_a_partition_move_to_one_and_stay_the_same_rows() {
    let database = database().await;
    // Five steps, a second apart: the first two still belong to February 2020, the others to March.
    let march = Timestamp::from_micros(1_583_020_800_000_000);
    let mut story = Story::new(workflow("leap"));
    story.start = Timestamp::from_micros(march.as_micros() - 2_000_000);
    let batch = batch(story.events());
    database
        .store
        .write_batches(&[&batch])
        .await
        .expect("writes");
    let in_default = "SELECT count(*) FROM workflow_steps_default";
    assert_eq!(count(&database.pool, in_default).await, 5);
    let before = database
        .store
        .show_execution(story.execution)
        .await
        .expect("reads");

    database.store.ensure_partitions(0).await.expect("makes");

    assert_eq!(count(&database.pool, in_default).await, 0);
    assert_eq!(
        count(
            &database.pool,
            "SELECT count(*) FROM workflow_steps_2020_02"
        )
        .await,
        2
    );
    assert_eq!(
        count(
            &database.pool,
            "SELECT count(*) FROM workflow_steps_2020_03"
        )
        .await,
        3
    );
    let after = database
        .store
        .show_execution(story.execution)
        .await
        .expect("reads");
    assert_eq!(before, after);
    let again = database
        .store
        .write_batches(&[&batch])
        .await
        .expect("writes");
    assert_eq!(again.rows, 0, "the same rows, wherever they lie");
}

#[tokio::test]
async fn partitions_can_be_made_while_writers_write() {
    let database = database().await;
    let batches: Vec<_> = (0..40_u64)
        .map(|n| {
            batch(
                Story::new(workflow("busy"))
                    .at(after(NOON, n * 86_400 * 3))
                    .events(),
            )
        })
        .collect();
    let write = async {
        for batch in &batches {
            write_until_done(&database.store, batch).await;
        }
    };
    let make = async {
        for _ in 0..10 {
            database.store.ensure_partitions(1).await.expect("makes");
        }
    };
    tokio::join!(write, make);
    database.store.ensure_partitions(1).await.expect("makes");
    assert_eq!(
        count(&database.pool, "SELECT count(*) FROM workflow_steps").await,
        200
    );
    assert_eq!(
        count(
            &database.pool,
            "SELECT count(*) FROM workflow_steps_default"
        )
        .await,
        0
    );
}
