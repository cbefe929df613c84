//! Statements that write `repositories`.

use sqlx::PgConnection;

use crate::Rows;
use crate::write::columns::Columns;

/// Makes sure that each repository has a row that shows the latest default branch seen.
///
/// Two statements, because an upsert may name only one of the table's two unique constraints, and a
/// concurrent insert then fails on the other.
pub(crate) async fn upsert(connection: &mut PgConnection, rows: &Rows) -> Result<u64, sqlx::Error> {
    Ok(insert(connection, rows).await? + update(connection, rows).await?)
}

/// The look before the insert keeps it from touching rows that are there.
async fn insert(connection: &mut PgConnection, rows: &Rows) -> Result<u64, sqlx::Error> {
    Columns::new(INSERT, rows.repositories())
        .column(|row| row.id)
        .column(|row| row.owner.as_str())
        .column(|row| row.name.as_str())
        .column(|row| Some(row.branch.as_ref()?.1.as_str()))
        .column(|row| Some(row.branch.as_ref()?.0))
        .execute(connection)
        .await
}

const INSERT: &str = "
INSERT INTO repositories (id, owner, name, default_branch, branch_seen_at)
SELECT n.id, n.owner, n.name, coalesce(n.branch, 'main'), n.seen_at
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[])
     AS n(id, owner, name, branch, seen_at)
WHERE NOT EXISTS (SELECT FROM repositories k WHERE k.owner = n.owner AND k.name = n.name)
ON CONFLICT DO NOTHING";

/// Rows about which nothing newer is known are not even locked.
async fn update(connection: &mut PgConnection, rows: &Rows) -> Result<u64, sqlx::Error> {
    let known = rows
        .repositories()
        .filter_map(|row| Some((row, row.branch.as_ref()?)));
    Columns::new(UPDATE, known)
        .column(|(row, _)| row.owner.as_str())
        .column(|(row, _)| row.name.as_str())
        .column(|(_, (_, branch))| branch.as_str())
        .column(|(_, (seen_at, _))| *seen_at)
        .execute(connection)
        .await
}

const UPDATE: &str = "
UPDATE repositories r
SET default_branch = n.branch, branch_seen_at = n.seen_at, updated_at = now()
FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) AS n(owner, name, branch, seen_at)
WHERE r.owner = n.owner AND r.name = n.name
  AND (r.branch_seen_at IS NULL OR (r.branch_seen_at, r.default_branch) < (n.seen_at, n.branch))";
