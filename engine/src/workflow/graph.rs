//! The order of steps.

use std::collections::HashMap;

use afu9_schemas::definition::Step;

/// A set of nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NodeSet {
    bits: Vec<u64>,
}

impl NodeSet {
    pub(super) fn insert(&mut self, node: u32) {
        let (word, bit) = (node as usize / 64, node % 64);
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        self.bits[word] |= 1 << bit;
    }

    pub(super) fn contains(&self, node: u32) -> bool {
        let (word, bit) = (node as usize / 64, node % 64);
        self.bits.get(word).is_some_and(|bits| bits >> bit & 1 == 1)
    }

    pub(super) fn extend(&mut self, other: &Self) {
        if self.bits.len() < other.bits.len() {
            self.bits.resize(other.bits.len(), 0);
        }
        for (mine, theirs) in self.bits.iter_mut().zip(&other.bits) {
            *mine |= theirs;
        }
    }
}

/// What each step needs directly, by position. Where no step says anything, each needs the one
/// before it; where any does, those that do not say need nothing.
///
/// Names that do not exist were refused by the reader; here they count as nothing.
pub(super) fn needs(steps: &[Step]) -> Vec<Vec<u32>> {
    let position = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
    if steps.iter().all(|step| step.needs.is_none()) {
        return (0..steps.len())
            .map(|index| index.checked_sub(1).map(position).into_iter().collect())
            .collect();
    }
    let by_name: HashMap<&str, u32> = steps
        .iter()
        .enumerate()
        .map(|(index, step)| (step.name.as_str(), position(index)))
        .collect();
    steps
        .iter()
        .map(|step| {
            let mut needs: Vec<u32> = step
                .needs
                .iter()
                .flatten()
                .filter_map(|name| by_name.get(name.as_str()).copied())
                .collect();
            needs.sort_unstable();
            needs.dedup();
            needs
        })
        .collect()
}

/// For each step, every step that is ordered before it. `None` if steps need each other in a circle,
/// which the reader refuses.
pub(super) fn before(needs: &[Vec<u32>]) -> Option<Vec<NodeSet>> {
    let mut left: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut dependents = vec![Vec::new(); needs.len()];
    for (step, needed) in needs.iter().enumerate() {
        for need in needed {
            dependents[*need as usize].push(step);
        }
    }
    let mut before = vec![NodeSet::default(); needs.len()];
    let mut free: Vec<usize> = (0..needs.len()).filter(|step| left[*step] == 0).collect();
    let mut done = 0;
    while let Some(step) = free.pop() {
        done += 1;
        for dependent in &dependents[step] {
            let mine = before[step].clone();
            before[*dependent].extend(&mine);
            before[*dependent].insert(u32::try_from(step).unwrap_or(u32::MAX));
            left[*dependent] -= 1;
            if left[*dependent] == 0 {
                free.push(*dependent);
            }
        }
    }
    (done == needs.len()).then_some(before)
}
