//! When the items of a step want to be woken.
//!
//! A step may have ten thousand items in progress, and each of their results asks when the execution
//! is to be woken next: that must not take a look at all of them.

use std::collections::BTreeSet;

use afu9_schemas::Timestamp;

use super::step::{Body, ItemRun, Items, Run, Wait};
use super::weight;

/// The instants at which the waits of items in progress end by themselves, the earliest first. Made
/// from the items when one of them first changes, and kept up to date from then on; it holds nothing
/// they do not say themselves, so it is neither written nor compared.
#[derive(Debug, Clone, Default)]
pub(super) struct Agenda(Option<BTreeSet<(Timestamp, u32)>>);

impl PartialEq for Agenda {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Items {
    fn agenda(&mut self) -> &mut BTreeSet<(Timestamp, u32)> {
        let active = &self.active;
        self.agenda
            .0
            .get_or_insert_with(|| ends(active.iter()).collect())
    }

    /// Lets an item in progress wait for something else.
    fn set_wait(&mut self, item: u32, wait: Wait) {
        let after = wait.until();
        let Some(run) = self.active.get_mut(&item) else {
            return;
        };
        let before = run.unit.wait.replace(wait).and_then(|wait| wait.until());
        if before == after {
            return;
        }
        let agenda = self.agenda();
        if let Some(at) = before {
            agenda.remove(&(at, item));
        }
        if let Some(at) = after {
            agenda.insert((at, item));
        }
    }

    /// Takes out an item in progress.
    pub(super) fn take_active(&mut self, item: u32) -> Option<ItemRun> {
        let run = self.active.remove(&item)?;
        let params = run.unit.params.as_ref().map_or(0, weight);
        self.params_bytes = self.params_bytes.saturating_sub(params);
        if let Some(at) = run.unit.wait.as_ref().and_then(Wait::until) {
            self.agenda().remove(&(at, item));
        }
        Some(run)
    }

    /// No item is in progress any more.
    pub(super) fn clear_active(&mut self) {
        self.active.clear();
        self.params_bytes = 0;
        self.agenda = Agenda::default();
    }
}

impl Run {
    pub(super) fn set_wait(&mut self, item: Option<u32>, wait: Wait) {
        match (&mut self.body, item) {
            (Body::One(unit), None) => unit.wait = Some(wait),
            (Body::Each(items), Some(item)) => items.set_wait(item, wait),
            _ => {}
        }
    }

    /// The earliest instant at which a wait ends by itself. While nothing new begins (`halted`), only
    /// what has begun can still run out of time.
    pub(super) fn soonest(&self, halted: bool) -> Option<Timestamp> {
        match &self.body {
            Body::Each(items) if !halted => match &items.agenda.0 {
                Some(agenda) => agenda.first().map(|(at, _)| *at),
                None => ends(items.active.iter()).map(|(at, _)| at).min(),
            },
            _ => self
                .units()
                .filter_map(|(_, unit)| end(unit.wait.as_ref(), halted))
                .min(),
        }
    }

    /// The items, or the step itself, whose waits are over at `now`; items in their order.
    pub(super) fn due(&self, halted: bool, now: Timestamp) -> Vec<Option<u32>> {
        if let (Body::Each(items), false) = (&self.body, halted)
            && let Some(agenda) = &items.agenda.0
        {
            let passed = agenda.iter().take_while(|(at, _)| *at <= now);
            let mut due: Vec<Option<u32>> = passed.map(|(_, item)| Some(*item)).collect();
            due.sort_unstable();
            return due;
        }
        self.units()
            .filter(|(_, unit)| end(unit.wait.as_ref(), halted).is_some_and(|at| at <= now))
            .map(|(item, _)| item)
            .collect()
    }
}

fn end(wait: Option<&Wait>, halted: bool) -> Option<Timestamp> {
    wait.filter(|wait| !halted || matches!(wait, Wait::Job { .. }))
        .and_then(Wait::until)
}

fn ends<'a>(
    active: impl Iterator<Item = (&'a u32, &'a ItemRun)>,
) -> impl Iterator<Item = (Timestamp, u32)> {
    active.filter_map(|(item, run)| Some((end(run.unit.wait.as_ref(), false)?, *item)))
}
