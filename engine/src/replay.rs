//! What a recorded execution would have done under another definition.
//!
//! The engine runs the execution again, and the record plays the world: each job is answered as the
//! step of the same name was, each approval decided as it was, each wait ended at once. Nothing is
//! called, nothing is waited for. What comes out differently is reported.

use std::collections::HashMap;
use std::sync::Arc;

use afu9_schemas::definition::Decision;
use afu9_schemas::error::{ErrorClass, StepError};
use afu9_schemas::message::{
    ChildEnded, ChildResolved, ChildStart, Control, ControlAction, Input, InputEnvelope, InputKind,
    Job, JobResult, Outcome, Start,
};
use afu9_schemas::view::{Cause, ExecutionStatus, ExecutionView, StepStatus};
use afu9_schemas::{ExecutionId, Partition, RequestId, Timestamp, WorkerId};
use serde_json::Value;

use crate::execution::{Effect, ResolveChild};
use crate::partition::{Definitions, PartitionState};
use crate::workflow::{NodeAction, Workflow};

/// Most inputs a replay takes: far more than any record gives rise to.
const MAX_TURNS: usize = 1_000_000;

/// What is known of an execution.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// How it was submitted.
    pub start: Start,
    /// How it ended.
    pub status: ExecutionStatus,
    /// Its output.
    pub output: Option<Value>,
    /// Its steps.
    pub steps: Vec<RecordedStep>,
}

/// What is known of a step, or of one item of it.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedStep {
    /// Its name.
    pub name: String,
    /// Position of the item.
    pub item: Option<u32>,
    /// How it ended.
    pub status: StepStatus,
    /// Its parameters, if they are known.
    pub input: Option<Value>,
    /// Its output.
    pub output: Option<Value>,
    /// Why it failed.
    pub error: Option<StepError>,
}

/// Something that comes out differently.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// The step; none for the execution as a whole.
    pub step: Option<String>,
    /// What is different.
    pub what: Differs,
}

/// What is different.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Differs {
    /// The step runs and did not before: its answer is not known, and what follows is not either.
    New,
    /// The step ran before and does not exist.
    Gone,
    /// Its parameters are others.
    Params {
        /// As they were, as JSON.
        before: String,
        /// As they would be, as JSON.
        after: String,
    },
    /// It ends in another status.
    Status {
        /// As it was.
        before: &'static str,
        /// As it would be.
        after: &'static str,
    },
    /// The output is another one.
    Output {
        /// As it was, as JSON.
        before: String,
        /// As it would be, as JSON.
        after: String,
    },
}

/// Replays `record` with `workflow`.
pub fn replay(workflow: &Arc<Workflow>, record: &Record) -> Vec<Difference> {
    let mut replay = Replay::new(workflow, record);
    replay.run();
    let mut differences = replay.differences;
    if let Some(view) = replay.state.show(replay.id) {
        compare(workflow, record, &view, &mut differences);
    }
    differences.sort();
    differences.dedup();
    differences
}

struct Replay<'a> {
    id: ExecutionId,
    workflow: &'a Arc<Workflow>,
    record: &'a Record,
    by_place: HashMap<(&'a str, Option<u32>), &'a RecordedStep>,
    state: PartitionState,
    definitions: Definitions,
    sequence: u64,
    now: Timestamp,
    differences: Vec<Difference>,
}

impl<'a> Replay<'a> {
    fn new(workflow: &'a Arc<Workflow>, record: &'a Record) -> Self {
        let mut definitions = Definitions::default();
        definitions.insert(record.start.workflow.hash, Arc::clone(workflow));
        Self {
            id: ExecutionId::derived("replay"),
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
            now: Timestamp::from_micros(1),
            differences: Vec::new(),
        }
    }

    fn run(&mut self) {
        let start = Start {
            // It contends with nobody here.
            key: None,
            rerun: None,
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
                execution: self.id,
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
            )
        });
        if known.is_none() {
            self.differences.push(Difference {
                step: Some(step.to_owned()),
                what: Differs::New,
            });
        }
        known
    }

    /// What the worker said then.
    fn answer(&mut self, job: &Job) -> Option<InputKind> {
        let recorded = self.recorded(&job.step_name, job.id.item)?;
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
        let Some(recorded) = self.recorded(&name, wanted.item) else {
            return Vec::new();
        };
        let child = ExecutionId::derived(&format!("{name}.{:?}", wanted.item));
        let mut start = self.record.start.clone();
        start.parent = Some(afu9_schemas::message::Parent {
            execution: self.id,
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
        let Some(explained) = self.state.explain(self.id) else {
            return Vec::new();
        };
        for view in explained.causes {
            let Some(step) = view.step else { continue };
            let given = match view.cause {
                Cause::Approval { .. } => self.decide(&step),
                Cause::Signal { name, .. } => self.tell(&step, name),
                _ => None,
            };
            if given.is_some() {
                return given.into_iter().collect();
            }
        }
        // Deadlines do not pass in a replay; sleeps and pauses between attempts do.
        let timers = self.state.explain(self.id).is_some_and(|explained| {
            let waits = |view: &afu9_schemas::view::CauseView| {
                matches!(view.cause, Cause::Timer { .. } | Cause::Retry { .. })
            };
            explained.causes.iter().any(waits)
        });
        let due = self.state.next_wake().filter(|_| timers);
        due.map(|due| {
            self.now = self.now.max(due);
            let taken = self.state.take_due(due, 1);
            taken
                .into_iter()
                .map(|(_, due)| InputKind::Wake { due })
                .collect()
        })
        .unwrap_or_default()
    }

    fn decide(&mut self, step: &str) -> Option<InputKind> {
        let recorded = self.by_place.get(&(step, None)).copied();
        let node = self.workflow.step(step)?;
        let NodeAction::Approval { rule, .. } = &self.workflow.nodes[node as usize].action else {
            return None;
        };
        let decided = self.state.show(self.id)?.steps;
        let decided = decided
            .into_iter()
            .find(|view| view.name == step)?
            .decisions;
        let by = rule
            .approvers
            .iter()
            .cloned()
            .chain((0..).map(|n| format!("replay {n}")))
            .find(|by| {
                let trigger = &self.record.start.trigger;
                let started = *by == trigger.by || by == trigger.initiator();
                decided.iter().all(|view| view.by != *by) && !started
            })?;
        let decision = match recorded.map(|recorded| recorded.status) {
            Some(StepStatus::Completed | StepStatus::Compensated) => Decision::Approve,
            Some(StepStatus::Failed) => Decision::Reject,
            _ => {
                self.recorded(step, None);
                return None;
            }
        };
        Some(self.control(
            by,
            vec![rule.scope.clone()],
            ControlAction::Decide {
                step: step.to_owned(),
                decision,
            },
        ))
    }

    fn tell(&mut self, step: &str, name: String) -> Option<InputKind> {
        let recorded = self.recorded(step, None)?;
        let payload = recorded.output.clone().unwrap_or_default();
        if recorded.status == StepStatus::Failed {
            return None;
        }
        let action = ControlAction::Signal { name, payload };
        Some(self.control("replay".to_owned(), Vec::new(), action))
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
        // Its attempts were made then; they need not be made again.
        error: StepError {
            class: ErrorClass::Permanent,
            ..error
        },
        retry_after_ms: None,
    }
}

fn compare(
    workflow: &Workflow,
    record: &Record,
    view: &ExecutionView,
    differences: &mut Vec<Difference>,
) {
    let unknown = differences.iter().any(|d| d.what == Differs::New);
    for recorded in record.steps.iter().filter(|step| step.item.is_none()) {
        let step = Some(recorded.name.clone());
        if workflow.step(&recorded.name).is_none() {
            if recorded.status != StepStatus::Skipped {
                differences.push(Difference {
                    step,
                    what: Differs::Gone,
                });
            }
            continue;
        }
        let Some(now) = view.steps.iter().find(|now| now.name == recorded.name) else {
            continue;
        };
        // Behind a new step nothing is known.
        if now.status != recorded.status && now.status.is_terminal() {
            differences.push(Difference {
                step,
                what: Differs::Status {
                    before: recorded.status.as_str(),
                    after: now.status.as_str(),
                },
            });
        }
    }
    if unknown {
        return;
    }
    let after = view.summary.status;
    if after != record.status {
        differences.push(Difference {
            step: None,
            what: Differs::Status {
                before: record.status.as_str(),
                after: after.as_str(),
            },
        });
    }
    if let (Some(before), Some(after)) = (&record.output, &view.output)
        && before != after
    {
        differences.push(Difference {
            step: None,
            what: Differs::Output {
                before: before.to_string(),
                after: after.to_string(),
            },
        });
    }
}

#[cfg(test)]
mod tests {
    use afu9_schemas::definition::ReadOptions;
    use afu9_schemas::message::{Trigger, TriggerKind, WorkflowRef};
    use afu9_schemas::{DefinitionHash, Lane, WorkflowId};
    use serde_json::json;

    use super::*;

    fn workflow(second: &str) -> Arc<Workflow> {
        let source = format!(
            "name: w\nsteps:\n\
             \x20 - {{ name: a, tool: test.echo, params: {{ value: \"${{input.n}}\" }}, assign: a }}\n\
             {second}"
        );
        let compiled = crate::workflow::compile(&source, ReadOptions::default());
        Arc::new(compiled.expect("valid").workflow)
    }

    fn record() -> Record {
        Record {
            start: Start {
                workflow: WorkflowRef {
                    id: WorkflowId::from_uuid(uuid::Uuid::from_u128(1)),
                    name: "w".to_owned(),
                    version: 1,
                    hash: DefinitionHash::of(b"w"),
                },
                input: json!({ "n": 7 }),
                repository: None,
                trigger: Trigger {
                    kind: TriggerKind::Manual,
                    by: "test".to_owned(),
                    delivery: None,
                    depth: 0,
                    initiator: None,
                },
                lane: Lane::Bulk,
                traceparent: None,
                key: None,
                priority: 0,
                parent: None,
                rerun: None,
            },
            status: ExecutionStatus::Completed,
            output: Some(json!({ "a": { "value": 7 } })),
            steps: ["a", "b"]
                .map(|name| RecordedStep {
                    name: name.to_owned(),
                    item: None,
                    status: StepStatus::Completed,
                    input: Some(json!({ "value": 7 })),
                    output: Some(json!({ "value": 7 })),
                    error: None,
                })
                .to_vec(),
        }
    }

    fn kinds(second: &str) -> Vec<(Option<String>, Differs)> {
        let differences = replay(&workflow(second), &record());
        differences.into_iter().map(|d| (d.step, d.what)).collect()
    }

    #[test]
    fn the_same_definition_makes_no_difference() {
        let same = "  - { name: b, tool: test.echo, params: { value: \"${a.value}\" } }\n";
        assert_eq!(kinds(same), []);
    }

    #[test]
    fn other_parameters_new_steps_and_gone_steps_are_told() {
        let other = "  - { name: b, tool: test.echo, params: { value: 8 } }\n";
        assert!(matches!(&kinds(other)[..], [(Some(step), Differs::Params { .. })] if step == "b"));
        let skipped = "  - { name: b, tool: test.echo, params: { value: 7 }, if: \"${false}\" }\n";
        assert!(
            matches!(&kinds(skipped)[..], [(Some(step), Differs::Status { .. })] if step == "b")
        );
        let renamed = "  - { name: c, tool: test.echo, params: { value: 7 } }\n";
        let found = kinds(renamed);
        assert!(
            found.contains(&(Some("b".to_owned()), Differs::Gone)),
            "{found:?}"
        );
        assert!(
            found.contains(&(Some("c".to_owned()), Differs::New)),
            "{found:?}"
        );
    }
}
