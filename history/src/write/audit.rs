//! The statement that writes `audit_log`.

use sqlx::PgConnection;

use crate::Rows;
use crate::write::columns::Columns;

/// Writes wishes and what came of them. Nothing here, or anywhere, changes a row that is there.
pub(crate) async fn append(connection: &mut PgConnection, rows: &Rows) -> Result<u64, sqlx::Error> {
    Columns::new(INSERT, rows.audit())
        .column(|row| row.request_id)
        .column(|row| row.at)
        .column(|row| row.execution_id)
        .column(|row| row.action)
        .column(|row| row.by.as_str())
        .column(|row| row.scopes.as_str())
        .column(|row| row.reason.as_deref())
        .column(|row| row.details.as_deref())
        .column(|row| row.outcome)
        .column(|row| row.code.as_deref())
        .column(|row| row.message.as_deref())
        .execute(connection)
        .await
}

const INSERT: &str = "
INSERT INTO audit_log (
    request_id, at, execution_id, action, by, scopes, reason, details, outcome, code, message
)
SELECT n.request_id, n.at, n.execution_id, n.action, n.by,
       ARRAY(SELECT jsonb_array_elements_text(n.scopes::jsonb)), n.reason, n.details::jsonb,
       n.outcome, n.code, n.message
FROM unnest(
    $1::uuid[], $2::timestamptz[], $3::uuid[], $4::text[], $5::text[], $6::text[],
    $7::text[], $8::text[], $9::text[], $10::text[], $11::text[]
) AS n(
    request_id, at, execution_id, action, by, scopes, reason, details, outcome, code, message
)
ON CONFLICT DO NOTHING";
