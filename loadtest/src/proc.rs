//! What one process uses, as `/proc` tells.

use std::time::Duration;

/// Linux counts processor time in hundredths of a second (`USER_HZ`), whatever the kernel's own
/// clock.
const TICKS_PER_SECOND: u64 = 100;

/// Memory and file descriptors of a process at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footprint {
    /// Resident memory.
    pub(crate) rss_bytes: u64,
    /// Open file descriptors.
    pub(crate) files: u64,
}

impl Footprint {
    /// Of a process that runs; `None` where there is none, or it is not ours to look at.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let rss_bytes = rss_bytes(pid)?;
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
        Some(Self {
            rss_bytes,
            files: files as u64,
        })
    }
}

/// Resident memory of a process that runs.
pub(crate) fn rss_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// Processor time of a process until now, without its children; nothing once it has ended.
pub(crate) fn cpu(pid: u32) -> Duration {
    Times::of(pid).map_or(Duration::ZERO, |times| ticks(times.own))
}

/// The same with its children, those that have ended included.
pub(crate) fn cpu_of_family(pid: u32) -> Duration {
    let Some(times) = Times::of(pid) else {
        return Duration::ZERO;
    };
    let mut all = times.own + times.ended_children;
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(other) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Some(times) = Times::of(other)
            && times.parent == pid
        {
            all += times.own + times.ended_children;
        }
    }
    ticks(all)
}

fn ticks(count: u64) -> Duration {
    Duration::from_millis(count * 1000 / TICKS_PER_SECOND)
}

/// Processor times of a process, in ticks.
#[derive(Debug, Clone, Copy)]
struct Times {
    parent: u32,
    own: u64,
    ended_children: u64,
}

impl Times {
    fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in brackets may hold anything; what follows it is fields in a fixed order: state,
        // parent, …, and from the twelfth on user and system time, each of itself and of children.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: number(11)? + number(12)?,
            ended_children: number(13)? + number(14)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_footprint() {
        let ours = Footprint::of(std::process::id()).expect("we run");
        assert!(ours.rss_bytes > 0 && ours.files > 0);
        assert_eq!(Footprint::of(u32::MAX), None);
    }

    #[test]
    fn processor_time_of_this_process_passes_with_its_work() {
        let before = cpu(std::process::id());
        let mut sum = 0_u64;
        while cpu(std::process::id()) == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(cpu_of_family(std::process::id()) > before);
        assert_eq!(cpu_of_family(u32::MAX), Duration::ZERO);
    }
}
