//! Where processor time and memory go: to the processes of one system, by their ids, whatever else
//! runs on the machine.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::proc;
use crate::system::System;

/// Between two samples of memory.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// Samples that are further apart say that nothing ran meanwhile: figures of such a load are none, and
/// a submission that was answered 503 after it may have been stored all the same.
const STOOD_STILL: Duration = Duration::from_secs(2);

/// This program, the simulated GitHub in it included.
pub(super) const LOAD_GENERATOR: &str = "load-generator";

/// Processor time by process.
pub(super) type Cpu = BTreeMap<&'static str, Duration>;

/// The processes of one system.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    roles: Vec<(&'static str, u32)>,
    others: Vec<(&'static str, u32)>,
}

impl Meter {
    pub(super) fn new(system: &System) -> Self {
        let roles = system.roles.iter();
        let servers = system.servers.iter();
        let mut others: Vec<_> = servers
            .map(|server| ("nats-server", server.pid()))
            .collect();
        others.push(("postgres", system.postgres.pid()));
        others.push((LOAD_GENERATOR, std::process::id()));
        Self {
            roles: roles
                .map(|role| (role.kind.name(), role.process.pid()))
                .collect(),
            others,
        }
    }

    /// Processor time of everything until now.
    pub(super) fn cpu(&self) -> Cpu {
        let mut cpu = Cpu::new();
        for (name, pid) in self.roles.iter().chain(&self.others) {
            // Of this program only itself: its children are the roles and servers.
            let used = if *name == LOAD_GENERATOR {
                proc::cpu(*pid)
            } else {
                proc::cpu_of_family(*pid)
            };
            *cpu.entry(*name).or_default() += used;
        }
        cpu
    }

    /// Memory of all roles together, in bytes.
    fn rss_bytes(&self) -> u64 {
        let pids = self.roles.iter().map(|(_, pid)| *pid);
        pids.filter_map(proc::rss_bytes).sum()
    }

    /// Looks at memory again and again.
    pub(super) fn watch_rss(&self) -> RssWatch {
        let meter = self.clone();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let highest = TaskTracker::new().spawn(async move {
            let mut highest = 0;
            let mut last = Instant::now();
            loop {
                highest = highest.max(meter.rss_bytes());
                let gap = last.elapsed();
                if gap > STOOD_STILL {
                    tracing::warn!(
                        ?gap,
                        "the machine stood still: what is measured now says nothing"
                    );
                }
                last = Instant::now();
                tokio::select! {
                    () = tokio::time::sleep(SAMPLE_EVERY) => {}
                    () = stopped.cancelled() => return highest,
                }
            }
        });
        RssWatch {
            highest,
            stop: stop.drop_guard(),
        }
    }
}

/// Samples of memory that are being taken.
#[derive(Debug)]
pub(super) struct RssWatch {
    highest: JoinHandle<u64>,
    stop: DropGuard,
}

impl RssWatch {
    /// The largest sample, in bytes.
    pub(super) async fn end(self) -> u64 {
        drop(self.stop);
        self.highest.await.unwrap_or_default()
    }
}

/// What was used between two readings.
pub(super) fn between(before: &Cpu, after: &Cpu) -> Cpu {
    let used = |(name, after): (&&'static str, &Duration)| {
        let before = before.get(name).copied().unwrap_or_default();
        (*name, after.saturating_sub(before))
    };
    after.iter().map(used).collect()
}
