//! Statements that write `repositories`.

use sqlx::PgConnection;
use sqlx::postgres::PgBindIterExt;

use crate::Rows;

/// Makes sure that each repository has a row that shows the latest default branch seen.
///
/// Two statements, because an upsert may name only one of the table's two unique constraints, and a
/// concurrent insert then fails on the other.
pub(crate) async fn upsert(connection: &mut PgConnection, rows: &Rows) -> Result<u64, sqlx::Error> {
    if rows.repositories().len() == 0 {
        return Ok(0);
    }
    Ok(insert(connection, rows).await? + update(connection, rows).await?)
}

/// The look before the insert keeps it from touching rows that are there.
async fn insert(connection: &mut PgConnection, rows: &Rows) -> Result<u64, sqlx::Error> {
    let new = rows.repositories();
    let written = sqlx::query(
        "INSERT INTO repositories (id, owner, name, default_branch, branch_seen_at)
         SELECT n.id, n.owner, n.name, coalesce(n.branch, 'main'), n.seen_at
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[])
              AS n(id, owner, name, branch, seen_at)
         WHERE NOT EXISTS (SELECT FROM repositories k WHERE k.owner = n.owner AND k.name = n.name)
         ON CONFLICT DO NOTHING",
    )
    .bind(new.clone().map(|row| row.id).bind_iter())
    .bind(new.clone().map(|row| row.owner.as_str()).bind_iter())
    .bind(new.clone().map(|row| row.name.as_str()).bind_iter())
    .bind(
        new.clone()
            .map(|row| row.branch.as_ref().map(|(_, name)| name.as_str()))
            .bind_iter(),
    )
    .bind(
        new.map(|row| row.branch.as_ref().map(|(seen_at, _)| *seen_at))
            .bind_iter(),
    )
    .execute(connection)
    .await?;
    Ok(written.rows_affected())
}

/// Rows about which nothing newer is known are not even locked.
async fn update(connection: &mut PgConnection, rows: &Rows) -> Result<u64, sqlx::Error> {
    let known = || {
        rows.repositories()
            .filter_map(|row| Some((row, row.branch.as_ref()?)))
    };
    let written = sqlx::query(
        "UPDATE repositories r
         SET default_branch = n.branch, branch_seen_at = n.seen_at, updated_at = now()
         FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[])
              AS n(owner, name, branch, seen_at)
         WHERE r.owner = n.owner AND r.name = n.name
           AND (r.branch_seen_at IS NULL
                OR (r.branch_seen_at, r.default_branch) < (n.seen_at, n.branch))",
    )
    .bind(known().map(|(row, _)| row.owner.as_str()).bind_iter())
    .bind(known().map(|(row, _)| row.name.as_str()).bind_iter())
    .bind(known().map(|(_, (_, branch))| branch.as_str()).bind_iter())
    .bind(known().map(|(_, (seen_at, _))| *seen_at).bind_iter())
    .execute(connection)
    .await?;
    Ok(written.rows_affected())
}
