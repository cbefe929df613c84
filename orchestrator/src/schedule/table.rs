//! All schedules as they are known: what the newest definitions say of them, and how far each has got.
//! Changed here without waiting; the scheduler stores what has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use afu9_broker::kv::{SchedulePause, ScheduleState};
use afu9_engine::schedule::{self, Plan, Schedule};
use afu9_schemas::definition::{ScheduleTrigger, TriggerRule};
use afu9_schemas::message::HoldScope;
use afu9_schemas::view::HoldView;
use afu9_schemas::{ScheduleId, Timestamp};

use crate::definitions::Found;

/// A workflow and one of its schedules.
pub(super) type Key = (String, ScheduleId);

#[derive(Debug, Default)]
pub(super) struct Table {
    entries: BTreeMap<Key, Entry>,
    /// What people have last wished of schedules, whether a definition has them or not.
    pauses: BTreeMap<Key, SchedulePause>,
}

/// The workflows whose schedules stand still.
#[derive(Debug, Default)]
pub(super) struct Held {
    everything: bool,
    workflows: BTreeSet<String>,
}

impl Held {
    pub(super) fn new(holds: &[HoldView]) -> Self {
        let mut held = Self::default();
        for hold in holds {
            match &hold.scope {
                HoldScope::All => held.everything = true,
                HoldScope::Workflow(name) => {
                    held.workflows.insert(name.clone());
                }
                // Its executions begin, and their jobs wait.
                HoldScope::Kind(_) => {}
            }
        }
        held
    }

    fn holds(&self, workflow: &str) -> bool {
        self.everything || self.workflows.contains(workflow)
    }
}

/// One schedule.
#[derive(Debug)]
pub(super) struct Entry {
    /// How far it has got.
    state: ScheduleState,
    /// The revision of its stored state; 0 if there is none.
    revision: u64,
    /// What is stored is not this state.
    changed: bool,
    standing: Standing,
}

#[derive(Debug)]
enum Standing {
    /// A definition has it.
    Ruled {
        rule: Arc<Rule>,
        /// When it has to be looked at again.
        wake: Option<Timestamp>,
    },
    /// No definition has it any more.
    Gone,
    /// This build cannot read its definition; another one may.
    Unknown,
}

/// What a definition says of a schedule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) found: Arc<Found>,
    /// Position among the rules of the definition.
    pub(super) index: usize,
    pub(super) schedule: Schedule,
}

impl Rule {
    /// As it is written.
    pub(super) fn written(&self) -> Option<&ScheduleTrigger> {
        match self.found.workflow.definition.triggers.get(self.index)? {
            TriggerRule::Schedule(rule) => Some(rule),
            TriggerRule::Webhook(_) | TriggerRule::Workflow(_) => None,
        }
    }
}

/// A state that has to be stored, or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) key: Key,
    /// `None`: removed.
    pub(super) state: Option<ScheduleState>,
    /// The revision it replaces.
    pub(super) revision: u64,
}

impl Table {
    /// The schedules as they are stored.
    pub(super) fn new(stored: Vec<(ScheduleState, u64)>) -> Self {
        let entries = stored.into_iter().map(|(state, revision)| {
            let key = (state.workflow.clone(), state.schedule.clone());
            let entry = Entry {
                state,
                revision,
                changed: false,
                standing: Standing::Unknown,
            };
            (key, entry)
        });
        Self {
            entries: entries.collect(),
            pauses: BTreeMap::new(),
        }
    }

    /// Takes in what people wish of schedules. It counts from the next [`Self::follow`] on.
    pub(super) fn note_pauses(&mut self, pauses: impl IntoIterator<Item = SchedulePause>) {
        let keyed = pauses.into_iter().map(|pause| {
            let key = (pause.of.workflow.clone(), pause.of.schedule.clone());
            (key, pause)
        });
        self.pauses.extend(keyed);
    }

    /// Takes over what the definitions say now. A schedule that is new, or was paused, begins at `now`.
    pub(super) fn follow(&mut self, definitions: Vec<Arc<Found>>, now: Timestamp) {
        let readable: BTreeSet<&str> = definitions
            .iter()
            .map(|found| found.record.workflow.name.as_str())
            .collect();
        for (key, entry) in &mut self.entries {
            entry.standing = if readable.contains(key.0.as_str()) {
                Standing::Gone
            } else {
                Standing::Unknown
            };
        }
        let enabled = definitions.into_iter().filter(|found| found.record.enabled);
        for found in enabled {
            let triggers = &found.workflow.definition.triggers;
            for (index, (rule, id)) in triggers.iter().zip(schedule::ids(triggers)).enumerate() {
                if let (TriggerRule::Schedule(rule), Some(id)) = (rule, id) {
                    self.rule(&found, index, rule, id, now);
                }
            }
        }
    }

    fn rule(
        &mut self,
        found: &Arc<Found>,
        index: usize,
        rule: &ScheduleTrigger,
        id: ScheduleId,
        now: Timestamp,
    ) {
        let workflow = &found.record.workflow.name;
        let schedule = match Schedule::new(workflow, id.clone(), rule) {
            Ok(schedule) => schedule,
            // Checked when the definition was compiled.
            Err(mistakes) => {
                tracing::error!(workflow, ?mistakes, "schedule not valid");
                return;
            }
        };
        let key = (workflow.clone(), id.clone());
        let wished = self.pauses.get(&key);
        let paused = rule.paused || wished.is_some_and(|wished| wished.paused);
        let entry = self.entries.entry(key).or_insert_with(|| Entry {
            state: ScheduleState {
                workflow: workflow.clone(),
                schedule: id,
                cron: rule.cron.clone(),
                timezone: rule.timezone.clone(),
                through: now,
                fired: None,
                next: None,
                paused,
            },
            revision: 0,
            changed: true,
            standing: Standing::Unknown,
        });
        let mut state = entry.state.clone();
        state.cron.clone_from(&rule.cron);
        if state.paused && !paused {
            state.through = now;
        }
        // It may have been paused and resumed, or its workflow disabled and enabled, while nobody ran
        // it. Those times are of other clocks.
        let resumed = wished
            .filter(|wished| !wished.paused)
            .map(|wished| wished.last.at);
        let enabled = found.record.switched.as_ref().map(|switched| switched.at);
        for at in resumed.into_iter().chain(enabled) {
            state.through = state.through.max(at.min(now));
        }
        state.paused = paused;
        let next = (!paused)
            .then(|| schedule.next_after(state.through))
            .flatten();
        state.next = next.map(|next| next.due);
        entry.standing = Standing::Ruled {
            rule: Arc::new(Rule {
                found: Arc::clone(found),
                index,
                schedule,
            }),
            wake: state.next,
        };
        entry.set(state);
    }

    /// How many schedules definitions have.
    pub(super) fn ruled(&self) -> u64 {
        let ruled = |entry: &&Entry| matches!(entry.standing, Standing::Ruled { .. });
        self.entries.values().filter(ruled).count() as u64
    }

    /// When the first schedule has to be looked at again.
    pub(super) fn wake(&self, held: &Held) -> Option<Timestamp> {
        let entries = self.entries.iter().filter(|(key, _)| !held.holds(&key.0));
        entries.filter_map(|(_, entry)| entry.wake()).min()
    }

    /// What the schedules that are due at `now` start, those first that have been due for longest;
    /// `enough` instants or as many more as one schedule has missed.
    pub(super) fn due(
        &self,
        now: Timestamp,
        enough: u64,
        held: &Held,
    ) -> Vec<(Key, Arc<Rule>, Plan)> {
        let mut due: Vec<(Timestamp, &Key, &Entry)> = self
            .entries
            .iter()
            .filter(|(key, _)| !held.holds(&key.0))
            .filter_map(|(key, entry)| {
                Some((entry.wake().filter(|wake| *wake <= now)?, key, entry))
            })
            .collect();
        due.sort_by_key(|(wake, ..)| *wake);
        let mut plans = Vec::new();
        let mut instants = 0;
        for (_, key, entry) in due {
            if instants >= enough {
                break;
            }
            if let Standing::Ruled { rule, .. } = &entry.standing {
                let plan = rule.schedule.plan(entry.state.through, now);
                // Each that is passed over was found, too.
                instants += plan.fire.len() as u64 + plan.skipped;
                plans.push((key.clone(), Arc::clone(rule), plan));
            }
        }
        plans
    }

    /// Everything of a plan has been done.
    pub(super) fn done(&mut self, key: &Key, plan: &Plan) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        let mut state = entry.state.clone();
        state.through = plan.through;
        state.fired = plan.fire.last().map(|firing| firing.at).or(state.fired);
        if let Standing::Ruled { rule, wake } = &mut entry.standing {
            let next = rule.schedule.next_after(plan.through);
            state.next = next.map(|next| next.due);
            *wake = state.next;
        }
        entry.set(state);
    }

    /// What has to be stored, or removed.
    pub(super) fn changes(&self) -> Vec<Change> {
        let change = |(key, entry): (&Key, &Entry)| {
            let gone = matches!(entry.standing, Standing::Gone);
            (gone || entry.changed).then(|| Change {
                key: key.clone(),
                state: (!gone).then(|| entry.state.clone()),
                revision: entry.revision,
            })
        };
        self.entries.iter().filter_map(change).collect()
    }

    /// A change is stored.
    pub(super) fn stored(&mut self, change: &Change, revision: u64) {
        if change.state.is_none() {
            self.entries.remove(&change.key);
        } else if let Some(entry) = self.entries.get_mut(&change.key) {
            entry.revision = revision;
            entry.changed = false;
        }
    }
}

impl Entry {
    fn wake(&self) -> Option<Timestamp> {
        match &self.standing {
            Standing::Ruled { wake, .. } => *wake,
            Standing::Gone | Standing::Unknown => None,
        }
    }

    fn set(&mut self, state: ScheduleState) {
        self.changed |= self.state != state;
        self.state = state;
    }
}

#[cfg(test)]
mod tests;
