//! What one process uses, as `/proc` tells.

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
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let rss_kib: u64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|number| number.parse().ok())?;
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
        Some(Self {
            rss_bytes: rss_kib * 1024,
            files: files as u64,
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
}
