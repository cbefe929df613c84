//! Rows as a statement takes them: one array for each column.

use sqlx::postgres::{PgArguments, PgBindIterExt, PgHasArrayType};
use sqlx::query::Query;
use sqlx::{Encode, PgConnection, Postgres, Type};

/// A statement over `rows`, whose columns are bound one after another, as `$1`, `$2` and so on.
pub(super) struct Columns<I> {
    query: Query<'static, Postgres, PgArguments>,
    rows: I,
}

impl<I: Iterator + Clone> Columns<I> {
    pub(super) fn new(statement: &'static str, rows: I) -> Self {
        Self {
            query: sqlx::query(statement),
            rows,
        }
    }

    /// Binds the next column: what `of` finds in each row.
    pub(super) fn column<'q, T>(self, of: impl Fn(I::Item) -> T) -> Self
    where
        T: Encode<'q, Postgres> + Type<Postgres> + PgHasArrayType,
    {
        let Self { query, rows } = self;
        let query = query.bind(rows.clone().map(of).bind_iter());
        Self { query, rows }
    }

    /// Runs the statement, if there are any rows, and returns how many it inserted or changed.
    pub(super) async fn execute(
        mut self,
        connection: &mut PgConnection,
    ) -> Result<u64, sqlx::Error> {
        if self.rows.next().is_none() {
            return Ok(0);
        }
        Ok(self.query.execute(connection).await?.rows_affected())
    }
}
