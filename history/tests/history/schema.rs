//! Migrations and partitions.

use afu9_schemas::Timestamp;
use afu9_schemas::view::{StepAction, StepRole};
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
             'agent_runs', 'mcp_tool_calls', 'audit_log')",
    );
    assert_eq!(tables.await, 8);
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

/// What a version that knew no items wrote, and still writes while both run.
const WITHOUT_ITEMS: &str = "
INSERT INTO workflow_steps (id, execution_id, step_name, step_index, status, tool, started_at, completed_at)
SELECT gen_random_uuid(), $1, 'step-' || n, n, 'completed', 'github.createIssue',
       $2 + make_interval(months => n, secs => n), $2 + make_interval(months => n, secs => n + 1)
FROM generate_series(0, 2) n
ON CONFLICT DO NOTHING";

#[tokio::test]
async fn what_an_earlier_version_wrote_and_writes_stays_readable() {
    let fixture = fixture::postgres().expect("a database");
    let (store, pool) = (store(&fixture.url), pool(&fixture.url));
    let mut earlier = sqlx::migrate!("../migrations");
    let migrations: Vec<_> = earlier.iter().filter(|m| m.version <= 4).cloned().collect();
    earlier.migrations = migrations.into();
    earlier.run(&pool).await.expect("migrates");

    let execution = afu9_schemas::ExecutionId::new();
    sqlx::query(
        "INSERT INTO workflow_executions (id, workflow_id, workflow_name, status, started_at, event_number)
         VALUES ($1, $1, 'build', 'completed', $2, 9)",
    )
    .bind(execution.as_uuid())
    .bind(NOON.to_datetime())
    .execute(&pool)
    .await
    .expect("inserts");
    let write = || async {
        let steps = sqlx::query(WITHOUT_ITEMS)
            .bind(execution.as_uuid())
            .bind(NOON.to_datetime());
        steps.execute(&pool).await.expect("inserts").rows_affected()
    };
    assert_eq!(write().await, 3);
    // Partitions of their own for these rows.
    store.ensure_partitions(0).await.expect("makes");

    store.migrate().await.expect("migrates");

    assert_eq!(write().await, 0, "the same rows by the new key too");
    let shown = || async {
        let view = store.show_execution(execution).await.expect("reads");
        view.expect("is there").steps
    };
    let steps = shown().await;
    let items: Vec<_> = steps.iter().map(|step| (step.index, step.item)).collect();
    assert_eq!(items, [(0, None), (1, None), (2, None)]);
    assert!(
        steps
            .iter()
            .all(|step| step.role == StepRole::Main && step.action == StepAction::Tool)
    );
    // What is told of the same step now replaces what was known of it.
    let mut story = Story::new(workflow("build"));
    story.execution = execution;
    let told = batch([story.step_as(2, 0, |_| ())]);
    store.write_batches(&[&told]).await.expect("writes");
    let steps = shown().await;
    assert_eq!((steps.len(), steps[0].attempts.len()), (3, 1));
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
