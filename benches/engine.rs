//! The fold of inputs: what one core can do if there is nothing else to do.
//!
//! Between inputs, what a checkpoint would take is taken, as an owner does.

#[path = "../engine/examples/scale/rig.rs"]
mod rig;

use afu9_schemas::message::Input;
use divan::Bencher;
use divan::counter::ItemsCount;
use serde_json::json;

use rig::{FIVE_STEPS, ITEMS, Rig, done};

fn main() {
    divan::main();
}

const STEPS: usize = 5;

const SLEEPING: &str = "name: sleeping\nsteps:\n\
    \x20 - { name: nap, sleep: { for: 30d } }\n";

/// After so many executions, changes are taken for a checkpoint.
const CHECKPOINT_EVERY: usize = 1_000;

/// Results of so many executions in one message, each of which gives the next job.
#[divan::bench(args = [1, 64])]
fn result_to_next_job(bencher: Bencher, executions: usize) {
    bencher
        .counter(ItemsCount::new(executions))
        .with_inputs(|| {
            let mut rig = Rig::new(&[FIVE_STEPS]);
            let starts = (0..executions).map(|_| rig.start(0, json!({}))).collect();
            let results: Vec<Input> = rig.fold(starts).iter().map(done).collect();
            (rig, results)
        })
        .bench_values(|(mut rig, results)| {
            let jobs = rig.fold(results);
            assert_eq!(jobs.len(), executions);
            (rig, jobs)
        });
}

/// A workflow from its start to its end, among so many others that sleep: they must cost nothing.
#[divan::bench(args = [0, 10_000])]
fn five_steps_among_sleeping(bencher: Bencher, sleeping: usize) {
    let mut rig = Rig::new(&[FIVE_STEPS, SLEEPING]);
    for _ in 0..sleeping {
        let start = rig.start(1, json!({}));
        rig.fold(vec![start]);
    }
    let mut ended = 0;
    bencher.counter(ItemsCount::new(STEPS)).bench_local(|| {
        let start = rig.start(0, json!({}));
        let mut jobs = rig.fold(vec![start]);
        while !jobs.is_empty() {
            jobs = rig.fold(jobs.iter().map(done).collect());
        }
        assert_eq!(rig.state.live(), sleeping);
        ended += 1;
        if ended % CHECKPOINT_EVERY == 0 {
            drop(rig.state.take_delta());
        }
    });
}

/// A list from its start to its end, a thousand items at a time.
#[divan::bench(args = [100, 1_000, 10_000])]
fn items_of_a_list(bencher: Bencher, items: usize) {
    bencher
        .counter(ItemsCount::new(items))
        .with_inputs(|| {
            let rig = Rig::new(&[ITEMS]);
            let list: Vec<usize> = (0..items).collect();
            let start = rig.start(0, json!({ "items": list }));
            (rig, start)
        })
        .bench_values(|(mut rig, start)| {
            let mut jobs = rig.fold(vec![start]);
            while !jobs.is_empty() {
                jobs = rig.fold(jobs.iter().map(done).collect());
            }
            assert_eq!(rig.state.live(), 0);
            rig
        });
}
