//! `cargo xtask verify`: everything about the source that can be checked without servers.
//!
//! All checks run even when one fails, so that one run shows everything.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::cargo;
use crate::console::Console;
use crate::interrupt::{Interrupt, Interrupted};

mod architecture;
mod licence;
mod metadata;
mod tidy;

/// The checks that cargo does, cheap ones first.
const CARGO_CHECKS: [(&str, &[&str]); 4] = [
    ("format", &["fmt", "--all", "--check"]),
    (
        "lints",
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "--deny",
            "warnings",
        ],
    ),
    (
        "lints of the fixture with containers",
        &[
            "clippy",
            "-p",
            "afu9-servers",
            "--features",
            "containers",
            "--",
            "--deny",
            "warnings",
        ],
    ),
    ("documentation", &["doc", "--workspace", "--no-deps"]),
];

pub(crate) fn run(console: &mut Console, interrupt: &Interrupt) -> Result<ExitCode> {
    let mut failed = Vec::new();
    let root = cargo::root();

    console.heading("tidy");
    report("tidy", tidy::check(root), console, &mut failed);
    for (name, arguments) in CARGO_CHECKS {
        console.heading(&format!("{name}: cargo {}", arguments.join(" ")));
        let mut command = cargo::command(arguments);
        command.env("RUSTDOCFLAGS", "--deny warnings");
        in_front(name, &mut command, interrupt, &mut failed)?;
    }
    console.heading("architecture, licences and banned crates");
    report("dependencies", dependencies(root), console, &mut failed);
    if cargo::has("deny") {
        console.heading("cargo deny");
        let mut command = cargo::command(&["deny", "--offline", "check"]);
        command.args(["bans", "licenses", "sources"]);
        in_front("cargo deny", &mut command, interrupt, &mut failed)?;
    } else {
        console.aside("cargo-deny is not installed: deny.toml was checked by our own rules only");
    }

    console.heading("verify");
    if failed.is_empty() {
        console.success("all checks passed");
        return Ok(ExitCode::SUCCESS);
    }
    for name in &failed {
        console.failure(name);
    }
    Ok(ExitCode::FAILURE)
}

fn in_front(
    name: &'static str,
    command: &mut Command,
    interrupt: &Interrupt,
    failed: &mut Vec<&'static str>,
) -> Result<()> {
    match cargo::run(command, interrupt) {
        Ok(status) if status.success() => Ok(()),
        Err(error) if error.is::<Interrupted>() => Err(error),
        _ => {
            failed.push(name);
            Ok(())
        }
    }
}

fn dependencies(root: &Path) -> Result<Vec<String>> {
    let metadata = metadata::Metadata::read(root)?;
    let mut findings = architecture::check(&metadata);
    findings.extend(licence::check(&metadata));
    findings.extend(architecture::banned(&std::fs::read_to_string(
        root.join("Cargo.lock"),
    )?));
    Ok(findings)
}

fn report(
    name: &'static str,
    findings: Result<Vec<String>>,
    console: &mut Console,
    failed: &mut Vec<&'static str>,
) {
    let findings = findings.unwrap_or_else(|error| vec![format!("{error:#}")]);
    if findings.is_empty() {
        console.success("nothing found");
        return;
    }
    for finding in &findings {
        console.failure(finding);
    }
    failed.push(name);
}
