//! The engine runs an execution again, and its record plays the world.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use afu9_schemas::artifact::OmittedItems;
use afu9_schemas::definition::Decision;
use afu9_schemas::error::{ErrorClass, StepError};
use afu9_schemas::message::{
    ChildEnded, ChildResolved, ChildStart, Control, ControlAction, Input, InputEnvelope, InputKind,
    Job, JobResult, Outcome, Start,
};
use afu9_schemas::view::{Cause, ExecutionStatus, StepStatus};
use afu9_schemas::{ExecutionId, Partition, RequestId, Timestamp, WorkerId};
use serde_json::Value;

use super::{Difference, Differs, Record, RecordedStep};
use crate::execution::{Effect, ResolveChild};
use crate::partition::{Definitions, PartitionState};
use crate::workflow::{NodeAction, Workflow};

/// Most inputs a replay takes: far more than any record gives rise to.
const MAX_TURNS: usize = 1_000_000;

/// An execution that runs again.
pub(super) struct Replay<'a> {
    workflow: &'a Arc<Workflow>,
    record: &'a Record,
    by_place: HashMap<(&'a str, Option<u32>), &'a RecordedStep>,
    pub(super) state: PartitionState,
    definitions: Definitions,
    sequence: u64,
    now: Timestamp,
    /// Steps that were told what they waited for: should they wait still, they want something else.
    told: BTreeSet<String>,
    /// Its time has passed, as it did then.
    out_of_time: bool,
    pub(super) differences: Vec<Difference>,
}

impl<'a> Replay<'a> {
    pub(super) fn new(workflow: &'a Arc<Workflow>, record: &'a Record) -> Self {
        let mut definitions = Definitions::default();
        definitions.insert(record.start.workflow.hash, Arc::clone(workflow));
        Self {
            workflow,
            record,
            by_place: record
                .steps
                .iter()
                .map(|step| ((step.name.as_str(), step.item), step))
                .collect(),
            state: PartitionState::new(Partition::new(0)),
            definitions,
            sequence: 0,
            now: record.started_at,
            told: BTreeSet::new(),
            out_of_time: false,
            differences: Vec::new(),
        }
    }

    /// Runs it for as long as the record knows what to say.
    pub(super) fn run(&mut self) {
        let start = Start {
            // It contends with nobody here.
            key: None,
            parent: None,
            ..self.record.start.clone()
        };
        let mut inputs = vec![InputKind::Start(Box::new(start))];
        for _ in 0..MAX_TURNS {
            if inputs.is_empty() {
                inputs.extend(self.nudge());
            }
            if inputs.is_empty() {
                return;
            }
            let effects = self.fold(std::mem::take(&mut inputs));
            for effect in effects {
                match effect {
                    Effect::Dispatch(job) => inputs.extend(self.answer(&job)),
                    Effect::Resolve(wanted) => inputs.extend(self.run_child(&wanted)),
                    _ => {}
                }
            }
        }
    }

    fn fold(&mut self, kinds: Vec<InputKind>) -> Vec<Effect> {
        self.sequence += 1;
        let inputs = kinds
            .into_iter()
            .map(|kind| Input {
                execution: self.record.id,
                kind,
            })
            .collect();
        let mut effects = Vec::new();
        self.state.fold(
            self.sequence,
            self.now,
            InputEnvelope { inputs },
            &self.definitions,
            &mut effects,
        );
        effects
    }

    fn recorded(&mut self, step: &str, item: Option<u32>) -> Option<&'a RecordedStep> {
        let found = self.by_place.get(&(step, item)).copied();
        let known = found.filter(|found| {
            matches!(
                found.status,
                StepStatus::Completed | StepStatus::Compensated | StepStatus::Failed
            ) && found.output.as_ref().is_none_or(is_whole)
        });
        if known.is_none() {
            self.differences.push(Difference {
                step: Some(step.to_owned()),
                what: Differs::New,
            });
        }
        known
    }

    /// Items begin in another order than then, because each is answered at once. One that did not
    /// begin then, because another one had failed, fails like the step.
    fn answering(&mut self, step: &str, item: Option<u32>) -> Option<&'a RecordedStep> {
        let whole = self.by_place.get(&(step, None)).copied();
        let begun = item.is_none() || self.by_place.contains_key(&(step, item));
        match whole.filter(|whole| !begun && whole.status == StepStatus::Failed) {
            Some(failed) => Some(failed),
            None => self.recorded(step, item),
        }
    }

    /// What the worker said then.
    fn answer(&mut self, job: &Job) -> Option<InputKind> {
        let recorded = self.answering(&job.step_name, job.id.item)?;
        if is_cut_short(recorded) {
            return None;
        }
        if let Some(before) = &recorded.input
            && *before != job.params
        {
            self.differences.push(Difference {
                step: Some(job.step_name.clone()),
                what: Differs::Params {
                    before: before.to_string(),
                    after: job.params.to_string(),
                },
            });
        }
        Some(InputKind::JobResult(Box::new(JobResult {
            step: job.id.step,
            item: job.id.item,
            attempt: job.id.attempt,
            worker: WorkerId::new("replay").ok()?,
            started_at: self.now,
            ended_at: self.now,
            outcome: outcome_of(recorded),
        })))
    }

    /// The execution a step ran, as it ended then.
    fn run_child(&mut self, wanted: &ResolveChild) -> Vec<InputKind> {
        let name = self.workflow.nodes[wanted.step as usize].name.clone();
        let Some(recorded) = self.answering(&name, wanted.item) else {
            return Vec::new();
        };
        let child = ExecutionId::derived(&format!("{name}.{:?}", wanted.item));
        let mut start = self.record.start.clone();
        start.parent = Some(afu9_schemas::message::Parent {
            execution: self.record.id,
            step: wanted.step,
            item: wanted.item,
            attempt: wanted.attempt,
            waits: true,
            depth: 1,
        });
        let started = InputKind::ChildResolved(Box::new(ChildResolved {
            step: wanted.step,
            item: wanted.item,
            attempt: wanted.attempt,
            child: Ok(Box::new(ChildStart {
                execution: child,
                start,
            })),
        }));
        if is_cut_short(recorded) {
            return vec![started];
        }
        let failed = recorded.status == StepStatus::Failed;
        let ended = InputKind::ChildEnded(Box::new(ChildEnded {
            step: wanted.step,
            item: wanted.item,
            attempt: wanted.attempt,
            child,
            status: if failed {
                ExecutionStatus::Failed
            } else {
                ExecutionStatus::Completed
            },
            output: recorded.output.clone(),
            error: recorded.error.clone(),
        }));
        vec![started, ended]
    }

    /// What else the execution waits for: people, signals, instants.
    fn nudge(&mut self) -> Vec<InputKind> {
        let Some(explained) = self.state.explain(self.record.id) else {
            return Vec::new();
        };
        // The earliest of the instants that came then.
        let mut due: Option<Timestamp> = None;
        for view in explained.causes {
            let Some(step) = view.step else { continue };
            let until = match view.cause {
                Cause::Approval { until, .. } => match self.decide(&step, until) {
                    Given::Input(input) => return vec![*input],
                    Given::Time(until) => until,
                    Given::Nothing => continue,
                },
                Cause::Signal { name, until } => match self.tell(&step, name, until) {
                    Given::Input(input) => return vec![*input],
                    Given::Time(until) => until,
                    Given::Nothing => continue,
                },
                Cause::Timer { until } if !self.is_cut_short(&step) => until,
                Cause::Retry { at, .. } | Cause::Deferred { at, .. } => at,
                _ => continue,
            };
            due = Some(due.map_or(until, |due| due.min(until)));
        }
        if due.is_none() && !self.out_of_time && is_out_of_time(self.record.error.as_ref()) {
            self.out_of_time = true;
            // Its time began after this record does; nothing but its end comes so late.
            due = Some(self.now.plus(self.workflow.definition.config.timeout));
        }
        let Some(due) = due else {
            return Vec::new();
        };
        self.now = self.now.max(due);
        vec![InputKind::Wake { due }]
    }

    /// Whether the step was in progress when the time of the execution had passed.
    fn is_cut_short(&self, step: &str) -> bool {
        let recorded = self.by_place.get(&(step, None));
        recorded.is_some_and(|recorded| is_cut_short(recorded))
    }

    fn decide(&mut self, step: &str, until: Option<Timestamp>) -> Given {
        let Some(recorded) = self.recorded(step, None) else {
            return Given::Nothing;
        };
        let code = recorded.error.as_ref().map(|error| error.code.as_str());
        let output = recorded.output.as_ref();
        let expired = output.is_some_and(|output| output["expired"] == true);
        if expired || code == Some("approval.expired") {
            return until.map_or(Given::Nothing, Given::Time);
        }
        let decision = match code {
            None => Decision::Approve,
            Some("approval.rejected") => Decision::Reject,
            Some(_) => return Given::Nothing,
        };
        let node = self.workflow.step(step);
        let action = node.map(|node| &self.workflow.nodes[node as usize].action);
        let Some(NodeAction::Approval { rule, .. }) = action else {
            return Given::Nothing;
        };
        let shown = self.state.show(self.record.id);
        let decided = shown
            .into_iter()
            .flat_map(|view| view.steps)
            .find(|view| view.name == step)
            .map(|view| view.decisions)
            .unwrap_or_default();
        let anybody = (0..=decided.len()).map(|n| format!("replay {n}"));
        let among = rule.approvers.iter().cloned();
        let trigger = &self.record.start.trigger;
        let starters = [trigger.initiator(), trigger.by.as_str()];
        let by = among
            .chain(anybody.filter(|_| rule.approvers.is_empty()))
            .filter(|by| rule.self_approval || !starters.contains(&by.as_str()))
            .find(|by| decided.iter().all(|view| view.by != *by));
        let Some(by) = by else {
            return Given::Nothing;
        };
        let scopes = vec![rule.scope.clone()];
        let step = step.to_owned();
        Given::Input(Box::new(self.control(
            by,
            scopes,
            ControlAction::Decide { step, decision },
        )))
    }

    fn tell(&mut self, step: &str, name: String, until: Option<Timestamp>) -> Given {
        let Some(recorded) = self.recorded(step, None) else {
            return Given::Nothing;
        };
        let code = recorded.error.as_ref().map(|error| error.code.as_str());
        let payload = recorded.output.clone().unwrap_or_default();
        let nothing_came = code.is_none() && payload.is_null() && until.is_some();
        if nothing_came || code == Some("signal.timeout") {
            return until.map_or(Given::Nothing, Given::Time);
        }
        if recorded.status == StepStatus::Failed || !self.told.insert(step.to_owned()) {
            return Given::Nothing;
        }
        let action = ControlAction::Signal { name, payload };
        Given::Input(Box::new(self.control(
            "replay".to_owned(),
            Vec::new(),
            action,
        )))
    }

    fn control(&mut self, by: String, scopes: Vec<String>, action: ControlAction) -> InputKind {
        // Ids need only differ from each other.
        let number = u128::from(self.sequence) + 1;
        InputKind::Control(Box::new(Control {
            request: RequestId::from_uuid(ExecutionId::derived(&number.to_string()).as_uuid()),
            by,
            scopes,
            reason: None,
            reply_to: None,
            content: None,
            action,
        }))
    }
}

fn outcome_of(recorded: &RecordedStep) -> Outcome {
    if recorded.status != StepStatus::Failed {
        return Outcome::Done(recorded.output.clone().unwrap_or_default());
    }
    let error = recorded.error.clone();
    let error = error.unwrap_or_else(|| {
        StepError::new(ErrorClass::Permanent, "step.failed", "the step failed then")
    });
    Outcome::Failed {
        error,
        retry_after_ms: None,
    }
}

/// Whether an output is known, and not only its size.
fn is_whole(output: &Value) -> bool {
    OmittedItems::from_value(output).is_none()
}

fn is_out_of_time(error: Option<&StepError>) -> bool {
    error.is_some_and(|error| error.code == "execution.timeout")
}

/// Whether it was in progress when the time of the execution had passed.
fn is_cut_short(recorded: &RecordedStep) -> bool {
    is_out_of_time(recorded.error.as_ref())
}

/// What is given to a step that waits.
enum Given {
    /// What it waits for.
    Input(Box<InputKind>),
    /// The end of its time.
    Time(Timestamp),
    /// Nothing: it waits on, and what comes of that is told.
    Nothing,
}
