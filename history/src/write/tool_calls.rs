//! The statement that writes `mcp_tool_calls`.

use sqlx::PgConnection;

use crate::Rows;
use crate::write::columns::Columns;

/// Writes attempts at tools. Their ids are derived from what they are, so a row that is there already
/// is the same row.
pub(crate) async fn insert(connection: &mut PgConnection, rows: &Rows) -> Result<u64, sqlx::Error> {
    Columns::new(INSERT, rows.tool_calls())
        .column(|row| row.id)
        .column(|row| row.execution_id)
        .column(|row| row.step_index)
        .column(|row| row.item_index)
        .column(|row| row.attempt)
        .column(|row| row.server_name.as_str())
        .column(|row| row.tool_name.as_str())
        .column(|row| row.params.as_deref())
        .column(|row| row.result.as_deref())
        .column(|row| row.error.as_deref())
        .column(|row| row.error_class)
        .column(|row| row.duration_ms)
        .column(|row| row.started_at)
        .column(|row| row.completed_at)
        .column(|row| row.worker.as_deref())
        .execute(connection)
        .await
}

const INSERT: &str = "
INSERT INTO mcp_tool_calls (
    id, execution_id, step_index, item_index, attempt, server_name, tool_name, params, result, error,
    error_class, duration_ms, started_at, completed_at, worker
)
SELECT n.id, n.execution_id, n.step_index, n.item_index, n.attempt, n.server_name, n.tool_name,
       n.params::jsonb, n.result::jsonb, n.error, n.error_class, n.duration_ms, n.started_at,
       n.completed_at, n.worker
FROM unnest(
    $1::uuid[], $2::uuid[], $3::int[], $4::int[], $5::int[], $6::text[], $7::text[], $8::text[],
    $9::text[], $10::text[], $11::text[], $12::bigint[], $13::timestamptz[], $14::timestamptz[],
    $15::text[]
) AS n(
    id, execution_id, step_index, item_index, attempt, server_name, tool_name, params, result, error,
    error_class, duration_ms, started_at, completed_at, worker
)
ON CONFLICT DO NOTHING";
