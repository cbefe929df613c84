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
        // Made also if no wait ever ends by itself: an empty one says so at one look.
        let agenda = self.agenda();
        if before == after {
            return;
        }
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
        let agenda = self.agenda();
        if let Some(at) = run.unit.wait.as_ref().and_then(Wait::until) {
            agenda.remove(&(at, item));
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

#[cfg(test)]
mod tests {
    use super::super::step::Unit;
    use super::{ItemRun, Items, Timestamp, Wait};

    const ITEMS: u32 = 3;

    fn waiting() -> Items {
        let mut items = Items::default();
        for item in 0..ITEMS {
            let run = ItemRun {
                started_at: Timestamp::from_micros(0),
                error: None,
                unit: Unit::default(),
            };
            items.active.insert(item, run);
        }
        items
    }

    /// A look at all items in progress for each result of one costs a long list the square of its length.
    #[test]
    fn it_is_made_once_also_if_no_wait_ends_by_itself() {
        let mut begun = waiting();
        begun.set_wait(0, Wait::Job { deadline: None });
        assert!(
            begun
                .agenda
                .0
                .as_ref()
                .is_some_and(|agenda| agenda.is_empty())
        );
        let mut restored = waiting();
        restored.take_active(0);
        assert!(
            restored
                .agenda
                .0
                .as_ref()
                .is_some_and(|agenda| agenda.is_empty())
        );
    }

    #[test]
    fn it_follows_what_items_wait_for() {
        let at = |micros| Timestamp::from_micros(micros);
        let mut items = waiting();
        for (item, micros) in [(0, 30), (1, 10), (2, 20)] {
            let deadline = Some(at(micros));
            items.set_wait(item, Wait::Job { deadline });
        }
        items.take_active(1);
        items.set_wait(2, Wait::Job { deadline: None });
        let agenda: Vec<_> = items.agenda().iter().copied().collect();
        assert_eq!(agenda, [(at(30), 0)]);
    }
}
