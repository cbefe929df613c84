//! The unprivileged account that Postgres runs as when we are root, because it refuses to be root.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its login name.
    pub name: String,
    /// Its user id.
    pub uid: u32,
    /// Its primary group id.
    pub gid: u32,
}

impl Account {
    /// `None` when we are not root and can run servers ourselves; else `postgres` where it exists,
    /// else `nobody`.
    ///
    /// # Errors
    /// When we are root and neither exists.
    pub fn for_servers() -> Result<Option<Self>> {
        if !running_as_root()? {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| find(&users, name))
            .map(Some)
            .context("running as root, and neither a user `postgres` nor `nobody` exists to run Postgres as")
    }

    /// Whether this account can enter `directory`.
    #[must_use]
    pub fn can_enter(&self, directory: &Path) -> bool {
        Command::new("sh")
            .args(["-c", r#"cd "$0""#])
            .arg(directory)
            .uid(self.uid)
            .gid(self.gid)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    /// `program`, to be run as `account`, or as ourselves where that is `None`.
    pub(crate) fn command(account: Option<&Self>, program: &Path) -> Command {
        let mut command = Command::new(program);
        // Our own directory may be closed to the account.
        command.current_dir("/").stdin(Stdio::null());
        if let Some(account) = account {
            command
                .uid(account.uid)
                .gid(account.gid)
                .env("HOME", "/")
                .env("USER", &account.name);
        }
        command
    }
}

/// Whether this process runs as root.
///
/// # Errors
/// When the system cannot be asked.
pub(crate) fn running_as_root() -> Result<bool> {
    // Linux shows our user as the owner of our own process directory; elsewhere `id` knows.
    if let Ok(metadata) = fs::metadata("/proc/self") {
        return Ok(metadata.uid() == 0);
    }
    let output = Command::new("id").arg("-u").output().context("run id -u")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim() == "0")
}

fn find(users: &str, name: &str) -> Option<Account> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Account {
            name: name.to_owned(),
            uid,
            gid,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read_from_the_user_list() {
        let users = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533:nobody:/:/bin/false\n";
        let nobody = Account {
            name: "nobody".to_owned(),
            uid: 65534,
            gid: 65533,
        };
        assert_eq!(find(users, "nobody"), Some(nobody));
        assert_eq!(find(users, "postgres"), None);
    }
}
