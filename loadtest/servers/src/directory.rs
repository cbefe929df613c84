//! Where set-up keeps its data: `<target>/afu9/…`, one directory per run, old ones removed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};

use crate::port::random;
use crate::watchdog;

const LOCK: &str = ".lock";

/// Cargo's target directory: the one this program was built into, also when it has been moved by
/// `CARGO_TARGET_DIR` or by configuration.
#[must_use]
pub fn target_dir() -> PathBuf {
    // Cargo marks its target directory with this file.
    let built_into = std::env::current_exe().ok().and_then(|program| {
        program
            .ancestors()
            .find(|folder| folder.join("CACHEDIR.TAG").is_file())
            .map(Path::to_owned)
    });
    built_into.unwrap_or_else(|| {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        here.ancestors().nth(2).unwrap_or(here).join("target")
    })
}

/// A directory that belongs to this process for as long as the value lives. Others may remove it
/// afterwards, and never before: it is held by a file lock, which the kernel releases.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    _lock: File,
    remove: Option<watchdog::Entry>,
}

impl RunDirectory {
    /// Creates `<parent>/<name>-<time>-<random>` and keeps it after the run; of the older directories that
    /// nobody holds any more, all but the newest `keep` are removed.
    ///
    /// # Errors
    /// When the directory cannot be created.
    pub fn create(parent: &Path, name: &str, keep: usize) -> Result<Self> {
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
        // Held while creating and removing, so that nobody removes what is not locked yet.
        let _gate = lock(&parent.join(LOCK))?;
        remove_old(parent, keep);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let path = parent.join(format!("{name}-{now}-{:08x}", random() & 0xffff_ffff));
        fs::create_dir(&path).with_context(|| format!("create {}", path.display()))?;
        let lock = lock(&path.join(LOCK))?;
        Ok(Self {
            path,
            _lock: lock,
            remove: None,
        })
    }

    /// Like [`RunDirectory::create`], but gone with this value or with this process.
    ///
    /// # Errors
    /// When the directory cannot be created.
    pub fn temporary(parent: &Path, name: &str) -> Result<Self> {
        let mut created = Self::create(parent, name, 0)?;
        created.remove = Some(watchdog::Entry::remove(&created.path)?);
        Ok(created)
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        if self.remove.is_some() {
            // What is left is removed by the next run.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Waits for the exclusive lock on `path`; dropping the file releases it.
pub(crate) fn lock(path: &Path) -> Result<File> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("open {}", path.display()))?;
    file.lock()
        .with_context(|| format!("lock {}", path.display()))?;
    Ok(file)
}

fn remove_old(parent: &Path, keep: usize) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    let mut unused: Vec<(SystemTime, PathBuf, File)> = entries
        .flatten()
        .filter_map(|entry| {
            let path = entry.path();
            // Only what carries our lock file is ours.
            let lock = File::options().write(true).open(path.join(LOCK)).ok()?;
            lock.try_lock().ok()?;
            let modified = entry
                .metadata()
                .and_then(|metadata| metadata.modified())
                .ok()?;
            Some((modified, path, lock))
        })
        .collect();
    unused.sort_by_key(|(modified, ..)| *modified);
    let surplus = unused.len().saturating_sub(keep);
    for (_, path, _lock) in &unused[..surplus] {
        // Whoever cannot remove it now leaves it to the next run.
        let _ = fs::remove_dir_all(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_directories_go_and_held_ones_stay() {
        let parent = tempfile::tempdir().expect("temporary directory");
        let held = RunDirectory::create(parent.path(), "run", 1).expect("first");
        let released = RunDirectory::create(parent.path(), "run", 1)
            .expect("second")
            .path()
            .to_owned();
        let kept = RunDirectory::create(parent.path(), "run", 1)
            .expect("third")
            .path()
            .to_owned();
        assert!(released.exists() && kept.exists());
        let last = RunDirectory::create(parent.path(), "run", 0).expect("fourth");
        assert!(held.path().exists() && last.path().exists());
        assert!(!released.exists() && !kept.exists());
    }

    #[test]
    fn a_temporary_directory_goes_with_its_value() {
        let parent = tempfile::tempdir().expect("temporary directory");
        let temporary = RunDirectory::temporary(parent.path(), "run").expect("create");
        let path = temporary.path().to_owned();
        assert!(path.is_dir());
        drop(temporary);
        assert!(!path.exists());
    }
}
