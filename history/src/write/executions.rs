//! The statement that writes `workflow_executions`.

use sqlx::PgConnection;
use sqlx::postgres::PgBindIterExt;

use crate::Rows;
use crate::rows::execution::{ExecutionRow, Start};

/// Writes what is known of executions. The rule is that of `ExecutionRow::merged`: the columns of the
/// start are filled in once, the others follow the newest event.
pub(crate) async fn upsert(connection: &mut PgConnection, rows: &Rows) -> Result<u64, sqlx::Error> {
    let new = rows.executions();
    if new.len() == 0 {
        return Ok(0);
    }
    let written = sqlx::query(UPSERT)
        .bind(new.clone().map(|row| row.id).bind_iter())
        .bind(new.clone().map(|row| row.started_at).bind_iter())
        .bind(
            new.clone()
                .map(|row| of_start(row, |s| Some(s.workflow_id)))
                .bind_iter(),
        )
        .bind(
            new.clone()
                .map(|row| of_start(row, |s| Some(s.workflow_name.as_str())))
                .bind_iter(),
        )
        .bind(
            new.clone()
                .map(|row| of_start(row, |s| Some(s.workflow_version)))
                .bind_iter(),
        )
        .bind(
            new.clone()
                .map(|row| of_start(row, |s| Some(s.definition_hash.as_str())))
                .bind_iter(),
        )
        .bind(
            new.clone()
                .map(|row| of_start(row, |s| s.repository_id))
                .bind_iter(),
        )
        .bind(
            new.clone()
                .map(|row| of_start(row, |s| Some(s.input.as_str())))
                .bind_iter(),
        )
        .bind(
            new.clone()
                .map(|row| of_start(row, |s| Some(s.triggered_by.as_str())))
                .bind_iter(),
        )
        .bind(
            new.clone()
                .map(|row| of_start(row, |s| Some(s.trigger_kind)))
                .bind_iter(),
        )
        .bind(
            new.clone()
                .map(|row| of_start(row, |s| s.trigger_delivery.as_deref()))
                .bind_iter(),
        )
        .bind(
            new.clone()
                .map(|row| of_start(row, |s| s.traceparent.as_deref()))
                .bind_iter(),
        )
        .bind(new.clone().map(|row| row.state.event_number).bind_iter())
        .bind(new.clone().map(|row| row.state.status).bind_iter())
        .bind(
            new.clone()
                .map(|row| row.state.output.as_deref())
                .bind_iter(),
        )
        .bind(new.clone().map(|row| row.state.completed_at).bind_iter())
        .bind(
            new.clone()
                .map(|row| row.state.error.as_deref())
                .bind_iter(),
        )
        .bind(
            new.clone()
                .map(|row| row.state.error_detail.as_deref())
                .bind_iter(),
        )
        .bind(new.clone().map(|row| row.state.steps_completed).bind_iter())
        .bind(new.clone().map(|row| row.state.steps_failed).bind_iter())
        .bind(new.clone().map(|row| row.state.steps_skipped).bind_iter())
        .bind(new.map(|row| row.state.stale_results).bind_iter())
        .execute(connection)
        .await?;
    Ok(written.rows_affected())
}

fn of_start<'a, T>(row: &'a ExecutionRow, column: impl Fn(&'a Start) -> Option<T>) -> Option<T> {
    row.start.as_ref().and_then(column)
}

const UPSERT: &str = "
INSERT INTO workflow_executions AS e (
    id, started_at, workflow_id, workflow_name, workflow_version, definition_hash, repository_id,
    input, triggered_by, trigger_kind, trigger_delivery, traceparent, event_number, status, output,
    completed_at, error, error_detail, steps_completed, steps_failed, steps_skipped, stale_results
)
SELECT n.id, n.started_at, n.workflow_id, n.workflow_name, n.workflow_version, n.definition_hash,
       n.repository_id, n.input::jsonb, n.triggered_by, n.trigger_kind, n.trigger_delivery,
       n.traceparent, n.event_number, n.status, n.output::jsonb, n.completed_at, n.error,
       n.error_detail::jsonb, n.steps_completed, n.steps_failed, n.steps_skipped, n.stale_results
FROM unnest(
    $1::uuid[], $2::timestamptz[], $3::uuid[], $4::text[], $5::int[], $6::text[], $7::uuid[],
    $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::int[], $14::text[],
    $15::text[], $16::timestamptz[], $17::text[], $18::text[], $19::int[], $20::int[], $21::int[],
    $22::int[]
) AS n(
    id, started_at, workflow_id, workflow_name, workflow_version, definition_hash, repository_id,
    input, triggered_by, trigger_kind, trigger_delivery, traceparent, event_number, status, output,
    completed_at, error, error_detail, steps_completed, steps_failed, steps_skipped, stale_results
)
ON CONFLICT (id) DO UPDATE SET
    -- The start's own instant goes before the one that the end remembers.
    started_at = CASE WHEN excluded.workflow_id IS NULL THEN e.started_at ELSE excluded.started_at END,
    workflow_id = coalesce(e.workflow_id, excluded.workflow_id),
    workflow_name = coalesce(e.workflow_name, excluded.workflow_name),
    workflow_version = coalesce(e.workflow_version, excluded.workflow_version),
    definition_hash = coalesce(e.definition_hash, excluded.definition_hash),
    repository_id = coalesce(e.repository_id, excluded.repository_id),
    input = coalesce(e.input, excluded.input),
    triggered_by = coalesce(e.triggered_by, excluded.triggered_by),
    trigger_kind = coalesce(e.trigger_kind, excluded.trigger_kind),
    trigger_delivery = coalesce(e.trigger_delivery, excluded.trigger_delivery),
    traceparent = coalesce(e.traceparent, excluded.traceparent),
    status =
        CASE WHEN excluded.event_number > e.event_number THEN excluded.status
        ELSE e.status END,
    output =
        CASE WHEN excluded.event_number > e.event_number THEN excluded.output
        ELSE e.output END,
    completed_at =
        CASE WHEN excluded.event_number > e.event_number THEN excluded.completed_at
        ELSE e.completed_at END,
    error = CASE WHEN excluded.event_number > e.event_number THEN excluded.error ELSE e.error END,
    error_detail =
        CASE WHEN excluded.event_number > e.event_number THEN excluded.error_detail
        ELSE e.error_detail END,
    steps_completed =
        CASE WHEN excluded.event_number > e.event_number THEN excluded.steps_completed
        ELSE e.steps_completed END,
    steps_failed =
        CASE WHEN excluded.event_number > e.event_number THEN excluded.steps_failed
        ELSE e.steps_failed END,
    steps_skipped =
        CASE WHEN excluded.event_number > e.event_number THEN excluded.steps_skipped
        ELSE e.steps_skipped END,
    stale_results =
        CASE WHEN excluded.event_number > e.event_number THEN excluded.stale_results
        ELSE e.stale_results END,
    event_number = greatest(e.event_number, excluded.event_number),
    updated_at = now()
WHERE excluded.event_number > e.event_number
   OR (e.workflow_id IS NULL AND excluded.workflow_id IS NOT NULL)";
