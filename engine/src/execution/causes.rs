//! Why an execution is where it is, as far as it knows itself. The partition adds what it knows of
//! keys and queues, the gateway which worker runs a job.

use afu9_schemas::view::{Cause, CauseView, ExecutionStatus};
use afu9_schemas::{JobId, Partition, StepError};

use super::Execution;
use super::step::{Body, Unit, Wait};
use crate::workflow::{Node, NodeAction, Workflow};

impl Execution {
    /// Everything it waits for, at most `most` of it, and how much was left out. Empty only if it
    /// has ended well, was cancelled, or waits for something the partition knows.
    pub(crate) fn causes(
        &self,
        workflow: &Workflow,
        partition: Partition,
        most: usize,
    ) -> (Vec<CauseView>, u32) {
        let mut causes = Vec::new();
        if let Some(paused) = &self.paused {
            causes.push(whole(Cause::Paused {
                scope: None,
                by: paused.by.clone(),
                reason: paused.reason.clone(),
                since: paused.at,
            }));
        }
        if self.status == ExecutionStatus::Failed {
            causes.extend(self.dead_letters(workflow, most));
        }
        let mut more = 0_u32;
        for (step, item, unit) in self.units() {
            if causes.len() >= most {
                more = more.saturating_add(1);
                continue;
            }
            let node = &workflow.nodes[step as usize];
            if let Some(cause) = self.cause(step, item, unit, node, workflow, partition) {
                causes.push(CauseView {
                    step: Some(node.name.clone()),
                    item,
                    cause,
                });
            }
        }
        if causes.is_empty() && self.breathes {
            causes.push(whole(Cause::Timer {
                until: self.started_at,
            }));
        }
        (causes, more)
    }

    fn cause(
        &self,
        step: u32,
        item: Option<u32>,
        unit: &Unit,
        node: &Node,
        workflow: &Workflow,
        partition: Partition,
    ) -> Option<Cause> {
        Some(match unit.wait.as_ref()? {
            Wait::Turn(turn) => Cause::Worker {
                job: None,
                kind: node.tool()?.kind().clone(),
                lane: self.lane,
                live: None,
                ahead: None,
                since: turn.since,
            },
            Wait::Job { .. } => {
                let job = self.job(step, item, workflow, partition)?;
                Cause::Worker {
                    job: Some(job.id),
                    kind: job.tool.kind().clone(),
                    lane: job.lane,
                    live: None,
                    ahead: None,
                    since: job.dispatched_at,
                }
            }
            Wait::Retry { at } => {
                let deferrals = unit.deferrals();
                Cause::Retry {
                    attempt: unit.attempt() + 1 - deferrals,
                    of: unit.spent + node.retry.max_attempts - deferrals,
                    at: *at,
                    error: self.error_of(step, item)?,
                }
            }
            Wait::Deferred { at } => Cause::Deferred {
                at: *at,
                progress: unit.deferred.as_ref()?.progress.clone(),
            },
            Wait::Timer { until } => Cause::Timer { until: *until },
            Wait::Signal { until } => Cause::Signal {
                name: match &node.action {
                    NodeAction::WaitFor { signal, .. } => signal.clone(),
                    _ => String::new(),
                },
                until: *until,
            },
            Wait::Approval { until, .. } => {
                let NodeAction::Approval { rule, .. } = &node.action else {
                    return None;
                };
                Cause::Approval {
                    scope: rule.scope.clone(),
                    required: rule.required,
                    approved: u32::try_from(unit.decisions.len()).unwrap_or(u32::MAX),
                    until: *until,
                }
            }
            Wait::Child { execution, .. } => Cause::Child {
                execution: *execution,
                workflow: match &node.action {
                    NodeAction::Workflow { workflow, .. } => workflow.clone(),
                    _ => String::new(),
                },
            },
        })
    }

    fn error_of(&self, step: u32, item: Option<u32>) -> Option<StepError> {
        let run = self.steps.get(step as usize)?.run.as_ref()?;
        match (&run.body, item) {
            (Body::Each(items), Some(item)) => items.active.get(&item)?.error.clone(),
            _ => run.error.clone(),
        }
    }

    /// The jobs that nobody could finish, at most `most`.
    fn dead_letters(&self, workflow: &Workflow, most: usize) -> Vec<CauseView> {
        let mut letters = Vec::new();
        for ((index, node), state) in workflow.numbered().zip(&self.steps) {
            let Some(run) = &state.run else { continue };
            let mut letter = |item: Option<u32>, unit: &Unit, error: Option<&StepError>| {
                if let (true, Some(error)) = (unit.is_dead_letter, error) {
                    let job = JobId {
                        execution: self.id,
                        step: index,
                        attempt: unit.attempt(),
                        item,
                    };
                    letters.push(CauseView {
                        step: Some(node.name.clone()),
                        item,
                        cause: Cause::DeadLettered {
                            job: Some(job),
                            error: error.clone(),
                        },
                    });
                }
            };
            match &run.body {
                Body::One(unit) => letter(None, unit, run.error.as_ref()),
                Body::Each(items) => {
                    for (item, unit) in items.failed.iter().take(most) {
                        letter(Some(*item), unit, items.errors.get(item));
                    }
                }
            }
        }
        letters.truncate(most);
        letters
    }

    /// Whether something will happen by itself or from outside: the law that every live execution
    /// obeys. What the partition knows (a key, a turn, a hold) is for it to check.
    pub(crate) fn has_cause(&self) -> bool {
        self.status.is_terminal()
            || self.queued.is_some()
            || self.halted_since.is_some()
            || self.breathes
            || self.units().any(|(_, _, unit)| unit.wait.is_some())
    }
}

pub(crate) fn whole(cause: Cause) -> CauseView {
    CauseView {
        step: None,
        item: None,
        cause,
    }
}
