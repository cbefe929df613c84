//! What a worker is running: for heartbeats, and to stop what was cancelled.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use afu9_schemas::message::CancelNotice;
use afu9_schemas::{ExecutionId, JobId, Timestamp};
use tokio_util::sync::CancellationToken;

/// How many cancelled executions are remembered, so that their jobs that still wait in the queue are
/// not begun. Forgetting one costs only work.
const MAX_CANCELLED: usize = 10_000;

#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) capacity: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: HashMap<JobId, Running>,
    /// Jobs of these executions that were dispatched before an instant are not wanted any more.
    cancelled: HashMap<ExecutionId, Timestamp>,
    cancelled_order: VecDeque<ExecutionId>,
    finished: u64,
    last_error: Option<String>,
}

#[derive(Debug)]
struct Running {
    since: Timestamp,
    dispatched_at: Timestamp,
    token: CancellationToken,
    /// How often the same job runs here: after a redelivery it may run twice.
    times: u32,
}

/// What a heartbeat tells of it.
#[derive(Debug, Clone)]
pub(super) struct Summary {
    pub(super) running: usize,
    pub(super) oldest_since: Option<Timestamp>,
    pub(super) finished: u64,
    pub(super) last_error: Option<String>,
}

impl InFlight {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            state: Mutex::default(),
        }
    }

    /// Notes that a job begins; `None` if it is not wanted any more.
    pub(super) fn begin(
        &self,
        job: JobId,
        dispatched_at: Timestamp,
        since: Timestamp,
    ) -> Option<CancellationToken> {
        let mut state = self.lock();
        let unwanted = state.cancelled.get(&job.execution);
        if unwanted.is_some_and(|before| dispatched_at < *before) {
            return None;
        }
        let running = state.running.entry(job).or_insert_with(|| Running {
            since,
            dispatched_at,
            token: CancellationToken::new(),
            times: 0,
        });
        running.times += 1;
        Some(running.token.clone())
    }

    /// Notes that a job has ended.
    pub(super) fn end(&self, job: JobId, error: Option<String>) {
        let mut state = self.lock();
        if let Some(running) = state.running.get_mut(&job) {
            running.times -= 1;
            if running.times == 0 {
                state.running.remove(&job);
            }
        }
        state.finished += 1;
        if error.is_some() {
            state.last_error = error;
        }
    }

    /// Stops what runs for an execution, and what of it still waits.
    pub(super) fn cancel(&self, notice: CancelNotice) {
        let CancelNotice { execution, before } = notice;
        let before = before.unwrap_or(Timestamp::from_micros(i64::MAX));
        let mut state = self.lock();
        for (job, running) in &state.running {
            if job.execution == execution && running.dispatched_at < before {
                running.token.cancel();
            }
        }
        let known = state.cancelled.get(&execution).copied();
        let latest = known.map_or(before, |known| known.max(before));
        if state.cancelled.insert(execution, latest).is_none() {
            state.cancelled_order.push_back(execution);
        }
        if state.cancelled_order.len() > MAX_CANCELLED
            && let Some(oldest) = state.cancelled_order.pop_front()
        {
            state.cancelled.remove(&oldest);
        }
    }

    /// Which of the jobs run, and since when.
    pub(super) fn running(&self, jobs: &[JobId]) -> Vec<(JobId, Timestamp)> {
        let state = self.lock();
        jobs.iter()
            .filter_map(|job| Some((*job, state.running.get(job)?.since)))
            .collect()
    }

    pub(super) fn summary(&self) -> Summary {
        let state = self.lock();
        Summary {
            running: state
                .running
                .values()
                .map(|running| running.times as usize)
                .sum(),
            oldest_since: state.running.values().map(|running| running.since).min(),
            finished: state.finished,
            last_error: state.last_error.clone(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the lock is held")
    }
}
