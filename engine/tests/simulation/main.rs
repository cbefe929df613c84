//! Deterministic simulation: partitions, their owners, workers and people over a broker that loses,
//! repeats and reorders whatever it may. A seed is a run, and a failing seed is a complete report of a
//! bug.
//!
//! `AFU9_SIMULATION_SEEDS` says how many runs there are, `AFU9_SIMULATION_SEED` which is the first. A
//! single run tells everything that happened in it.

mod broker;
mod checker;
mod dice;
#[path = "../shared/inputs.rs"]
mod inputs;
#[path = "../shared/lawful.rs"]
mod lawful;
mod owner;
mod people;
mod sabotage;
mod worker;
mod workflows;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use afu9_schemas::error::panic_message;
use checker::Violation;
use sabotage::Sabotage;
use world::{Run, Stats};

/// Runs where nobody says how many: what fits into a minute of two processors.
const SEEDS: u64 = 2000;

/// Runs within which a wrongly built shell must be found out.
const SABOTAGED: u64 = 12_000;

/// One run, and what was wrong with it.
fn run(seed: u64, sabotage: Option<Sabotage>, trace: bool) -> (Result<Stats, String>, Vec<String>) {
    let mut run = Run::new(seed, sabotage, trace);
    let result = catch_unwind(AssertUnwindSafe(|| {
        run.play()?;
        checker::check(&mut run)?;
        Ok::<Stats, Violation>(run.world.stats)
    }));
    let result = match result {
        Ok(result) => result.map_err(|violation| violation.0),
        Err(panic) => Err(panic_message(panic.as_ref())),
    };
    (result, run.world.trace.take().unwrap_or_default())
}

fn number(name: &str) -> Option<u64> {
    #[expect(
        clippy::disallowed_methods,
        reason = "how long to search is for whoever runs the test"
    )]
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
    )
}

#[test]
fn every_run_is_lawful() {
    let first = number("AFU9_SIMULATION_SEED").unwrap_or(0);
    let count = number("AFU9_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(first);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut total = Stats::default();
    std::thread::scope(|scope| {
        let search = || {
            let mut all = Stats::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + count {
                    return all;
                }
                let (result, trace) = run(seed, None, count == 1);
                for line in trace {
                    println!("{line}");
                }
                match result {
                    Ok(stats) => all += stats,
                    Err(violation) => panic!(
                        "seed {seed}: {violation}\n\nreplay it with\n  AFU9_SIMULATION_SEED={seed} \
                         AFU9_SIMULATION_SEEDS=1 cargo test -p afu9-engine --test simulation \
                         every_run_is_lawful -- --nocapture"
                    ),
                }
            }
        };
        let searches: Vec<_> = (0..threads).map(|_| scope.spawn(search)).collect();
        for search in searches {
            total += search
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
    println!("{total:#?}");
}

/// A wrongly built shell is found out. Says how many runs that took.
fn is_found(sabotage: Sabotage) {
    let found = (0..SABOTAGED).find_map(|seed| {
        let (result, _) = run(seed, Some(sabotage), false);
        result.err().map(|violation| (seed, violation))
    });
    let (seed, violation) = found.unwrap_or_else(|| panic!("{sabotage:?} is not found out"));
    println!("{sabotage:?} is found out by seed {seed}: {violation}");
}

macro_rules! sabotages {
    ($($name:ident: $sabotage:ident,)*) => {$(
        #[test]
        fn $name() {
            is_found(Sabotage::$sabotage);
        }
    )*};
}

sabotages! {
    a_head_written_without_fencing_is_found: SkipFencing,
    a_log_dropped_before_its_checkpoint_is_found: TruncateEarly,
    ids_of_jobs_that_are_drawn_are_found: RandomJobIds,
    a_checkpoint_without_tombstones_is_found: ForgetTombstones,
    attempts_that_begin_anew_are_found: ResetAttempts,
    a_checkpoint_ahead_of_its_effects_is_found: CheckpointBeforePublish,
    a_checkpoint_without_what_is_shared_is_found: ForgetShared,
    jobs_that_are_left_lost_are_found: LeaveLostJobs,
    questions_that_are_not_asked_again_are_found: ForgetQuestions,
    a_failed_checkpoint_that_is_dropped_is_found: DropFailedDelta,
    a_wake_that_is_not_armed_again_is_found: ForgetWakes,
    a_message_that_is_passed_over_is_found: SkipMessages,
    silence_that_is_trusted_is_found: TrustSilence,
    a_clock_of_ones_own_is_found: OwnClock,
}
