//! The fold of inputs: what one core can do if there is nothing else to do.
//!
//! Between inputs, what a checkpoint would take is taken, as an owner does.

use std::sync::Arc;
use std::time::Duration;

use afu9_engine::{Definitions, Effect, PartitionState, workflow};
use afu9_schemas::definition::ReadOptions;
use afu9_schemas::message::{
    Input, InputEnvelope, InputKind, Job, JobResult, Outcome, Start, Trigger, TriggerKind,
    WorkflowRef,
};
use afu9_schemas::{DefinitionHash, ExecutionId, Partition, Timestamp, WorkerId, WorkflowId};
use divan::Bencher;
use divan::counter::ItemsCount;
use serde_json::{Value, json};

fn main() {
    divan::main();
}

const STEPS: usize = 5;

const FIVE_STEPS: &str = "name: steps\nsteps:\n\
    \x20 - { name: one, tool: test.noop }\n\
    \x20 - { name: two, tool: test.noop }\n\
    \x20 - { name: three, tool: test.noop }\n\
    \x20 - { name: four, tool: test.noop }\n\
    \x20 - { name: five, tool: test.noop }\n";

const SLEEPING: &str = "name: sleeping\nsteps:\n\
    \x20 - { name: nap, sleep: { for: 30d } }\n";

const ITEMS: &str = "name: items\nsteps:\n\
    \x20 - name: each\n\
    \x20   forEach: \"${input.items}\"\n\
    \x20   maxParallel: 100\n\
    \x20   tool: test.echo\n\
    \x20   params: { value: \"${item}\" }\n";

/// After so many executions, changes are taken for a checkpoint.
const CHECKPOINT_EVERY: usize = 1_000;

/// A partition and a log to fold.
struct Rig {
    state: PartitionState,
    definitions: Definitions,
    references: Vec<WorkflowRef>,
    sequence: u64,
    now: Timestamp,
}

impl Rig {
    fn new(sources: &[&str]) -> Self {
        let mut definitions = Definitions::default();
        let compile = |source: &&str| {
            let compiled =
                workflow::compile(source, ReadOptions::default()).expect("a valid definition");
            let reference = WorkflowRef {
                id: WorkflowId::new(),
                name: compiled.workflow.definition.name.clone(),
                version: 1,
                hash: DefinitionHash::of(source.as_bytes()),
            };
            definitions.insert(reference.hash, Arc::new(compiled.workflow));
            reference
        };
        let references = sources.iter().map(compile).collect();
        Self {
            state: PartitionState::new(Partition::new(0)),
            definitions,
            references,
            sequence: 0,
            now: Timestamp::from_micros(1_700_000_000_000_000),
        }
    }

    fn start(&self, workflow: usize, input: Value) -> Input {
        Input {
            execution: ExecutionId::new(),
            kind: InputKind::Start(Box::new(Start::new(
                self.references[workflow].clone(),
                input,
                Trigger {
                    kind: TriggerKind::Manual,
                    by: "bench".to_owned(),
                    delivery: None,
                    depth: 0,
                    initiator: None,
                },
            ))),
        }
    }

    fn fold(&mut self, inputs: Vec<Input>) -> Vec<Job> {
        self.sequence += 1;
        self.now = self.now.plus(Duration::from_micros(100));
        let mut effects = Vec::new();
        let envelope = InputEnvelope { inputs };
        let (state, definitions) = (&mut self.state, &self.definitions);
        state.fold(self.sequence, self.now, envelope, definitions, &mut effects);
        let jobs = effects.into_iter().filter_map(|effect| match effect {
            Effect::Dispatch(job) => Some(*job),
            _ => None,
        });
        jobs.collect()
    }
}

fn done(job: &Job) -> Input {
    Input {
        execution: job.id.execution,
        kind: InputKind::JobResult(Box::new(JobResult {
            step: job.id.step,
            item: job.id.item,
            attempt: job.id.attempt,
            worker: WorkerId::new("w").expect("valid"),
            started_at: job.dispatched_at,
            ended_at: job.dispatched_at,
            outcome: Outcome::Done(json!({})),
        })),
    }
}

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

/// A list from its start to its end, a hundred items at a time.
#[divan::bench(args = [100, 1_000])]
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
