//! From effects to messages: what one tick publishes.

use afu9_broker::PublishError;
use afu9_broker::dead_letter::dead_letter_message;
use afu9_broker::history::{SPLIT_AT_BYTES, history_message};
use afu9_broker::publish::Outgoing;
use afu9_broker::work::job_message;
use afu9_engine::{Effect, Ended, ResolveChild};
use afu9_schemas::artifact::json_size;
use afu9_schemas::message::{
    CancelNotice, ControlAction, ControlOutcome, HistoryBatch, HistoryEvent, HistoryKind, Input,
    Job,
};
use afu9_schemas::tool::kind_profile;
use afu9_schemas::{JobId, Lane, Partition, WorkerKind};

/// A message of jobs is closed when its parameters reach this many bytes.
const CLOSE_JOBS_AT_BYTES: usize = 256 * 1024;

/// Everything one tick publishes.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) messages: Vec<Planned>,
    pub(crate) cancels: Vec<CancelNotice>,
    /// Inputs for executions of any partition.
    pub(crate) inputs: Vec<Input>,
    /// What steps want to run.
    pub(crate) resolve: Vec<ResolveChild>,
    /// Executions whose end starts others.
    pub(crate) followed: Vec<Ended>,
    /// Who waits to hear what came of a wish, and what did.
    pub(crate) answers: Vec<(String, ControlOutcome)>,
}

/// One message, and what it is about should it be refused.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) about: About,
    pub(crate) outgoing: Outgoing,
}

#[derive(Debug, Clone)]
pub(crate) enum About {
    Jobs { kind: WorkerKind, jobs: Vec<JobId> },
    History,
    DeadLetter,
}

impl Plan {
    /// Gathers jobs by queue and history by size.
    pub(crate) fn new(partition: Partition, effects: Vec<Effect>) -> Result<Self, PublishError> {
        let mut plan = Self::default();
        let mut jobs: Vec<(WorkerKind, Lane, Vec<Job>)> = Vec::new();
        let mut events = Vec::new();
        let mut letters = Vec::new();
        for effect in effects {
            match effect {
                Effect::Dispatch(job) => {
                    let kind = job.tool.kind();
                    let queue = jobs
                        .iter_mut()
                        .find(|(k, lane, _)| k == kind && *lane == job.lane);
                    match queue {
                        Some((_, _, queue)) => queue.push(*job),
                        None => jobs.push((kind.clone(), job.lane, vec![*job])),
                    }
                }
                Effect::CancelJobs(notice) => plan.cancels.push(notice),
                Effect::Submit(input) => plan.inputs.push(*input),
                Effect::Resolve(wanted) => plan.resolve.push(*wanted),
                Effect::Followed(ended) => plan.followed.push(*ended),
                Effect::Answer { to, outcome } => plan.answers.push((to, outcome)),
                Effect::History(event) => events.push(*event),
                Effect::DeadLetter(letter) => letters.push(letter),
            }
        }
        for (kind, _, queue) in jobs {
            plan.add_jobs(&kind, queue)?;
        }
        plan.add_history(partition, events)?;
        for letter in letters {
            plan.messages.push(Planned {
                about: About::DeadLetter,
                outgoing: dead_letter_message(&letter)?,
            });
        }
        Ok(plan)
    }

    /// Adds what comes after it.
    pub(crate) fn append(&mut self, mut later: Self) {
        self.messages.append(&mut later.messages);
        self.cancels.append(&mut later.cancels);
        self.inputs.append(&mut later.inputs);
        self.resolve.append(&mut later.resolve);
        self.followed.append(&mut later.followed);
        self.answers.append(&mut later.answers);
    }

    /// Adds messages for `jobs`, all of one queue.
    pub(crate) fn add_jobs(
        &mut self,
        kind: &WorkerKind,
        jobs: Vec<Job>,
    ) -> Result<(), PublishError> {
        let most = kind_profile(kind).map_or(1, |profile| profile.jobs_per_message);
        let mut group: Vec<Job> = Vec::new();
        let mut bytes = 0;
        for job in jobs {
            if job.alone {
                self.add_job_message(kind, vec![job])?;
                continue;
            }
            let size = json_size(&job.params);
            if !group.is_empty() && (group.len() == most || bytes + size > CLOSE_JOBS_AT_BYTES) {
                self.add_job_message(kind, std::mem::take(&mut group))?;
                bytes = 0;
            }
            bytes += size;
            group.push(job);
        }
        self.add_job_message(kind, group)
    }

    fn add_job_message(&mut self, kind: &WorkerKind, jobs: Vec<Job>) -> Result<(), PublishError> {
        let ids = jobs.iter().map(|job| job.id).collect();
        if let Some(outgoing) = job_message(jobs)? {
            let about = About::Jobs {
                kind: kind.clone(),
                jobs: ids,
            };
            self.messages.push(Planned { about, outgoing });
        }
        Ok(())
    }

    fn add_history(
        &mut self,
        partition: Partition,
        events: Vec<HistoryEvent>,
    ) -> Result<(), PublishError> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        for event in events {
            let size = weight(&event);
            if !batch.is_empty() && bytes + size > SPLIT_AT_BYTES {
                self.add_history_message(partition, std::mem::take(&mut batch))?;
                bytes = 0;
            }
            bytes += size;
            batch.push(event);
        }
        self.add_history_message(partition, batch)
    }

    fn add_history_message(
        &mut self,
        partition: Partition,
        events: Vec<HistoryEvent>,
    ) -> Result<(), PublishError> {
        if !events.is_empty() {
            let batch = HistoryBatch {
                partition: Some(partition),
                events,
            };
            let outgoing = history_message(&batch)?;
            self.messages.push(Planned {
                about: About::History,
                outgoing,
            });
        }
        Ok(())
    }
}

/// Roughly how many bytes an event takes.
fn weight(event: &HistoryEvent) -> usize {
    let value = |value: &Option<serde_json::Value>| value.as_ref().map_or(0, json_size);
    200 + match &event.kind {
        HistoryKind::ExecutionStarted(started) => json_size(&started.input),
        HistoryKind::StepEnded(ended) => {
            value(&ended.input) + value(&ended.output) + ended.attempts.len() * 200
        }
        HistoryKind::ExecutionEnded(ended) => value(&ended.output),
        HistoryKind::DefinitionApplied(record) => json_size(&record.definition),
        HistoryKind::StatusChanged(_) => 0,
        HistoryKind::Controlled(record) => match &record.control.action {
            ControlAction::Signal { payload, .. } => json_size(payload),
            ControlAction::Retry { params, .. } => value(params),
            _ => 0,
        },
    }
}
