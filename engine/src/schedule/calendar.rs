//! The instants of a cron expression in a time zone.
//!
//! The expression is searched on local time alone, as if it had no offset; what becomes of local times
//! that a change of the offset skips or repeats is decided here and nowhere else:
//!
//! - A schedule of certain hours follows the wall clock. A local time that does not exist is the first
//!   instant after the gap; several of them, or one of them and the instant itself, are one. A local
//!   time that occurs twice is its first occurrence.
//! - A schedule of every hour follows elapsed time: each instant counts whose local time matches. So it
//!   does not fall silent in an hour that is repeated, and does not bunch what is skipped.
//!
//! The rules of time zones are those of the database this build was made with. Where both the day of
//! the month and the weekday are restricted, a day needs to match one of them, as in Vixie cron.

use afu9_schemas::Timestamp;
use chrono::{DateTime, MappedLocalTime, NaiveDateTime, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

const MICROS: i64 = 1_000_000;

/// Hours of a day: a schedule of all of them follows elapsed time.
const HOURS: usize = 24;

/// A cron expression in a time zone, with at least one instant.
#[derive(Debug, Clone)]
pub struct Calendar {
    cron: Cron,
    zone: Tz,
    every_hour: bool,
}

/// What is wrong with a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The field of the rule: `cron` or `timezone`.
    pub field: &'static str,
    /// Why it cannot be accepted.
    pub reason: String,
}

impl Calendar {
    /// Reads a cron expression of five fields, or six with seconds first, and the name of a time zone.
    ///
    /// # Errors
    /// Every mistake there is. An expression that never comes, like a 30 February, is one.
    pub fn new(cron: &str, timezone: &str) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut found = |field, reason| mistakes.push(Mistake { field, reason });
        let zone = timezone.parse::<Tz>();
        if zone.is_err() {
            let reason =
                format!("there is no time zone `{timezone}`; write one like `Europe/Berlin`");
            found("timezone", reason);
        }
        let parser = CronParser::builder()
            .seconds(Seconds::Optional)
            .year(Year::Disallowed)
            .build();
        let parsed = parser.parse(cron);
        match &parsed {
            Ok(parsed) => {
                let first = parsed.find_next_occurrence(&NaiveDateTime::default(), true);
                if first.is_err() {
                    found("cron", format!("`{cron}` never comes"));
                }
            }
            Err(error) => found("cron", format!("`{cron}` is no cron expression: {error}")),
        }
        match (parsed, zone) {
            (Ok(cron), Ok(zone)) if mistakes.is_empty() => Ok(Self {
                every_hour: cron.pattern.hours.values().len() == HOURS,
                cron,
                zone,
            }),
            _ => Err(mistakes),
        }
    }

    /// The first instant later than `instant`; `None` if there is none in the next thousands of years.
    pub fn after(&self, instant: Timestamp) -> Option<Timestamp> {
        // Instants are whole seconds: the next one lies behind the second that has begun.
        let begun = instant.as_micros().div_euclid(MICROS);
        let instant = DateTime::from_timestamp(begun, 0)?;
        let local = instant.with_timezone(&self.zone).naive_local();
        let mut next = self.search(local, instant);
        if self.every_hour
            && let MappedLocalTime::Ambiguous(first, second) = self.zone.from_local_datetime(&local)
            && first == instant
            && next.is_none_or(|next| next > second)
        {
            // What is left of an hour before its repetition holds nothing. The repetition begins no
            // further back than by what is repeated.
            let repeated = local.checked_sub_signed(second - first)?;
            next = next.into_iter().chain(self.search(repeated, instant)).min();
        }
        next.map(Timestamp::from)
    }

    /// The last instant that is later than `after` and not later than `until`.
    pub fn latest(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let is_early = |found: &Timestamp| *found <= until;
        let mut latest = self.after(after).filter(is_early)?;
        // By halves: how many there are must not matter after a long outage.
        let mut low = latest.as_micros().div_euclid(MICROS);
        let mut high = until.as_micros().div_euclid(MICROS);
        while low < high {
            let middle = low + (high - low) / 2;
            match self
                .after(Timestamp::from_micros(middle * MICROS))
                .filter(is_early)
            {
                Some(later) => {
                    latest = later;
                    low = later.as_micros().div_euclid(MICROS);
                }
                None => high = middle,
            }
        }
        Some(latest)
    }

    /// The first instant later than `after` with a local time later than `local`.
    fn search(&self, mut local: NaiveDateTime, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        loop {
            local = self.cron.find_next_occurrence(&local, false).ok()?;
            let mut instants = self.instants(local).into_iter().flatten();
            if let Some(found) = instants.find(|instant| *instant > after) {
                return Some(found);
            }
        }
    }

    /// The instants that stand for a local time, in order.
    fn instants(&self, local: NaiveDateTime) -> [Option<DateTime<Utc>>; 2] {
        let found = self.zone.from_local_datetime(&local);
        let (first, second) = (found.earliest(), found.latest());
        let utc = |instant: Option<DateTime<Tz>>| instant.map(|instant| instant.to_utc());
        match first {
            Some(_) if self.every_hour => [utc(first), utc(second.filter(|_| second != first))],
            Some(_) => [utc(first), None],
            None if self.every_hour => [None, None],
            None => [
                utc(GapInfo::new(&local, &self.zone).and_then(|gap| gap.end)),
                None,
            ],
        }
    }
}

#[cfg(test)]
mod tests;
