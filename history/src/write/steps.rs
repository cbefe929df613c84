//! The statement that writes `workflow_steps`: the hot one.

use sqlx::PgConnection;
use sqlx::postgres::PgBindIterExt;

use crate::Rows;

/// Writes steps that have ended. A step is written once and never changes, so a row that is there
/// already is the same row.
pub(crate) async fn insert(connection: &mut PgConnection, rows: &Rows) -> Result<u64, sqlx::Error> {
    let new = rows.steps();
    if new.len() == 0 {
        return Ok(0);
    }
    let written = sqlx::query(
        "INSERT INTO workflow_steps (
             id, execution_id, step_name, step_index, status, tool, input, output, started_at,
             completed_at, duration_ms, error, error_class, error_detail, retry_count, attempts
         )
         SELECT n.id, n.execution_id, n.step_name, n.step_index, n.status, n.tool, n.input::jsonb,
                n.output::jsonb, n.started_at, n.completed_at, n.duration_ms, n.error, n.error_class,
                n.error_detail::jsonb, n.retry_count, n.attempts::jsonb
         FROM unnest(
             $1::uuid[], $2::uuid[], $3::text[], $4::int[], $5::text[], $6::text[], $7::text[],
             $8::text[], $9::timestamptz[], $10::timestamptz[], $11::bigint[], $12::text[],
             $13::text[], $14::text[], $15::int[], $16::text[]
         ) AS n(
             id, execution_id, step_name, step_index, status, tool, input, output, started_at,
             completed_at, duration_ms, error, error_class, error_detail, retry_count, attempts
         )
         ON CONFLICT DO NOTHING",
    )
    .bind(new.clone().map(|row| row.id).bind_iter())
    .bind(new.clone().map(|row| row.execution_id).bind_iter())
    .bind(new.clone().map(|row| row.name.as_str()).bind_iter())
    .bind(new.clone().map(|row| row.index).bind_iter())
    .bind(new.clone().map(|row| row.status).bind_iter())
    .bind(new.clone().map(|row| row.tool.as_deref()).bind_iter())
    .bind(new.clone().map(|row| row.input.as_deref()).bind_iter())
    .bind(new.clone().map(|row| row.output.as_deref()).bind_iter())
    .bind(new.clone().map(|row| row.started_at).bind_iter())
    .bind(new.clone().map(|row| row.completed_at).bind_iter())
    .bind(new.clone().map(|row| row.duration_ms).bind_iter())
    .bind(new.clone().map(|row| row.error.as_deref()).bind_iter())
    .bind(new.clone().map(|row| row.error_class).bind_iter())
    .bind(new.clone().map(|row| row.error_detail.as_deref()).bind_iter())
    .bind(new.clone().map(|row| row.retry_count).bind_iter())
    .bind(new.map(|row| row.attempts.as_deref()).bind_iter())
    .execute(connection)
    .await?;
    Ok(written.rows_affected())
}
