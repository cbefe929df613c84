//! Chance, all of which follows from a seed.

use afu9_schemas::id::mix64;

/// SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(mix64_seed(seed))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix64(self.0)
    }

    /// A number below `sides`.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        (self.next() % sides.max(1) as u64) as usize
    }

    /// True in one of `times` cases.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.roll(times) == 0
    }

    /// One of `all`, which are some.
    pub(crate) fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.roll(all.len())]
    }

    /// Takes one out, in whatever place.
    pub(crate) fn take<T>(&mut self, all: &mut Vec<T>) -> Option<T> {
        if all.is_empty() {
            return None;
        }
        let at = self.roll(all.len());
        Some(all.remove(at))
    }
}

/// Seeds that differ in one bit begin far apart.
const fn mix64_seed(seed: u64) -> u64 {
    seed.wrapping_mul(0xd134_2543_de82_ef95)
        .wrapping_add(0x5851_f42d_4c95_7f2d)
}
