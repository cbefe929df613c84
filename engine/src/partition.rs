//! The fold of one partition of the input log: all of its live executions, what they contend for,
//! when they want to be woken, and what a checkpoint must hold.
//!
//! Owned by exactly one loop of the orchestrator. A partition that is folded by two owners gives
//! both the same states and effects, which is why a stale owner can waste work but not corrupt it.

mod admission;
mod dispatch;
mod explain;
mod hold;
mod keys;
mod list;
mod persist;
mod poison;
mod prove;
mod recent;
mod retained;
mod start;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use afu9_schemas::message::{
    Control, ControlAction, ControlOutcome, Input, InputEnvelope, InputKind, Job,
};
use afu9_schemas::view::{ExecutionView, HoldView};
use afu9_schemas::{DefinitionHash, ExecutionId, Partition, Timestamp};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::execution::{Applied, Cx, Effect, Execution, HeldKinds, Ignored, Outbox};
use crate::requests::Requests;
use crate::workflow::Workflow;
use dispatch::Dispatcher;
use keys::Keys;
use recent::Recent;
use retained::Retained;

pub use list::Listed;
pub use poison::{POISON, Remedy};
pub use prove::Proof;

/// Definitions by hash. The shell loads them before it folds.
pub type Definitions = FxHashMap<DefinitionHash, Arc<Workflow>>;

/// What a partition has seen since it was loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Executions begun.
    pub started: u64,
    /// Executions ended, in whatever way.
    pub ended: u64,
    /// Results that came late or twice and changed nothing.
    pub stale_results: u64,
    /// Submissions that came twice and changed nothing.
    pub duplicate_starts: u64,
    /// Inputs for executions that are not known here.
    pub unknown: u64,
}

#[derive(Debug)]
struct Live {
    /// In a box: it is taken out of its table and put back for each input, and tables are half empty.
    execution: Box<Execution>,
    workflow: Arc<Workflow>,
    wake: Option<Timestamp>,
    /// Its definition is not there: it is asked for again when the execution is woken.
    stranded: bool,
    /// Of its input.
    input_bytes: usize,
    /// As they were counted when it was put into its table.
    counted_bytes: usize,
}

impl Live {
    fn new(execution: Execution, workflow: Arc<Workflow>) -> Self {
        Self {
            input_bytes: execution.input_bytes(),
            counted_bytes: 0,
            execution: Box::new(execution),
            workflow,
            wake: None,
            stranded: false,
        }
    }
}

/// The state of one partition.
#[derive(Debug)]
pub struct PartitionState {
    partition: Partition,
    live: FxHashMap<ExecutionId, Live>,
    /// Roughly what they hold together.
    live_bytes: usize,
    /// Failed executions that can be retried by hand.
    retained: Retained,
    recent: Recent,
    dispatcher: Dispatcher,
    keys: Keys,
    holds: Vec<HoldView>,
    held: HeldKinds,
    /// Wishes about the whole partition that were answered.
    requests: Requests,
    /// The last ticket that was given.
    ticket: u64,
    /// Keys that may have room for another execution.
    due_keys: Vec<String>,
    /// Numbers of queues that may have room for another job.
    due_queues: Vec<usize>,
    /// Instants at which live executions want to be woken, the earliest first.
    wakes: BTreeSet<(Timestamp, ExecutionId)>,
    /// Workflows whose ends start others.
    followed: FxHashSet<String>,
    /// Executions that changed since the last checkpoint.
    dirty: FxHashSet<ExecutionId>,
    /// What executions share has changed since the last checkpoint.
    shared_dirty: bool,
    /// Executions some segment of the checkpoint holds.
    persisted: FxHashSet<ExecutionId>,
    /// Persisted executions that are not kept since the last checkpoint.
    removed: Vec<ExecutionId>,
    /// Tombstones since the last checkpoint.
    new_tombstones: Vec<ExecutionId>,
    /// Where the prover goes on.
    proved: VecDeque<ExecutionId>,
    floor: u64,
    last_at: Timestamp,
    /// Number of the input of the message at the floor that was folded last.
    folding: u32,
    /// Called before each input that changes something is folded: it may bring down whoever does it.
    #[cfg(feature = "testing")]
    fault: Option<fn(&Input)>,
    counters: Counters,
}

impl PartitionState {
    /// A partition nothing has happened in yet.
    pub fn new(partition: Partition) -> Self {
        Self {
            partition,
            live: FxHashMap::default(),
            live_bytes: 0,
            retained: Retained::default(),
            recent: Recent::default(),
            dispatcher: Dispatcher::new(),
            keys: Keys::default(),
            holds: Vec::new(),
            held: HeldKinds::default(),
            requests: Requests::default(),
            ticket: 0,
            due_keys: Vec::new(),
            due_queues: Vec::new(),
            wakes: BTreeSet::new(),
            followed: FxHashSet::default(),
            dirty: FxHashSet::default(),
            shared_dirty: false,
            persisted: FxHashSet::default(),
            removed: Vec::new(),
            new_tombstones: Vec::new(),
            proved: VecDeque::new(),
            floor: 0,
            last_at: Timestamp::default(),
            folding: 0,
            #[cfg(feature = "testing")]
            fault: None,
            counters: Counters::default(),
        }
    }

    /// Names the workflows whose ends are told by [`Effect::Followed`].
    pub fn follow(&mut self, workflows: impl IntoIterator<Item = String>) {
        self.followed = workflows.into_iter().collect();
    }

    /// Folds one message of the log: `sequence` is its position, `now` its timestamp.
    ///
    /// A message at or below the floor was folded before and changes nothing.
    pub fn fold(
        &mut self,
        sequence: u64,
        now: Timestamp,
        envelope: InputEnvelope,
        definitions: &Definitions,
        effects: &mut Vec<Effect>,
    ) {
        if !self.open(sequence, now) {
            return;
        }
        let mut out = Outbox {
            effects: std::mem::take(effects),
            ..Outbox::default()
        };
        // Nothing, unless the state was loaded by a build that knows larger queues.
        self.flow(now, &mut out);
        for (number, input) in (0..).zip(envelope.inputs) {
            self.fold_next(number, input, definitions, &mut out);
        }
        *effects = out.effects;
    }

    /// Moves the floor to a message. Returns false if it was folded before.
    fn open(&mut self, sequence: u64, now: Timestamp) -> bool {
        if sequence <= self.floor {
            return false;
        }
        self.floor = sequence;
        self.last_at = now;
        self.folding = 0;
        true
    }

    /// Folds one input of the message at the floor.
    fn fold_next(
        &mut self,
        number: u32,
        input: Input,
        definitions: &Definitions,
        out: &mut Outbox,
    ) {
        self.folding = number;
        #[cfg(feature = "testing")]
        if let Some(fault) = self.fault.filter(|_| self.is_awaited(&input)) {
            fault(&input);
        }
        // The owner's clock decides that an instant has come; the log's may be behind it.
        let now = match input.kind {
            InputKind::Wake { due } => self.last_at.max(due),
            _ => self.last_at,
        };
        self.fold_input(input, now, definitions, out);
        self.flow(now, out);
    }

    fn fold_input(
        &mut self,
        input: Input,
        now: Timestamp,
        definitions: &Definitions,
        out: &mut Outbox,
    ) {
        let id = input.execution;
        if let InputKind::Control(control) = &input.kind
            && matches!(
                control.action,
                ControlAction::Hold(_) | ControlAction::Release(_)
            )
        {
            self.hold_or_release(control, now, out);
            return;
        }
        let Some(mut live) = self.take(id) else {
            self.fold_unknown(input, now, definitions, out);
            return;
        };
        if live.stranded && !self.adopt(&mut live, definitions, now, out) {
            self.settle(live, now, out);
            return;
        }
        if let InputKind::Control(control) = &input.kind
            && let Some(outcome) =
                self.control_by_partition(control, &mut live, definitions, now, out)
        {
            let applied = outcome == ControlOutcome::Applied;
            if live.execution.repeated(control).is_none() {
                live.execution.note_request(control, &outcome, now);
                self.dirty.insert(id);
            }
            crate::execution::answer(Some(id), control, outcome, now, out);
            if applied {
                self.settle(live, now, out);
            } else {
                self.replace(live);
            }
            return;
        }
        let had_ended = live.execution.status().is_terminal();
        let applied = self.apply(&mut live, &input.kind, now, out);
        match applied {
            Applied::Changed => {
                if had_ended && let Some(key) = live.execution.key() {
                    let key = key.to_owned();
                    self.keys.hold(&key, id);
                }
                self.settle(live, now, out);
            }
            Applied::Ignored(why) => {
                match why {
                    Ignored::StaleResult => {
                        self.counters.stale_results += 1;
                        // The execution's own count of them has changed, and its end will tell it.
                        self.dirty.insert(id);
                    }
                    // It remembers its answer.
                    Ignored::Wish => {
                        self.dirty.insert(id);
                    }
                    Ignored::DuplicateStart => self.counters.duplicate_starts += 1,
                    Ignored::Late => {}
                    // The prover has it woken where it is halted and nothing wishes that.
                    Ignored::EarlyWake if live.execution.is_halted() => {
                        self.settle(live, now, out);
                        return;
                    }
                    Ignored::EarlyWake => {}
                }
                self.replace(live);
            }
        }
    }

    fn apply(
        &self,
        live: &mut Live,
        input: &InputKind,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Applied {
        live.execution.apply(
            input,
            &mut Cx {
                workflow: &live.workflow,
                partition: self.partition,
                now,
                held: self.held,
                out,
            },
        )
    }

    /// An input for an execution that is neither live nor kept.
    fn fold_unknown(
        &mut self,
        input: Input,
        now: Timestamp,
        definitions: &Definitions,
        out: &mut Outbox,
    ) {
        let id = input.execution;
        match input.kind {
            InputKind::Start(_) if self.recent.has_ended(id) => self.counters.duplicate_starts += 1,
            InputKind::Start(start) => self.start(id, *start, definitions, now, out),
            InputKind::JobResult(_) | InputKind::ChildResolved(_) | InputKind::ChildEnded(_) => {
                self.counters.stale_results += 1;
            }
            InputKind::Control(control) => {
                self.counters.unknown += 1;
                let refusal = match self.recent.status(id) {
                    Some(status) => ControlOutcome::refused(
                        "execution.ended",
                        format!("the execution has ended: it is {}", status.as_str()),
                    ),
                    None => ControlOutcome::refused(
                        "execution.not_live",
                        "no live execution has this id: it has ended, or never was",
                    ),
                };
                crate::execution::answer(Some(id), &control, refusal, now, out);
            }
            InputKind::Cancel(_) | InputKind::Wake { .. } => self.counters.unknown += 1,
        }
    }

    /// Wishes about one execution that need to know more than it does: what came of this one, or
    /// `None` if it is for the execution.
    fn control_by_partition(
        &self,
        control: &Control,
        live: &mut Live,
        definitions: &Definitions,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Option<ControlOutcome> {
        match &control.action {
            ControlAction::Move { to } => Some(match live.execution.repeated(control) {
                Some(outcome) => outcome,
                None if live.execution.workflow() == to => ControlOutcome::Unchanged,
                None => self.move_version(control, live, definitions.get(&to.hash), now, out),
            }),
            // A failed execution gave its key back; others may have it now.
            ControlAction::Retry { .. }
                if live.execution.status().is_terminal()
                    && live.execution.repeated(control).is_none() =>
            {
                self.key_taken(live)
            }
            _ => None,
        }
    }

    fn move_version(
        &self,
        control: &Control,
        live: &mut Live,
        to: Option<&Arc<Workflow>>,
        now: Timestamp,
        out: &mut Outbox,
    ) -> ControlOutcome {
        let ControlAction::Move { to: reference } = &control.action else {
            return ControlOutcome::Unchanged;
        };
        let Some(to) = to else {
            return ControlOutcome::refused(
                "definition.missing",
                format!(
                    "version {} of `{}` is not stored",
                    reference.version, reference.name
                ),
            );
        };
        if let Some(why) = live.execution.misfit(&live.workflow, to) {
            return ControlOutcome::refused("version.misfit", why);
        }
        live.workflow = Arc::clone(to);
        let mut cx = Cx {
            workflow: to,
            partition: self.partition,
            now,
            held: self.held,
            out,
        };
        live.execution.move_to(reference, &control.by, &mut cx);
        ControlOutcome::Applied
    }

    /// Takes an execution out, with its wish to be woken.
    fn take(&mut self, id: ExecutionId) -> Option<Live> {
        let Some(mut live) = self.live.remove(&id) else {
            return self.retained.take(id);
        };
        self.live_bytes -= live.counted_bytes;
        if let Some(at) = live.wake.take() {
            self.wakes.remove(&(at, id));
        }
        Some(live)
    }

    /// Puts an execution back that did not change.
    fn replace(&mut self, live: Live) {
        if live.execution.status().is_terminal() {
            self.retained.put(live);
        } else {
            self.keep(live);
        }
    }

    /// Puts a changed execution back, or away if it has ended; gives its units what they ask for.
    fn settle(&mut self, mut live: Live, now: Timestamp, out: &mut Outbox) {
        self.sync_halt(&mut live, now, out);
        self.give_places(&mut live, now, out);
        let id = live.execution.id();
        if live.execution.status().is_terminal() {
            self.counters.ended += 1;
            self.bury(live, out);
        } else {
            self.dirty.insert(id);
            if live.execution.queued().is_some()
                && let Some(key) = live.execution.key()
            {
                self.due_keys.push(key.to_owned());
            }
            self.keep(live);
        }
    }

    /// Gives units that ask for a place in a queue one, or a place among those that wait.
    fn give_places(&mut self, live: &mut Live, now: Timestamp, out: &mut Outbox) {
        for (queue, turn) in std::mem::take(&mut out.left) {
            self.dispatcher
                .leave(queue, live.execution.priority(), turn);
        }
        for queue in std::mem::take(&mut out.freed) {
            self.due_queues.extend(self.dispatcher.free(queue));
        }
        for ready in std::mem::take(&mut out.ready) {
            let place = !live.execution.is_halted() && self.due_queues.is_empty();
            if place && self.dispatcher.try_take(ready.queue, self.held) {
                let mut cx = Cx {
                    workflow: &live.workflow,
                    partition: self.partition,
                    now,
                    held: self.held,
                    out,
                };
                if !live.execution.dispatch(ready.step, ready.item, &mut cx) {
                    let number = self.dispatcher.number(ready.queue);
                    self.dispatcher.give_back(number);
                }
                continue;
            }
            self.ticket += 1;
            self.shared_dirty = true;
            let (share, priority) = (live.execution.share(), live.execution.priority());
            let tag = self.dispatcher.join(ready, share, priority, self.ticket);
            live.execution.set_turn(ready, tag, self.ticket);
            self.due_queues.push(self.dispatcher.number(ready.queue));
        }
    }

    /// Lets everything go on for which there is room now, until there is no more.
    fn flow(&mut self, now: Timestamp, out: &mut Outbox) {
        loop {
            if let Some(number) = self.due_queues.pop() {
                while let Some(ready) = self.dispatcher.next(number, self.held) {
                    self.shared_dirty = true;
                    let dispatched = self.dispatch(ready, now, out);
                    if !dispatched {
                        self.dispatcher.give_back(number);
                    }
                }
            } else if let Some(key) = self.due_keys.pop() {
                self.admit(&key, now, out);
            } else {
                return;
            }
        }
    }

    fn dispatch(
        &mut self,
        ready: crate::execution::Ready,
        now: Timestamp,
        out: &mut Outbox,
    ) -> bool {
        let Some(mut live) = self.take(ready.execution) else {
            return false;
        };
        let mut cx = Cx {
            workflow: &live.workflow,
            partition: self.partition,
            now,
            held: self.held,
            out,
        };
        let dispatched = live.execution.dispatch(ready.step, ready.item, &mut cx);
        self.dirty.insert(ready.execution);
        self.replace(live);
        dispatched
    }

    /// Puts away an execution that has ended.
    fn bury(&mut self, live: Live, out: &mut Outbox) {
        let id = live.execution.id();
        self.leave_key(&live);
        if self.followed.contains(&live.execution.workflow().name) {
            let ended = Box::new(live.execution.ended());
            out.effects.push(Effect::Followed(ended));
        }
        if is_resubmittable(id) && self.recent.bury(id) {
            self.new_tombstones.push(id);
        }
        if live.execution.is_retriable(&live.workflow) {
            self.dirty.insert(id);
            for forgotten in self.retained.put(live) {
                self.forget(forgotten.execution.id());
                self.recent
                    .push(*forgotten.execution, Some(forgotten.workflow));
            }
            return;
        }
        self.forget(id);
        let workflow = (!live.stranded).then_some(live.workflow);
        self.recent.push(*live.execution, workflow);
    }

    /// The checkpoint need not hold it any more.
    fn forget(&mut self, id: ExecutionId) {
        self.dirty.remove(&id);
        if self.persisted.remove(&id) {
            self.removed.push(id);
        }
    }

    fn keep(&mut self, mut live: Live) {
        let id = live.execution.id();
        live.wake = if live.stranded {
            // Whoever folds it next asks for its definition again.
            Some(Timestamp::default())
        } else {
            live.execution.next_wake()
        };
        if let Some(at) = live.wake {
            self.wakes.insert((at, id));
        }
        self.put(live);
    }

    fn put(&mut self, mut live: Live) {
        live.counted_bytes = live.input_bytes + live.execution.bytes();
        self.live_bytes += live.counted_bytes;
        self.live.insert(live.execution.id(), live);
    }

    /// Takes at most `limit` executions that want to be woken at or before `now`, with the instant
    /// each waited for. The shell publishes a wake for each; folding that wake, or any other input
    /// of the execution, arms its next one. If publishing fails, [`Self::rearm`].
    pub fn take_due(&mut self, now: Timestamp, limit: usize) -> Vec<(ExecutionId, Timestamp)> {
        let mut due = Vec::new();
        while due.len() < limit {
            match self.wakes.first().copied() {
                Some((at, id)) if at <= now => {
                    self.wakes.pop_first();
                    if let Some(live) = self.live.get_mut(&id) {
                        live.wake = None;
                    }
                    due.push((id, at));
                }
                _ => break,
            }
        }
        due
    }

    /// Arms the wake of an execution again after a wake could not be published.
    pub fn rearm(&mut self, id: ExecutionId) {
        if let Some(live) = self.take(id) {
            self.replace(live);
        }
    }

    /// The earliest instant at which an execution wants to be woken.
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// Jobs that were dispatched and not answered, as they were dispatched.
    pub fn outstanding_jobs(&self) -> impl Iterator<Item = Job> + '_ {
        self.live
            .values()
            .filter(|live| !live.stranded)
            .flat_map(|live| {
                live.execution
                    .outstanding_jobs(&live.workflow, self.partition)
            })
    }

    /// Questions to the owner that were asked and not answered: asked again after a restart.
    pub fn outstanding_resolutions(&self) -> Vec<Effect> {
        let mut out = Outbox::default();
        for live in self.live.values().filter(|live| !live.stranded) {
            live.execution.repeat_resolutions(&mut Cx {
                workflow: &live.workflow,
                partition: self.partition,
                now: self.last_at,
                held: self.held,
                out: &mut out,
            });
        }
        out.effects
    }

    /// The definition an execution lacks, if it lacks one: load it before folding its next input.
    pub fn stranded(&self, id: ExecutionId) -> Option<DefinitionHash> {
        let live = self.live.get(&id)?;
        live.stranded.then(|| live.execution.workflow().hash)
    }

    /// The log lost what came after `end`: whatever comes at positions behind it is new. What was folded
    /// of it stays folded, for its effects are out.
    pub fn rewind(&mut self, end: u64) {
        self.floor = self.floor.min(end);
    }

    /// Position of the last folded message of the log.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// How many executions are live.
    pub fn live(&self) -> usize {
        self.live.len()
    }

    /// Roughly how many bytes the live executions hold.
    pub fn live_bytes(&self) -> usize {
        self.live_bytes
    }

    /// How many units wait for a place in a queue.
    pub fn waiting(&self) -> usize {
        self.dispatcher.waiting()
    }

    /// What happened since the partition was loaded.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What is held.
    pub fn holds(&self) -> &[HoldView] {
        &self.holds
    }

    /// One execution, if it is live or ended recently.
    pub fn show(&self, id: ExecutionId) -> Option<ExecutionView> {
        match self.live.get(&id).or_else(|| self.retained.get(id)) {
            Some(live) => Some(live.execution.view(Some(&live.workflow))),
            None => self.recent.show(id),
        }
    }
}

/// Ids that are derived from a key can be submitted again long after their execution ended; drawn
/// ones cannot.
fn is_resubmittable(id: ExecutionId) -> bool {
    id.as_uuid().get_version_num() == 5
}
