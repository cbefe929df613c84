//! A file system of a few megabytes that only chosen processes see: for tests of a full disk.
//!
//! It is in memory, in a mount namespace of its own, and held there by a process of ours: it goes
//! with that process, and nothing is left on the machine. Where we are not root, the namespace of
//! the mount is inside one of users, which most Linux systems allow to anybody.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::account::running_as_root;
use crate::process::{Process, Signal, Spec};
use crate::wait;

/// Mounts, says so by a file, and holds.
const SCRIPT: &str =
    r#"mount -t tmpfs -o size="$1" tmpfs "$0" && : > "$0/ready" && exec sleep 1000000"#;

/// Both steps take milliseconds.
const MOUNTED_WITHIN: Duration = Duration::from_secs(10);

/// What fills it.
const FILLER: &str = "filler";

/// Written at once: the last pieces of room are smaller.
const PIECE: usize = 64 * 1024;

/// A small file system. Dropping it removes it with all that is in it.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
    holder: Process,
    as_root: bool,
}

impl SmallDisk {
    /// Makes one of `mebibytes` at `path`, which is created; those outside see an empty directory.
    ///
    /// # Errors
    /// Where this machine does not allow it, with what it says.
    pub fn create(path: &Path, mebibytes: u32) -> Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("create {}", path.display()))?;
        let as_root = running_as_root()?;
        let mut command = Command::new("unshare");
        if !as_root {
            command.args(["--user", "--map-root-user"]);
        }
        command
            .args(["--mount", "sh", "-c", SCRIPT])
            .arg(path)
            .arg(format!("{mebibytes}m"));
        let spec = Spec {
            name: "small disk".to_owned(),
            log: path.with_extension("log"),
            end_with: Signal::Kill,
        };
        let mut holder = Process::spawn(command, spec)?;
        let inside = inside(&holder, path);
        wait::until("a small file system", MOUNTED_WITHIN, || {
            if let Some(status) = holder.exited()? {
                bail!(
                    "no small file system can be made here ({status}): {}",
                    holder.log_tail(3)
                );
            }
            Ok(inside.join("ready").exists().then_some(()))
        })?;
        Ok(Self {
            path: path.to_owned(),
            holder,
            as_root,
        })
    }

    /// Where it is, for those that run [`SmallDisk::through`] it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The command that runs another one so that it sees the file system.
    #[must_use]
    pub fn through(&self) -> Vec<String> {
        let mut command = vec![
            "nsenter".to_owned(),
            format!("--target={}", self.holder.pid()),
        ];
        if !self.as_root {
            command.extend(["--user", "--preserve-credentials"].map(str::to_owned));
        }
        command.extend(["--mount", "--"].map(str::to_owned));
        command
    }

    /// Leaves no room at all.
    ///
    /// # Errors
    /// When it cannot be written for another reason than that it is full.
    pub fn fill(&self) -> Result<()> {
        let path = inside(&self.holder, &self.path).join(FILLER);
        let mut file = File::create(&path).context("create the filler")?;
        let mut piece = PIECE;
        while piece > 0 {
            match file.write(&vec![0; piece]) {
                Ok(0) => piece /= 2,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => piece /= 2,
                Err(error) => return Err(error).context("fill the small file system"),
            }
        }
        Ok(())
    }

    /// Undoes [`SmallDisk::fill`].
    ///
    /// # Errors
    /// When the filler cannot be removed.
    pub fn free(&self) -> Result<()> {
        let path = inside(&self.holder, &self.path).join(FILLER);
        fs::remove_file(path).context("remove the filler")
    }
}

/// `path` as the holder sees it.
fn inside(holder: &Process, path: &Path) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{}/root", holder.pid()));
    root.join(path.strip_prefix("/").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_disk_is_full_until_it_is_freed() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("disk");
        // A machine may forbid it: then a full disk cannot be tried there.
        let Ok(disk) = SmallDisk::create(&path, 1) else {
            return;
        };
        disk.fill().expect("fill");
        let file = inside(&disk.holder, &path).join("other");
        let write = || fs::write(&file, [0; 8192]);
        assert!(write().is_err(), "there is no room");
        assert!(!path.join("ready").exists(), "nobody outside sees it");
        disk.free().expect("free");
        write().expect("there is room again");
    }
}
