//! The way to Postgres: a lazily connected pool, the schema, and whether it answers.
//!
//! Called by the binary and the gateway. A [`Store`] is cheap to clone; clones share the pool.

use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection};
use thiserror::Error;
use tokio::time::{Instant, timeout};

use crate::failure::{Failure, is_missing_table};

/// How to reach Postgres.
#[derive(Debug, Clone)]
pub struct Config {
    /// `postgres://user:password@host:port/database`.
    pub url: SecretString,
    /// Most connections one process opens.
    pub max_connections: u32,
    /// Longest wait for a connection, new or from the pool.
    pub connect_timeout: Duration,
}

impl Config {
    /// Two for the projector's writers and two for queries, so that a slow query cannot hold up the
    /// projector nor a catching-up projector the queries. Postgres works on one statement per core at
    /// a time anyway; more connections only add to its memory.
    pub const MAX_CONNECTIONS: u32 = 4;

    /// A server that is up accepts within milliseconds; somebody may be waiting for the answer.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

    /// The defaults for the server at `url`.
    pub fn new(url: SecretString) -> Self {
        Self {
            url,
            max_connections: Self::MAX_CONNECTIONS,
            connect_timeout: Self::CONNECT_TIMEOUT,
        }
    }
}

/// Why a [`Config`] is not usable. Never shows the URL, which holds a password.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// Not a Postgres URL.
    #[error("the database URL is not valid")]
    Url,
    /// Somebody has to do the work.
    #[error("the database pool needs at least {needed} connections, {configured} are configured")]
    Connections {
        /// What was configured.
        configured: u32,
        /// The least that works.
        needed: u32,
    },
}

/// Why the schema is not up to date.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// Postgres does not answer: try again.
    #[error("cannot reach the database to migrate it")]
    Away(#[source] Box<sqlx::migrate::MigrateError>),
    /// A migration was refused, or an applied one differs from ours: trying again will not help.
    #[error("cannot migrate the database")]
    Refused(#[source] Box<sqlx::migrate::MigrateError>),
}

impl MigrateError {
    /// Whether trying again later can help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Away(_))
    }
}

impl From<sqlx::migrate::MigrateError> for MigrateError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError as Source;

        let away = match &error {
            Source::Execute(source) | Source::ExecuteMigration(source, _) => {
                Failure::of(source) == Failure::Away
            }
            _ => false,
        };
        if away {
            Self::Away(Box::new(error))
        } else {
            Self::Refused(Box::new(error))
        }
    }
}

/// Why Postgres is not ready.
#[derive(Debug, Error)]
pub enum CheckError {
    /// No answer in time.
    #[error("the database did not answer within {} ms", Store::CHECK_TIMEOUT.as_millis())]
    Timeout,
    /// An answer, or the lack of a connection.
    #[error("the database is not usable")]
    Failed(#[source] sqlx::Error),
    /// No projector has prepared the database yet.
    #[error("the database has no tables yet; the first projector makes them when it starts")]
    NoTables(#[source] sqlx::Error),
}

/// Why partitions could not be made. Nothing is lost meanwhile: rows go to the default partition.
#[derive(Debug, Error)]
pub enum PartitionError {
    /// Postgres is away, or a long query held the table.
    #[error("cannot make the monthly partitions of workflow_steps")]
    Failed(#[source] sqlx::Error),
    /// No answer in time; Postgres may still be at it.
    #[error("partitions were not made within {} s", Store::PARTITIONS_TIMEOUT.as_secs())]
    Timeout,
}

/// Postgres, as history uses it.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
}

impl Store {
    /// Readiness answers slower than this are of no use to whoever asks.
    pub const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

    /// Making a partition takes milliseconds; moving a day's rows out of the default one, seconds.
    const PARTITIONS_TIMEOUT: Duration = Duration::from_secs(60);

    /// Prepares the pool. Connects to nothing: a process must start while Postgres is away.
    ///
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When `config` cannot be meant.
    pub fn connect(config: &Config) -> Result<Self, ConfigError> {
        if config.max_connections == 0 {
            return Err(ConfigError::Connections {
                configured: 0,
                needed: 1,
            });
        }
        // The parser's own error quotes the URL.
        let options = PgConnectOptions::from_str(config.url.expose_secret())
            .map_err(|_| ConfigError::Url)?
            .application_name("afu9-history")
            // One line per statement is no use at thousands per second, and values are not for logs.
            .disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(config.max_connections)
            .acquire_timeout(config.connect_timeout)
            .connect_lazy_with(options);
        Ok(Self { pool })
    }

    /// Brings the schema up to date. Several processes may do so at once: one works, the others wait
    /// for it and find nothing to do. A schema newer than this build is left alone.
    ///
    /// # Errors
    /// [`MigrateError::is_retryable`] says whether to try again.
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        let mut migrator: Migrator = sqlx::migrate!("../migrations");
        // Migrations only go forward and stay readable for the previous version, so that old and new
        // processes run side by side during an upgrade.
        migrator.set_ignore_missing(true);

        // Not from the pool: after an error the connection still holds the migration lock, and only
        // its end releases it.
        let options = self.pool.connect_options();
        let connect = PgConnection::connect_with(&options);
        let mut connection = match timeout(self.pool.options().get_acquire_timeout(), connect).await
        {
            Ok(connection) => connection.map_err(sqlx::migrate::MigrateError::Execute)?,
            Err(_) => Err(sqlx::migrate::MigrateError::Execute(
                sqlx::Error::PoolTimedOut,
            ))?,
        };
        let migrated = migrator.run_direct(None, &mut connection, false).await;
        // Its end matters, not how it ends.
        let _ = connection.close().await;
        Ok(migrated?)
    }

    /// Makes the partitions of `workflow_steps` for this month and `months_ahead` more, and moves
    /// rows that had found none out of the default partition. Returns how many it made.
    ///
    /// # Errors
    /// When Postgres is away or busy: try again later.
    pub async fn ensure_partitions(&self, months_ahead: u16) -> Result<u32, PartitionError> {
        let ensure = sqlx::query_scalar("SELECT afu9_ensure_step_partitions($1)")
            .bind(i32::from(months_ahead))
            .fetch_one(&self.pool);
        let made: i32 = match timeout(Self::PARTITIONS_TIMEOUT, ensure).await {
            Ok(made) => made.map_err(PartitionError::Failed)?,
            Err(_) => return Err(PartitionError::Timeout),
        };
        Ok(u32::try_from(made).unwrap_or_default())
    }

    /// Whether Postgres answers and has our tables, and how long that took.
    ///
    /// # Errors
    /// When there is no answer within [`Self::CHECK_TIMEOUT`], or a bad one, or no tables yet.
    pub async fn check(&self) -> Result<Duration, CheckError> {
        let asked = Instant::now();
        match timeout(
            Self::CHECK_TIMEOUT,
            sqlx::query("SELECT 1 FROM workflow_executions LIMIT 1").execute(&self.pool),
        )
        .await
        {
            Ok(Ok(_)) => Ok(asked.elapsed()),
            Ok(Err(error)) if is_missing_table(&error) => Err(CheckError::NoTables(error)),
            Ok(Err(error)) => Err(CheckError::Failed(error)),
            Err(_) => Err(CheckError::Timeout),
        }
    }

    /// Closes every connection, waiting for those in use.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }
}
