//! What the engine alone costs: memory and recovery of sleeping executions, items of a list, and steps.
//!
//!     cargo run --release -p afu9-engine --example scale
//!
//! Prints one line of JSON for each measurement. Memory is what the system says of this process.

#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock; the engine it measures does not"
)]

mod rig;

use std::time::{Duration, Instant};

use afu9_engine::PartitionState;
use afu9_engine::checkpoint::Segment;
use afu9_schemas::{Partition, codec};
use serde_json::{Value, json};

use rig::{FIVE_STEPS, ITEMS, Rig, done};

const SLEEPING: &str = "name: sleeping\nsteps:\n\
    \x20 - { name: before, tool: test.noop }\n\
    \x20 - { name: nap, sleep: { for: 30d } }\n\
    \x20 - { name: one, tool: test.noop }\n\
    \x20 - { name: two, tool: test.noop }\n\
    \x20 - { name: three, tool: test.noop }\n";

fn main() {
    sleeping(100_000);
    items(10_000);
    steps(100_000);
}

fn sleeping(executions: usize) {
    let mut rig = Rig::new(&[SLEEPING]);
    let before = resident();
    let begun = Instant::now();
    for _ in 0..executions / 100 {
        let starts = (0..100).map(|n| rig.start(0, json!({ "n": n }))).collect();
        let jobs = rig.fold(starts);
        rig.fold(jobs.iter().map(done).collect());
    }
    let folded = begun.elapsed();
    assert_eq!(rig.state.live(), executions, "all of them sleep");
    let memory = resident().saturating_sub(before);

    let begun = Instant::now();
    let segment = rig.state.take_full();
    let bytes = codec::encode(&segment).expect("encodes");
    let written = begun.elapsed();
    drop(segment);

    let begun = Instant::now();
    let segment: Segment = codec::decode(&bytes).expect("decodes");
    let segments = vec![segment];
    let restored =
        PartitionState::restore(Partition::new(0), rig.sequence, segments, &rig.definitions);
    let recovered = begun.elapsed();
    assert_eq!(restored.live(), executions);
    report(json!({
        "measured": "sleeping executions",
        "executions": executions,
        "bytes_each_in_memory": memory / executions,
        "bytes_each_in_checkpoint": bytes.len() / executions,
        "fold_ms": millis(folded),
        "checkpoint_ms": millis(written),
        "recovery_ms": millis(recovered),
    }));
}

fn items(count: usize) {
    let mut rig = Rig::new(&[ITEMS]);
    let list: Vec<usize> = (0..count).collect();
    let begun = Instant::now();
    let start = rig.start(0, json!({ "items": list }));
    let mut jobs = rig.fold(vec![start]);
    let mut answered = 0;
    while !jobs.is_empty() {
        answered += jobs.len();
        // As they come from workers: some dozens in one message.
        let mut next = Vec::new();
        for some in jobs.chunks(64) {
            next.extend(rig.fold(some.iter().map(done).collect()));
        }
        jobs = next;
    }
    let took = begun.elapsed();
    assert_eq!(answered, count);
    assert_eq!(rig.state.live(), 0, "it has ended");
    report(json!({
        "measured": "items of one list, 1000 at once",
        "items": count,
        "took_ms": millis(took),
        "items_per_second": (count as f64 / took.as_secs_f64()).round(),
    }));
}

fn steps(executions: usize) {
    let mut rig = Rig::new(&[FIVE_STEPS]);
    let begun = Instant::now();
    let mut folded = 0;
    for _ in 0..executions / 200 {
        let starts = (0..200).map(|n| rig.start(0, json!({ "n": n }))).collect();
        let mut jobs = rig.fold(starts);
        while !jobs.is_empty() {
            folded += jobs.len();
            jobs = rig.fold(jobs.iter().map(done).collect());
        }
    }
    let took = begun.elapsed();
    report(json!({
        "measured": "steps, 200 executions in progress",
        "steps": folded,
        "took_ms": millis(took),
        "steps_per_second": (f64::from(u32::try_from(folded).unwrap_or(u32::MAX)) / took.as_secs_f64()).round(),
    }));
}

fn report(line: Value) {
    println!("{line}");
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

/// Bytes of memory this process holds.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = status
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .unwrap_or(0);
    pages * 4096
}
