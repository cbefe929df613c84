//! The statements that write `dead_letters`.

use std::time::Duration;

use afu9_schemas::{DeadLetterId, RequestId, Timestamp};
use sqlx::PgConnection;
use tokio::time::timeout;

use crate::query::{LetterState, QueryError};
use crate::rows::dead_letter::{Letter, LetterRow};
use crate::write::columns::Columns;
use crate::write::{BEGIN, WRITE_TIMEOUT, WriteError};
use crate::{Store, text};

/// How long a dead letter is kept: as long as the stream has it.
pub(crate) const KEPT_FOR: Duration = Duration::from_hours(90 * 24);

/// Who settled a dead letter, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// What became of it: anything but open.
    pub state: LetterState,
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub note: Option<String>,
    /// The request that did it.
    pub request: RequestId,
}

impl Store {
    /// Writes dead letters; those that are there already stay as they are. Returns how many are new.
    ///
    /// Cancel-safe: a dropped call has written all or nothing, and may be repeated.
    ///
    /// # Errors
    /// [`WriteError::is_retryable`] says whether the same ones can be written later.
    pub async fn write_letters(&self, letters: &[Letter]) -> Result<u64, WriteError> {
        let rows: Vec<LetterRow> = letters.iter().map(LetterRow::new).collect();
        let write = async {
            let mut transaction = self.pool().begin_with(BEGIN).await?;
            let written = insert(&mut transaction, &rows).await?;
            transaction.commit().await?;
            Ok(written)
        };
        match timeout(WRITE_TIMEOUT, write).await {
            Ok(written) => written.map_err(WriteError::new),
            Err(_) => Err(WriteError::Timeout),
        }
    }

    /// Settles an open dead letter, and says whether this did it: one that is settled stays as it is.
    ///
    /// # Errors
    /// [`QueryError::is_retryable`] says whether to try again.
    pub async fn settle_letter(
        &self,
        id: DeadLetterId,
        settlement: &Settlement,
    ) -> Result<bool, QueryError> {
        let settled = sqlx::query(SETTLE)
            .bind(id.as_uuid())
            .bind(settlement.state.as_str())
            .bind(text::clean(&settlement.by))
            .bind(settlement.at.to_datetime())
            .bind(settlement.note.as_deref().map(text::clean))
            .bind(settlement.request.as_uuid())
            .execute(self.pool())
            .await?;
        Ok(settled.rows_affected() > 0)
    }

    /// Drops dead letters that the stream has no more, and says how many.
    ///
    /// # Errors
    /// [`QueryError::is_retryable`] says whether to try again.
    pub async fn drop_old_letters(&self, now: Timestamp) -> Result<u64, QueryError> {
        let kept = i64::try_from(KEPT_FOR.as_micros()).unwrap_or(i64::MAX);
        let since = Timestamp::from_micros(now.as_micros().saturating_sub(kept));
        let dropped = sqlx::query("DELETE FROM dead_letters WHERE at < $1")
            .bind(since.to_datetime())
            .execute(self.pool())
            .await?;
        Ok(dropped.rows_affected())
    }
}

async fn insert(connection: &mut PgConnection, rows: &[LetterRow]) -> Result<u64, sqlx::Error> {
    Columns::new(INSERT, rows.iter())
        .column(|row| row.id)
        .column(|row| row.stream_sequence)
        .column(|row| row.at)
        .column(|row| row.reason)
        .column(|row| row.kind.as_deref())
        .column(|row| row.tool.as_deref())
        .column(|row| row.workflow.as_deref())
        .column(|row| row.execution_id)
        .column(|row| row.step_index)
        .column(|row| row.step_name.as_deref())
        .column(|row| row.item_index)
        .column(|row| row.attempt)
        .column(|row| row.attempts)
        .column(|row| row.error_class)
        .column(|row| row.error_code.as_str())
        .column(|row| row.error_message.as_str())
        .column(|row| row.trace_id.as_deref())
        .column(|row| row.delivery.as_deref())
        .column(|row| row.earlier_id)
        .column(|row| row.bytes)
        .column(|row| row.letter.as_deref())
        .execute(connection)
        .await
}

/// The dead letter before one of a step is looked for among those that are there: usually somebody has
/// seen it there, and had the step tried again.
const INSERT: &str = "
INSERT INTO dead_letters (
    id, stream_sequence, at, reason, kind, tool, workflow, execution_id, step_index, step_name,
    item_index, attempt, attempts, error_class, error_code, error_message, trace_id, delivery,
    earlier_id, bytes, letter
)
SELECT n.id, n.stream_sequence, n.at, n.reason, n.kind, n.tool, n.workflow, n.execution_id,
       n.step_index, n.step_name, n.item_index, n.attempt, n.attempts, n.error_class, n.error_code,
       n.error_message, n.trace_id, n.delivery,
       coalesce(n.earlier_id, (
           SELECT d.id FROM dead_letters d
           WHERE d.execution_id = n.execution_id AND d.step_index = n.step_index
             AND d.attempt < n.attempt AND d.item_index IS NOT DISTINCT FROM n.item_index
           ORDER BY d.attempt DESC LIMIT 1
       )), n.bytes, n.letter
FROM unnest(
    $1::uuid[], $2::bigint[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[],
    $8::uuid[], $9::integer[], $10::text[], $11::integer[], $12::integer[], $13::integer[],
    $14::text[], $15::text[], $16::text[], $17::text[], $18::text[], $19::uuid[], $20::integer[],
    $21::bytea[]
) AS n(
    id, stream_sequence, at, reason, kind, tool, workflow, execution_id, step_index, step_name,
    item_index, attempt, attempts, error_class, error_code, error_message, trace_id, delivery,
    earlier_id, bytes, letter
)
ON CONFLICT DO NOTHING";

const SETTLE: &str = "
UPDATE dead_letters
SET state = $2, settled_by = $3, settled_at = $4, note = $5, request_id = $6
WHERE id = $1 AND state = 'open'";
