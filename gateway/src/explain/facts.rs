//! What the owner of an execution does not know about its jobs.

use std::collections::{BTreeSet, HashMap, HashSet};

use afu9_broker::error::chain;
use afu9_schemas::message::{Query, QueryReply, WorkQuery};
use afu9_schemas::view::{Cause, ExplainView};
use afu9_schemas::{ExecutionId, JobId, Lane, Timestamp, ToolName, WorkerId, WorkerKind};
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
    /// How many workers of a kind take jobs, once every worker there is must have been heard of.
    pub(super) live: HashMap<WorkerKind, u32>,
    /// How many messages of jobs are in a lane of a kind's queue. One is one job, but for kinds whose jobs
    /// have no effect outside.
    pub(super) queued: HashMap<(WorkerKind, Lane), u64>,
}

impl App {
    pub(super) async fn facts(&self, view: &ExplainView) -> Facts {
        let mut kinds = BTreeSet::new();
        let mut lanes = HashSet::new();
        let mut jobs = Vec::new();
        for cause in &view.causes {
            if let Cause::Worker {
                job, kind, lane, ..
            } = &cause.cause
            {
                kinds.insert(kind.clone());
                lanes.insert((kind.clone(), *lane));
                jobs.extend(*job);
            }
        }
        let now = Instant::now();
        let live = |kind: &WorkerKind| {
            let workers = self.fleet.live(kind, now);
            let taking = workers.iter().filter(|worker| !worker.draining).count();
            // Nobody heard of yet does not mean that nobody is there.
            let known = taking > 0 || self.fleet.is_known(now);
            known.then(|| (kind.clone(), u32::try_from(taking).unwrap_or(u32::MAX)))
        };
        let live = kinds.iter().filter_map(live).collect();
        if jobs.is_empty() {
            return Facts {
                live,
                ..Facts::default()
            };
        }
        let (running, tools, queued) = tokio::join!(
            self.who_runs(jobs),
            self.tools_of(view.summary.id),
            join_all(lanes.iter().map(|(kind, lane)| self.queued(kind, *lane))),
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

    async fn queued(&self, kind: &WorkerKind, lane: Lane) -> Option<((WorkerKind, Lane), u64)> {
        let messages = self.broker.work_queued(kind, lane).await.ok()?;
        Some(((kind.clone(), lane), messages))
    }
}
