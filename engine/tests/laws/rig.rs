//! One partition with its log, as a test drives it by hand.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use afu9_engine::checkpoint::Segment;
use afu9_engine::{Definitions, Effect, PartitionState, Workflow};
use afu9_schemas::message::{
    ControlAction, ControlOutcome, ExecutionEnded, HistoryEvent, HistoryKind, Input, InputEnvelope,
    InputKind, Job, Outcome, StepEnded, WorkflowRef,
};
use afu9_schemas::view::{ExecutionStatus, ExecutionView};
use afu9_schemas::{ExecutionId, Partition, Timestamp, codec};
use serde_json::{Value, json};

use crate::inputs;

/// The partition of every rig.
pub(crate) const PARTITION: Partition = Partition::new(0);

/// Where the clock of every rig begins.
pub(crate) const BEGIN: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

/// Between two messages of the log.
const TICK: Duration = Duration::from_micros(100);

/// A partition, its log, and everything that came out of it.
pub(crate) struct Rig {
    pub(crate) definitions: Definitions,
    pub(crate) references: HashMap<String, WorkflowRef>,
    pub(crate) state: PartitionState,
    pub(crate) log: Vec<(Timestamp, InputEnvelope)>,
    pub(crate) effects: Vec<Effect>,
    /// For each message of the log, how many effects there were when it had been folded.
    pub(crate) marks: Vec<usize>,
    pub(crate) now: Timestamp,
    last_id: u64,
    last_request: u64,
}

impl Rig {
    pub(crate) fn new(sources: &[&str]) -> Self {
        let mut rig = Self {
            definitions: Definitions::default(),
            references: HashMap::new(),
            state: PartitionState::new(PARTITION),
            log: Vec::new(),
            effects: Vec::new(),
            marks: Vec::new(),
            now: BEGIN,
            last_id: 0,
            last_request: 0,
        };
        for source in sources {
            rig.define(source);
        }
        rig
    }

    /// Adds a definition. A second one of the same name is its next version.
    pub(crate) fn define(&mut self, source: &str) -> WorkflowRef {
        let (mut reference, workflow) = inputs::compiled(source);
        if let Some(before) = self.references.get(&reference.name) {
            reference.version = before.version + 1;
        }
        self.definitions.insert(reference.hash, workflow);
        self.references
            .insert(reference.name.clone(), reference.clone());
        reference
    }

    pub(crate) fn workflow(&self, name: &str) -> &Arc<Workflow> {
        &self.definitions[&self.references[name].hash]
    }

    pub(crate) fn submission(&self, name: &str, input: Value) -> InputKind {
        let start = inputs::submission(self.workflow(name), &self.references[name], input);
        InputKind::Start(Box::new(start))
    }

    /// Starts an execution, and returns its id.
    pub(crate) fn start(&mut self, name: &str, input: Value) -> ExecutionId {
        self.last_id += 1;
        let id = inputs::drawn(self.last_id);
        let kind = self.submission(name, input);
        self.send(id, kind);
        id
    }

    /// Appends one input to the log and folds it. Returns what came of it.
    pub(crate) fn send(&mut self, execution: ExecutionId, kind: InputKind) -> Vec<Effect> {
        self.send_all(vec![Input { execution, kind }])
    }

    pub(crate) fn send_all(&mut self, inputs: Vec<Input>) -> Vec<Effect> {
        self.now = self.now.plus(TICK);
        let envelope = InputEnvelope { inputs };
        self.log.push((self.now, envelope.clone()));
        let mut effects = Vec::new();
        self.state.fold(
            self.log.len() as u64,
            self.now,
            envelope,
            &self.definitions,
            &mut effects,
        );
        self.effects.extend(effects.iter().cloned());
        self.marks.push(self.effects.len());
        effects
    }

    /// The owner dies, and its successor begins with a checkpoint and folds the log again from there:
    /// it must come to the same effects, in the same order. Returns them.
    pub(crate) fn replay(&mut self, floor: u64, segments: Vec<Segment>) -> Vec<Effect> {
        self.state = PartitionState::restore(PARTITION, floor, segments, &self.definitions);
        let floor = usize::try_from(floor).expect("small");
        let mut all = Vec::new();
        for (index, (at, envelope)) in self.log.iter().enumerate().skip(floor) {
            let mut effects = Vec::new();
            let position = index as u64 + 1;
            self.state.fold(
                position,
                *at,
                envelope.clone(),
                &self.definitions,
                &mut effects,
            );
            let begin = index.checked_sub(1).map_or(0, |before| self.marks[before]);
            let before = &self.effects[begin..self.marks[index]];
            assert_eq!(
                effects.iter().map(comparable).collect::<Vec<_>>(),
                before.iter().map(comparable).collect::<Vec<_>>(),
                "message {position} gives something else when it is folded again from {floor}: {envelope:#?}"
            );
            all.append(&mut effects);
        }
        all
    }

    /// Carries out a wish, and returns what was answered.
    pub(crate) fn control(&mut self, id: ExecutionId, action: ControlAction) -> ControlOutcome {
        self.last_request += 1;
        let control = inputs::control(self.last_request, action);
        let effects = self.send(id, InputKind::Control(Box::new(control)));
        answered(&effects).expect("every wish is answered")
    }

    /// Jobs that are waited for, in the order of their ids.
    pub(crate) fn jobs(&self) -> Vec<Job> {
        let mut jobs: Vec<Job> = self.state.outstanding_jobs().collect();
        jobs.sort_by_key(|job| (job.id.execution, job.id.step, job.id.item, job.id.attempt));
        jobs
    }

    /// The only job that is waited for.
    pub(crate) fn job(&self) -> Job {
        let jobs = self.jobs();
        assert_eq!(jobs.len(), 1, "{jobs:?}");
        jobs.into_iter().next().expect("one job")
    }

    /// The first job that an execution waits for.
    pub(crate) fn job_of(&self, id: ExecutionId) -> Job {
        let mut jobs = self.jobs().into_iter();
        let job = jobs.find(|job| job.id.execution == id);
        job.expect("it waits for a job")
    }

    pub(crate) fn answer(&mut self, job: &Job, outcome: Outcome) -> Vec<Effect> {
        self.send_all(vec![inputs::answer(job, outcome)])
    }

    /// The only job that is waited for is done.
    pub(crate) fn done(&mut self, output: Value) -> Vec<Effect> {
        let job = self.job();
        self.answer(&job, Outcome::Done(output))
    }

    /// Answers jobs with their own parameters until none is waited for.
    pub(crate) fn work(&mut self) {
        while let Some(job) = self.jobs().first() {
            let output = job.params.clone();
            self.answer(job, Outcome::Done(output));
        }
    }

    /// Lets the clock run to the next instant that somebody waits for, and wakes who does.
    pub(crate) fn wake(&mut self) -> Vec<Effect> {
        let at = self.state.next_wake().expect("somebody waits");
        self.now = self.now.max(at);
        let due = self.state.take_due(self.now, 1000);
        let wakes = due
            .into_iter()
            .map(|(execution, due)| inputs::wake(execution, due))
            .collect();
        self.send_all(wakes)
    }

    pub(crate) fn view(&self, id: ExecutionId) -> ExecutionView {
        self.state.show(id).expect("known")
    }

    pub(crate) fn status(&self, id: ExecutionId) -> ExecutionStatus {
        self.view(id).summary.status
    }

    /// The history of one execution, in the order in which it was written.
    pub(crate) fn history(&self, id: ExecutionId) -> Vec<&HistoryEvent> {
        self.effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::History(event) if event.execution == Some(id) => Some(&**event),
                _ => None,
            })
            .collect()
    }

    /// The ends of its steps and items, in the order in which they ended.
    pub(crate) fn ends(&self, id: ExecutionId) -> Vec<&StepEnded> {
        self.history(id)
            .into_iter()
            .filter_map(|event| match &event.kind {
                HistoryKind::StepEnded(ended) => Some(&**ended),
                _ => None,
            })
            .collect()
    }

    /// How it ended last, as history has it.
    pub(crate) fn end(&self, id: ExecutionId) -> Option<&ExecutionEnded> {
        let history = self.history(id);
        history
            .into_iter()
            .rev()
            .find_map(|event| match &event.kind {
                HistoryKind::ExecutionEnded(ended) => Some(&**ended),
                _ => None,
            })
    }

    /// Everybody whose beginning is in history.
    pub(crate) fn everybody(&self) -> BTreeSet<ExecutionId> {
        let begins = |effect: &Effect| match effect {
            Effect::History(event) if event.number == 1 => event.execution,
            _ => None,
        };
        self.effects.iter().filter_map(begins).collect()
    }

    /// Every job that was dispatched, in order.
    pub(crate) fn dispatched(&self) -> Vec<&Job> {
        dispatched(&self.effects)
    }

    /// The owner dies, and its successor begins with a checkpoint of this moment.
    pub(crate) fn crash(&mut self) {
        let segment = written(&self.state.take_full());
        self.state = PartitionState::restore(
            PARTITION,
            self.state.floor(),
            vec![segment],
            &self.definitions,
        );
    }
}

/// An effect as a replay must give it again. How an execution ended is not kept for ever, so that a
/// wish that comes too late may be told less the second time.
pub(crate) fn comparable(effect: &Effect) -> Effect {
    let too_late = |outcome: &ControlOutcome| match outcome {
        ControlOutcome::Refused { code, .. }
            if matches!(code.as_str(), "execution.ended" | "execution.not_live") =>
        {
            ControlOutcome::refused("execution.ended", "")
        }
        other => other.clone(),
    };
    let mut effect = effect.clone();
    match &mut effect {
        Effect::Answer { outcome, .. } => *outcome = too_late(outcome),
        Effect::History(event) => {
            if let HistoryKind::Controlled(record) = &mut event.kind {
                record.outcome = too_late(&record.outcome);
            }
        }
        _ => {}
    }
    effect
}

/// What was answered to a wish.
pub(crate) fn answered(effects: &[Effect]) -> Option<ControlOutcome> {
    effects.iter().find_map(|effect| match effect {
        Effect::Answer { outcome, .. } => Some(outcome.clone()),
        _ => None,
    })
}

/// The jobs among effects.
pub(crate) fn dispatched(effects: &[Effect]) -> Vec<&Job> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Dispatch(job) => Some(&**job),
            _ => None,
        })
        .collect()
}

/// A segment as it is read after it was written.
pub(crate) fn written(segment: &Segment) -> Segment {
    let bytes = codec::encode(segment).expect("segments can be written");
    codec::decode(&bytes).expect("and read")
}

/// An output of the tools that tests answer for.
pub(crate) fn value(value: impl Into<Value>) -> Value {
    json!({ "value": value.into() })
}
