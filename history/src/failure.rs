//! What a failed database operation means for its caller. Decided here and nowhere else.

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// About the values: the same rows will be refused again.
    Data,
    /// About the server or the way to it: the same rows will be accepted later.
    Away,
    /// About the set-up (schema, permissions, password): a person has to act, then it goes on.
    Setup,
}

impl Failure {
    /// Classifies `error` by its SQLSTATE class, where the server gave one.
    pub(crate) fn of(error: &sqlx::Error) -> Self {
        use sqlx::Error;

        match error {
            // A check violation without a named check: the row was on its way to the default partition
            // when the partition it belongs to was attached. The next attempt finds that one.
            Error::Database(database)
                if database.is_check_violation() && database.constraint().is_none() =>
            {
                Self::Away
            }
            Error::Database(database) => {
                match database.code().as_deref().and_then(|c| c.get(..2)) {
                    // Cardinality, data exception, integrity constraint, program limit.
                    Some("21" | "22" | "23" | "54") => Self::Data,
                    // Connection, read-only after a fail-over, deadlock or serialisation, resources, lock
                    // not available, shutdown, system error.
                    Some("08" | "25" | "40" | "53" | "55" | "57" | "58") => Self::Away,
                    _ => Self::Setup,
                }
            }
            Error::Encode(_) | Error::InvalidArgument(_) => Self::Data,
            Error::Io(_)
            | Error::Tls(_)
            | Error::Protocol(_)
            | Error::PoolTimedOut
            | Error::PoolClosed
            | Error::WorkerCrashed
            | Error::BeginFailed => Self::Away,
            // The answer is not what we asked for, or the configuration cannot be meant.
            _ => Self::Setup,
        }
    }
}

/// Whether a table or a column is not there (`undefined_table`, `undefined_column`): the schema is that of an
/// earlier version, until a projector has migrated it.
pub(crate) fn is_not_migrated(error: &sqlx::Error) -> bool {
    is_missing_table(error) || has_code(error, "42703")
}

/// Whether a table is not there (`undefined_table`).
pub(crate) fn is_missing_table(error: &sqlx::Error) -> bool {
    has_code(error, "42P01")
}

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    matches!(error, sqlx::Error::Database(database) if database.code().as_deref() == Some(code))
}
