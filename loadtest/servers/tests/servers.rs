//! The servers of set-up, for real: found, started, crashed, restarted, and ended whatever happens.

#![expect(
    clippy::disallowed_methods,
    reason = "the copy of this program that is to be killed is told so by the environment"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use afu9_servers::provision::{self, PrintProgress, Progress};
use afu9_servers::{Durability, NatsOptions, NatsServer, Postgres, PostgresOptions};
use afu9_servers::{fixture, sql, target_dir, wait};
use anyhow::{Context as _, Result};

/// Ten times what the slowest of these takes on two busy cores.
const WITHIN: Duration = Duration::from_secs(20);

/// Set for the copy of this program that is to be killed; names the folder for its servers.
const HOLD_VARIABLE: &str = "AFU9_SERVERS_TEST_HOLD";

fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// The INFO line of a nats-server, or `None` when it does not answer.
fn info(port: u16, within: Duration) -> Option<serde_json::Value> {
    let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(within)).ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    serde_json::from_str(line.strip_prefix("INFO ")?).ok()
}

/// Speaks just enough of the NATS protocol for one request.
fn request(port: u16, subject: &str, body: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(WITHIN))?;
    let length = body.len();
    write!(
        stream,
        "CONNECT {{\"verbose\":false,\"headers\":true}}\r\nSUB reply 1\r\nPUB {subject} reply {length}\r\n{body}\r\n"
    )?;
    let mut lines = BufReader::new(stream).lines();
    for line in lines.by_ref() {
        if line?.starts_with("MSG reply") {
            break;
        }
    }
    lines
        .next()
        .context("the server closed the connection")?
        .context("read the answer")
}

fn nats_server() -> Result<provision::NatsServerBinary> {
    provision::nats_server(&target_dir(), &mut PrintProgress)
}

fn installation() -> Result<provision::PostgresInstallation> {
    provision::postgres(&target_dir(), &mut PrintProgress)
}

fn scratch() -> Result<tempfile::TempDir> {
    let parent = target_dir().join("afu9");
    std::fs::create_dir_all(&parent)?;
    Ok(tempfile::Builder::new()
        .prefix("scratch-")
        .tempdir_in(parent)?)
}

#[derive(Debug, Default)]
struct Notes(Vec<String>);

impl Progress for Notes {
    fn note(&mut self, message: &str) {
        self.0.push(message.to_owned());
    }
}

#[test]
fn provisioning_again_finds_the_same_and_installs_nothing() -> Result<()> {
    let (nats, postgres) = (nats_server()?, installation()?);
    let mut notes = Notes::default();
    let start = Instant::now();
    assert_eq!(provision::nats_server(&target_dir(), &mut notes)?, nats);
    assert_eq!(provision::postgres(&target_dir(), &mut notes)?, postgres);
    assert!(start.elapsed() < WITHIN);
    assert!(
        notes.0.is_empty(),
        "installed something again: {:?}",
        notes.0
    );
    Ok(())
}

#[test]
fn a_killed_nats_server_restarts_on_its_port_with_its_store() -> Result<()> {
    let folder = scratch()?;
    let options = NatsOptions {
        durability: Durability::Durable,
        ..NatsOptions::new(folder.path())
    };
    let mut server = NatsServer::start(&nats_server()?, options)?;
    let (port, pid, url) = (server.port(), server.pid(), server.url());
    let config = r#"{"name":"KEPT","subjects":["kept"],"storage":"file"}"#;
    let created = request(port, "$JS.API.STREAM.CREATE.KEPT", config)?;
    assert!(created.contains("\"did_create\":true"), "{created}");
    let stored = request(port, "kept", "hello")?;
    assert!(stored.contains("\"seq\":1"), "{stored}");

    server.kill()?;
    assert!(!listens(port));
    server.restart()?;

    assert_eq!((server.port(), server.url()), (port, url));
    assert_ne!(server.pid(), pid);
    let info = request(port, "$JS.API.STREAM.INFO.KEPT", "")?;
    assert!(info.contains("\"messages\":1"), "{info}");

    server.stop()?;
    assert!(!listens(port));
    Ok(())
}

#[test]
fn a_paused_nats_server_answers_nobody_until_it_is_resumed() -> Result<()> {
    let folder = scratch()?;
    let mut server = NatsServer::start(&nats_server()?, NatsOptions::new(folder.path()))?;
    let port = server.port();
    server.pause()?;
    wait::until("the server to be frozen", WITHIN, || {
        Ok(info(port, Duration::from_millis(200))
            .is_none()
            .then_some(()))
    })?;
    server.resume()?;
    wait::until("the server to answer again", WITHIN, || {
        Ok(info(port, Duration::from_millis(200)).map(drop))
    })?;
    // Dropping a paused server must not hang.
    server.pause()?;
    drop(server);
    assert!(!listens(port));
    Ok(())
}

#[test]
fn a_taken_port_is_an_error_and_not_the_other_server() -> Result<()> {
    let folder = scratch()?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let port = Some(taken.local_addr()?.port());
    let options = NatsOptions {
        port,
        ..NatsOptions::new(folder.path())
    };
    assert!(NatsServer::start(&nats_server()?, options).is_err());
    Ok(())
}

#[test]
fn a_killed_postgres_restarts_on_its_port_with_its_data() -> Result<()> {
    let folder = scratch()?;
    let installation = installation()?;
    let mut server = Postgres::start(&installation, PostgresOptions::new(folder.path()))?;
    let (port, pid) = (server.port(), server.pid());
    let url = server.create_database("second")?;
    assert!(server.create_database("second").is_err());
    let client = sql::Client::new(&installation.bin_dir, url);
    client.query("CREATE TABLE kept (value text)")?;
    client.query("INSERT INTO kept VALUES ('a'), (NULL)")?;

    server.kill()?;
    server.restart()?;

    assert_eq!(server.port(), port);
    assert_ne!(server.pid(), pid);
    let kept = client.query("SELECT value, 1 AS one FROM kept ORDER BY value")?;
    assert_eq!(kept.columns, ["value", "one"]);
    assert_eq!(kept.rows, [["a", "1"], ["", "1"]]);

    server.pause()?;
    server.resume()?;
    server.stop()?;
    assert!(!listens(port));
    server.restart()?;
    assert_eq!(client.query("SELECT count(*) FROM kept")?.rows, [["2"]]);
    Ok(())
}

#[test]
fn fixtures_are_separate_and_leave_nothing() -> Result<()> {
    let (mut first, second) = (
        fixture::nats()?,
        fixture::private_nats(Durability::Durable)?,
    );
    assert_ne!(first.url, second.url);
    let url = first.url.clone();
    first.kill()?;
    first.restart()?;
    assert_eq!(first.url, url);

    let (a, b) = (fixture::postgres()?, fixture::postgres()?);
    assert_ne!(a.url, b.url);
    a.query("CREATE TABLE only_here (value int)")?;
    assert!(b.query("SELECT * FROM only_here").is_err());
    let name = a.url.rsplit('/').next().unwrap_or_default().to_owned();
    let exists = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
    assert_eq!(b.query(&exists)?.rows, [["1"]]);
    drop(a);
    assert_eq!(b.query(&exists)?.rows, [["0"]]);
    Ok(())
}

/// Starts a copy of this program that starts both servers, kills it with SIGKILL, and sees both
/// servers and their data go.
#[test]
fn servers_end_when_their_starter_is_killed() -> Result<()> {
    if let Some(folder) = std::env::var_os(HOLD_VARIABLE) {
        return hold(&PathBuf::from(folder));
    }
    let folder = scratch()?;
    let mut starter = Command::new(std::env::current_exe()?)
        .args([
            "--exact",
            "servers_end_when_their_starter_is_killed",
            "--nocapture",
        ])
        .env(HOLD_VARIABLE, folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = starter.stdout.take().context("the starter has no output")?;
    let started = BufReader::new(output)
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.split_once("ports ").map(|(_, ports)| ports.to_owned()))
        .context("the starter did not start its servers")?;
    let ports: Vec<u16> = started
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    assert_eq!(ports.len(), 2);
    assert!(ports.iter().all(|port| listens(*port)));

    starter.kill()?;
    starter.wait()?;

    wait::until("the servers to end", WITHIN, || {
        Ok(ports.iter().all(|port| !listens(*port)).then_some(()))
    })?;
    wait::until("the temporary data to go", WITHIN, || {
        let left = std::fs::read_dir(folder.path().join("temporary"))?.flatten();
        let left = left.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        Ok((left.count() == 0).then_some(()))
    })
}

fn hold(folder: &Path) -> Result<()> {
    let temporary = afu9_servers::RunDirectory::temporary(&folder.join("temporary"), "run")?;
    let nats = NatsServer::start(&nats_server()?, NatsOptions::new(temporary.path()))?;
    let postgres = Postgres::start(&installation()?, PostgresOptions::new(folder))?;
    println!("\nports {} {}", nats.port(), postgres.port());
    // Until the parent kills us, or is gone itself.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
