//! The database of a test.

use std::time::Duration;

use afu9_servers::fixture::{self, DatabaseFixture, ServerFixture};
use afu9_servers::provision::{self, PrintProgress};
use afu9_servers::{sql, target_dir};
use anyhow::{Context as _, Result};

use super::wait;

/// Which database a test needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    /// None at all.
    None,
    /// One that nobody kills.
    Kept,
    /// One in a Postgres of the test's own, which it may kill.
    Mortal,
}

/// An empty database.
pub(crate) struct Database {
    pub(crate) url: String,
    sql: sql::Client,
    server: Option<ServerFixture>,
    _database: Option<DatabaseFixture>,
}

impl Database {
    pub(super) fn new(storage: Storage) -> Result<Option<Self>> {
        let (url, server, database) = match storage {
            Storage::None => return Ok(None),
            Storage::Kept => {
                let database = fixture::postgres()?;
                (database.url.clone(), None, Some(database))
            }
            Storage::Mortal => {
                let server = fixture::private_postgres()?;
                (server.url.clone(), Some(server), None)
            }
        };
        let installation = provision::postgres(&target_dir(), &mut PrintProgress)?;
        let sql = sql::Client::new(&installation.bin_dir, &url);
        Ok(Some(Self {
            url,
            sql,
            server,
            _database: database,
        }))
    }

    /// The number that `SELECT count(*) FROM <from>` gives.
    pub(crate) fn count(&self, from: &str) -> Result<u64> {
        let statement = format!("SELECT count(*) FROM {from}");
        let rows = tokio::task::block_in_place(|| self.sql.query(&statement))?;
        let first = rows.rows.first().and_then(|row| row.first());
        first
            .context("a count has one row")?
            .parse()
            .context("a count is a number")
    }

    /// Waits until `SELECT count(*) FROM <from>` is `wanted`.
    pub(crate) async fn wait_for_count(
        &self,
        from: &str,
        wanted: u64,
        within: Duration,
    ) -> Result<()> {
        let mut last = None;
        let waited = wait::until("rows", within, async || {
            // A table may not be there yet.
            last = Some(self.count(from));
            Ok(matches!(&last, Some(Ok(count)) if *count == wanted).then_some(()))
        });
        let waited = waited.await;
        waited.with_context(|| format!("{wanted} rows of {from}, last {last:?}"))
    }

    /// SIGKILL of the server.
    pub(crate) fn kill(&mut self) -> Result<()> {
        tokio::task::block_in_place(|| self.server()?.kill())
    }

    /// A new server on the same port and data.
    pub(crate) fn restart(&mut self) -> Result<()> {
        tokio::task::block_in_place(|| self.server()?.restart())
    }

    fn server(&mut self) -> Result<&mut ServerFixture> {
        self.server
            .as_mut()
            .context("this database's server is not the test's own")
    }
}
