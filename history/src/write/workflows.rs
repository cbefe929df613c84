//! Statements that write `workflows`. Rare, so clarity goes before speed.

use sqlx::PgConnection;
use sqlx::postgres::PgBindIterExt;

use crate::Rows;

/// Writes what applied definitions say. A row belongs to a name; its id is that of the newest
/// workflow of that name.
pub(crate) async fn apply(connection: &mut PgConnection, rows: &Rows) -> Result<u64, sqlx::Error> {
    let new = rows.definitions();
    if new.len() == 0 {
        return Ok(0);
    }
    release_names(connection, rows).await?;
    let written = sqlx::query(
        "INSERT INTO workflows AS w (id, name, description, definition, version, enabled,
                                     definition_hash, applied_by, applied_at, changed_at)
         SELECT n.id, n.name, n.description, n.definition::jsonb, n.version, n.enabled,
                n.hash, n.applied_by, n.applied_at, n.changed_at
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::int[], $6::bool[],
                     $7::text[], $8::text[], $9::timestamptz[], $10::timestamptz[])
              AS n(id, name, description, definition, version, enabled,
                   hash, applied_by, applied_at, changed_at)
         -- Known by a newer name: this is an old event come late.
         WHERE NOT EXISTS (SELECT FROM workflows k WHERE k.id = n.id AND k.name <> n.name)
         ON CONFLICT (name) DO UPDATE SET
             id = excluded.id,
             description = excluded.description,
             definition = excluded.definition,
             version = excluded.version,
             enabled = excluded.enabled,
             definition_hash = excluded.definition_hash,
             applied_by = excluded.applied_by,
             applied_at = excluded.applied_at,
             changed_at = excluded.changed_at,
             updated_at = now()
         WHERE w.changed_at IS NULL
            OR (w.changed_at, w.version, w.enabled)
               < (excluded.changed_at, excluded.version, excluded.enabled)",
    )
    .bind(new.clone().map(|row| row.id).bind_iter())
    .bind(new.clone().map(|row| row.name.as_str()).bind_iter())
    .bind(new.clone().map(|row| row.description.as_deref()).bind_iter())
    .bind(new.clone().map(|row| row.definition.as_str()).bind_iter())
    .bind(new.clone().map(|row| row.version).bind_iter())
    .bind(new.clone().map(|row| row.enabled).bind_iter())
    .bind(new.clone().map(|row| row.hash.as_str()).bind_iter())
    .bind(new.clone().map(|row| row.applied_by.as_str()).bind_iter())
    .bind(new.clone().map(|row| row.applied_at).bind_iter())
    .bind(new.map(|row| row.changed_at).bind_iter())
    .execute(connection)
    .await?;
    Ok(written.rows_affected())
}

/// Removes rows of workflows that now have another name; their whole content comes with that name.
async fn release_names(connection: &mut PgConnection, rows: &Rows) -> Result<(), sqlx::Error> {
    let new = rows.definitions();
    sqlx::query(
        "DELETE FROM workflows w
         USING unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS n(id, name, changed_at)
         WHERE w.id = n.id AND w.name <> n.name
           AND (w.changed_at IS NULL OR w.changed_at < n.changed_at)",
    )
    .bind(new.clone().map(|row| row.id).bind_iter())
    .bind(new.clone().map(|row| row.name.as_str()).bind_iter())
    .bind(new.map(|row| row.changed_at).bind_iter())
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes sure that each workflow with an execution has a row, if only a stub without a definition.
/// The look before the insert keeps writers from locking the same few rows in every transaction.
pub(crate) async fn mention(connection: &mut PgConnection, rows: &Rows) -> Result<u64, sqlx::Error> {
    let new = rows.mentioned();
    if new.len() == 0 {
        return Ok(0);
    }
    let written = sqlx::query(
        "INSERT INTO workflows (id, name, definition, version, enabled)
         SELECT n.id, n.name, '{}'::jsonb, 0, false
         FROM unnest($1::uuid[], $2::text[]) AS n(id, name)
         WHERE NOT EXISTS (SELECT FROM workflows k WHERE k.name = n.name)
         ON CONFLICT DO NOTHING",
    )
    .bind(new.clone().map(|(_, id)| id).bind_iter())
    .bind(new.map(|(name, _)| name).bind_iter())
    .execute(connection)
    .await?;
    Ok(written.rows_affected())
}
