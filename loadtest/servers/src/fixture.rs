//! The servers of a test: [`nats`] and [`postgres`].
//!
//! `cargo xtask test` finds the programs once and starts one Postgres for the whole run; under it, a
//! test starts its own nats-server (some 50 ms) and creates its own database. A test that runs by
//! itself finds, or even installs, the programs itself. With the feature `containers`, servers are Docker
//! containers where an engine answers.
//!
//! Nothing is shared between two calls, so streams and tables never collide. Everything goes with its
//! fixture, or with the process.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, bail};

#[cfg(feature = "containers")]
mod containers;

use crate::directory::{RunDirectory, target_dir};
use crate::nats::{Durability, NatsOptions, NatsServer};
use crate::port::random;
use crate::postgres::{Fsync, Postgres, PostgresOptions};
use crate::provision::{self, PostgresInstallation, PrintProgress, environment};
use crate::sql;

/// The maintenance database of a Postgres in which tests may create databases.
pub const DATABASE_VARIABLE: &str = "AFU9_TEST_DATABASE_URL";

/// What to say when a test cannot have its servers.
const ADVICE: &str = "this test needs its servers; `cargo xtask test` provides them";

/// A server that belongs to one test, with the levers that tests of failure need.
#[derive(Debug)]
pub struct ServerFixture {
    /// Where clients connect to; stays the same across restarts.
    pub url: String,
    server: Server,
}

#[derive(Debug)]
enum Server {
    Nats(
        NatsServer,
        #[expect(dead_code, reason = "removed when it is dropped")] RunDirectory,
    ),
    Postgres(
        Postgres,
        #[expect(dead_code, reason = "removed when it is dropped")] RunDirectory,
    ),
    #[cfg(feature = "containers")]
    Container(Box<containers::Server>),
}

/// An empty database that belongs to one test; dropped with the fixture.
#[derive(Debug)]
pub struct DatabaseFixture {
    /// Where it is, with the right to do everything in it.
    pub url: String,
    name: String,
    admin_url: String,
}

/// Starts a nats-server with JetStream whose writes reach the disk later.
///
/// # Errors
/// When it cannot be had; a test fails then.
pub fn nats() -> Result<ServerFixture> {
    private_nats(Durability::Fast)
}

/// Starts a nats-server with JetStream of the given durability.
///
/// # Errors
/// When it cannot be had; a test fails then.
pub fn private_nats(durability: Durability) -> Result<ServerFixture> {
    start_nats(durability).context(ADVICE)
}

/// Starts a nats-server as a process, never as a container, with more lines for its configuration file: for
/// tests that look into its files.
///
/// # Errors
/// When it cannot be had; a test fails then.
pub fn nats_process(more: &str) -> Result<ServerFixture> {
    nats_of_process(Durability::Fast, more).context(ADVICE)
}

/// Starts a Postgres of its own, which takes a second or two: for tests that kill it. Others use
/// [`postgres`].
///
/// # Errors
/// When it cannot be had; a test fails then.
pub fn private_postgres() -> Result<ServerFixture> {
    start_postgres(Fsync::On).context(ADVICE)
}

/// Creates an empty database, in the Postgres of `AFU9_TEST_DATABASE_URL` or else in one that this
/// process starts for all its tests.
///
/// # Errors
/// When it cannot be had; a test fails then.
pub fn postgres() -> Result<DatabaseFixture> {
    let create = || -> Result<DatabaseFixture> {
        let admin_url = match environment(DATABASE_VARIABLE) {
            Some(url) => url,
            None => sql::with_database(&shared_postgres()?.url, "postgres")?,
        };
        let name = format!("afu9_test_{:016x}", random());
        client(&admin_url)?.query(&format!("CREATE DATABASE {name}"))?;
        let url = sql::with_database(&admin_url, &name)?;
        Ok(DatabaseFixture {
            url,
            name,
            admin_url,
        })
    };
    create().context(ADVICE)
}

/// What a nats-server has stored of one stream, at one time.
#[derive(Debug)]
pub struct StreamFiles {
    stream: String,
    copy: tempfile::TempDir,
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    let entries = std::fs::read_dir(from).with_context(|| format!("read {}", from.display()))?;
    for entry in entries {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

impl ServerFixture {
    /// Ends it as a crash would. What it has stored stays.
    ///
    /// # Errors
    /// When it cannot be ended.
    pub fn kill(&mut self) -> Result<()> {
        match &mut self.server {
            Server::Nats(server, _) => server.kill(),
            Server::Postgres(server, _) => server.kill(),
            #[cfg(feature = "containers")]
            Server::Container(server) => server.kill(),
        }
    }

    /// Ends it in order if it runs, and starts it again on the same port and data.
    ///
    /// # Errors
    /// When it does not come back.
    pub fn restart(&mut self) -> Result<()> {
        match &mut self.server {
            Server::Nats(server, _) => server.restart(),
            Server::Postgres(server, _) => server.restart(),
            #[cfg(feature = "containers")]
            Server::Container(server) => server.restart(),
        }
    }

    /// What a nats-server has written to its log.
    ///
    /// # Errors
    /// When its log is not in reach, or cannot be read.
    pub fn log(&mut self) -> Result<String> {
        match &mut self.server {
            Server::Nats(server, _) => Ok(std::fs::read_to_string(server.process().log())?),
            Server::Postgres(..) => bail!("only the log of a nats-server is in reach"),
            #[cfg(feature = "containers")]
            Server::Container(_) => bail!("the log of a container is not in reach"),
        }
    }

    /// Copies what a nats-server has stored of `stream`, as a crash would leave it.
    ///
    /// # Errors
    /// When its files are not in reach, or cannot be copied.
    pub fn copy_stream(&self, stream: &str) -> Result<StreamFiles> {
        let files = StreamFiles {
            stream: stream.to_owned(),
            copy: tempfile::tempdir()?,
        };
        copy(&self.stream_dir(stream)?, files.copy.path())?;
        Ok(files)
    }

    /// Replaces what a killed nats-server has stored of a stream by what it had stored when `files` were
    /// copied, as if the machine had lost power before the rest was on disk. The stream's consumers are
    /// replaced or left as they are.
    ///
    /// # Errors
    /// When its files are not in reach, or cannot be replaced.
    pub fn lose_what_followed(&self, files: &StreamFiles, and_of_consumers: bool) -> Result<()> {
        const MESSAGES: &str = "msgs";
        let (from, to) = (files.copy.path(), self.stream_dir(&files.stream)?);
        let (from, to) = if and_of_consumers {
            (from.to_owned(), to)
        } else {
            (from.join(MESSAGES), to.join(MESSAGES))
        };
        std::fs::remove_dir_all(&to).with_context(|| format!("remove {}", to.display()))?;
        copy(&from, &to)
    }

    fn stream_dir(&self, stream: &str) -> Result<PathBuf> {
        match &self.server {
            Server::Nats(server, _) => {
                let streams = server.data_dir().join("jetstream/jetstream/$G/streams");
                Ok(streams.join(stream))
            }
            Server::Postgres(..) => bail!("streams are a nats-server's"),
            #[cfg(feature = "containers")]
            Server::Container(_) => bail!("the files of a container are not in reach"),
        }
    }

    /// Freezes it: a nats-server answers nobody, a Postgres accepts no new connections.
    ///
    /// # Errors
    /// When it cannot be frozen.
    pub fn pause(&mut self) -> Result<()> {
        match &mut self.server {
            Server::Nats(server, _) => server.pause(),
            Server::Postgres(server, _) => server.pause(),
            #[cfg(feature = "containers")]
            Server::Container(server) => server.pause(),
        }
    }

    /// Undoes [`ServerFixture::pause`].
    ///
    /// # Errors
    /// When it cannot be continued.
    pub fn resume(&mut self) -> Result<()> {
        match &mut self.server {
            Server::Nats(server, _) => server.resume(),
            Server::Postgres(server, _) => server.resume(),
            #[cfg(feature = "containers")]
            Server::Container(server) => server.resume(),
        }
    }
}

impl DatabaseFixture {
    /// Runs one statement through `psql`, for tests outside the crate that knows SQL.
    ///
    /// # Errors
    /// With what `psql` says.
    pub fn query(&self, statement: &str) -> Result<sql::Rows> {
        client(&self.url)?.query(statement)
    }
}

impl Drop for DatabaseFixture {
    fn drop(&mut self) {
        // A server that is gone took its databases along.
        if let Ok(client) = client(&self.admin_url) {
            let _ = client.query(&format!(
                "DROP DATABASE IF EXISTS {} WITH (FORCE)",
                self.name
            ));
        }
    }
}

fn client(url: &str) -> Result<sql::Client> {
    let bin_dir: PathBuf = match environment("AFU9_POSTGRES_BIN") {
        Some(folder) => folder.into(),
        None => installation()?.bin_dir.clone(),
    };
    Ok(sql::Client::new(&bin_dir, url))
}

fn installation() -> Result<&'static PostgresInstallation> {
    static FOUND: OnceLock<Result<PostgresInstallation, String>> = OnceLock::new();
    let find = || {
        provision::postgres(&target_dir(), &mut PrintProgress).map_err(|error| format!("{error:#}"))
    };
    FOUND
        .get_or_init(find)
        .as_ref()
        .map_err(|error| anyhow!("{error}"))
}

fn start_nats(durability: Durability) -> Result<ServerFixture> {
    #[cfg(feature = "containers")]
    if let Some((url, server)) = containers::start(|| containers::Server::nats(durability))? {
        return Ok(ServerFixture {
            url,
            server: Server::Container(Box::new(server)),
        });
    }
    nats_of_process(durability, "")
}

fn nats_of_process(durability: Durability, more: &str) -> Result<ServerFixture> {
    let binary = provision::nats_server(&target_dir(), &mut PrintProgress)?;
    let directory = RunDirectory::temporary(&tests_dir(), "nats")?;
    let options = NatsOptions {
        durability,
        extra_config: more.to_owned(),
        ..NatsOptions::new(directory.path())
    };
    let server = NatsServer::start(&binary, options)?;
    Ok(ServerFixture {
        url: server.url(),
        server: Server::Nats(server, directory),
    })
}

fn start_postgres(fsync: Fsync) -> Result<ServerFixture> {
    #[cfg(feature = "containers")]
    if let Some((url, server)) = containers::start(containers::Server::postgres)? {
        return Ok(ServerFixture {
            url,
            server: Server::Container(Box::new(server)),
        });
    }
    let directory = RunDirectory::temporary(&tests_dir(), "postgres")?;
    let options = PostgresOptions {
        fsync,
        ..PostgresOptions::new(directory.path())
    };
    let server = Postgres::start(installation()?, options)?;
    Ok(ServerFixture {
        url: server.url(),
        server: Server::Postgres(server, directory),
    })
}

/// One Postgres for all tests of this process; statics are never dropped, so it is the watchdog that
/// ends it.
fn shared_postgres() -> Result<&'static ServerFixture> {
    static SHARED: OnceLock<Result<ServerFixture, String>> = OnceLock::new();
    // Nothing in it outlives the process.
    let start = || start_postgres(Fsync::Off).map_err(|error| format!("{error:#}"));
    SHARED
        .get_or_init(start)
        .as_ref()
        .map_err(|error| anyhow!("{error}"))
}

fn tests_dir() -> PathBuf {
    target_dir().join(Path::new("afu9/tests"))
}
