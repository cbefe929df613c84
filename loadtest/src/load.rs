//! Load on a running AFU-9, through nothing but its public HTTP API.
//!
//! Called by the binary's `run`. An execution counts when its end was seen on the event stream; one
//! that was accepted and never ended is lost, one that ended twice is a duplicate.

mod api;
pub(crate) mod connection;
pub(crate) mod events;
pub(crate) mod pacer;
mod processes;
mod report;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use afu9_schemas::Lane;
use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use report::Report;

use api::{Api, TriggerRequest};
use pacer::Pacer;
use processes::Usage;

/// How long nothing may end before the rest counts as lost.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);

/// Largest latency recorded, in microseconds: ten minutes.
pub(crate) const MAX_LATENCY_US: u64 = 600_000_000;

/// At a fixed rate, as many executions may be waited for at once as start in this time: enough that
/// none is late for want of somebody to start it, unless AFU-9 stalls, and then it counts as late.
const WAITED_FOR: Duration = Duration::from_secs(2);

/// What to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Address of the gateway.
    pub api_url: String,
    /// Token with the scopes `trigger` and `admin` (it stores the workflow it runs).
    pub token: Option<String>,
    /// Executions in all.
    pub workflows: usize,
    /// No more of them are started after this time, if there is one.
    pub length: Option<Duration>,
    /// What each of them does.
    pub shape: Shape,
    /// Whether somebody waits for them.
    pub lane: Lane,
    /// How executions are started.
    pub pace: Pace,
}

/// What one execution does; nothing of it has an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// This many steps, one after the other.
    Steps(usize),
    /// One step with this many items.
    Items {
        /// Items in all.
        count: usize,
        /// This many of them at a time.
        parallel: usize,
        /// How long each takes, in milliseconds; 0: no time at all.
        ms: u64,
    },
    /// A sleep of thirty days: it counts as soon as it is accepted, and stays.
    Sleeping,
}

impl Shape {
    /// Jobs of one execution.
    pub fn jobs(self) -> usize {
        match self {
            Self::Steps(steps) => steps,
            Self::Items { count, .. } => count,
            Self::Sleeping => 0,
        }
    }
}

/// How executions are started.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// This many are in progress at any time; the next starts when one has ended. Latency is what
    /// somebody in this queue of known length sees.
    Concurrency(usize),
    /// This many start each second, whether or not others have ended. Latency counts from the
    /// instant at which an execution was due, so that a stall shows in every one it delayed.
    Rate(f64),
}

/// What the starters and the event stream share.
#[derive(Debug, Default)]
struct Progress {
    waiting: Mutex<Waiting>,
    ended: AtomicUsize,
    failed: AtomicUsize,
    duplicates: AtomicUsize,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Accepted and not ended.
    open: HashMap<String, oneshot::Sender<Instant>>,
    /// Ended, whether well or not, before their acceptance was read; or not ours.
    early: HashMap<String, (Instant, bool)>,
    /// Ended, with the number of the event that said so.
    done: HashMap<String, u64>,
}

/// Runs `plan`.
///
/// # Errors
/// When AFU-9 cannot be reached or refuses; executions that are lost are in the report, not an
/// error.
pub async fn run(plan: &Plan) -> Result<Report> {
    let api = Api::new(&plan.api_url, plan.token.as_deref())?;
    let workflow = api.store_workflow(plan.shape).await?;
    let progress = Arc::new(Progress::default());
    let stop = CancellationToken::new();
    let events = events::follow(api.clone(), Arc::clone(&progress), stop.clone()).await?;

    let before = Usage::read();
    let begun = Instant::now();
    let mut histogram = Histogram::new_with_max(MAX_LATENCY_US, 3).context("histogram")?;
    let (mut submitted, mut refused) = (0_usize, 0_usize);
    let mut last_end = begun;
    let mut runs = start_all(plan, &api, &workflow, &progress, begun)?;
    while let Some(run) = runs.join_next().await {
        for outcome in run.context("a starter panicked")?? {
            match outcome {
                Outcome::Ended { due, at } => {
                    submitted += 1;
                    last_end = last_end.max(at);
                    let took = at.saturating_duration_since(due);
                    let micros = u64::try_from(took.as_micros()).unwrap_or(MAX_LATENCY_US);
                    histogram.saturating_record(micros.max(1));
                }
                Outcome::Lost => submitted += 1,
                Outcome::Refused => refused += 1,
            }
        }
    }
    let after = Usage::read();
    stop.cancel();
    events.await.context("the event stream panicked")??;
    let ended = progress.ended.load(Ordering::Relaxed);
    Ok(Report {
        workflows: plan.workflows,
        shape: plan.shape,
        pace: plan.pace,
        submitted,
        refused,
        begun,
        ended,
        failed: progress.failed.load(Ordering::Relaxed),
        lost: submitted.saturating_sub(ended),
        duplicates: progress.duplicates.load(Ordering::Relaxed),
        elapsed: last_end - begun,
        latency_us: histogram,
        processes: after.since(&before),
    })
}

enum Outcome {
    Ended { due: Instant, at: Instant },
    Lost,
    Refused,
}

fn start_all(
    plan: &Plan,
    api: &Api,
    workflow: &str,
    progress: &Arc<Progress>,
    begun: Instant,
) -> Result<JoinSet<Result<Vec<Outcome>>>> {
    let starters = match plan.pace {
        Pace::Concurrency(concurrency) => concurrency,
        Pace::Rate(rate) => ((rate * WAITED_FOR.as_secs_f64()) as usize).clamp(16, 4096),
    };
    let starts = Arc::new(Starts::new(plan, begun)?);
    let request = api.trigger_request(workflow, plan.lane);
    let mut runs = JoinSet::new();
    for _ in 0..starters.min(plan.workflows) {
        let (api, request) = (api.clone(), request.clone());
        let (progress, starts) = (Arc::clone(progress), Arc::clone(&starts));
        let sleeps = plan.shape == Shape::Sleeping;
        runs.spawn(async move {
            let mut outcomes = Vec::new();
            while let Some(due) = starts.next().await {
                let outcome = if sleeps {
                    accepted(&api, &request, &progress, due).await?
                } else {
                    run_one(&api, &request, &progress, due).await?
                };
                let is_lost = matches!(outcome, Outcome::Lost);
                outcomes.push(outcome);
                if is_lost {
                    // Nothing ends any more: what is started now would be lost as well.
                    break;
                }
            }
            Ok(outcomes)
        });
    }
    Ok(runs)
}

/// When the next execution starts, for all starters together.
#[derive(Debug)]
enum Starts {
    /// As soon as there is somebody to start it.
    AtOnce {
        left: AtomicUsize,
        until: Option<Instant>,
    },
    Paced(Pacer),
}

impl Starts {
    fn new(plan: &Plan, begun: Instant) -> Result<Self> {
        Ok(match (plan.pace, plan.length) {
            (Pace::Concurrency(_), length) => Self::AtOnce {
                left: AtomicUsize::new(plan.workflows),
                until: length.map(|length| begun + length),
            },
            (Pace::Rate(rate), length) => {
                let in_time = length.map(|length| (length.as_secs_f64() * rate) as usize);
                let count = plan.workflows.min(in_time.unwrap_or(usize::MAX));
                Self::Paced(Pacer::start(rate, count)?)
            }
        })
    }

    /// When it is due; `None` after the last.
    async fn next(&self) -> Option<Instant> {
        match self {
            Self::AtOnce { left, until } => {
                let now = Instant::now();
                if until.is_some_and(|until| now >= until) {
                    return None;
                }
                left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(1)
                })
                .ok()?;
                Some(now)
            }
            Self::Paced(pacer) => pacer.next().await.map(Instant::from_std),
        }
    }
}

/// Starts an execution that is not waited for.
async fn accepted(
    api: &Api,
    request: &TriggerRequest,
    progress: &Progress,
    due: Instant,
) -> Result<Outcome> {
    Ok(match api.trigger(request).await? {
        None => Outcome::Refused,
        Some(_) => {
            progress.ended.fetch_add(1, Ordering::Relaxed);
            Outcome::Ended {
                due,
                at: Instant::now(),
            }
        }
    })
}

async fn run_one(
    api: &Api,
    request: &TriggerRequest,
    progress: &Progress,
    due: Instant,
) -> Result<Outcome> {
    let Some(id) = api.trigger(request).await? else {
        return Ok(Outcome::Refused);
    };
    let (sender, receiver) = oneshot::channel();
    {
        let mut waiting = progress
            .waiting
            .lock()
            .expect("no panic while the lock is held");
        if let Some((at, completed)) = waiting.early.remove(&id) {
            progress.count(completed);
            return Ok(Outcome::Ended { due, at });
        }
        if waiting.open.insert(id.clone(), sender).is_some() {
            bail!("execution {id} was given to two submissions");
        }
    }
    // Patience is with the whole run: as long as others end, this one may still.
    let mut receiver = receiver;
    let mut seen = progress.ended.load(Ordering::Relaxed);
    loop {
        match tokio::time::timeout(GIVE_UP_AFTER, &mut receiver).await {
            Ok(Ok(at)) => return Ok(Outcome::Ended { due, at }),
            Ok(Err(_)) => bail!("the event stream ended"),
            Err(_elapsed) => {
                let now = progress.ended.load(Ordering::Relaxed);
                if now == seen {
                    return Ok(Outcome::Lost);
                }
                seen = now;
            }
        }
    }
}

impl Progress {
    /// An execution has ended, as event `number` of it says.
    fn ended(&self, id: String, number: u64, completed: bool) {
        let at = Instant::now();
        let mut waiting = self
            .waiting
            .lock()
            .expect("no panic while the lock is held");
        if let Some(first) = waiting.done.get(&id) {
            // The same event again is a replay, which changes nothing; another one is a duplicate.
            if *first != number {
                self.duplicates.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
        waiting.done.insert(id.clone(), number);
        match waiting.open.remove(&id) {
            Some(sender) => {
                self.count(completed);
                // Nobody waits any more if the run was given up.
                let _given_up = sender.send(at);
            }
            None => {
                waiting.early.insert(id, (at, completed));
            }
        }
    }

    fn count(&self, completed: bool) {
        self.ended.fetch_add(1, Ordering::Relaxed);
        if !completed {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}
