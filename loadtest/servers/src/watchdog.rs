//! Ends what this process started when this process is gone, however it went (also by SIGKILL).
//!
//! One small `sh` per process reads a pipe whose only writer is this process. The kernel closes the
//! pipe when the process ends, `read` sees the end of file, and the shell ends what its book still
//! holds. That needs no unsafe code, unlike `PR_SET_PDEATHSIG`, and does not share its trap: a parent
//! death signal fires when the *thread* that forked ends, which under a test runner is every test.
//!
//! Invariant: an entry names a pid only while its `Child` has not been waited for, so the pid cannot
//! have been given to another process while this one lives.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context as _, Result, anyhow};

use crate::process::Signal;

/// Reads `+ <entry>` and `- <entry>` lines until the pipe closes, then settles the book. Servers get
/// their own signal first and SIGKILL after five seconds; a stopped process is continued so that the
/// signal reaches it.
const SCRIPT: &str = r#"
trap '' INT TERM HUP QUIT TSTP
newline='
'
book=''
while IFS= read -r line; do
    entry=${line#??}
    case $line in
    '+ '*) book="$book$entry$newline" ;;
    '- '*)
        kept=''
        while IFS= read -r known; do
            if [ -n "$known" ] && [ "$known" != "$entry" ]; then kept="$kept$known$newline"; fi
        done <<END
$book
END
        book=$kept
        ;;
    esac
done
pids=''
while read -r verb signal pid; do
    if [ "$verb" = end ]; then
        kill -s "$signal" "$pid" 2>/dev/null && kill -s CONT "$pid" 2>/dev/null
        pids="$pids $pid"
    fi
done <<END
$book
END
left=$pids
tries=0
while [ -n "$left" ] && [ "$tries" -lt 50 ]; do
    alive=''
    for pid in $left; do
        if kill -s 0 "$pid" 2>/dev/null; then alive="$alive $pid"; fi
    done
    left=$alive
    if [ -n "$left" ]; then sleep 0.1; fi
    tries=$((tries + 1))
done
for pid in $left; do kill -s KILL "$pid" 2>/dev/null; done
while read -r verb what; do
    case $verb in
    container) docker rm --force --volumes "$what" >/dev/null 2>&1 ;;
    remove) rm -rf -- "$what" ;;
    esac
done <<END
$book
END
"#;

/// Something to settle when this process is gone. Dropping it takes it out of the book.
#[derive(Debug)]
pub(crate) struct Entry {
    line: String,
}

impl Entry {
    /// Ends process `pid` with `signal`, and with SIGKILL if that does not suffice.
    pub(crate) fn end(pid: u32, signal: Signal) -> Result<Self> {
        Self::add(format!("end {signal} {pid}"))
    }

    /// Removes a directory tree, after every process has ended.
    pub(crate) fn remove(directory: &Path) -> Result<Self> {
        let text = directory
            .to_str()
            .filter(|text| !text.contains('\n'))
            .ok_or_else(|| anyhow!("{} cannot be named in one line", directory.display()))?;
        Self::add(format!("remove {text}"))
    }

    /// Removes a Docker container and its volumes.
    #[cfg(feature = "containers")]
    pub(crate) fn container(id: &str) -> Result<Self> {
        Self::add(format!("container {id}"))
    }

    fn add(line: String) -> Result<Self> {
        send('+', &line)?;
        Ok(Self { line })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // A watchdog that is gone has nothing left to forget.
        let _ = send('-', &self.line);
    }
}

fn send(verb: char, line: &str) -> Result<()> {
    static PIPE: OnceLock<Result<Mutex<ChildStdin>, String>> = OnceLock::new();
    let pipe = PIPE
        .get_or_init(|| {
            start()
                .map(Mutex::new)
                .map_err(|error| format!("{error:#}"))
        })
        .as_ref()
        .map_err(|error| anyhow!("{error}"))?;
    let mut pipe = pipe.lock().unwrap_or_else(PoisonError::into_inner);
    writeln!(pipe, "{verb} {line}").context("write to the watchdog of started processes")
}

fn start() -> Result<ChildStdin> {
    let child = Command::new("sh")
        .args(["-c", SCRIPT, "afu9-watchdog"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .current_dir("/")
        // Its own group: a test runner or a terminal that ends our whole group must not end it.
        .process_group(0)
        .spawn()
        .context("start the watchdog of started processes (needs sh)")?;
    child.stdin.context("the watchdog has no pipe")
}
