//! What a worker is running: for heartbeats, and to stop what was cancelled.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Mutex;

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
    cancelled: HashSet<ExecutionId>,
    cancelled_order: VecDeque<ExecutionId>,
    finished: u64,
    last_error: Option<String>,
}

#[derive(Debug)]
struct Running {
    since: Timestamp,
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

    /// Notes that a job begins; `None` if its execution was cancelled.
    pub(super) fn begin(&self, job: JobId, since: Timestamp) -> Option<CancellationToken> {
        let mut state = self.lock();
        if state.cancelled.contains(&job.execution) {
            return None;
        }
        let running = state.running.entry(job).or_insert_with(|| Running {
            since,
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

    /// Stops what runs for `execution`, and what of it still waits.
    pub(super) fn cancel(&self, execution: ExecutionId) {
        let mut state = self.lock();
        for (job, running) in &state.running {
            if job.execution == execution {
                running.token.cancel();
            }
        }
        if state.cancelled.insert(execution) {
            state.cancelled_order.push_back(execution);
        }
        if state.cancelled_order.len() > MAX_CANCELLED
            && let Some(oldest) = state.cancelled_order.pop_front()
        {
            state.cancelled.remove(&oldest);
        }
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
