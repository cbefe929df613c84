//! Statements that write `workflows`. Definitions are rare, so clarity goes before speed.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::Rows;
use crate::write::columns::Columns;

/// Writes what applied definitions say. A row belongs to a name; its id is that of the newest
/// workflow of that name.
///
/// Separate statements, because an upsert may name only one of the table's two unique constraints,
/// and a concurrent insert then fails on the other.
pub(crate) async fn apply(connection: &mut PgConnection, rows: &Rows) -> Result<u64, sqlx::Error> {
    release_names(connection, rows).await?;
    let names = rows.definitions().map(|row| (row.name.as_str(), row.id));
    // Rows of which only the name is new get their content from the update.
    Ok(insert(connection, names).await? + update(connection, rows).await?)
}

/// Makes sure that each workflow with an execution has a row, if only a stub without a definition.
pub(crate) async fn mention(
    connection: &mut PgConnection,
    rows: &Rows,
) -> Result<u64, sqlx::Error> {
    insert(connection, rows.mentioned()).await
}

/// Removes rows of workflows that now have another name; their whole content comes with that name.
async fn release_names(connection: &mut PgConnection, rows: &Rows) -> Result<(), sqlx::Error> {
    Columns::new(RELEASE, rows.definitions())
        .column(|row| row.id)
        .column(|row| row.name.as_str())
        .column(|row| row.changed_at)
        .execute(connection)
        .await?;
    Ok(())
}

const RELEASE: &str = "
DELETE FROM workflows w
USING unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS n(id, name, changed_at)
WHERE w.id = n.id AND w.name <> n.name AND (w.changed_at IS NULL OR w.changed_at < n.changed_at)";

/// Inserts stubs. The look before the insert keeps writers from locking the same few rows in every
/// transaction.
async fn insert<'a>(
    connection: &mut PgConnection,
    names: impl Iterator<Item = (&'a str, Uuid)> + Clone,
) -> Result<u64, sqlx::Error> {
    Columns::new(INSERT, names)
        .column(|(_, id)| id)
        .column(|(name, _)| name)
        .execute(connection)
        .await
}

const INSERT: &str = "
INSERT INTO workflows (id, name, definition, version, enabled)
SELECT n.id, n.name, '{}'::jsonb, 0, false
FROM unnest($1::uuid[], $2::text[]) AS n(id, name)
WHERE NOT EXISTS (SELECT FROM workflows k WHERE k.name = n.name)
ON CONFLICT DO NOTHING";

async fn update(connection: &mut PgConnection, rows: &Rows) -> Result<u64, sqlx::Error> {
    Columns::new(UPDATE, rows.definitions())
        .column(|row| row.id)
        .column(|row| row.name.as_str())
        .column(|row| row.description.as_deref())
        .column(|row| row.definition.as_str())
        .column(|row| row.version)
        .column(|row| row.enabled)
        .column(|row| row.hash.as_str())
        .column(|row| row.applied_by.as_str())
        .column(|row| row.applied_at)
        .column(|row| row.changed_at)
        .execute(connection)
        .await
}

const UPDATE: &str = "
UPDATE workflows w
SET id = n.id, description = n.description, definition = n.definition::jsonb, version = n.version,
    enabled = n.enabled, definition_hash = n.hash, applied_by = n.applied_by,
    applied_at = n.applied_at, changed_at = n.changed_at, updated_at = now()
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::int[], $6::bool[],
            $7::text[], $8::text[], $9::timestamptz[], $10::timestamptz[])
     AS n(id, name, description, definition, version, enabled, hash, applied_by, applied_at, changed_at)
WHERE w.name = n.name
  AND (w.changed_at IS NULL
       OR (w.changed_at, w.version, w.enabled) < (n.changed_at, n.version, n.enabled))
  -- Known by a newer name: this is an old event come late.
  AND NOT EXISTS (SELECT FROM workflows k WHERE k.id = n.id AND k.name <> n.name)";
