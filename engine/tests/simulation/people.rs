//! Those who start executions and wish things of them, through a gateway.

use afu9_schemas::definition::Decision;
use afu9_schemas::message::{Control, ControlAction, HoldScope, Input, InputEnvelope, InputKind};
use afu9_schemas::{ExecutionId, Partition, WorkerKind};
use serde_json::json;

use crate::inputs;
use crate::workflows::{STARTED, catalogue};
use crate::world::World;

/// Who approves.
const APPROVERS: [&str; 3] = ["anna", "bert", inputs::STARTER];

/// A message on its way from a gateway.
#[derive(Debug)]
struct Sent {
    id: u64,
    partition: Partition,
    input: Input,
    /// A second copy may come long after the first. Not of a submission whose id was drawn for it: such
    /// an id is used once.
    is_repeatable: bool,
}

#[derive(Debug, Default)]
pub(crate) struct People {
    sent: Vec<Sent>,
    /// What was sent before and may come again.
    again: Vec<(Partition, Input)>,
    /// What was started, and of which workflow.
    started: Vec<(ExecutionId, &'static str)>,
    paused: Vec<ExecutionId>,
    held: Vec<HoldScope>,
}

impl People {
    pub(crate) fn is_busy(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Something on its way arrives.
    pub(crate) fn deliver(&mut self, world: &mut World) {
        if self.sent.is_empty() {
            return;
        }
        let mut at = world.dice.roll(self.sent.len());
        // A hold and its release are two wishes of one person, who waits in between.
        if self.sent[at].input.execution == ExecutionId::NONE {
            let partition = self.sent[at].partition;
            let first = |sent: &Sent| {
                sent.partition == partition && sent.input.execution == ExecutionId::NONE
            };
            at = self.sent.iter().position(first).unwrap_or(at);
        }
        let sent = &self.sent[at];
        let envelope = InputEnvelope {
            inputs: vec![sent.input.clone()],
        };
        if world.publish(sent.partition, sent.id, sent.is_repeatable, envelope) {
            let sent = self.sent.remove(at);
            if sent.is_repeatable {
                self.again.push((sent.partition, sent.input));
            }
        }
    }

    /// An execution is submitted.
    pub(crate) fn start(&mut self, world: &mut World) {
        let name = *world.dice.one_of(&STARTED);
        let items: Vec<usize> = (0..world.dice.roll(5)).collect();
        let mut input = json!({ "k": world.dice.roll(3), "items": items });
        if name == "wide" {
            // More than there are places, once in a while.
            let many = if world.dice.once_in(4) { 150 } else { 10 };
            input["many"] = json!((0..many).collect::<Vec<usize>>());
        }
        let mut start = world.submission(name, input);
        start.priority += [0, 0, 0, 7][world.dice.roll(4)];
        let number = world.next_id();
        let is_repeatable = world.dice.once_in(2);
        let partition = start.key.as_ref().map(|key| world.partitions.of_key(key));
        let id = if is_repeatable {
            let key = format!("{} {number}", world.seed);
            match partition {
                Some(partition) => ExecutionId::derived_in(&key, partition, world.partitions),
                None => ExecutionId::derived(&key),
            }
        } else {
            let draw = |n: u64| inputs::drawn(number * 1000 + n);
            (0..)
                .map(draw)
                .find(|id| partition.is_none_or(|partition| world.partitions.of(*id) == partition))
                .unwrap_or_else(|| draw(0))
        };
        world.tell(|| format!("somebody starts {name} {id}"));
        self.started.push((id, name));
        self.send(world, id, InputKind::Start(Box::new(start)), is_repeatable);
    }

    fn send(
        &mut self,
        world: &mut World,
        execution: ExecutionId,
        kind: InputKind,
        is_repeatable: bool,
    ) {
        self.sent.push(Sent {
            id: world.next_id(),
            partition: world.partitions.of(execution),
            input: Input { execution, kind },
            is_repeatable,
        });
    }

    /// One of the last dead letters is replayed, also one that was replayed before, with other
    /// parameters or the same.
    fn replay(&mut self, world: &mut World) {
        let letters = &world.published.letters;
        let last = world.dice.roll(letters.len().min(3));
        let job = letters[letters.len() - 1 - last].clone();
        let mended = || match job.tool.name() {
            "echo" => json!({ "value": "mended" }),
            _ => job.params.clone(),
        };
        let params = world.dice.once_in(2).then(mended);
        let replay = ControlAction::Retry {
            step: None,
            params,
            failed: Some(job.id),
        };
        self.wish(world, job.id.execution, "operator", replay);
    }

    fn wish(&mut self, world: &mut World, execution: ExecutionId, by: &str, action: ControlAction) {
        let control = Control {
            by: by.to_owned(),
            ..inputs::control(world.next_id(), action)
        };
        world.tell(|| format!("{by} wishes {:?} of {execution}", control.action));
        self.send(
            world,
            execution,
            InputKind::Control(Box::new(control)),
            true,
        );
    }

    /// Somebody wishes something.
    pub(crate) fn act(&mut self, world: &mut World) {
        if self.started.is_empty() {
            return;
        }
        let (any, _) = *world.dice.one_of(&self.started);
        let mut of = |name: &str| -> ExecutionId {
            let named: Vec<ExecutionId> = self
                .started
                .iter()
                .filter(|(_, other)| *other == name)
                .map(|(id, _)| *id)
                .collect();
            if named.is_empty() {
                any
            } else {
                *world.dice.one_of(&named)
            }
        };
        let (asked, signalled, plain) = (of("asked"), of("signalled"), of("plain"));
        match world.dice.roll(20) {
            0 => self.wish(world, any, "operator", ControlAction::Cancel),
            1 => {
                self.paused.push(any);
                self.wish(world, any, "operator", ControlAction::Pause);
            }
            2 => {
                let paused = self.paused.pop().unwrap_or(any);
                self.wish(world, paused, "operator", ControlAction::Resume);
            }
            3 | 4 if !world.published.letters.is_empty() => self.replay(world),
            3..=6 => {
                let failed = world.published.failed.last().copied().unwrap_or(any);
                let retry = ControlAction::Retry {
                    step: None,
                    params: None,
                    failed: None,
                };
                self.wish(world, failed, "operator", retry);
            }
            7 => self.hold_or_release(world),
            8..=11 => {
                let (name, payload) = if world.dice.once_in(2) {
                    ("go", json!({ "ok": world.dice.once_in(2) }))
                } else {
                    ("stop", json!(world.dice.roll(100)))
                };
                let name = name.to_owned();
                let signal = ControlAction::Signal { name, payload };
                self.wish(world, signalled, "operator", signal);
            }
            12 => {
                let found = catalogue().version("plain", 1 + world.dice.roll(2));
                let (reference, _) = found.expect("it is defined");
                let to = reference.clone();
                self.wish(world, plain, "operator", ControlAction::Move { to });
            }
            13 | 14 if !self.again.is_empty() => {
                let (partition, input) = world.dice.one_of(&self.again).clone();
                self.sent.push(Sent {
                    id: world.next_id(),
                    partition,
                    input,
                    is_repeatable: true,
                });
            }
            _ => {
                let decision = if world.dice.once_in(6) {
                    Decision::Reject
                } else {
                    Decision::Approve
                };
                let by = *world.dice.one_of(&APPROVERS);
                let step = "ask".to_owned();
                self.wish(world, asked, by, ControlAction::Decide { step, decision });
            }
        }
    }

    /// A hold concerns every partition, each of which is told.
    fn hold_or_release(&mut self, world: &mut World) {
        let scope = match world.dice.roll(4) {
            0 => HoldScope::All,
            1 => HoldScope::Kind(WorkerKind::new("test").expect("a valid kind")),
            2 => HoldScope::Kind(WorkerKind::new("github").expect("a valid kind")),
            _ => HoldScope::Workflow((*world.dice.one_of(&STARTED)).to_owned()),
        };
        self.held.push(scope.clone());
        self.everywhere(world, ControlAction::Hold(scope));
        if world.dice.once_in(2) {
            self.release_one(world);
        }
    }

    fn release_one(&mut self, world: &mut World) {
        if let Some(scope) = world.dice.take(&mut self.held) {
            self.everywhere(world, ControlAction::Release(scope));
        }
    }

    fn everywhere(&mut self, world: &mut World, action: ControlAction) {
        let control = inputs::control(world.next_id(), action);
        world.tell(|| format!("everywhere {:?}", control.action));
        for partition in world.partitions.all() {
            self.sent.push(Sent {
                id: world.next_id(),
                partition,
                input: Input {
                    execution: ExecutionId::NONE,
                    kind: InputKind::Control(Box::new(control.clone())),
                },
                is_repeatable: true,
            });
        }
    }

    /// Nothing is held back any more: what is held is released, what is paused goes on.
    pub(crate) fn let_go(&mut self, world: &mut World) {
        while !self.held.is_empty() {
            self.release_one(world);
        }
        for id in std::mem::take(&mut self.paused) {
            self.wish(world, id, "operator", ControlAction::Resume);
        }
    }

    /// Somebody lets go of what is held, wherever it is.
    pub(crate) fn release(&mut self, world: &mut World, scope: HoldScope) {
        self.everywhere(world, ControlAction::Release(scope));
    }

    /// Somebody clears up: what still waits for people is cancelled, and may not be paused either.
    pub(crate) fn cancel(&mut self, world: &mut World, id: ExecutionId) {
        self.wish(world, id, "operator", ControlAction::Cancel);
        self.wish(world, id, "operator", ControlAction::Resume);
    }
}
