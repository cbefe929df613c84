//! `cargo xtask test`: every test, against real servers.
//!
//! The runner comes last, so that its own summary is the last thing printed.

use std::process::{Command, ExitCode, Stdio};

use afu9_servers::{
    Fsync, Postgres, PostgresOptions, RunDirectory, fixture, provision, target_dir,
};
use anyhow::Result;

use crate::cargo::{self, Profile};
use crate::console::Console;
use crate::interrupt::Interrupt;

/// As many tests as run at once, times the pool of each, with room.
const MAX_CONNECTIONS: u16 = 500;

pub(crate) fn run(
    arguments: &[String],
    console: &mut Console,
    interrupt: &Interrupt,
) -> Result<ExitCode> {
    let target = target_dir();
    console.heading("Servers");
    let nats = interrupt.prefer(provision::nats_server(&target, console))?;
    console.line(&format!(
        "nats-server {} ({}), one per test",
        nats.version, nats.source
    ));
    let installation = interrupt.prefer(provision::postgres(&target, console))?;
    let external = std::env::var(fixture::DATABASE_VARIABLE)
        .ok()
        .filter(|url| !url.is_empty());
    let directory = RunDirectory::temporary(&target.join("afu9").join("tests"), "run")?;
    let postgres = match &external {
        Some(_) => None,
        None => {
            let options = PostgresOptions {
                fsync: Fsync::Off,
                max_connections: MAX_CONNECTIONS,
                ..PostgresOptions::new(directory.path())
            };
            Some(interrupt.prefer(Postgres::start(&installation, options))?)
        }
    };
    let database_url = match (&postgres, external) {
        (Some(server), _) => server.admin_url(),
        (None, external) => external.unwrap_or_default(),
    };
    match &postgres {
        Some(server) => console.line(&format!(
            "Postgres {} ({}), one for all, on port {}",
            installation.version,
            installation.source,
            server.port()
        )),
        None => console.line(&format!("Postgres as {} says", fixture::DATABASE_VARIABLE)),
    }
    let in_front = |arguments: &[&str]| {
        let mut command = cargo::command(arguments);
        command
            .env("AFU9_NATS_SERVER", &nats.path)
            .env("AFU9_POSTGRES_BIN", &installation.bin_dir)
            .env(fixture::DATABASE_VARIABLE, &database_url);
        cargo::run(&mut command, interrupt)
    };

    console.heading("Programs for the end-to-end tests");
    cargo::build(Profile::Dev, interrupt)?;

    if arguments.is_empty() {
        console.heading("Doctests");
        if !in_front(&["test", "--doc", "--workspace"])?.success() {
            // The runner's summary would hide it.
            return Ok(ExitCode::FAILURE);
        }
    }
    console.heading("Tests");
    let mut runner = if cargo::has("nextest") {
        vec!["nextest", "run", "--no-fail-fast"]
    } else {
        vec!["test", "--no-fail-fast", "--tests"]
    };
    let selects = ["-p", "--package", "--workspace"];
    if !arguments
        .iter()
        .any(|argument| selects.contains(&argument.as_str()))
    {
        runner.push("--workspace");
        if containers_wanted() {
            console.line("a Docker engine answers: tests start their own servers as containers");
            runner.extend(["--features", "afu9-servers/containers"]);
        }
    }
    runner.extend(arguments.iter().map(String::as_str));
    let status = in_front(&runner)?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Whether to build the fixture that prefers containers. It is left out otherwise, because it takes
/// long to compile.
fn containers_wanted() -> bool {
    match std::env::var("AFU9_TEST_CONTAINERS")
        .ok()
        .filter(|value| !value.is_empty())
        .as_deref()
    {
        Some("1") => true,
        Some(_) => false,
        None => {
            let info = Command::new("docker")
                .arg("info")
                .stdin(Stdio::null())
                .output();
            info.is_ok_and(|output| output.status.success())
        }
    }
}
