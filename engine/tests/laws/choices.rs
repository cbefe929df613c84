//! What a run does next, as a list of numbers: a property test draws it, and makes it shorter and its
//! numbers smaller when it finds a run that breaks a law.

use proptest::prelude::*;

/// A list of choices. When it has run out, the first possibility is chosen each time.
#[derive(Debug, Clone)]
pub(crate) struct Choices {
    numbers: Vec<u16>,
    taken: usize,
}

impl Choices {
    /// Choices of at most `most` numbers.
    pub(crate) fn strategy(most: usize) -> impl Strategy<Value = Self> {
        proptest::collection::vec(any::<u16>(), 0..most)
            .prop_map(|numbers| Self { numbers, taken: 0 })
    }

    /// One of `possibilities`.
    pub(crate) fn pick(&mut self, possibilities: usize) -> usize {
        let number = self.numbers.get(self.taken).copied().unwrap_or(0);
        self.taken += 1;
        usize::from(number) % possibilities.max(1)
    }

    /// True in one of `times` cases.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.pick(times) == times - 1
    }

    pub(crate) fn is_over(&self) -> bool {
        self.taken >= self.numbers.len()
    }
}
