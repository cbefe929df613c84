//! Dead letters, newest first, a page at a time; one of them whole; and how many are open.

use afu9_schemas::{DeadLetterId, ExecutionId, RequestId, Timestamp};
use chrono::{DateTime, Utc};
use sqlx::{FromRow, Postgres, QueryBuilder};
use uuid::Uuid;

use crate::Store;
use crate::query::{QueryError, unsigned};
use crate::write::Settlement;

/// What became of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LetterState {
    /// Nothing yet: somebody has to look at it.
    Open,
    /// What it is about was tried again.
    Replayed,
    /// Somebody decided that nothing shall be done about it.
    Discarded,
}

impl LetterState {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Open, Self::Replayed, Self::Discarded];

    /// Its name in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
        }
    }
}

/// Where a page ended: the next one begins right after this dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LetterCursor {
    /// When it became one.
    pub at: Timestamp,
    /// Its id, which orders those of the same microsecond.
    pub id: DeadLetterId,
}

impl From<&LetterEntry> for LetterCursor {
    fn from(last: &LetterEntry) -> Self {
        Self {
            at: last.at,
            id: last.id,
        }
    }
}

/// Which dead letters are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LetterFilter {
    /// Only those in this state.
    pub state: Option<LetterState>,
    /// Only those with this reason, by its name in the API.
    pub reason: Option<String>,
    /// Only those of this worker kind.
    pub kind: Option<String>,
    /// Only those of this tool.
    pub tool: Option<String>,
    /// Only those of this workflow.
    pub workflow: Option<String>,
    /// Only those about this execution.
    pub execution: Option<ExecutionId>,
    /// Only those that became one at this instant or later.
    pub since: Option<Timestamp>,
    /// Only those that became one before this instant.
    pub until: Option<Timestamp>,
    /// Only those after the page that ended here.
    pub before: Option<LetterCursor>,
}

/// The longest page: enough for a screen, and a bound on what one request can cost.
pub const MAX_LETTERS: u32 = 200;

/// One line of a list of dead letters.
#[derive(Debug, Clone, PartialEq)]
pub struct LetterEntry {
    /// Its id.
    pub id: DeadLetterId,
    /// Its place in the stream.
    pub stream_sequence: u64,
    /// When it became one.
    pub at: Timestamp,
    /// Why, by its name in the API: maybe one that only a newer version knows.
    pub reason: String,
    /// The worker kind whose job it was.
    pub kind: Option<String>,
    /// The tool.
    pub tool: Option<String>,
    /// The workflow.
    pub workflow: Option<String>,
    /// The execution.
    pub execution: Option<ExecutionId>,
    /// The step's position.
    pub step_index: Option<u32>,
    /// The step's name.
    pub step: Option<String>,
    /// The item's position.
    pub item: Option<u32>,
    /// Which attempt.
    pub attempt: Option<u32>,
    /// How many attempts it tells of.
    pub attempts: u32,
    /// Class of the error.
    pub error_class: String,
    /// Code of the error.
    pub error_code: String,
    /// The error for people.
    pub error_message: String,
    /// The trace it belongs to.
    pub trace_id: Option<String>,
    /// The webhook delivery.
    pub delivery: Option<String>,
    /// The dead letter before it of the same step, item or delivery.
    pub earlier: Option<DeadLetterId>,
    /// Bytes of the message.
    pub bytes: u64,
    /// Who settled it, and how; none while it is open.
    pub settled: Option<Settlement>,
}

impl LetterEntry {
    /// What became of it.
    pub fn state(&self) -> LetterState {
        self.settled
            .as_ref()
            .map_or(LetterState::Open, |settled| settled.state)
    }
}

/// The open dead letters of one reason.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct OpenLetters {
    /// The reason, by its name in the API.
    pub reason: String,
    /// How many.
    pub count: i64,
    oldest: DateTime<Utc>,
}

impl OpenLetters {
    /// When the oldest of them became one.
    pub fn oldest(&self) -> Timestamp {
        Timestamp::from(self.oldest)
    }
}

#[derive(FromRow)]
struct LetterRow {
    id: Uuid,
    stream_sequence: i64,
    at: DateTime<Utc>,
    reason: String,
    kind: Option<String>,
    tool: Option<String>,
    workflow: Option<String>,
    execution_id: Option<Uuid>,
    step_index: Option<i32>,
    step_name: Option<String>,
    item_index: Option<i32>,
    attempt: Option<i32>,
    attempts: i32,
    error_class: String,
    error_code: String,
    error_message: String,
    trace_id: Option<String>,
    delivery: Option<String>,
    earlier_id: Option<Uuid>,
    bytes: i32,
    state: String,
    settled_by: Option<String>,
    settled_at: Option<DateTime<Utc>>,
    note: Option<String>,
    request_id: Option<Uuid>,
}

const COLUMNS: &str =
    "id, stream_sequence, at, reason, kind, tool, workflow, execution_id, step_index,
    step_name, item_index, attempt, attempts, error_class, error_code, error_message, trace_id,
    delivery, earlier_id, bytes, state, settled_by, settled_at, note, request_id";

impl TryFrom<LetterRow> for LetterEntry {
    type Error = QueryError;

    fn try_from(row: LetterRow) -> Result<Self, QueryError> {
        let state = LetterState::ALL
            .into_iter()
            .find(|state| state.as_str() == row.state)
            .ok_or_else(|| QueryError::unknown("dead_letters.state", &row.state))?;
        let settled = (state != LetterState::Open).then(|| Settlement {
            state,
            by: row.settled_by.unwrap_or_default(),
            at: row.settled_at.map(Timestamp::from).unwrap_or_default(),
            note: row.note,
            request: RequestId::from_uuid(row.request_id.unwrap_or_default()),
        });
        Ok(Self {
            id: DeadLetterId::from_uuid(row.id),
            stream_sequence: u64::try_from(row.stream_sequence).unwrap_or_default(),
            at: Timestamp::from(row.at),
            reason: row.reason,
            kind: row.kind,
            tool: row.tool,
            workflow: row.workflow,
            execution: row.execution_id.map(ExecutionId::from_uuid),
            step_index: row.step_index.map(unsigned),
            step: row.step_name,
            item: row.item_index.map(unsigned),
            attempt: row.attempt.map(unsigned),
            attempts: unsigned(row.attempts),
            error_class: row.error_class,
            error_code: row.error_code,
            error_message: row.error_message,
            trace_id: row.trace_id,
            delivery: row.delivery,
            earlier: row.earlier_id.map(DeadLetterId::from_uuid),
            bytes: u64::try_from(row.bytes).unwrap_or_default(),
            settled,
        })
    }
}

impl Store {
    /// The newest dead letters that pass `filter`, newest first, at most `limit` and
    /// [`MAX_LETTERS`].
    ///
    /// # Errors
    /// [`QueryError::is_retryable`] says whether to ask again.
    pub async fn list_letters(
        &self,
        filter: &LetterFilter,
        limit: u32,
    ) -> Result<Vec<LetterEntry>, QueryError> {
        let mut query = QueryBuilder::<Postgres>::new("SELECT ");
        query.push(COLUMNS).push(" FROM dead_letters WHERE true");
        narrow(&mut query, filter);
        query
            .push(" ORDER BY at DESC, id DESC LIMIT ")
            .push_bind(i64::from(limit.min(MAX_LETTERS)));
        let rows: Vec<LetterRow> = query.build_query_as().fetch_all(self.pool()).await?;
        rows.into_iter().map(LetterEntry::try_from).collect()
    }

    /// How many dead letters pass `filter`, counted up to `most`.
    ///
    /// # Errors
    /// [`QueryError::is_retryable`] says whether to ask again.
    pub async fn count_letters(&self, filter: &LetterFilter, most: u32) -> Result<u64, QueryError> {
        let mut query = QueryBuilder::<Postgres>::new(
            "SELECT count(*) FROM (SELECT 1 FROM dead_letters WHERE true",
        );
        narrow(&mut query, filter);
        query
            .push(" LIMIT ")
            .push_bind(i64::from(most))
            .push(") AS counted");
        let count: i64 = query.build_query_scalar().fetch_one(self.pool()).await?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    /// One dead letter.
    ///
    /// # Errors
    /// [`QueryError::is_retryable`] says whether to ask again.
    pub async fn show_letter(&self, id: DeadLetterId) -> Result<Option<LetterEntry>, QueryError> {
        let mut query = QueryBuilder::<Postgres>::new("SELECT ");
        query
            .push(COLUMNS)
            .push(" FROM dead_letters WHERE id = ")
            .push_bind(id.as_uuid());
        let row: Option<LetterRow> = query.build_query_as().fetch_optional(self.pool()).await?;
        row.map(LetterEntry::try_from).transpose()
    }

    /// The message of a dead letter as it is in the stream; `None` if its row is too small for it.
    ///
    /// # Errors
    /// [`QueryError::is_retryable`] says whether to ask again.
    pub async fn letter_bytes(&self, id: DeadLetterId) -> Result<Option<Vec<u8>>, QueryError> {
        let bytes: Option<Option<Vec<u8>>> =
            sqlx::query_scalar("SELECT letter FROM dead_letters WHERE id = $1")
                .bind(id.as_uuid())
                .fetch_optional(self.pool())
                .await?;
        Ok(bytes.flatten())
    }

    /// The open dead letters, counted by their reasons.
    ///
    /// # Errors
    /// [`QueryError::is_retryable`] says whether to ask again.
    pub async fn open_letters(&self) -> Result<Vec<OpenLetters>, QueryError> {
        Ok(sqlx::query_as(
            "SELECT reason, count(*) AS count, min(at) AS oldest FROM dead_letters
             WHERE state = 'open' GROUP BY reason ORDER BY reason",
        )
        .fetch_all(self.pool())
        .await?)
    }
}

fn narrow(query: &mut QueryBuilder<Postgres>, filter: &LetterFilter) {
    match filter.state {
        // Said with its value, for the planner's choice of the partial index.
        Some(LetterState::Open) => {
            query.push(" AND state = 'open'");
        }
        Some(state) => {
            query.push(" AND state = ").push_bind(state.as_str());
        }
        None => {}
    }
    let texts = [
        (" AND reason = ", &filter.reason),
        (" AND kind = ", &filter.kind),
        (" AND tool = ", &filter.tool),
        (" AND workflow = ", &filter.workflow),
    ];
    for (sql, text) in texts {
        if let Some(text) = text {
            query.push(sql).push_bind(crate::text::name(text));
        }
    }
    if let Some(execution) = filter.execution {
        query
            .push(" AND execution_id = ")
            .push_bind(execution.as_uuid());
    }
    if let Some(since) = filter.since {
        query.push(" AND at >= ").push_bind(since.to_datetime());
    }
    if let Some(until) = filter.until {
        query.push(" AND at < ").push_bind(until.to_datetime());
    }
    if let Some(before) = filter.before {
        query
            .push(" AND (at, id) < (")
            .push_bind(before.at.to_datetime())
            .push(", ")
            .push_bind(before.id.as_uuid())
            .push(")");
    }
}
