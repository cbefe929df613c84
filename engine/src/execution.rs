//! The state machine of one execution.
//!
//! ```text
//!            start          admitted        every step ended     compensated, handled
//! (nothing) ──────▶ pending ────────▶ running ──────────────▶ … ─────────────────────▶ completed
//!                      │                 │ ▲                                        ├─▶ failed
//!                      │           pause │ │ resume                                 └─▶ cancelled
//!                      │                 ▼ │
//!                      │               paused                  failed ──retry──▶ running
//!                      └── cancel ──▶ cancelled
//!
//! input           pending             running, paused                        terminal
//! start           ignored (duplicate) ignored (duplicate)                    ignored (duplicate)
//! job result      ignored (stale)     of an awaited attempt: it ends, the    ignored (stale)
//!                                     step goes on; of any other: ignored
//! child resolved  ignored (stale)     of an awaited attempt: it starts or    ignored (stale)
//!                                     fails; of any other: ignored
//! child ended     ignored (stale)     as a job result                        ignored (stale)
//! wake            key, rate, debounce what is due of: deadline of the        ignored (late)
//!                 are asked again     execution, of attempts and waits,
//!                                     retries, sleeps; nothing: ignored
//! cancel          ends                running steps fail, what was done is   refused, or
//!                                     undone; while ending: refused          unchanged
//! pause           unchanged for ever  nothing new begins                     refused
//!                 until resumed
//! resume          refused if not      what waited to begin begins            refused
//!                 paused
//! retry           refused             refused                                failed: failed steps
//!                                                                            run again; else
//!                                                                            refused
//! signal          kept                a waiting step completes; else kept    refused
//! decide          refused             an approval counts; else refused       refused
//! move            as running          if the state fits, the version         refused
//!                                     changes; else refused
//! ```
//!
//! Every row is total and deterministic. What the outside shall see comes out as [`Effect`]s. A
//! request that was carried out before changes nothing, whatever the state.

mod advance;
mod agenda;
mod causes;
mod child;
mod cleanup;
mod control;
mod items;
mod lifecycle;
mod migrate;
mod outbox;
mod reopen;
mod scope;
mod step;
mod unit;
pub(crate) mod v1;
mod view;
mod wait;

use afu9_schemas::artifact::json_size;
use afu9_schemas::error::ErrorClass;
use afu9_schemas::message::{
    HistoryEvent, HistoryKind, InputKind, Parent, Repository, Rerun, Trigger, WorkflowRef,
};
use afu9_schemas::view::{ExecutionStatus, PauseView};
use afu9_schemas::{ExecutionId, Lane, Partition, StepError, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::requests::Requests;
use crate::workflow::Workflow;

pub use outbox::{Effect, Ended, Outbox, ResolveChild};
pub use step::{Body, ItemRun, Items, Run, StepState, Turn, Unit, Wait};

pub(crate) use causes::whole;
pub(crate) use control::answer;
pub(crate) use outbox::{Queue, Ready};
pub(crate) use scope::repo;

/// Most bytes of outputs, parameters, items and signals one execution may hold inline. Larger outputs
/// are artifacts; more than this in small pieces would make each checkpoint of the execution a burden
/// for its neighbours.
pub const MAX_CONTEXT_BYTES: usize = 16 * 1024 * 1024;

/// Once expressions have cost this much in the fold of one input, further items of lists begin with the
/// next one: others of the partition have their turn in between.
const MAX_FOLD_COST: u64 = 10_000_000;

/// Items of a step begin until the parameters of those in progress have this many bytes.
const MAX_ITEM_PARAMS_BYTES: usize = 8 * 1024 * 1024;

/// Most bytes of resolved parameters: a job must fit into a message.
pub const MAX_PARAMS_BYTES: usize = 512 * 1024;

/// Most signals kept for steps that do not wait for them yet.
pub const MAX_SIGNALS: usize = 256;

/// How deep executions may start each other, as steps or by their ends: deeper is a circle.
pub const MAX_DEPTH: u32 = 16;

/// What an input did to an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "an ignored input is counted"]
pub enum Applied {
    /// The state changed.
    Changed,
    /// The state is as it was, except for a counter.
    Ignored(Ignored),
}

/// Why an input changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// The execution is there already.
    DuplicateStart,
    /// An answer for an attempt nobody waits for: late, or a second copy.
    StaleResult,
    /// The execution has ended.
    Late,
    /// Nothing was due.
    EarlyWake,
    /// A wish that is not possible, or is fulfilled.
    Wish,
}

/// What a transition can see and give beside the execution itself.
#[derive(Debug)]
pub struct Cx<'a> {
    /// The version the execution is pinned to.
    pub workflow: &'a Workflow,
    /// The partition that owns it.
    pub partition: Partition,
    /// The input's stream timestamp, or the instant a wake is for where that is later.
    pub now: Timestamp,
    /// Worker kinds whose jobs somebody holds back.
    pub held: HeldKinds,
    /// What comes of it.
    pub out: &'a mut Outbox,
}

/// Worker kinds whose jobs somebody holds back, by their position among all kinds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeldKinds(u64);

impl HeldKinds {
    pub(crate) fn insert(&mut self, kind: u16) {
        self.0 |= 1_u64.checked_shl(u32::from(kind)).unwrap_or(0);
    }

    pub(crate) fn contains(self, kind: u16) -> bool {
        self.0.checked_shr(u32::from(kind)).unwrap_or(0) & 1 == 1
    }
}

/// The state of one execution. Serialised into checkpoints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Execution {
    id: ExecutionId,
    workflow: WorkflowRef,
    status: ExecutionStatus,
    input: Value,
    #[serde(default)]
    repository: Option<Repository>,
    trigger: Trigger,
    #[serde(default)]
    lane: Lane,
    #[serde(default)]
    traceparent: Option<String>,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    priority: i32,
    #[serde(default)]
    parent: Option<Parent>,
    #[serde(default)]
    rerun: Option<Box<Rerun>>,
    /// When it was submitted.
    started_at: Timestamp,
    #[serde(default)]
    ended_at: Option<Timestamp>,
    /// Its place before its key, while it is pending.
    #[serde(default)]
    queued: Option<Queued>,
    /// The order in which it came before its key; 0 if it never had to wait.
    #[serde(default)]
    ticket: u64,
    /// The end of its time; of the time for cleaning up, once it is ending.
    deadline: Timestamp,
    steps: Vec<StepState>,
    /// Steps of the definition that have not ended.
    open: u32,
    /// How it is to end, once that is decided and not all is cleaned up.
    #[serde(default)]
    ending: Option<Box<Ending>>,
    /// Number of the last history event.
    events: u32,
    #[serde(default)]
    context_bytes: usize,
    #[serde(default)]
    stale_results: u32,
    #[serde(default)]
    output: Option<Value>,
    #[serde(default)]
    error: Option<StepError>,
    /// Who paused it.
    #[serde(default)]
    paused: Option<PauseView>,
    /// Since when nothing new begins, whoever wished it.
    #[serde(default)]
    halted_since: Option<Timestamp>,
    /// Items could begin that have not, because those before them cost much: it is woken at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    breathes: bool,
    /// Signals nobody has waited for yet, oldest first.
    #[serde(default)]
    signals: Vec<Signal>,
    /// Wishes that were answered.
    #[serde(default)]
    requests: Requests,
}

/// A place before a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Queued {
    /// The order in which executions came.
    pub(crate) ticket: u64,
    /// Not before this instant: the rate limit or the debounce says so.
    pub(crate) not_before: Option<Timestamp>,
    /// Until when it shall be quiet.
    #[serde(default)]
    pub(crate) quiet_until: Option<Timestamp>,
    /// When the first of the series came that this one replaces.
    #[serde(default)]
    pub(crate) series_since: Option<Timestamp>,
}

/// How an execution is to end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Ending {
    status: ExecutionStatus,
    error: StepError,
    /// The step that failed first.
    step: Option<String>,
    /// Nodes still to run, the next one last.
    left: Vec<u32>,
    /// The node that runs.
    running: Option<u32>,
}

/// A signal nobody has waited for yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Signal {
    name: String,
    payload: Value,
}

/// The bytes of data that is kept; none is as good as `null`.
fn weight(value: &Value) -> usize {
    if value.is_null() { 0 } else { json_size(value) }
}

impl Execution {
    /// Folds one input. `cx.now` is the input's stream timestamp, or the instant a wake is for where
    /// that is later.
    pub fn apply(&mut self, input: &InputKind, cx: &mut Cx<'_>) -> Applied {
        let terminal = self.status.is_terminal();
        match input {
            InputKind::Start(_) => Applied::Ignored(Ignored::DuplicateStart),
            InputKind::JobResult(result) if !terminal && self.awaits(result) => {
                self.job_answered(result, cx);
                Applied::Changed
            }
            InputKind::ChildResolved(found) if !terminal && self.awaits_resolution(found) => {
                self.child_resolved(found, cx);
                Applied::Changed
            }
            InputKind::ChildEnded(ended) if !terminal && self.awaits_child(ended) => {
                self.child_ended(ended, cx);
                Applied::Changed
            }
            InputKind::JobResult(_) | InputKind::ChildResolved(_) | InputKind::ChildEnded(_) => {
                self.stale_results = self.stale_results.saturating_add(1);
                Applied::Ignored(Ignored::StaleResult)
            }
            InputKind::Control(control) => self.control(control, cx),
            _ if terminal => Applied::Ignored(Ignored::Late),
            // What the previous version wrote; it has no audit record.
            InputKind::Cancel(cancel) => {
                let why = cancel.reason.as_deref();
                if self.cancel(&cancel.by, why, cx) {
                    Applied::Changed
                } else {
                    Applied::Ignored(Ignored::Wish)
                }
            }
            InputKind::Wake { .. } => self.wake(cx),
        }
    }

    /// Whether what came is what it waits for; a late or second one is not.
    pub(crate) fn awaits_input(&self, input: &InputKind) -> bool {
        !self.status.is_terminal()
            && match input {
                InputKind::JobResult(result) => self.awaits(result),
                InputKind::ChildResolved(found) => self.awaits_resolution(found),
                InputKind::ChildEnded(ended) => self.awaits_child(ended),
                InputKind::Wake { .. } => true,
                InputKind::Start(_) | InputKind::Control(_) | InputKind::Cancel(_) => false,
            }
    }

    fn record(&mut self, kind: HistoryKind, cx: &mut Cx<'_>) {
        self.events += 1;
        cx.out.effects.push(Effect::History(Box::new(HistoryEvent {
            execution: Some(self.id),
            number: self.events,
            at: cx.now,
            kind,
        })));
    }

    /// The next instant at which the execution wants a wake.
    pub fn next_wake(&self) -> Option<Timestamp> {
        if self.status.is_terminal() {
            return None;
        }
        let halted = self.halted_since.is_some();
        if let Some(queued) = &self.queued {
            // While it is halted its key passes it over: a wake would change nothing.
            return queued.not_before.filter(|_| !halted);
        }
        let open = self
            .steps
            .iter()
            .filter(|state| !state.status.is_terminal());
        let runs = open.filter_map(|state| state.run.as_ref());
        let waits = runs.filter_map(|run| run.soonest(halted));
        let deadline = (!halted).then_some(self.deadline);
        let at_once = (self.breathes && !halted).then(Timestamp::default);
        waits.chain(deadline).chain(at_once).min()
    }

    /// Every unit in progress: the step, the item, and the unit.
    pub fn units(&self) -> impl Iterator<Item = (u32, Option<u32>, &Unit)> {
        self.steps.iter().enumerate().flat_map(|(step, state)| {
            let step = u32::try_from(step).unwrap_or(u32::MAX);
            let open = !state.status.is_terminal();
            state
                .run
                .iter()
                .filter(move |_| open)
                .flat_map(move |run| run.units().map(move |(item, unit)| (step, item, unit)))
        })
    }

    fn unit(&self, step: u32, item: Option<u32>) -> Option<&Unit> {
        let state = self.steps.get(step as usize)?;
        if state.status.is_terminal() {
            return None;
        }
        state.run.as_ref()?.unit(item)
    }

    /// Except for what the unit waits for: see [`Self::set_wait`].
    fn unit_mut(&mut self, step: u32, item: Option<u32>) -> Option<&mut Unit> {
        let state = self.steps.get_mut(step as usize)?;
        if state.status.is_terminal() {
            return None;
        }
        state.run.as_mut()?.unit_mut(item)
    }

    /// Lets a unit in progress wait for something else.
    fn set_wait(&mut self, step: u32, item: Option<u32>, wait: Wait) {
        if let Some(state) = self.steps.get_mut(step as usize)
            && !state.status.is_terminal()
            && let Some(run) = &mut state.run
        {
            run.set_wait(item, wait);
        }
    }

    /// Its id.
    pub fn id(&self) -> ExecutionId {
        self.id
    }

    /// The version it is pinned to.
    pub fn workflow(&self) -> &WorkflowRef {
        &self.workflow
    }

    /// Its status.
    pub fn status(&self) -> ExecutionStatus {
        self.status
    }

    /// Its steps.
    pub fn steps(&self) -> &[StepState] {
        &self.steps
    }

    /// When it ended.
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.ended_at
    }

    /// Why it failed or was cancelled.
    pub fn error(&self) -> Option<&StepError> {
        self.error.as_ref()
    }

    /// When it was submitted.
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// What it contends for.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Who or what started it.
    pub(crate) fn triggered_by(&self) -> &str {
        &self.trigger.by
    }

    /// The execution whose step runs it.
    pub(crate) fn parent(&self) -> Option<ExecutionId> {
        Some(self.parent.as_ref()?.execution)
    }

    /// The execution it repeats.
    pub(crate) fn rerun_of(&self) -> Option<ExecutionId> {
        Some(self.rerun.as_ref()?.of)
    }

    pub(crate) fn priority(&self) -> i32 {
        self.priority
    }

    pub(crate) fn queued(&self) -> Option<&Queued> {
        self.queued.as_ref()
    }

    pub(crate) fn queued_mut(&mut self) -> Option<&mut Queued> {
        self.queued.as_mut()
    }

    /// Whether nothing new may begin.
    pub fn is_halted(&self) -> bool {
        self.halted_since.is_some()
    }

    /// Whom its turns are shared out among: executions with one key, or of one workflow.
    pub(crate) fn share(&self) -> &str {
        self.key.as_deref().unwrap_or(&self.workflow.name)
    }

    /// About how many bytes it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.context_bytes + self.steps.len() * size_of::<StepState>() + size_of::<Self>()
    }

    /// Roughly how many bytes its input holds, which never changes.
    pub(crate) fn input_bytes(&self) -> usize {
        weight(&self.input)
    }

    /// Makes room for data that is kept until the execution has ended.
    fn take_room(&mut self, bytes: usize) -> Result<(), StepError> {
        if self.context_bytes.saturating_add(bytes) > MAX_CONTEXT_BYTES {
            return Err(StepError::new(
                ErrorClass::Permanent,
                "context.too_large",
                format!(
                    "what the execution holds (outputs, parameters, items, signals) exceeds \
                     {MAX_CONTEXT_BYTES} bytes; let tools give large results as artifacts, pass \
                     references instead of contents, or split the workflow"
                ),
            ));
        }
        self.context_bytes += bytes;
        Ok(())
    }

    fn give_room(&mut self, bytes: usize) {
        self.context_bytes = self.context_bytes.saturating_sub(bytes);
    }

    /// What [`Self::take_room`] has been asked for, counted anew.
    pub(crate) fn counted_bytes(&self) -> usize {
        let runs = self.steps.iter().filter_map(|state| state.run.as_deref());
        let steps: usize = runs.map(Run::bytes).sum();
        let signals = self.signals.iter().map(|signal| weight(&signal.payload));
        // Until its turn comes, what is to be taken over is with what it is taken from.
        let kept = self.rerun.iter().flat_map(|rerun| &rerun.kept);
        let kept = kept.filter_map(|kept| kept.output.as_ref()).map(weight);
        steps + signals.sum::<usize>() + kept.sum::<usize>()
    }
}
