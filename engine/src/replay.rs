//! What a recorded execution would have done under another definition.
//!
//! The engine runs the execution again, and the record plays the world: each job is answered as the
//! step of the same name was, each approval decided as it was, each wait ended as it did. Nothing is
//! called, nothing is waited for: where time passed then, the clock is set on. What comes out
//! differently is reported.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use afu9_schemas::artifact::OmittedItems;
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
    /// Its id.
    pub id: ExecutionId,
    /// When it was submitted.
    pub started_at: Timestamp,
    /// How it was submitted.
    pub start: Start,
    /// How it ended.
    pub status: ExecutionStatus,
    /// Why it failed.
    pub error: Option<StepError>,
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
    if let Some(view) = replay.state.show(record.id) {
        compare(workflow, record, &view, &mut differences);
    }
    differences.sort();
    differences.dedup();
    differences
}

struct Replay<'a> {
    workflow: &'a Arc<Workflow>,
    record: &'a Record,
    by_place: HashMap<(&'a str, Option<u32>), &'a RecordedStep>,
    state: PartitionState,
    definitions: Definitions,
    sequence: u64,
    now: Timestamp,
    /// Steps that were told what they waited for: should they wait still, they want something else.
    told: BTreeSet<String>,
    /// Its time has passed, as it did then.
    out_of_time: bool,
    differences: Vec<Difference>,
}

impl<'a> Replay<'a> {
    fn new(workflow: &'a Arc<Workflow>, record: &'a Record) -> Self {
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

    fn run(&mut self) {
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
                Cause::Retry { at, .. } => at,
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
    use afu9_schemas::{DefinitionHash, WorkflowId};
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
            id: ExecutionId::derived("recorded"),
            started_at: Timestamp::from_micros(1_800_000_000_000_000),
            start: Start::new(
                WorkflowRef {
                    id: WorkflowId::from_uuid(uuid::Uuid::from_u128(1)),
                    name: "w".to_owned(),
                    version: 1,
                    hash: DefinitionHash::of(b"w"),
                },
                json!({ "n": 7 }),
                Trigger {
                    kind: TriggerKind::Manual,
                    by: "test".to_owned(),
                    delivery: None,
                    depth: 0,
                    initiator: None,
                },
            ),
            status: ExecutionStatus::Completed,
            error: None,
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

    /// What is known of an execution of `source` that ran steps to these ends.
    fn ended(
        status: ExecutionStatus,
        steps: &[(&str, Option<u32>, Result<Value, &str>)],
    ) -> Record {
        let failed = |code: &&str| StepError::new(ErrorClass::Timeout, *code, "then");
        let steps = steps.iter().map(|(name, item, end)| RecordedStep {
            name: (*name).to_owned(),
            item: *item,
            status: match end {
                Ok(_) => StepStatus::Completed,
                Err(_) => StepStatus::Failed,
            },
            input: None,
            output: end.as_ref().ok().cloned(),
            error: end.as_ref().err().map(failed),
        });
        Record {
            status,
            output: None,
            steps: steps.collect(),
            ..record()
        }
    }

    fn compiled(source: &str) -> Arc<Workflow> {
        let compiled = crate::workflow::compile(source, ReadOptions::default());
        Arc::new(compiled.expect("valid").workflow)
    }

    fn timed_out(mut record: Record) -> Record {
        let error = StepError::new(ErrorClass::Timeout, "execution.timeout", "then");
        record.error = Some(error);
        record
    }

    #[test]
    fn the_time_that_passed_then_passes_again() {
        use ExecutionStatus::{Completed, Failed};
        let out_of_time = Err("execution.timeout");
        let waits = "name: w\nconfig: { timeoutMs: 5000 }\nsteps:\n\
                     \x20 - { name: a, waitFor: go }\n  - { name: b, tool: test.noop }\n";
        let mut record = timed_out(ended(Failed, &[("a", None, out_of_time.clone())]));
        record.steps.push(RecordedStep {
            name: "b".to_owned(),
            status: StepStatus::Skipped,
            ..record.steps[0].clone()
        });
        assert_eq!(replay(&compiled(waits), &record), []);
        for does in [
            "tool: test.noop",
            "sleep: 1h",
            "approval: {}",
            "workflow: other",
            "tool: test.noop, forEach: [1, 2], maxParallel: 1",
        ] {
            let record = timed_out(ended(
                Failed,
                &[
                    ("a", None, out_of_time.clone()),
                    ("a", Some(0), out_of_time.clone()),
                ],
            ));
            let source = waits
                .replace("waitFor: go", does)
                .replace("- { name: b, tool: test.noop }", "");
            assert_eq!(replay(&compiled(&source), &record), [], "{does}");
        }
        // Also where the failed step alone would not have been the end of it.
        let record = timed_out(ended(Failed, &[("a", None, out_of_time)]));
        let source =
            "name: w\nsteps: [{ name: a, tool: test.noop }]\nconfig: { continueOnError: true }\n";
        assert_eq!(replay(&compiled(source), &record), []);

        let signal = "name: w\nsteps:\n\
                      \x20 - { name: a, waitFor: { signal: go, onTimeout: continue }, timeoutMs: 1000 }\n";
        assert_eq!(
            replay(
                &compiled(signal),
                &ended(Completed, &[("a", None, Ok(Value::Null))])
            ),
            []
        );
        let strict = signal.replace(", onTimeout: continue", "");
        let record = ended(Failed, &[("a", None, Err("signal.timeout"))]);
        assert_eq!(replay(&compiled(&strict), &record), []);
        let ask =
            "name: w\nsteps:\n  - { name: a, approval: { onExpiry: approve }, timeoutMs: 1000 }\n";
        let expired = json!({ "approved": true, "expired": true, "decisions": [] });
        assert_eq!(
            replay(
                &compiled(ask),
                &ended(Completed, &[("a", None, Ok(expired))])
            ),
            []
        );
        let reject = ask.replace("onExpiry: approve", "");
        let record = ended(Failed, &[("a", None, Err("approval.expired"))]);
        assert_eq!(replay(&compiled(&reject), &record), []);
    }

    #[test]
    fn a_signal_that_does_not_fit_any_more_leaves_the_step_waiting() {
        let source = "name: w\nsteps:\n\
                      \x20 - { name: a, waitFor: { signal: go, filter: \"${signal.ok}\" } }\n";
        let record = ended(
            ExecutionStatus::Completed,
            &[("a", None, Ok(json!({ "ok": false })))],
        );
        let differences = replay(&compiled(source), &record);
        assert!(
            matches!(
                &differences[..],
                [Difference {
                    step: None,
                    what: Differs::Status { .. }
                }]
            ),
            "{differences:?}"
        );
    }

    #[test]
    fn an_error_is_the_one_that_it_was() {
        let source = "name: w\nsteps:\n\
                      \x20 - { name: a, tool: test.noop, continueOnError: true }\n\
                      \x20 - { name: b, tool: test.echo, params: { value: \"${steps.a.error.class}\" } }\n";
        let mut record = ended(
            ExecutionStatus::Completed,
            &[
                ("a", None, Err("step.timeout")),
                ("b", None, Ok(json!({ "value": "timeout" }))),
            ],
        );
        record.steps[1].input = Some(json!({ "value": "timeout" }));
        assert_eq!(replay(&compiled(source), &record), []);
    }

    #[test]
    fn items_that_never_began_are_no_difference_and_a_lost_list_is() {
        let source = "name: w\nsteps:\n\
                      \x20 - { name: a, tool: test.noop, forEach: [1, 2, 3, 4], maxParallel: 2 }\n";
        let record = ended(
            ExecutionStatus::Failed,
            &[
                ("a", None, Err("forEach.items_failed")),
                ("a", Some(0), Ok(json!({}))),
                ("a", Some(1), Ok(json!({}))),
                ("a", Some(2), Err("test.fail")),
            ],
        );
        assert_eq!(replay(&compiled(source), &record), []);
        let list = OmittedItems {
            count: 9,
            bytes: 900_000,
        }
        .to_value();
        let record = ended(ExecutionStatus::Completed, &[("a", None, Ok(list))]);
        let source = "name: w\nsteps: [{ name: a, tool: test.noop }]\n";
        let differences = replay(&compiled(source), &record);
        assert!(
            differences.iter().any(|found| found.what == Differs::New),
            "{differences:?}"
        );
    }

    #[test]
    fn steps_that_were_taken_over_are_taken_over_again() {
        use afu9_schemas::message::{KeptStep, Rerun};
        let source = "name: w\nsteps:\n\
                      \x20 - { name: a, tool: test.noop, compensate: { tool: test.noop } }\n\
                      \x20 - { name: b, tool: test.noop, retry: { maxAttempts: 1 } }\n";
        let mut record = ended(
            ExecutionStatus::Failed,
            &[("a", None, Ok(json!({}))), ("b", None, Err("test.fail"))],
        );
        record.start.rerun = Some(Box::new(Rerun {
            of: ExecutionId::derived("earlier"),
            kept: vec![KeptStep {
                name: "a".to_owned(),
                output: Some(json!({})),
            }],
            from_step: None,
            reason: None,
            scopes: Vec::new(),
        }));
        assert_eq!(replay(&compiled(source), &record), []);
    }
}
