//! A partition without a world around it: inputs go in, jobs come out. Shared by this example and the
//! benchmark of the engine, which do the same and measure different things.

use std::sync::Arc;
use std::time::Duration;

use afu9_engine::{Definitions, Effect, PartitionState, workflow};
use afu9_schemas::definition::ReadOptions;
use afu9_schemas::message::{
    Input, InputEnvelope, InputKind, Job, JobResult, Outcome, Start, Trigger, TriggerKind,
    WorkflowRef,
};
use afu9_schemas::{DefinitionHash, ExecutionId, Partition, Timestamp, WorkerId, WorkflowId};
use serde_json::{Value, json};

/// Five steps, one after the other, that do nothing.
pub(crate) const FIVE_STEPS: &str = "name: steps\nsteps:\n\
    \x20 - { name: one, tool: test.noop }\n\
    \x20 - { name: two, tool: test.noop }\n\
    \x20 - { name: three, tool: test.noop }\n\
    \x20 - { name: four, tool: test.noop }\n\
    \x20 - { name: five, tool: test.noop }\n";

/// An echo for each item of a list, a thousand at a time.
pub(crate) const ITEMS: &str = "name: items\nsteps:\n\
    \x20 - name: each\n\
    \x20   forEach: \"${input.items}\"\n\
    \x20   maxParallel: 1000\n\
    \x20   tool: test.echo\n\
    \x20   params: { value: \"${item}\" }\n";

/// A partition and a log to fold.
pub(crate) struct Rig {
    pub(crate) state: PartitionState,
    pub(crate) definitions: Definitions,
    references: Vec<WorkflowRef>,
    pub(crate) sequence: u64,
    now: Timestamp,
}

impl Rig {
    /// With these definitions.
    pub(crate) fn new(sources: &[&str]) -> Self {
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

    /// The submission of an execution of one of the definitions, by its position.
    pub(crate) fn start(&self, workflow: usize, input: Value) -> Input {
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

    /// Folds one message, and returns the jobs that come of it.
    pub(crate) fn fold(&mut self, inputs: Vec<Input>) -> Vec<Job> {
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

/// A worker's answer to `job`.
pub(crate) fn done(job: &Job) -> Input {
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
