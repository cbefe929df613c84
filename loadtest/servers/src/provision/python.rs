//! Programs that come as Python packages, each in a private environment.
//!
//! Only the native programs inside the packages are used, never the environment's Python, so an
//! environment may be moved after it was made: that makes the installation atomic.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{Progress, run};
use crate::directory::lock;
use crate::port::random;

/// Written last, so a folder that has it is complete.
const MARKER: &str = ".complete";

/// The folder of an installed package (`name==version`), installed first if need be.
///
/// # Errors
/// With every way that was tried.
pub(super) fn installed(tools: &Path, package: &str, log: &mut dyn Progress) -> Result<PathBuf> {
    let folder = tools.join(package.replace("==", "-"));
    if folder.join(MARKER).is_file() {
        return Ok(folder);
    }
    fs::create_dir_all(tools).with_context(|| format!("create {}", tools.display()))?;
    fs::set_permissions(tools, Permissions::from_mode(0o755))?;
    let _one_at_a_time = lock(&tools.join(".lock"))?;
    if folder.join(MARKER).is_file() {
        return Ok(folder);
    }
    log.note(&format!(
        "installing {package} from the Python Package Index into {}",
        folder.display()
    ));
    let unfinished = tools.join(format!(".unfinished-{:08x}", random() & 0xffff_ffff));
    let result = install(&unfinished, package, log).and_then(|()| {
        fs::write(unfinished.join(MARKER), package).context("mark the installation as complete")?;
        let _ = fs::remove_dir_all(&folder);
        fs::rename(&unfinished, &folder).with_context(|| format!("create {}", folder.display()))
    });
    remove_unfinished(tools);
    result.map(|()| folder)
}

fn install(folder: &Path, package: &str, log: &dyn Progress) -> Result<()> {
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
    ];
    let inside = folder.join("bin").join("python");
    // A virtual environment is the clean way; Debian ships it as an extra package, hence the others.
    let make: [(&str, &[&str]); 2] = [("python3", &["-m", "venv"]), ("virtualenv", &["--quiet"])];
    let mut tried = Vec::new();
    for (program, arguments) in make {
        let made = run(shared(program).args(arguments).arg(folder), log);
        let installed = made.and_then(|()| {
            let inside = inside
                .to_str()
                .context("the target directory is not UTF-8")?;
            run(shared(inside).args(pip).arg(package), log)
        });
        match installed {
            Ok(()) => return Ok(()),
            Err(error) => tried.push(format!("{error:#}")),
        }
        let _ = fs::remove_dir_all(folder);
        stop_when_interrupted(log)?;
    }
    match run(
        shared("python3")
            .args(pip)
            .arg("--target")
            .arg(folder)
            .arg(package),
        log,
    ) {
        Ok(()) => Ok(()),
        Err(error) => {
            tried.push(format!("{error:#}"));
            bail!(
                "{package} could not be installed:\n  {}",
                tried.join("\n  ")
            )
        }
    }
}

fn stop_when_interrupted(log: &dyn Progress) -> Result<()> {
    if log.interrupted() {
        bail!("interrupted");
    }
    Ok(())
}

/// `program` with permissions that let another account run what it installs.
fn shared(program: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", r#"umask 022; exec "$0" "$@""#, program]);
    command
}

/// The caller holds the lock, so every unfinished installation is an abandoned one.
fn remove_unfinished(tools: &Path) {
    let Ok(entries) = fs::read_dir(tools) else {
        return;
    };
    for entry in entries.flatten() {
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with(".unfinished-")
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The first regular file called `name` below `folder`, in the order of depth.
pub(super) fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let mut level = vec![folder.to_owned()];
    while !level.is_empty() {
        let mut next = Vec::new();
        for folder in &level {
            let candidate = folder.join(name);
            if candidate.is_file() {
                return Some(candidate);
            }
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            // `file_type` does not follow links, so there are no circles.
            next.extend(
                entries
                    .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                    .map(|entry| entry.path()),
            );
        }
        level = next;
    }
    None
}

/// A folder for tools outside the target directory, for when another account must be able to run
/// them. Its name is known, so one that somebody else could have filled is refused.
///
/// # Errors
/// When the folder exists and is not safe.
pub(super) fn tools_in_temporary_folder() -> Result<PathBuf> {
    let folder = std::env::temp_dir().join("afu9-tools-root");
    match fs::create_dir(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("create {}", folder.display()));
        }
        _ => {}
    }
    let metadata =
        fs::symlink_metadata(&folder).with_context(|| format!("look at {}", folder.display()))?;
    let writable_by_others = metadata.mode() & 0o022 != 0;
    if !metadata.is_dir() || metadata.uid() != 0 || writable_by_others {
        bail!(
            "{} exists and is not root's alone; remove it",
            folder.display()
        );
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_at_any_depth() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let deep = folder.path().join("a/b/c");
        fs::create_dir_all(&deep).expect("create");
        fs::write(deep.join("initdb"), "").expect("write");
        assert_eq!(find(folder.path(), "initdb"), Some(deep.join("initdb")));
        assert_eq!(find(folder.path(), "postgres"), None);
    }
}
