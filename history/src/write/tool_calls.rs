//! The statement that writes `mcp_tool_calls`.

use sqlx::PgConnection;
use sqlx::postgres::PgBindIterExt;

use crate::Rows;

/// Writes attempts at tools. Their ids are derived from what they are, so a row that is there already
/// is the same row.
pub(crate) async fn insert(connection: &mut PgConnection, rows: &Rows) -> Result<u64, sqlx::Error> {
    let new = rows.tool_calls();
    if new.len() == 0 {
        return Ok(0);
    }
    let written = sqlx::query(
        "INSERT INTO mcp_tool_calls (
             id, execution_id, server_name, tool_name, params, result, error, error_class,
             duration_ms, started_at, completed_at, step_index, attempt, worker
         )
         SELECT n.id, n.execution_id, n.server_name, n.tool_name, n.params::jsonb, n.result::jsonb,
                n.error, n.error_class, n.duration_ms, n.started_at, n.completed_at, n.step_index,
                n.attempt, n.worker
         FROM unnest(
             $1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
             $8::text[], $9::bigint[], $10::timestamptz[], $11::timestamptz[], $12::int[],
             $13::int[], $14::text[]
         ) AS n(
             id, execution_id, server_name, tool_name, params, result, error, error_class,
             duration_ms, started_at, completed_at, step_index, attempt, worker
         )
         ON CONFLICT DO NOTHING",
    )
    .bind(new.clone().map(|row| row.id).bind_iter())
    .bind(new.clone().map(|row| row.execution_id).bind_iter())
    .bind(new.clone().map(|row| row.server_name.as_str()).bind_iter())
    .bind(new.clone().map(|row| row.tool_name.as_str()).bind_iter())
    .bind(new.clone().map(|row| row.params.as_deref()).bind_iter())
    .bind(new.clone().map(|row| row.result.as_deref()).bind_iter())
    .bind(new.clone().map(|row| row.error.as_deref()).bind_iter())
    .bind(new.clone().map(|row| row.error_class).bind_iter())
    .bind(new.clone().map(|row| row.duration_ms).bind_iter())
    .bind(new.clone().map(|row| row.started_at).bind_iter())
    .bind(new.clone().map(|row| row.completed_at).bind_iter())
    .bind(new.clone().map(|row| row.step_index).bind_iter())
    .bind(new.clone().map(|row| row.attempt).bind_iter())
    .bind(new.map(|row| row.worker.as_deref()).bind_iter())
    .execute(connection)
    .await?;
    Ok(written.rows_affected())
}
