//! Schedules: which executions the rules `schedule` of a definition start, and when.
//!
//! Called by the orchestrator, which knows the time, keeps how far each schedule has got and carries
//! out what is planned here.
//!
//! A plan is made of *how far the schedule has got*, which is one instant: everything up to it has been
//! dealt with. It is moved only after what was planned is stored, so a crash between the two plans the
//! same again; and because the id of what an instant starts is derived from the instant
//! ([`Schedule::origin`]), the same again starts nothing twice.

pub mod calendar;

use std::time::Duration;

use afu9_schemas::definition::{self, MissedRuns, ScheduleTrigger, TriggerRule};
use afu9_schemas::{ExecutionId, ScheduleId, Timestamp};
use rustc_hash::FxHashMap;
use serde_json::json;

use calendar::{Calendar, Mistake};

/// How late an instant may be started and still count as on time. Longer than it takes another
/// process to take over, so that a restart misses nothing, whatever the rule says of missed instants.
pub const GRACE: Duration = Duration::from_secs(60);

/// Most missed instants of a schedule that are started after an outage: the newest. More would keep the
/// workers from what is due now for longer than anybody can use the results.
pub const MAX_CATCH_UP: usize = 100;

/// Missed instants are counted up to here.
pub const MAX_COUNTED: u64 = 10_000;

/// Digits of the hash in an id: enough to tell the schedules of one workflow apart.
const HASH_DIGITS: usize = 16;

/// A rule `schedule` of a workflow.
#[derive(Debug, Clone)]
pub struct Schedule {
    id: ScheduleId,
    workflow: String,
    calendar: Calendar,
    missed: MissedRuns,
    jitter: Duration,
}

/// An instant at which an execution starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Firing {
    /// The instant as the rule means it, without the delay.
    pub at: Timestamp,
    /// Nobody was there in time.
    pub missed: bool,
}

/// What to do at an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Plan {
    /// What to start, in order.
    pub fire: Vec<Firing>,
    /// How many missed instants start nothing; [`MAX_COUNTED`] stands for that many or more.
    pub skipped: u64,
    /// How far the schedule has got once all of this is done.
    pub through: Timestamp,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// The instant as the rule means it.
    pub at: Timestamp,
    /// When it is to be started.
    pub due: Timestamp,
}

impl Schedule {
    /// The schedule that `rule` of `workflow` means.
    ///
    /// # Errors
    /// Every mistake in its expression and its time zone.
    pub fn new(
        workflow: &str,
        id: ScheduleId,
        rule: &ScheduleTrigger,
    ) -> Result<Self, Vec<Mistake>> {
        Ok(Self {
            id,
            workflow: workflow.to_owned(),
            calendar: Calendar::new(&rule.cron, &rule.timezone)?,
            missed: rule.missed,
            jitter: rule.jitter,
        })
    }

    /// The text from which the id of the execution is derived that the instant `at` starts.
    pub fn origin(&self, at: Timestamp) -> String {
        format!("schedule:{}:{}:{at}", self.workflow, self.id)
    }

    /// When the execution of the instant `at` is to be started: after a delay that is always the same.
    /// It is shorter than the time to the next instant, so that instants stay in their order.
    pub fn due(&self, at: Timestamp) -> Timestamp {
        let period = self.calendar.after(at).map(|next| next.since(at));
        let longest = period.map_or(self.jitter, |period| period.min(self.jitter));
        let millis = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        if millis == 0 {
            return at;
        }
        let delay = ExecutionId::derived(&self.origin(at)).hash64() % millis;
        at.plus(Duration::from_millis(delay))
    }

    /// What comes first after `instant`.
    pub fn next_after(&self, instant: Timestamp) -> Option<Next> {
        let at = self.calendar.after(instant)?;
        let due = self.due(at);
        Some(Next { at, due })
    }

    /// What to start at `now`, if everything up to `through` has been dealt with.
    pub fn plan(&self, through: Timestamp, now: Timestamp) -> Plan {
        let mut plan = Plan {
            fire: Vec::new(),
            skipped: 0,
            through,
        };
        let mut newest = self.calendar.latest(through, now);
        // No other one can still be waiting: the delay of each ends before the next one comes.
        if let Some(at) = newest
            && self.due(at) > now
        {
            newest = self.calendar.latest(through, before(at));
        }
        if let Some(newest) = newest {
            plan.through = newest;
            self.choose(through, newest, now, &mut plan);
        }
        plan
    }

    /// Chooses among the instants after `through` up to `newest`, the newest first: all that are on
    /// time, and as many missed ones as the rule asks for.
    fn choose(&self, through: Timestamp, newest: Timestamp, now: Timestamp, plan: &mut Plan) {
        let wanted = match self.missed {
            MissedRuns::Skip => 0,
            MissedRuns::One => 1,
            MissedRuns::All => MAX_CATCH_UP,
        };
        let mut caught_up = 0;
        let mut candidate = Some(newest);
        while let Some(at) = candidate {
            let missed = now.since(self.due(at)) > GRACE;
            if missed && caught_up == wanted {
                plan.skipped = self.count(through, at);
                break;
            }
            caught_up += usize::from(missed);
            plan.fire.push(Firing { at, missed });
            candidate = self.calendar.latest(through, before(at));
        }
        plan.fire.reverse();
    }

    /// How many instants are later than `after` and not later than `until`.
    fn count(&self, after: Timestamp, until: Timestamp) -> u64 {
        let mut count = 0;
        let mut last = after;
        while count < MAX_COUNTED
            && let Some(next) = self.calendar.after(last)
            && next <= until
        {
            count += 1;
            last = next;
        }
        count
    }
}

/// The ids of a workflow's schedules, in the order of its rules; `None` for rules of other sorts.
///
/// An id says when a schedule is due, and which of those that are due at the same instants it is. So it
/// stays the same in a new version of the definition that changes anything else: its other rules, what
/// happens to missed instants, the input. It stays the same while the rule is paused, too.
pub fn ids(rules: &[TriggerRule]) -> Vec<Option<ScheduleId>> {
    let mut seen: FxHashMap<String, usize> = FxHashMap::default();
    let ids = rules.iter().map(|rule| {
        let TriggerRule::Schedule(rule) = rule else {
            return None;
        };
        let fields: Vec<&str> = rule.cron.split_whitespace().collect();
        // Names of months and weekdays may be written either way.
        let cron = fields.join(" ").to_ascii_uppercase();
        let hash =
            definition::hash(&json!({ "cron": cron, "timezone": rule.timezone })).to_string();
        let same = seen.entry(hash.clone()).or_default();
        let id = format!("{}-{same}", &hash[..HASH_DIGITS]);
        *same += 1;
        Some(ScheduleId::new(id).expect("hexadecimal digits and a number"))
    });
    ids.collect()
}

/// The last instant before `instant`.
fn before(instant: Timestamp) -> Timestamp {
    Timestamp::from_micros(instant.as_micros().saturating_sub(1))
}

#[cfg(test)]
mod tests;
