//! Everything there is in a run, and what happens next.

use std::time::Duration;

use afu9_engine::Effect;
use afu9_schemas::message::{Input, InputEnvelope, InputKind, Start};
use afu9_schemas::{Partition, PartitionCount, Timestamp};
use serde_json::Value;

use crate::broker::{Checkpoints, Log, WorkQueue};
use crate::checker::{Published, Violation};
use crate::dice::Dice;
use crate::inputs;
use crate::owner::{self, Fate, Owner};
use crate::people::People;
use crate::sabotage::Sabotage;
use crate::worker::Workers;
use crate::workflows::catalogue;

/// Where the clock begins.
const BEGIN: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

/// Events after which a run that should have come to rest does not come to rest.
const MAX_EVENTS: usize = 400_000;

/// What waits for longer than this, once nothing else happens, waits for people.
const PATIENCE: Duration = Duration::from_secs(2 * 24 * 3600);

/// What happened in a run: a run in which nothing did proves nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stats {
    pub(crate) events: u64,
    pub(crate) inputs: u64,
    pub(crate) replayed: u64,
    pub(crate) crashes: u64,
    pub(crate) takeovers: u64,
    pub(crate) fenced: u64,
    pub(crate) checkpoints: u64,
    pub(crate) restarts: u64,
    pub(crate) redelivered: u64,
    pub(crate) repeated: u64,
    pub(crate) cancelled_jobs: u64,
    pub(crate) stale_results: u64,
    pub(crate) duplicate_starts: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
    pub(crate) compensated: u64,
    pub(crate) reopened: u64,
    pub(crate) letters_replayed: u64,
    pub(crate) children: u64,
    pub(crate) queued: u64,
    pub(crate) waited: u64,
}

impl std::ops::AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.inputs += other.inputs;
        self.replayed += other.replayed;
        self.crashes += other.crashes;
        self.takeovers += other.takeovers;
        self.fenced += other.fenced;
        self.checkpoints += other.checkpoints;
        self.restarts += other.restarts;
        self.redelivered += other.redelivered;
        self.repeated += other.repeated;
        self.cancelled_jobs += other.cancelled_jobs;
        self.stale_results += other.stale_results;
        self.duplicate_starts += other.duplicate_starts;
        self.completed += other.completed;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        self.compensated += other.compensated;
        self.reopened += other.reopened;
        self.letters_replayed += other.letters_replayed;
        self.children += other.children;
        self.queued += other.queued;
        self.waited += other.waited;
    }
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) dice: Dice,
    pub(crate) sabotage: Option<Sabotage>,
    pub(crate) now: Timestamp,
    pub(crate) partitions: PartitionCount,
    logs: Vec<Log>,
    pub(crate) checkpoints: Vec<Checkpoints>,
    pub(crate) queue: WorkQueue,
    /// Which server process it is.
    pub(crate) server: u64,
    /// The newest version that a lookup finds.
    pub(crate) newest: usize,
    pub(crate) published: Published,
    pub(crate) stats: Stats,
    /// What happened, if somebody wants to read it.
    pub(crate) trace: Option<Vec<String>>,
    has_faults: bool,
    /// Somebody dies, or the server restarts, in one of so many events.
    calm: usize,
    last_id: u64,
}

/// The players, apart from the world they play in.
pub(crate) struct Run {
    pub(crate) world: World,
    pub(crate) owners: Vec<Owner>,
    pub(crate) workers: Workers,
    pub(crate) people: People,
}

impl World {
    fn new(seed: u64, sabotage: Option<Sabotage>, trace: bool) -> Self {
        let mut dice = Dice::new(seed);
        let count = [1, 2, 3][dice.roll(3)];
        let calm = dice.roll(4);
        Self {
            seed,
            dice,
            sabotage,
            now: BEGIN,
            partitions: PartitionCount::new(count).expect("in range"),
            logs: (0..count).map(|_| Log::default()).collect(),
            checkpoints: (0..count).map(|_| Checkpoints::default()).collect(),
            queue: WorkQueue::default(),
            server: 0,
            newest: 1,
            published: Published::default(),
            stats: Stats::default(),
            trace: trace.then(Vec::new),
            has_faults: true,
            calm: [20, 60, 200, 600][calm],
            last_id: 0,
        }
    }

    pub(crate) fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let after = self.now.since(BEGIN).as_secs_f64();
            trace.push(format!("{after:10.4} {}", what()));
        }
    }

    pub(crate) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Something goes wrong in one of `times` cases, as long as anything does.
    pub(crate) fn fault(&mut self, times: usize) -> bool {
        self.has_faults && self.dice.once_in(times)
    }

    pub(crate) fn log(&self, partition: Partition) -> &Log {
        &self.logs[usize::from(partition.get())]
    }

    pub(crate) fn log_mut(&mut self, partition: Partition) -> &mut Log {
        &mut self.logs[usize::from(partition.get())]
    }

    pub(crate) fn checkpoint_store(&mut self, partition: Partition) -> &mut Checkpoints {
        &mut self.checkpoints[usize::from(partition.get())]
    }

    /// A submission of the newest version of a workflow.
    pub(crate) fn submission(&self, name: &str, input: Value) -> Start {
        let found = catalogue().version(name, self.newest);
        let (reference, workflow) = found.expect("it is defined");
        inputs::submission(workflow, reference, input)
    }

    /// Writes a message into a log. Returns whether that was acknowledged: it may be stored all the same,
    /// and its publisher repeats it.
    pub(crate) fn publish(
        &mut self,
        partition: Partition,
        id: u64,
        is_repeatable: bool,
        envelope: InputEnvelope,
    ) -> bool {
        if self.fault(25) {
            return false;
        }
        let now = self.now;
        let id = id.to_string();
        self.log_mut(partition).append(&id, now, envelope);
        if self.fault(12) {
            if is_repeatable && self.dice.once_in(3) {
                self.log_mut(partition).forget(&id);
            }
            return false;
        }
        true
    }

    /// Carries an effect out. Returns whether that was acknowledged.
    pub(crate) fn publish_effect(
        &mut self,
        partition: Partition,
        id: u64,
        effect: &Effect,
    ) -> Result<bool, Violation> {
        if self.fault(25) {
            return Ok(false);
        }
        self.published.note(partition, effect)?;
        let input = match effect {
            Effect::Dispatch(job) => {
                self.queue.append((**job).clone());
                None
            }
            Effect::Submit(input) => Some((**input).clone()),
            Effect::Followed(ended) => Some(owner::follower(self, ended)),
            _ => None,
        };
        if let Some(input) = input {
            let target = self.partitions.of(input.execution);
            let envelope = InputEnvelope {
                inputs: vec![input],
            };
            return Ok(self.publish(target, id, true, envelope));
        }
        Ok(!self.fault(15))
    }
}

impl Run {
    pub(crate) fn new(seed: u64, sabotage: Option<Sabotage>, trace: bool) -> Self {
        Self {
            world: World::new(seed, sabotage, trace),
            owners: Vec::new(),
            workers: Workers::default(),
            people: People::default(),
        }
    }

    /// Everything goes wrong for a while; then nothing does, and it has to come to rest.
    pub(crate) fn play(&mut self) -> Result<(), Violation> {
        let starts = 3 + self.world.dice.roll(12);
        let events = 500 + self.world.dice.roll(3000);
        for event in 0..events {
            if event % (events / starts).max(1) == 0 {
                self.people.start(&mut self.world);
            }
            self.happen()?;
        }
        self.world.has_faults = false;
        self.world.tell(|| "no more faults".to_owned());
        self.people.let_go(&mut self.world);
        self.come_to_rest()
    }

    /// One thing that can happen.
    fn happen(&mut self) -> Result<(), Violation> {
        let world = &mut self.world;
        world.stats.events += 1;
        world.now = world
            .now
            .plus(Duration::from_micros(world.dice.roll(3000) as u64));
        match world.dice.roll(100) {
            0..=54 => self.an_owner()?,
            55..=77 => {
                self.workers.act(&mut self.world);
            }
            78..=85 => self.people.deliver(&mut self.world),
            86..=89 => self.people.act(&mut self.world),
            90..=92 => self.a_partition_without_owner()?,
            93 => self.time_passes(),
            _ => {}
        }
        if self.world.dice.once_in(self.world.calm) {
            self.a_fault()?;
        }
        self.hear_notices();
        Ok(())
    }

    fn an_owner(&mut self) -> Result<(), Violation> {
        if self.owners.is_empty() {
            return Ok(());
        }
        let at = self.world.dice.roll(self.owners.len());
        let mut owner = self.owners.remove(at);
        if owner.act(&mut self.world)? == Fate::Lives {
            self.owners.push(owner);
        }
        Ok(())
    }

    /// What owners announce reaches the workers, or does not: nobody stores it.
    fn hear_notices(&mut self) {
        for notice in std::mem::take(&mut self.world.published.notices) {
            if !self.world.fault(3) {
                self.workers.notices.push(notice);
            }
        }
    }

    fn active(&self, partition: Partition) -> Option<usize> {
        let mut owners = self.owners.iter();
        owners.position(|owner| owner.partition == partition && owner.stale_for.is_none())
    }

    /// Somebody begins to own what nobody owns.
    fn a_partition_without_owner(&mut self) -> Result<(), Violation> {
        for partition in self.world.partitions.all() {
            if self.active(partition).is_none() {
                let owner = Owner::load(&mut self.world, partition)?;
                self.owners.push(owner);
                return Ok(());
            }
        }
        Ok(())
    }

    fn time_passes(&mut self) {
        let millis = [20, 100, 500, 2000][self.world.dice.roll(4)];
        self.world.now = self.world.now.plus(Duration::from_millis(millis));
    }

    fn a_fault(&mut self) -> Result<(), Violation> {
        let count = usize::from(self.world.partitions.get());
        let number = u16::try_from(self.world.dice.roll(count)).expect("few");
        let partition = Partition::new(number);
        match self.world.dice.roll(8) {
            0..=2 => {
                if let Some(at) = self.active(partition) {
                    let dead = self.owners.remove(at);
                    self.world.stats.crashes += 1;
                    self.world
                        .tell(|| format!("owner {} of {partition} dies", dead.id));
                }
            }
            3..=5 => {
                // The lease of one that is frozen or cut off runs out; it does not know yet.
                let patience = u32::try_from(self.world.dice.roll(60)).expect("few");
                if let Some(at) = self.active(partition) {
                    self.owners[at].stale_for = Some(patience);
                    self.world.stats.takeovers += 1;
                    let owner = Owner::load(&mut self.world, partition)?;
                    self.owners.push(owner);
                }
            }
            6 if self.world.dice.once_in(3) => {
                self.world.server += 1;
                self.world.queue.restart();
                self.world.stats.restarts += 1;
                self.world
                    .tell(|| "the server restarts, and has lost its jobs".to_owned());
                for owner in &mut self.owners {
                    owner.must_repeat = true;
                }
            }
            6 => self.world.queue.forget(),
            _ => self.world.newest = 1 + self.world.dice.roll(2),
        }
        Ok(())
    }

    /// Until nothing is on its way, and nothing waits for an instant that comes soon.
    pub(crate) fn come_to_rest(&mut self) -> Result<(), Violation> {
        let patience = self.world.now.plus(PATIENCE);
        for _ in 0..MAX_EVENTS {
            self.world.stats.events += 1;
            self.world.now = self.world.now.plus(Duration::from_micros(100));
            if let Some(partition) = self
                .world
                .partitions
                .all()
                .find(|p| self.active(*p).is_none())
            {
                let owner = Owner::load(&mut self.world, partition)?;
                self.owners.push(owner);
            }
            let owners_are_busy = self.owners.iter().any(|owner| owner.is_busy(&self.world));
            match self.world.dice.roll(3) {
                0 if self.workers.is_busy(&self.world) => self.workers.act(&mut self.world),
                1 if self.people.is_busy() => self.people.deliver(&mut self.world),
                _ if owners_are_busy
                    || self.owners.iter().any(|owner| owner.stale_for.is_some()) =>
                {
                    self.an_owner()?;
                }
                _ if self.workers.is_busy(&self.world) || self.people.is_busy() => {}
                _ => {
                    let wakes = self.owners.iter().filter_map(Owner::next_wake);
                    match wakes.min() {
                        Some(at) if at < patience => {
                            self.nothing_is_lost()?;
                            self.world.now = self.world.now.max(at);
                        }
                        _ => return self.nothing_is_lost(),
                    }
                }
            }
            self.hear_notices();
        }
        Err(Violation::new("it does not come to rest"))
    }

    /// Nothing is on its way: nobody waits for a job or for a workflow to be found.
    fn nothing_is_lost(&self) -> Result<(), Violation> {
        for owner in &self.owners {
            if let Some(job) = owner.state.outstanding_jobs().next() {
                return Err(Violation::new(format!("nobody has job {}", job.id)));
            }
            if let Some(question) = owner.state.outstanding_resolutions().first() {
                return Err(Violation::new(format!("nobody answers {question:?}")));
            }
        }
        Ok(())
    }

    /// Everything that was stored, by partition.
    pub(crate) fn starts(&self) -> Vec<&Input> {
        let all = self.world.logs.iter().flat_map(|log| &log.all);
        let inputs = all.flat_map(|message| &message.envelope.inputs);
        inputs
            .filter(|input| matches!(input.kind, InputKind::Start(_)))
            .collect()
    }
}
