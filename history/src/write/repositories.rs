//! The statement that writes `repositories`.

use sqlx::PgConnection;
use sqlx::postgres::PgBindIterExt;

use crate::Rows;

/// Makes sure that each repository has a row that shows the latest default branch seen. Rows about
/// which nothing new is known are not even locked.
pub(crate) async fn upsert(connection: &mut PgConnection, rows: &Rows) -> Result<u64, sqlx::Error> {
    let new = rows.repositories();
    if new.len() == 0 {
        return Ok(0);
    }
    let written = sqlx::query(
        "INSERT INTO repositories AS r (id, owner, name, default_branch, branch_seen_at)
         SELECT n.id, n.owner, n.name, coalesce(n.branch, 'main'), n.seen_at
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[])
              AS n(id, owner, name, branch, seen_at)
         WHERE NOT EXISTS (
             SELECT FROM repositories k
             WHERE k.owner = n.owner AND k.name = n.name
               AND (n.seen_at IS NULL OR (k.branch_seen_at, k.default_branch) >= (n.seen_at, n.branch))
         )
         ON CONFLICT (owner, name) DO UPDATE SET
             default_branch = excluded.default_branch,
             branch_seen_at = excluded.branch_seen_at,
             updated_at = now()
         WHERE excluded.branch_seen_at IS NOT NULL
           AND (r.branch_seen_at IS NULL
                OR (r.branch_seen_at, r.default_branch)
                   < (excluded.branch_seen_at, excluded.default_branch))",
    )
    .bind(new.clone().map(|row| row.id).bind_iter())
    .bind(new.clone().map(|row| row.owner.as_str()).bind_iter())
    .bind(new.clone().map(|row| row.name.as_str()).bind_iter())
    .bind(new.clone().map(|row| row.branch.as_ref().map(|(_, name)| name.as_str())).bind_iter())
    .bind(new.map(|row| row.branch.as_ref().map(|(seen_at, _)| *seen_at)).bind_iter())
    .execute(connection)
    .await?;
    Ok(written.rows_affected())
}
