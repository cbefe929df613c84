//! Forgetting old history.

use std::time::Duration;

use afu9_schemas::Timestamp;
use tokio::time::timeout;

use crate::Store;
use crate::query::QueryError;

/// Reading a month of a hundred million steps takes minutes. The server goes on by itself, so a call that
/// was given up is found done by a later one.
const STEPS_TIMEOUT: Duration = Duration::from_secs(30 * 60);

impl Store {
    /// Deletes up to `limit` executions that ended before `before`, with their tool calls and agent runs,
    /// and says how many. Their steps are left to [`Self::drop_old_steps`].
    ///
    /// # Errors
    /// [`QueryError::is_retryable`] says whether to try again.
    pub async fn drop_old_executions(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Result<u64, QueryError> {
        let dropped: i64 = sqlx::query_scalar(EXECUTIONS)
            .bind(before.to_datetime())
            .bind(i64::from(limit))
            .fetch_one(self.pool())
            .await?;
        Ok(u64::try_from(dropped).unwrap_or_default())
    }

    /// Drops one month of steps that ended before `before`, but for the steps of executions that are still
    /// there. Returns its name, or `None` if there is none to do.
    ///
    /// # Errors
    /// [`QueryError::is_retryable`] says whether to try again.
    pub async fn drop_old_steps(&self, before: Timestamp) -> Result<Option<String>, QueryError> {
        let dropped = sqlx::query_scalar("SELECT afu9_drop_old_steps($1)")
            .bind(before.to_datetime())
            .fetch_one(self.pool());
        match timeout(STEPS_TIMEOUT, dropped).await {
            Ok(dropped) => Ok(dropped?),
            Err(_) => Err(sqlx::Error::PoolTimedOut.into()),
        }
    }
}

/// Whatever ended before an instant began before it, too: so they are found by the index on the beginning.
const EXECUTIONS: &str = "
WITH old AS (
    SELECT id FROM workflow_executions
    WHERE started_at < $1 AND completed_at < $1 AND status IN ('completed', 'failed', 'cancelled')
    ORDER BY started_at, id LIMIT $2
    FOR UPDATE SKIP LOCKED
), calls AS (
    DELETE FROM mcp_tool_calls WHERE execution_id IN (SELECT id FROM old)
), runs AS (
    DELETE FROM agent_runs WHERE execution_id IN (SELECT id FROM old)
), dropped AS (
    DELETE FROM workflow_executions WHERE id IN (SELECT id FROM old) RETURNING 1
)
SELECT count(*) FROM dropped";
