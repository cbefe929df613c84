//! The state of one step: whether it was reached, its attempts, its items, and what it waits for.
//!
//! A step that was not reached costs a few bytes: an execution that sleeps for a month keeps its
//! later steps in memory all the while.

use std::collections::BTreeMap;
use std::time::Duration;

use afu9_schemas::message::history::AttemptRecord;
use afu9_schemas::message::{JobResult, Outcome};
use afu9_schemas::view::{DecisionView, StepStatus};
use afu9_schemas::{ErrorClass, ExecutionId, StepError, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::agenda::Agenda;
use super::weight;

/// The state of one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepState {
    /// Its status.
    #[serde(rename = "s")]
    pub status: StepStatus,
    /// Steps that need it must not run.
    #[serde(rename = "b", default, skip_serializing_if = "std::ops::Not::not")]
    pub broken: bool,
    /// What is known of it since it was reached.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Box<Run>>,
}

impl Default for StepState {
    fn default() -> Self {
        Self {
            status: StepStatus::Pending,
            broken: false,
            run: None,
        }
    }
}

/// A step since it was reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// When it was reached.
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
    /// Number of the history event of its end: tells in which order steps ended.
    #[serde(default)]
    pub ended_as: u32,
    /// Its output. One that is `null` is not none: expressions can see it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub output: Option<Value>,
    /// Its last error.
    #[serde(default)]
    pub error: Option<StepError>,
    /// It was taken over from the execution that this one repeats: whatever it did belongs to that one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
    /// What runs.
    pub body: Body,
}

/// A value that is there, even if it is `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// What runs in a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// Once.
    One(Unit),
    /// Once for each item.
    Each(Box<Items>),
}

/// What is attempted until it succeeds or must not be attempted any more.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Unit {
    /// What it waits for, while it is in progress.
    #[serde(default)]
    pub wait: Option<Wait>,
    /// Its parameters, resolved once: every attempt gets the same.
    #[serde(default)]
    pub params: Option<Value>,
    /// Every attempt.
    #[serde(default)]
    pub attempts: Vec<AttemptRecord>,
    /// Attempts that do not count against the policy: those before it was retried by hand, and one that
    /// workers were lost with.
    #[serde(default)]
    pub spent: u32,
    /// Its attempt in progress was deferred.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub deferred: Option<Box<Deferred>>,
    /// Its last attempt was set aside as a dead letter.
    #[serde(rename = "d", default, skip_serializing_if = "std::ops::Not::not")]
    pub is_dead_letter: bool,
    /// Who decided what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<DecisionView>,
}

/// An attempt whose tool waits for something outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deferred {
    /// What the tool wants to know next time.
    pub state: Value,
    /// How far it has come.
    pub progress: Option<String>,
    /// When that was last told.
    #[serde(default)]
    pub told_at: Option<Timestamp>,
    /// When its last job was dispatched.
    pub dispatched_at: Timestamp,
    /// When the attempt ends at the latest, however often it is deferred.
    pub deadline: Option<Timestamp>,
}

/// What a unit in progress waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// Its turn: the queue of its worker kind is full, or held.
    Turn(Turn),
    /// The answer of a worker.
    Job {
        /// Until when.
        deadline: Option<Timestamp>,
    },
    /// The instant of its next attempt.
    Retry {
        /// That instant.
        at: Timestamp,
    },
    /// The instant at which its tool, which was deferred, is run again.
    Deferred {
        /// That instant.
        at: Timestamp,
    },
    /// The end of a sleep.
    Timer {
        /// That instant.
        until: Timestamp,
    },
    /// A signal.
    Signal {
        /// Until when.
        until: Option<Timestamp>,
    },
    /// People.
    Approval {
        /// Until when.
        until: Option<Timestamp>,
        /// What they are told.
        message: Option<String>,
    },
    /// Another execution.
    Child {
        /// Which; none while its workflow is being looked up.
        execution: Option<ExecutionId>,
        /// Until when.
        until: Option<Timestamp>,
    },
}

/// A place in the queue before the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Its virtual time: how far its key had come when it joined.
    pub tag: u64,
    /// Among equal ones, the order in which they joined.
    pub ticket: u64,
    /// When it joined.
    pub since: Timestamp,
}

impl Wait {
    /// The instant at which it ends by itself.
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Turn(_) => None,
            Self::Job { deadline } => *deadline,
            Self::Retry { at } | Self::Deferred { at } => Some(*at),
            Self::Timer { until } => Some(*until),
            Self::Signal { until } | Self::Approval { until, .. } | Self::Child { until, .. } => {
                *until
            }
        }
    }

    /// Moves the end of a wait for people, signals or another execution: a pause does not use up
    /// their time.
    fn postpone(&mut self, by: Duration) {
        if let Self::Signal { until: Some(until) }
        | Self::Approval {
            until: Some(until), ..
        }
        | Self::Child {
            until: Some(until), ..
        } = self
        {
            *until = until.plus(by);
        }
    }
}

impl Unit {
    /// Number of the attempt in progress, or of the last one; 0 before the first.
    pub fn attempt(&self) -> u32 {
        self.attempts.last().map_or(0, |attempt| attempt.attempt)
    }

    /// How often its attempts were deferred: so many of their numbers stand for no attempt.
    pub(super) fn deferrals(&self) -> u32 {
        self.attempts.iter().map(|tried| tried.deferrals).sum()
    }

    /// How many of its attempts workers were lost with.
    pub(super) fn lost(&self) -> usize {
        let errors = self
            .attempts
            .iter()
            .filter_map(|tried| tried.error.as_ref());
        errors
            .filter(|error| error.class == ErrorClass::WorkerLost)
            .count()
    }

    pub(super) fn awaits_job(&self, attempt: u32) -> bool {
        matches!(self.wait, Some(Wait::Job { .. })) && self.attempt() == attempt
    }

    /// Begins the next attempt, or goes on with one that was deferred and has waited for its turn since
    /// `turn`: that time is not the attempt's. Returns its deadline.
    pub(super) fn begin_attempt(
        &mut self,
        now: Timestamp,
        turn: Timestamp,
        timeout: Option<Duration>,
    ) -> Option<Timestamp> {
        if let (Some(deferred), Some(attempt)) = (&mut self.deferred, self.attempts.last_mut()) {
            // Its jobs have ids of their own: late answers to one are none to the next.
            attempt.attempt += 1;
            attempt.deferrals += 1;
            self.spent += 1;
            deferred.dispatched_at = now;
            if let Some(deadline) = &mut deferred.deadline {
                *deadline = deadline.plus(now.since(turn));
            }
            return deferred.deadline;
        }
        self.attempts.push(AttemptRecord {
            attempt: self.attempt() + 1,
            dispatched_at: now,
            worker: None,
            started_at: None,
            ended_at: None,
            error: None,
            deferrals: 0,
        });
        timeout.map(|timeout| now.plus(timeout))
    }

    /// Notes who answered for the attempt in progress, and when.
    pub(super) fn answered(&mut self, result: &JobResult) {
        let Some(attempt) = self.attempts.last_mut() else {
            return;
        };
        attempt.worker = Some(result.worker.clone());
        attempt.started_at.get_or_insert(result.started_at);
        match &result.outcome {
            Outcome::Done(_) => attempt.ended_at = Some(result.ended_at),
            Outcome::Failed { error, .. } => {
                attempt.ended_at = Some(result.ended_at);
                attempt.error = Some(error.clone());
            }
            Outcome::Deferred(_) => {}
        }
    }

    /// Notes that the attempt in progress ended without an answer.
    pub(super) fn attempt_ended(&mut self, error: Option<&StepError>, now: Timestamp) {
        let in_progress = match self.wait {
            Some(Wait::Job { .. } | Wait::Child { .. } | Wait::Deferred { .. }) => true,
            Some(Wait::Turn(_)) => self.deferred.is_some(),
            _ => false,
        };
        if !in_progress {
            return;
        }
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.ended_at.get_or_insert(now);
            if attempt.error.is_none() {
                attempt.error = error.cloned();
            }
        }
    }
}

/// The items of a step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Items {
    /// What there is to do.
    pub list: Vec<Value>,
    /// Position of the first item that was never begun.
    pub next: u32,
    /// Items in progress.
    pub active: BTreeMap<u32, ItemRun>,
    /// Outputs by position; none for those that failed or have not ended, or gave `null`: all of these
    /// are `null` in the output of the step.
    pub outputs: Vec<Option<Value>>,
    /// Errors of those that failed.
    pub errors: BTreeMap<u32, StepError>,
    /// How many have ended well.
    pub completed: u32,
    /// Items to begin before those from `next` on: failed ones that are retried by hand, with the
    /// attempts they have had.
    #[serde(default)]
    pub again: Vec<(u32, Unit)>,
    /// What failed ones were, should they be retried by hand.
    #[serde(default)]
    pub failed: BTreeMap<u32, Unit>,
    /// Bytes of the parameters of those in progress.
    #[serde(default)]
    pub params_bytes: usize,
    /// When those in progress want to be woken.
    #[serde(skip)]
    pub(super) agenda: Agenda,
}

impl Items {
    /// Whether items are left that have not begun.
    pub(super) fn has_more(&self) -> bool {
        (self.next as usize) < self.list.len() || !self.again.is_empty()
    }
}

/// An item in progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemRun {
    /// When it began.
    pub started_at: Timestamp,
    /// Its last error.
    #[serde(default)]
    pub error: Option<StepError>,
    /// What runs.
    pub unit: Unit,
}

impl Run {
    /// The unit of the step itself, or of one of its items in progress.
    pub fn unit(&self, item: Option<u32>) -> Option<&Unit> {
        match (&self.body, item) {
            (Body::One(unit), None) => Some(unit),
            (Body::Each(items), Some(item)) => items.active.get(&item).map(|run| &run.unit),
            _ => None,
        }
    }

    pub(super) fn unit_mut(&mut self, item: Option<u32>) -> Option<&mut Unit> {
        match (&mut self.body, item) {
            (Body::One(unit), None) => Some(unit),
            (Body::Each(items), Some(item)) => items.active.get_mut(&item).map(|run| &mut run.unit),
            _ => None,
        }
    }

    /// Its units in progress, with the position of their items.
    pub fn units(&self) -> impl Iterator<Item = (Option<u32>, &Unit)> {
        let (one, each) = match &self.body {
            Body::One(unit) => (Some((None, unit)), None),
            Body::Each(items) => (None, Some(&items.active)),
        };
        let items = each
            .into_iter()
            .flatten()
            .map(|(item, run)| (Some(*item), &run.unit));
        one.into_iter().chain(items)
    }

    /// A pause that took this long does not use up the time of what waits.
    pub(super) fn postpone(&mut self, by: Duration) {
        let postpone = |unit: &mut Unit| {
            if let Some(wait) = &mut unit.wait {
                wait.postpone(by);
            }
            if let Some(deferred) = &mut unit.deferred
                && let (Some(Wait::Deferred { .. }), Some(deadline)) =
                    (&unit.wait, &mut deferred.deadline)
            {
                *deadline = deadline.plus(by);
            }
        };
        match &mut self.body {
            Body::One(unit) => postpone(unit),
            Body::Each(items) => {
                items
                    .active
                    .values_mut()
                    .for_each(|run| postpone(&mut run.unit));
                items.agenda = Agenda::default();
            }
        }
    }

    /// How many bytes of the execution's context are its.
    pub(super) fn bytes(&self) -> usize {
        let body = match &self.body {
            Body::One(unit) => unit.params.as_ref().map_or(0, weight),
            Body::Each(items) => {
                let list: usize = items.list.iter().map(weight).sum();
                let outputs = items.outputs.iter().flatten().map(weight);
                list + outputs.sum::<usize>()
            }
        };
        // The output of a step with items is made of theirs.
        match (&self.output, &self.body) {
            (Some(output), Body::One(_)) => body + weight(output),
            (Some(Value::Array(outputs)), Body::Each(_)) => {
                body + outputs.iter().map(weight).sum::<usize>()
            }
            _ => body,
        }
    }

    /// Every attempt of the step itself.
    pub fn attempts(&self) -> &[AttemptRecord] {
        match &self.body {
            Body::One(unit) => &unit.attempts,
            Body::Each(_) => &[],
        }
    }
}
