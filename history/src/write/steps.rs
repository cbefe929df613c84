//! The statement that writes `workflow_steps`: the hot one.

use sqlx::PgConnection;

use crate::Rows;
use crate::write::columns::Columns;

/// Writes steps, and items of steps, that have ended. Nearly all are written once. A row that is there
/// already is the same one again, or an earlier or later end of the same run: the later one stays.
pub(crate) async fn upsert(connection: &mut PgConnection, rows: &Rows) -> Result<u64, sqlx::Error> {
    Columns::new(UPSERT, rows.steps())
        .column(|row| row.id)
        .column(|row| row.execution_id)
        .column(|row| row.index)
        .column(|row| row.item)
        .column(|row| row.started_at)
        .column(|row| row.event_number)
        .column(|row| row.name.as_str())
        .column(|row| row.role)
        .column(|row| row.action)
        .column(|row| row.tool.as_deref())
        .column(|row| row.status)
        .column(|row| row.input.as_deref())
        .column(|row| row.output.as_deref())
        .column(|row| row.completed_at)
        .column(|row| row.duration_ms)
        .column(|row| row.error.as_deref())
        .column(|row| row.error_class)
        .column(|row| row.error_detail.as_deref())
        .column(|row| row.retry_count)
        .column(|row| row.attempts.as_deref())
        .execute(connection)
        .await
}

// The casts are made row by row: to cast whole arrays costs the server a third more.
const UPSERT: &str = "
INSERT INTO workflow_steps AS s (
    id, execution_id, step_index, item_index, started_at, event_number, step_name, role, action, tool,
    status, input, output, completed_at, duration_ms, error, error_class, error_detail, retry_count,
    attempts
)
SELECT n.id, n.execution_id, n.step_index, n.item_index, n.started_at, n.event_number, n.step_name,
       n.role, n.action, n.tool, n.status, n.input::jsonb, n.output::jsonb, n.completed_at,
       n.duration_ms, n.error, n.error_class, n.error_detail::jsonb, n.retry_count, n.attempts::jsonb
FROM unnest(
    $1::uuid[], $2::uuid[], $3::int[], $4::int[], $5::timestamptz[], $6::int[], $7::text[], $8::text[],
    $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::timestamptz[], $15::bigint[],
    $16::text[], $17::text[], $18::text[], $19::int[], $20::text[]
) AS n(
    id, execution_id, step_index, item_index, started_at, event_number, step_name, role, action, tool,
    status, input, output, completed_at, duration_ms, error, error_class, error_detail, retry_count,
    attempts
)
ON CONFLICT (execution_id, step_index, item_index, started_at) DO UPDATE SET
    event_number = excluded.event_number,
    step_name = excluded.step_name,
    role = excluded.role,
    action = excluded.action,
    tool = excluded.tool,
    status = excluded.status,
    input = excluded.input,
    output = excluded.output,
    completed_at = excluded.completed_at,
    duration_ms = excluded.duration_ms,
    error = excluded.error,
    error_class = excluded.error_class,
    error_detail = excluded.error_detail,
    retry_count = excluded.retry_count,
    attempts = excluded.attempts,
    updated_at = now()
WHERE excluded.event_number > s.event_number";
