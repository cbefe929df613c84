//! What the processes on this machine used: AFU-9's roles, nats-server, Postgres and ourselves, as
//! `/proc` tells.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Linux counts processor time in hundredths of a second (`USER_HZ`), whatever the kernel's own
/// clock.
const TICKS_PER_SECOND: u64 = 100;

/// Processor time and memory by role.
#[derive(Debug, Clone, Default)]
pub(super) struct Usage {
    by_pid: BTreeMap<u32, Process>,
}

#[derive(Debug, Clone)]
struct Process {
    role: String,
    cpu: Duration,
    rss_bytes: u64,
}

/// What one role used during a run; several processes of a role are added up.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RoleUsage {
    /// `orchestrator`, `worker`, …, `nats-server`, `postgres`, `loadtest`.
    pub(super) role: String,
    /// How many processes.
    pub(super) processes: usize,
    /// Processor time.
    pub(super) cpu: Duration,
    /// Resident memory at the end, in bytes.
    pub(super) rss_bytes: u64,
}

impl RoleUsage {
    /// Whether it is a part of AFU-9 itself.
    pub(super) fn is_afu9(&self) -> bool {
        !matches!(
            self.role.as_str(),
            "nats-server" | "postgres" | "loadtest" | "simulated-github"
        )
    }
}

impl Usage {
    pub(super) fn read() -> Self {
        let mut usage = Self::default();
        let Ok(entries) = std::fs::read_dir("/proc") else {
            return usage;
        };
        for entry in entries.flatten() {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            if let Some(process) = read_process(&entry.path()) {
                usage.by_pid.insert(pid, process);
            }
        }
        usage
    }

    pub(super) fn since(&self, before: &Self) -> Vec<RoleUsage> {
        let mut roles: BTreeMap<&str, RoleUsage> = BTreeMap::new();
        for (pid, process) in &self.by_pid {
            let earlier = before
                .by_pid
                .get(pid)
                .map_or(Duration::ZERO, |earlier| earlier.cpu);
            let role = roles.entry(&process.role).or_insert_with(|| RoleUsage {
                role: process.role.clone(),
                processes: 0,
                cpu: Duration::ZERO,
                rss_bytes: 0,
            });
            role.processes += 1;
            role.cpu += process.cpu.saturating_sub(earlier);
            role.rss_bytes += process.rss_bytes;
        }
        roles.into_values().collect()
    }
}

fn read_process(directory: &Path) -> Option<Process> {
    let command = std::fs::read(directory.join("cmdline")).ok()?;
    let arguments: Vec<String> = command
        .split(|byte| *byte == 0)
        .filter(|part| !part.is_empty())
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .collect();
    let role = role_of(&arguments)?;
    let stat = std::fs::read_to_string(directory.join("stat")).ok()?;
    // The name in brackets may hold anything; what follows it is fields in a fixed order.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let status = std::fs::read_to_string(directory.join("status")).ok()?;
    let rss_kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())?;
    Some(Process {
        role,
        cpu: Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND),
        rss_bytes: rss_kib * 1024,
    })
}

fn role_of(arguments: &[String]) -> Option<String> {
    let program = Path::new(arguments.first()?.split_whitespace().next()?)
        .file_name()?
        .to_str()?;
    match program {
        "afu9" => {
            const ROLES: [&str; 5] = ["dev", "orchestrator", "worker", "projector", "gateway"];
            arguments[1..]
                .iter()
                .find(|argument| ROLES.contains(&argument.as_str()))
                .cloned()
        }
        "nats-server" => Some("nats-server".to_owned()),
        // Postgres' own processes show as `postgres: writer` and the like.
        "postgres" | "postgres:" => Some("postgres".to_owned()),
        "afu9-loadtest" => Some(
            if arguments
                .iter()
                .any(|argument| argument == "simulate-github")
            {
                "simulated-github"
            } else {
                "loadtest"
            }
            .to_owned(),
        ),
        _ => None,
    }
}
