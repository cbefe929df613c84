//! A partition under everything that can happen to its log: results late, twice or not at all,
//! cancels, wakes, checkpoints at any moment, crashes and replays at any moment. A seed names a run.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use afu9_schemas::definition::ReadOptions;
use afu9_schemas::id::mix64;
use afu9_schemas::message::history::HistoryKind;
use afu9_schemas::message::{
    Cancel, HistoryEvent, Input, InputEnvelope, InputKind, Job, JobResult, Outcome, Start, Trigger,
    TriggerKind, WorkflowRef,
};
use afu9_schemas::view::{ExecutionStatus, StepStatus};
use afu9_schemas::{
    DefinitionHash, ErrorClass, ExecutionId, Lane, Partition, StepError, Timestamp, WorkerId,
    WorkflowId,
};
use proptest::prelude::*;
use serde_json::json;

use super::{Definitions, PartitionState};
use crate::checkpoint::Segment;
use crate::execution::Effect;

const WORKFLOWS: [&str; 4] = [
    concat!(
        "name: plain\n",
        "steps:\n",
        "  - { name: a, tool: test.noop }\n",
        "  - { name: b, tool: test.noop }\n",
        "  - { name: c, tool: test.noop }\n"
    ),
    concat!(
        "name: retried\n",
        "steps:\n",
        "  - { name: a, tool: test.echo, params: { value: 1 }, assign: x,\n",
        "      retry: { maxAttempts: 3, backoff: fixed, initialDelayMs: 100 } }\n",
        "  - { name: b, tool: test.echo, params: { value: \"${x.value}\" }, if: \"${x.value}\" }\n"
    ),
    concat!(
        "name: tolerant\n",
        "steps:\n",
        "  - { name: a, tool: test.noop, retry: { maxAttempts: 2, initialDelayMs: 100 } }\n",
        "  - { name: b, tool: test.noop, timeoutMs: 1000 }\n",
        "config: { continueOnError: true }\n"
    ),
    concat!(
        "name: broken\n",
        "steps:\n",
        "  - { name: a, tool: test.noop }\n",
        "  - { name: b, tool: test.echo, params: { value: \"${input.absent}\" } }\n"
    ),
];

/// SplitMix64: the whole run follows from its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (mix64(self.0) % sides as u64) as usize
    }
}

/// A log, its owner, and a world that answers jobs.
struct Simulation {
    dice: Dice,
    seed: u64,
    definitions: Definitions,
    log: Vec<(Timestamp, InputEnvelope)>,
    state: PartitionState,
    segments: Vec<Segment>,
    /// What the last checkpoint covers.
    covered: u64,
    now: Timestamp,
    /// Dispatched and not yet answered by the world.
    jobs: Vec<Job>,
    answered: Vec<Input>,
    history: BTreeMap<(ExecutionId, u32), HistoryEvent>,
    dispatched: HashMap<String, Job>,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        Self {
            dice: Dice(seed),
            seed,
            definitions: Definitions::default(),
            log: Vec::new(),
            state: PartitionState::new(Partition::new(0)),
            segments: Vec::new(),
            covered: 0,
            now: Timestamp::from_micros(1_000_000),
            jobs: Vec::new(),
            answered: Vec::new(),
            history: BTreeMap::new(),
            dispatched: HashMap::new(),
        }
    }

    fn workflow(&mut self, source: &str) -> WorkflowRef {
        let compiled =
            crate::workflow::compile(source, ReadOptions::default()).expect("a valid definition");
        let hash = DefinitionHash::of(source.as_bytes());
        let name = compiled.workflow.definition.name.clone();
        self.definitions.insert(hash, Arc::new(compiled.workflow));
        WorkflowRef {
            id: WorkflowId::from_uuid(uuid(1)),
            name,
            version: 1,
            hash,
        }
    }

    fn append(&mut self, inputs: Vec<Input>) {
        self.now = self.now.plus(Duration::from_micros(100));
        self.log.push((self.now, InputEnvelope { inputs }));
        self.fold_log();
    }

    /// Folds what the state has not seen, and notes the effects as the world would.
    fn fold_log(&mut self) {
        let mut effects = Vec::new();
        let begin = usize::try_from(self.state.floor()).expect("small");
        for (index, (at, envelope)) in self.log.iter().enumerate().skip(begin) {
            let sequence = index as u64 + 1;
            self.state.fold(
                sequence,
                *at,
                envelope.clone(),
                &self.definitions,
                &mut effects,
            );
        }
        for effect in effects {
            match effect {
                Effect::Dispatch(job) => {
                    // A replay names the same job by the same id, and asks the same of it.
                    let before = self.dispatched.insert(job.id.to_string(), (*job).clone());
                    if let Some(before) = before {
                        assert_eq!(before, *job, "seed {}", self.seed);
                    }
                    self.jobs.push(*job);
                }
                Effect::History(event) => {
                    let key = (event.execution.expect("of an execution"), event.number);
                    let before = self.history.insert(key, (*event).clone());
                    if let Some(before) = before {
                        assert_eq!(before, *event, "seed {}", self.seed);
                    }
                }
                Effect::CancelJobs(_) | Effect::DeadLetter(_) => {}
            }
        }
    }

    /// The world's answer to a job: decided by the job alone, so that every run gets the same.
    fn answer(&self, job: &Job) -> Input {
        let fate = mix64(
            job.id.execution.hash64() ^ u64::from(job.id.step) << 8 ^ u64::from(job.id.attempt),
        ) % 10;
        let error = |class| Outcome::Failed {
            error: StepError::new(class, "simulated", "told to fail"),
            retry_after_ms: None,
        };
        let outcome = match fate {
            0..=6 => Outcome::Done(json!({ "value": u64::from(job.id.step) + 1 })),
            7 | 8 => error(ErrorClass::Retryable),
            _ => error(ErrorClass::Permanent),
        };
        Input {
            execution: job.id.execution,
            kind: InputKind::JobResult(Box::new(JobResult {
                step: job.id.step,
                attempt: job.id.attempt,
                worker: WorkerId::new("w").expect("valid"),
                started_at: job.dispatched_at,
                ended_at: job.dispatched_at,
                outcome,
            })),
        }
    }

    fn wake(&mut self, at_least: Timestamp) {
        self.now = self.now.max(at_least);
        let due = self.state.take_due(self.now, 100);
        let inputs: Vec<Input> = due
            .into_iter()
            .map(|(execution, due)| Input {
                execution,
                kind: InputKind::Wake { due },
            })
            .collect();
        if !inputs.is_empty() {
            self.append(inputs);
        }
    }

    fn checkpoint(&mut self) {
        if self.dice.roll(4) == 0 {
            self.segments = vec![self.state.take_full()];
        } else {
            self.segments.push(self.state.take_delta());
        }
        self.covered = self.state.floor();
    }

    /// The owner dies; the next one begins with the checkpoint and replays the rest.
    fn crash(&mut self) {
        self.state = PartitionState::restore(
            Partition::new(0),
            self.covered,
            self.segments.clone(),
            &self.definitions,
        )
        .expect("every definition is known");
        self.fold_log();
    }

    /// One thing that can happen, chosen by the dice.
    fn happen(&mut self, faults: bool) {
        let choice = if faults { self.dice.roll(12) } else { 0 };
        match choice {
            0..=5 if !self.jobs.is_empty() => {
                let at = self.dice.roll(self.jobs.len());
                let job = self.jobs.swap_remove(at);
                let answer = self.answer(&job);
                self.answered.push(answer.clone());
                self.append(vec![answer]);
            }
            6 if !self.answered.is_empty() => {
                let at = self.dice.roll(self.answered.len());
                let again = self.answered[at].clone();
                self.append(vec![again]);
            }
            7 => self.checkpoint(),
            8 => self.crash(),
            9 => {
                // A lost acknowledgement: the same job is worked on twice.
                if let Some(job) = self.jobs.first().cloned() {
                    self.jobs.push(job);
                }
            }
            _ => {
                if let Some(at) = self.state.next_wake() {
                    // Only what waits for an instant moves on by itself: the deadline of an
                    // execution is an hour away, and answers come first.
                    if self.jobs.is_empty() || at <= self.now {
                        self.wake(at);
                    }
                }
            }
        }
    }

    /// Status of each execution and its steps, without anything that depends on when it happened.
    fn outcome(&self, id: ExecutionId) -> (ExecutionStatus, Vec<(String, StepStatus, usize)>) {
        let mut status = ExecutionStatus::Running;
        let mut steps = Vec::new();
        for ((execution, _), event) in &self.history {
            if *execution != id {
                continue;
            }
            match &event.kind {
                HistoryKind::StepEnded(step) => {
                    steps.push((step.name.clone(), step.status, step.attempts.len()));
                }
                HistoryKind::ExecutionEnded(ended) => status = ended.status,
                _ => {}
            }
        }
        (status, steps)
    }

    fn assert_laws(&self, ids: &[ExecutionId]) {
        for id in ids {
            let numbers: Vec<u32> = self
                .history
                .keys()
                .filter(|(execution, _)| execution == id)
                .map(|(_, number)| *number)
                .collect();
            let expected: Vec<u32> = (1..=u32::try_from(numbers.len()).expect("few")).collect();
            assert_eq!(
                numbers, expected,
                "history without gaps, seed {}",
                self.seed
            );
            let ends = self.history.iter().filter(|((execution, _), event)| {
                execution == id && matches!(event.kind, HistoryKind::ExecutionEnded(_))
            });
            assert_eq!(ends.count(), 1, "one end, seed {}", self.seed);
        }
        for job in self.dispatched.values() {
            assert!(
                job.id.attempt <= 3,
                "attempts within the policy, seed {}",
                self.seed
            );
        }
    }
}

fn uuid(n: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(n)
}

fn start(workflow: &WorkflowRef) -> InputKind {
    InputKind::Start(Box::new(Start {
        workflow: workflow.clone(),
        input: json!({}),
        repository: None,
        trigger: Trigger {
            kind: TriggerKind::Manual,
            by: "test".to_owned(),
            delivery: None,
        },
        lane: Lane::Bulk,
        traceparent: None,
    }))
}

/// Runs a few executions of every workflow to their end.
fn run(seed: u64, faults: bool) -> (Simulation, Vec<ExecutionId>) {
    let mut simulation = Simulation::new(seed);
    let mut ids = Vec::new();
    for (index, source) in WORKFLOWS.iter().enumerate() {
        let workflow = simulation.workflow(source);
        for copy in 0..3_u128 {
            // Seven in the version's place: drawn, not derived.
            let id = ExecutionId::from_uuid(uuid(
                u128::from(seed % 64) << 96 | 7 << 76 | (index as u128) << 8 | copy,
            ));
            let input = Input {
                execution: id,
                kind: start(&workflow),
            };
            simulation.append(vec![input.clone()]);
            if faults && simulation.dice.roll(3) == 0 {
                simulation.append(vec![input]);
            }
            ids.push(id);
        }
    }
    for _ in 0..100_000 {
        if simulation.state.live() == 0 {
            return (simulation, ids);
        }
        let before = simulation.log.len();
        simulation.happen(faults);
        if !faults && simulation.log.len() == before {
            let at = simulation
                .state
                .next_wake()
                .expect("every live execution has a cause");
            simulation.wake(at);
        }
    }
    panic!("seed {seed} does not end");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Any interleaving of results, duplicates, wakes, checkpoints and crash-and-replay ends as the
    /// undisturbed run does.
    #[test]
    fn every_interleaving_ends_the_same(seed in any::<u64>()) {
        let (disturbed, ids) = run(seed, true);
        let (quiet, _) = run(seed, false);
        disturbed.assert_laws(&ids);
        quiet.assert_laws(&ids);
        for id in &ids {
            prop_assert_eq!(disturbed.outcome(*id), quiet.outcome(*id), "seed {}", seed);
        }
    }

    /// A cancel at any moment ends the execution once, and nothing that comes later changes it.
    #[test]
    fn a_cancel_is_final(seed in any::<u64>(), moment in 0_usize..12) {
        let mut simulation = Simulation::new(seed);
        let workflow = simulation.workflow(WORKFLOWS[seed as usize % WORKFLOWS.len()]);
        let id = ExecutionId::from_uuid(uuid(7 << 76 | u128::from(seed)));
        simulation.append(vec![Input { execution: id, kind: start(&workflow) }]);
        for _ in 0..moment {
            simulation.happen(true);
        }
        let was_live = simulation.state.live() == 1;
        let cancel = Cancel { by: "test".to_owned(), reason: None };
        simulation.append(vec![Input { execution: id, kind: InputKind::Cancel(cancel) }]);
        prop_assert_eq!(simulation.state.live(), 0);
        let ended = simulation.outcome(id);
        prop_assert_eq!(was_live, ended.0 == ExecutionStatus::Cancelled);
        for _ in 0..20 {
            simulation.happen(true);
        }
        simulation.assert_laws(&[id]);
        prop_assert_eq!(simulation.outcome(id), ended);
    }
}

#[test]
fn a_derived_id_is_not_run_twice_even_after_a_crash() {
    let mut simulation = Simulation::new(1);
    let workflow = simulation.workflow(WORKFLOWS[0]);
    let id = ExecutionId::derived("delivery 1");
    simulation.append(vec![Input {
        execution: id,
        kind: start(&workflow),
    }]);
    while simulation.state.live() > 0 {
        simulation.happen(false);
        if simulation.jobs.is_empty() && simulation.state.live() > 0 {
            let at = simulation.state.next_wake().expect("a cause");
            simulation.wake(at);
        }
    }
    simulation.checkpoint();
    simulation.crash();
    let events = simulation.history.len();
    simulation.append(vec![Input {
        execution: id,
        kind: start(&workflow),
    }]);
    assert_eq!(simulation.state.live(), 0);
    assert_eq!(simulation.history.len(), events);
    assert_eq!(simulation.state.counters().duplicate_starts, 1);
}

#[test]
fn an_execution_without_its_definition_fails_and_says_so() {
    let mut simulation = Simulation::new(1);
    let workflow = simulation.workflow(WORKFLOWS[0]);
    simulation.definitions.clear();
    let id = ExecutionId::derived("x");
    simulation.append(vec![Input {
        execution: id,
        kind: start(&workflow),
    }]);
    assert_eq!(simulation.outcome(id).0, ExecutionStatus::Failed);
    let view = simulation.state.show(id).expect("still shown");
    assert_eq!(view.error.expect("a reason").code, "definition.missing");
}

#[test]
fn an_attempt_whose_deadline_passes_is_retried_and_its_late_result_ignored() {
    let mut simulation = Simulation::new(1);
    let workflow = simulation.workflow(concat!(
        "name: timed\n",
        "steps:\n",
        "  - { name: a, tool: test.noop, timeoutMs: 1000,\n",
        "      retry: { maxAttempts: 2, initialDelayMs: 100 } }\n",
    ));
    let id = ExecutionId::from_uuid(uuid(7 << 76));
    simulation.append(vec![Input {
        execution: id,
        kind: start(&workflow),
    }]);
    let late = simulation.jobs.remove(0);
    assert_eq!(
        late.deadline.map(|at| at.since(late.dispatched_at)),
        Some(Duration::from_secs(1))
    );
    let due = simulation
        .state
        .next_wake()
        .expect("the attempt's deadline");
    simulation.wake(due);
    let due = simulation.state.next_wake().expect("the retry");
    simulation.wake(due);
    assert_eq!(simulation.jobs[0].id.attempt, 2);
    let mut done = simulation.answer(&late);
    if let InputKind::JobResult(result) = &mut done.kind {
        result.outcome = Outcome::Done(json!({}));
    }
    simulation.append(vec![done]);
    assert_eq!(simulation.state.counters().stale_results, 1);
    assert_eq!(
        simulation.state.live(),
        1,
        "it still waits for the second attempt"
    );
    let due = simulation
        .state
        .next_wake()
        .expect("the second attempt's deadline");
    simulation.wake(due);
    assert_eq!(simulation.outcome(id).0, ExecutionStatus::Failed);
}
