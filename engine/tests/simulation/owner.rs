//! The shell around the engine, as the orchestrator's owner of a partition is: claim, load, replay; then
//! ticks, wakes, questions, checkpoints. Each thing it does is one event, so that it can die, or another
//! one take over, between any two of them.

use std::collections::VecDeque;

use afu9_engine::checkpoint::Segment;
use afu9_engine::{Effect, PartitionState, ResolveChild};
use afu9_schemas::message::{
    ChildResolved, ChildStart, Input, InputEnvelope, InputKind, Parent, Start, Trigger, TriggerKind,
};
use afu9_schemas::{ErrorClass, ExecutionId, Partition, StepError, Timestamp};

use crate::broker::{Head, Message};
use crate::checker::Violation;
use crate::lawful;
use crate::sabotage::{self, Sabotage};
use crate::workflows::{FOLLOWED, FOLLOWER, catalogue};
use crate::world::World;

/// Whether an owner goes on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Lives,
    Ends,
}

/// One owner of one partition.
pub(crate) struct Owner {
    pub(crate) id: u64,
    pub(crate) partition: Partition,
    pub(crate) state: PartitionState,
    epoch: u64,
    head: Head,
    revision: u64,
    /// What it has read, and not folded.
    fetched: Vec<Message>,
    position: u64,
    /// Up to here it replays what another one has seen.
    replayed_to: u64,
    /// Effects of the tick that are not published yet, with the id of their message.
    pending: Vec<(u64, Effect)>,
    writing: Option<Writing>,
    /// Wakes on their way.
    waking: Vec<(u64, Vec<Input>)>,
    /// What steps want to run, and was not looked up.
    questions: Vec<ResolveChild>,
    /// Its answers on their way.
    found: VecDeque<(u64, Input)>,
    /// It has heard that the server restarted.
    pub(crate) must_repeat: bool,
    /// The server process that has every job it waits for.
    server: u64,
    /// Another one has claimed its partition; it goes on for so many events.
    pub(crate) stale_for: Option<u32>,
    /// Its clock, against that of the log.
    skew_micros: i64,
}

/// A checkpoint on its way.
struct Writing {
    segment: Segment,
    id: u64,
    full: bool,
    floor: u64,
    server: u64,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Segment,
    Head,
    Drop { revision: u64 },
}

impl Owner {
    /// Claims the partition, and begins with its checkpoint.
    pub(crate) fn load(world: &mut World, partition: Partition) -> Result<Self, Violation> {
        let id = world.next_id();
        let store = &mut world.checkpoints[usize::from(partition.get())];
        let mut head = store.head.clone();
        head.owner = id;
        head.epoch += 1;
        let revision = store.overwrite(head.clone());
        let mut segments = Vec::new();
        for name in &head.segments {
            let Some(segment) = store.get(*name) else {
                return Err(Violation::new(format!(
                    "segment {name} of {partition} is gone"
                )));
            };
            segments.push(segment);
        }
        store.sweep();
        if world.sabotage == Some(Sabotage::ResetAttempts) {
            segments = segments.iter().map(sabotage::without_attempts).collect();
        }
        let definitions = &catalogue().definitions;
        let mut state = PartitionState::restore(partition, head.floor, segments, definitions);
        state.follow([FOLLOWED.to_owned()]);
        let mut questions = Vec::new();
        if world.sabotage != Some(Sabotage::ForgetQuestions) {
            for effect in state.outstanding_resolutions() {
                if let Effect::Resolve(question) = effect {
                    questions.push(*question);
                }
            }
        }
        let last = world.log(partition).last();
        world.tell(|| {
            format!(
                "owner {id} claims {partition} at {}, the log ends at {last}; live: {}",
                head.floor,
                state.live()
            )
        });
        world.stats.replayed += last - head.floor;
        Ok(Self {
            id,
            partition,
            state,
            epoch: head.epoch,
            must_repeat: head.server != world.server,
            server: head.server,
            position: head.floor,
            replayed_to: last,
            head,
            revision,
            fetched: Vec::new(),
            pending: Vec::new(),
            writing: None,
            waking: Vec::new(),
            questions,
            found: VecDeque::new(),
            stale_for: None,
            skew_micros: world.dice.roll(400_000) as i64 - 200_000,
        })
    }

    fn clock(&self, world: &World) -> Timestamp {
        Timestamp::from_micros(world.now.as_micros() + self.skew_micros)
    }

    /// Whether it has anything to do now.
    pub(crate) fn is_busy(&self, world: &World) -> bool {
        !(self.pending.is_empty()
            && self.fetched.is_empty()
            && self.waking.is_empty()
            && self.questions.is_empty()
            && self.found.is_empty())
            || self.must_repeat
            || world.log(self.partition).next(self.position).is_some()
            || self.next_wake().is_some_and(|at| at <= world.now)
    }

    /// When it wants to wake somebody, by the log's clock.
    pub(crate) fn next_wake(&self) -> Option<Timestamp> {
        let at = self.state.next_wake()?;
        Some(Timestamp::from_micros(
            at.as_micros().saturating_sub(self.skew_micros),
        ))
    }

    /// One event.
    pub(crate) fn act(&mut self, world: &mut World) -> Result<Fate, Violation> {
        if let Some(patience) = &mut self.stale_for {
            if *patience == 0 {
                return Ok(Fate::Ends);
            }
            *patience -= 1;
        }
        match world.dice.roll(16) {
            0..=6 if !self.pending.is_empty() => self.publish(world),
            0..=6 if !self.fetched.is_empty() => self.fold(world),
            0..=6 => {
                self.fetch(world);
                Ok(Fate::Lives)
            }
            7 => {
                self.wake(world);
                Ok(Fate::Lives)
            }
            8 | 9 => self.publish_wakes(world),
            10 | 11 => self.answer_questions(world),
            12 => {
                if self.pending.is_empty()
                    || world.sabotage == Some(Sabotage::CheckpointBeforePublish)
                {
                    self.begin_checkpoint(world);
                }
                Ok(Fate::Lives)
            }
            13 | 14 => self.go_on_writing(world),
            _ => {
                self.repeat(world);
                Ok(Fate::Lives)
            }
        }
    }

    fn fetch(&mut self, world: &mut World) {
        // A stale owner's lease has run out before its successor drops anything: it never sees a gap.
        if self.stale_for.is_some() && world.log(self.partition).dropped > self.position {
            return;
        }
        let most = 1 + world.dice.roll(8);
        while self.fetched.len() < most {
            let Some(message) = world.log(self.partition).next(self.position) else {
                break;
            };
            self.position = message.sequence;
            self.fetched.push(message.clone());
        }
        if world.sabotage == Some(Sabotage::SkipMessages) && self.fetched.len() > 1 {
            self.fetched.remove(0);
        }
    }

    /// The deciding part of a tick.
    fn fold(&mut self, world: &mut World) -> Result<Fate, Violation> {
        let mut effects = Vec::new();
        for message in std::mem::take(&mut self.fetched) {
            let at = if world.sabotage == Some(Sabotage::OwnClock) {
                self.clock(world)
            } else {
                message.at
            };
            world.tell(|| {
                format!(
                    "owner {} folds {}: {:?}",
                    self.id, message.sequence, message.envelope
                )
            });
            self.state.fold(
                message.sequence,
                at,
                message.envelope,
                &catalogue().definitions,
                &mut effects,
            );
        }
        world.stats.waited += self.state.waiting() as u64;
        if world.dice.once_in(4) {
            lawful::everything_live_has_a_cause(&mut self.state);
        }
        let replays = self.position <= self.replayed_to;
        for mut effect in effects {
            if let (Effect::Dispatch(job), true, Some(Sabotage::RandomJobIds)) =
                (&mut effect, replays, world.sabotage)
            {
                job.id.attempt += 1000 + u32::try_from(world.next_id()).unwrap_or(0);
            }
            world.tell(|| format!("  gives {effect:?}"));
            self.pending.push((world.next_id(), effect));
        }
        Ok(Fate::Lives)
    }

    /// One effect, in any order but that of inputs for the same log.
    fn publish(&mut self, world: &mut World) -> Result<Fate, Violation> {
        let mut at = world.dice.roll(self.pending.len());
        if let Some(to) = target(world, &self.pending[at].1) {
            let first = |(_, effect): &(u64, Effect)| target(world, effect) == Some(to);
            at = self.pending.iter().position(first).unwrap_or(at);
        }
        let (id, effect) = self.pending[at].clone();
        let acknowledged = world.publish_effect(self.partition, id, &effect)?;
        if let Effect::Resolve(question) = effect {
            self.questions.push(*question);
        }
        if acknowledged || world.sabotage == Some(Sabotage::TrustSilence) {
            self.pending.remove(at);
        }
        Ok(Fate::Lives)
    }

    fn wake(&mut self, world: &mut World) {
        if !self.pending.is_empty() {
            return;
        }
        let due = self
            .state
            .take_due(self.clock(world), 1 + world.dice.roll(20));
        if !due.is_empty() {
            let wakes = due
                .into_iter()
                .map(|(execution, due)| crate::inputs::wake(execution, due))
                .collect();
            self.waking.push((world.next_id(), wakes));
        }
    }

    fn publish_wakes(&mut self, world: &mut World) -> Result<Fate, Violation> {
        if let Some((id, wakes)) = world.dice.take(&mut self.waking) {
            let envelope = InputEnvelope {
                inputs: wakes.clone(),
            };
            let acknowledged = world.publish(self.partition, id, true, envelope);
            if !acknowledged && world.sabotage != Some(Sabotage::ForgetWakes) {
                for wake in wakes {
                    self.state.rearm(wake.execution);
                }
            }
        }
        Ok(Fate::Lives)
    }

    /// Looks up what a step wants to run, or publishes what was found.
    fn answer_questions(&mut self, world: &mut World) -> Result<Fate, Violation> {
        if world.dice.once_in(2)
            && let Some(question) = world.dice.take(&mut self.questions)
        {
            let found = find(world, &question);
            self.found.push_back((world.next_id(), found));
        } else if let Some((id, input)) = self.found.front().cloned() {
            let envelope = InputEnvelope {
                inputs: vec![input],
            };
            if world.publish(self.partition, id, true, envelope) {
                self.found.pop_front();
            }
        }
        Ok(Fate::Lives)
    }

    fn begin_checkpoint(&mut self, world: &mut World) {
        if self.writing.is_some()
            || (!self.state.is_dirty() && self.state.floor() == self.head.floor)
        {
            return;
        }
        let full = self.head.segments.len() >= 4 || world.dice.once_in(6);
        let mut segment = if full {
            self.state.take_full()
        } else {
            self.state.take_delta()
        };
        match world.sabotage {
            Some(Sabotage::ForgetTombstones) => segment.tombstones.clear(),
            Some(Sabotage::ForgetShared) => segment.shared = None,
            _ => {}
        }
        let floor = self.state.floor();
        world.tell(|| {
            format!(
                "owner {} begins a checkpoint at {floor}, full: {full}",
                self.id
            )
        });
        if world.sabotage == Some(Sabotage::TruncateEarly) {
            world.log_mut(self.partition).drop_to(floor);
        }
        self.writing = Some(Writing {
            segment,
            id: world.next_id(),
            full,
            floor,
            // Not the one that answers now: should it have lost jobs, a successor must see that.
            server: self.server,
            stage: Stage::Segment,
        });
    }

    fn go_on_writing(&mut self, world: &mut World) -> Result<Fate, Violation> {
        let Some(mut writing) = self.writing.take() else {
            return Ok(Fate::Lives);
        };
        match writing.stage {
            Stage::Segment => {
                let as_bytes = world.seed.is_multiple_of(4);
                let store = world.checkpoint_store(self.partition);
                store.put(writing.id, &writing.segment, as_bytes);
                writing.stage = Stage::Head;
                self.writing = Some(writing);
            }
            Stage::Head => return self.write_head(writing, world),
            Stage::Drop { revision } => {
                let head = self.next_head(&writing);
                world.log_mut(self.partition).drop_to(writing.floor);
                // What is not named by the head it has just written.
                if world.checkpoint_store(self.partition).revision == revision {
                    world.checkpoint_store(self.partition).sweep();
                }
                self.head = head;
                self.revision = revision;
                world.stats.checkpoints += 1;
            }
        }
        Ok(Fate::Lives)
    }

    fn next_head(&self, writing: &Writing) -> Head {
        let mut segments = if writing.full {
            Vec::new()
        } else {
            self.head.segments.clone()
        };
        segments.push(writing.id);
        Head {
            owner: self.id,
            epoch: self.epoch,
            floor: writing.floor,
            segments,
            server: writing.server,
        }
    }

    fn write_head(&mut self, mut writing: Writing, world: &mut World) -> Result<Fate, Violation> {
        let head = self.next_head(&writing);
        let (refused, silent) = (world.fault(12), world.fault(8));
        let fenced = world.sabotage != Some(Sabotage::SkipFencing);
        let expected = self.revision;
        let store = world.checkpoint_store(self.partition);
        if refused {
            // Nothing of it counts: the next one holds it.
            if world.sabotage != Some(Sabotage::DropFailedDelta) {
                self.state.put_back(writing.segment);
            }
            return Ok(Fate::Lives);
        }
        let stored = if fenced {
            store.swap(head.clone(), expected)
        } else {
            Some(store.overwrite(head.clone()))
        };
        // An owner that hears nothing reads back what became of it.
        let read_back = (silent && store.head == head).then_some(store.revision);
        match stored.or(read_back) {
            Some(revision) => {
                writing.stage = Stage::Drop { revision };
                self.writing = Some(writing);
                Ok(Fate::Lives)
            }
            None => {
                world.stats.fenced += 1;
                world.tell(|| format!("owner {} is fenced", self.id));
                Ok(Fate::Ends)
            }
        }
    }

    /// After a restart of the server: everything that is still awaited is published again.
    fn repeat(&mut self, world: &mut World) {
        if !self.must_repeat || !self.pending.is_empty() {
            return;
        }
        self.must_repeat = false;
        self.server = world.server;
        if world.sabotage == Some(Sabotage::LeaveLostJobs) {
            return;
        }
        let jobs: Vec<_> = self.state.outstanding_jobs().collect();
        world.stats.repeated += jobs.len() as u64;
        for job in jobs {
            self.pending
                .push((world.next_id(), Effect::Dispatch(Box::new(job))));
        }
    }
}

/// The log an effect is written into.
fn target(world: &World, effect: &Effect) -> Option<Partition> {
    match effect {
        Effect::Submit(input) => Some(world.partitions.of(input.execution)),
        Effect::Followed(ended) => {
            Some(world.partitions.of(follower_of(ended.execution, ended.at)))
        }
        _ => None,
    }
}

fn follower_of(upstream: ExecutionId, ended_at: Timestamp) -> ExecutionId {
    ExecutionId::derived(&format!("{upstream} ended {}", ended_at.as_micros()))
}

/// What an end starts.
pub(crate) fn follower(world: &World, ended: &afu9_engine::Ended) -> Input {
    let mut start = world.submission(FOLLOWER, serde_json::json!({}));
    start.trigger.kind = TriggerKind::Workflow;
    Input {
        execution: follower_of(ended.execution, ended.at),
        kind: InputKind::Start(Box::new(start)),
    }
}

/// Looks up the workflow that a step wants to run.
fn find(world: &World, question: &ResolveChild) -> Input {
    let child = match catalogue().version(&question.workflow, world.newest) {
        None => Err(StepError::new(
            ErrorClass::Permanent,
            "child.unknown",
            format!("there is no workflow `{}`", question.workflow),
        )),
        Some(_) => Ok(Box::new(child_of(world, question))),
    };
    Input {
        execution: question.parent,
        kind: InputKind::ChildResolved(Box::new(ChildResolved {
            step: question.step,
            item: question.item,
            attempt: question.attempt,
            child,
        })),
    }
}

fn child_of(world: &World, question: &ResolveChild) -> ChildStart {
    let start = world.submission(&question.workflow, question.input.clone());
    let name = format!(
        "{} {} {:?} {}",
        question.parent, question.step, question.item, question.attempt
    );
    let execution = match &start.key {
        Some(key) => {
            let partition = world.partitions.of_key(key);
            ExecutionId::derived_in(&name, partition, world.partitions)
        }
        None => ExecutionId::derived(&name),
    };
    ChildStart {
        execution,
        start: Start {
            trigger: Trigger {
                kind: TriggerKind::Child,
                initiator: Some(question.initiator.clone()),
                ..start.trigger.clone()
            },
            lane: question.lane,
            priority: question.priority,
            parent: Some(Parent {
                execution: question.parent,
                step: question.step,
                item: question.item,
                attempt: question.attempt,
                waits: question.waits,
                depth: question.depth,
            }),
            ..start
        },
    }
}
