//! What the owner of an execution does not know about its jobs.

use std::collections::{BTreeSet, HashMap};

use afu9_broker::error::chain;
use afu9_schemas::message::{Query, QueryReply, WorkQuery};
use afu9_schemas::tool::kind_profile;
use afu9_schemas::view::{Cause, ExplainView};
use afu9_schemas::{ExecutionId, JobId, Timestamp, ToolName, WorkerId, WorkerKind};
use futures::future::join_all;
use tokio::time::Instant;

use crate::app::App;

/// What the owner of an execution does not know about its jobs. What could not be learned is absent.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// The worker that runs a job, and since when by its clock.
    pub(super) running: HashMap<JobId, (WorkerId, Timestamp)>,
    /// The tools of steps, by their names.
    pub(super) tools: HashMap<String, ToolName>,
    /// How many workers of a kind take jobs.
    pub(super) live: HashMap<WorkerKind, u32>,
    /// How many jobs are in a kind's queue at most.
    pub(super) queued: HashMap<WorkerKind, u64>,
}

impl App {
    pub(super) async fn facts(&self, view: &ExplainView) -> Facts {
        let mut kinds = BTreeSet::new();
        let mut jobs = Vec::new();
        for cause in &view.causes {
            if let Cause::Worker { job, kind, .. } = &cause.cause {
                kinds.insert(kind.clone());
                jobs.extend(*job);
            }
        }
        let now = Instant::now();
        let live = |kind: &WorkerKind| {
            let workers = self.fleet.live(kind, now);
            let taking = workers.iter().filter(|worker| !worker.draining).count();
            (kind.clone(), u32::try_from(taking).unwrap_or(u32::MAX))
        };
        let live = kinds.iter().map(live).collect();
        if jobs.is_empty() {
            return Facts {
                live,
                ..Facts::default()
            };
        }
        let (running, tools, queued) = tokio::join!(
            self.who_runs(jobs),
            self.tools_of(view.summary.id),
            join_all(kinds.iter().map(|kind| self.queued(kind))),
        );
        Facts {
            running,
            tools,
            live,
            queued: queued.into_iter().flatten().collect(),
        }
    }

    async fn who_runs(&self, jobs: Vec<JobId>) -> HashMap<JobId, (WorkerId, Timestamp)> {
        match self.broker.ask_workers(&WorkQuery { jobs }).await {
            Ok(replies) => replies
                .into_iter()
                .flat_map(|reply| {
                    let worker = reply.worker;
                    let jobs = reply.running.into_iter();
                    jobs.map(move |(job, since)| (job, (worker.clone(), since)))
                })
                .collect(),
            Err(error) => {
                tracing::debug!(error = %chain(&error), "workers not asked");
                HashMap::new()
            }
        }
    }

    async fn tools_of(&self, execution: ExecutionId) -> HashMap<String, ToolName> {
        let partition = self.broker.partitions().of(execution);
        match self.broker.ask(partition, &Query::Show { execution }).await {
            Ok(Some(QueryReply::Execution(view))) => view
                .steps
                .into_iter()
                .filter_map(|step| Some((step.name, step.tool?)))
                .collect(),
            _ => HashMap::new(),
        }
    }

    /// The positions between the oldest message of a queue and its last are a bound on what is in it,
    /// of both lanes: in between, others may be answered already.
    async fn queued(&self, kind: &WorkerKind) -> Option<(WorkerKind, u64)> {
        let mark = self.broker.work_mark(kind).await.ok()?;
        let messages = (mark.last_sequence + 1).saturating_sub(mark.first_sequence);
        let per_message = kind_profile(kind).map_or(1, |profile| profile.jobs_per_message);
        let jobs = messages.saturating_mul(u64::try_from(per_message).unwrap_or(u64::MAX));
        Some((kind.clone(), jobs))
    }
}
