//! From effects to messages: what one tick publishes.

use afu9_broker::PublishError;
use afu9_broker::dead_letter::dead_letter_message;
use afu9_broker::publish::Outgoing;
use afu9_broker::work::job_message;
use afu9_engine::{Effect, Ended, ResolveChild};
use afu9_schemas::artifact::json_size;
use afu9_schemas::message::{CancelNotice, ControlOutcome, HistoryEvent, Input, Job};
use afu9_schemas::tool::kind_profile;
use afu9_schemas::{JobId, Lane, WorkerKind};

/// A message of jobs is closed when its parameters reach this many bytes.
const CLOSE_JOBS_AT_BYTES: usize = 256 * 1024;

/// Everything one tick publishes.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) jobs: Vec<JobMessage>,
    #[expect(clippy::vec_box, reason = "effects are boxed already")]
    pub(crate) history: Vec<Box<HistoryEvent>>,
    pub(crate) letters: Vec<Outgoing>,
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

/// One message of jobs.
#[derive(Debug)]
pub(crate) struct JobMessage {
    pub(crate) kind: WorkerKind,
    pub(crate) lane: Lane,
    pub(crate) jobs: Vec<JobId>,
    pub(crate) outgoing: Outgoing,
}

impl Plan {
    /// Gathers jobs by queue.
    pub(crate) fn new(effects: Vec<Effect>) -> Result<Self, PublishError> {
        let mut plan = Self::default();
        let mut jobs: Vec<(WorkerKind, Lane, Vec<Job>)> = Vec::new();
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
                Effect::History(event) => plan.history.push(event),
                Effect::DeadLetter(letter) => plan.letters.push(dead_letter_message(&letter)?),
            }
        }
        for (kind, _, queue) in jobs {
            plan.add_jobs(&kind, queue)?;
        }
        Ok(plan)
    }

    /// Adds what comes after it.
    pub(crate) fn append(&mut self, mut later: Self) {
        self.jobs.append(&mut later.jobs);
        self.history.append(&mut later.history);
        self.letters.append(&mut later.letters);
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
        let lane = jobs.first().map_or(Lane::Bulk, |job| job.lane);
        let ids = jobs.iter().map(|job| job.id).collect();
        if let Some(outgoing) = job_message(jobs)? {
            self.jobs.push(JobMessage {
                kind: kind.clone(),
                lane,
                jobs: ids,
                outgoing,
            });
        }
        Ok(())
    }
}
