//! What an orchestrator has done since it started.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Live counters, written by the owners' loops.
        #[derive(Debug, Default)]
        pub struct Stats { $(pub(crate) $name: AtomicU64,)* }

        /// The counters at one instant.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct StatsSnapshot { $($(#[$doc])* pub $name: u64,)* }

        impl Stats {
            /// The counters as they are now.
            pub fn snapshot(&self) -> StatsSnapshot {
                StatsSnapshot { $($name: self.$name.load(Ordering::Relaxed),)* }
            }

            /// The counters by their names.
            pub(crate) fn named(&self) -> BTreeMap<String, u64> {
                let counters = [$((stringify!($name), &self.$name),)*];
                let named = |(name, counter): (&str, &AtomicU64)| {
                    (name.to_owned(), counter.load(Ordering::Relaxed))
                };
                counters.into_iter().map(named).collect()
            }
        }
    };
}

counters! {
    /// Executions begun.
    started,
    /// Executions ended.
    ended,
    /// Inputs folded.
    inputs,
    /// Ticks run.
    ticks,
    /// Jobs published, repetitions included.
    jobs,
    /// Jobs that workers were lost with, again and again: those that crash them, and those beside them.
    jobs_lost,
    /// Jobs published again because they may have been lost.
    jobs_repeated,
    /// Results that came late or twice.
    stale_results,
    /// Submissions that came twice.
    duplicate_starts,
    /// Checkpoints written.
    checkpoints,
    /// Dead letters set aside.
    dead_letters,
    /// Dead letters that could not be set aside; the failed steps are in history all the same.
    dead_letters_lost,
    /// Inputs that could not be read.
    undecodable_inputs,
    /// How often the log was found to have lost its end.
    log_tails_lost,
    /// Inputs set aside, because they brought down whoever folded them. Each is a dead letter.
    poisoned_inputs,
    /// Owners of partitions that panicked: a bug each time. They were begun anew.
    panics,
    /// Definitions read from the store: those that were not known here.
    definitions_read,
    /// Schedules this process runs now.
    schedules,
    /// Executions that schedules started, late ones included.
    schedules_fired,
    /// Of those, the ones that were started late because nobody was there in time.
    schedules_caught_up,
    /// Instants of schedules that were missed and start nothing.
    schedules_skipped,
    /// Executions that a schedule, or the end of another one, should have started and could not. Each is a
    /// dead letter.
    unstarted,
    /// Executions proven to wait for something that will come.
    proven,
    /// Executions of which an index lacked something.
    repaired,
    /// Executions that waited for nothing: a bug. They were woken.
    orphans,
}

pub(crate) fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
