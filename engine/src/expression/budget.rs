//! The meter that every part of an evaluation pays into.

use super::limits::{BYTES_PER_UNIT, MAX_COST, MAX_LIST_LENGTH, MAX_TEXT_BYTES};

/// A bound was reached: which one, in words.
#[derive(Debug)]
pub(super) struct OverBudget(pub(super) String);

/// What may still be spent.
#[derive(Debug)]
pub(super) struct Budget {
    left: u64,
}

impl Budget {
    /// The budget of one template, or of one condition.
    pub(super) fn new() -> Self {
        Self::of(MAX_COST)
    }

    pub(super) fn of(units: u64) -> Self {
        Self { left: units }
    }

    /// What was paid of the budget of one template.
    pub(super) fn spent(&self) -> u64 {
        MAX_COST.saturating_sub(self.left)
    }

    /// Pays `units`.
    ///
    /// # Errors
    /// When they are not there. Nothing is left then, so whatever goes on after it fails as well.
    pub(super) fn charge(&mut self, units: u64) -> Result<(), OverBudget> {
        match self.left.checked_sub(units) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(OverBudget(format!(
                    "it takes more than the {MAX_COST} steps that all expressions of one place may \
                     take together"
                )))
            }
        }
    }

    /// Pays for visiting `values` values.
    pub(super) fn values(&mut self, values: usize) -> Result<(), OverBudget> {
        self.charge(u64::try_from(values).unwrap_or(u64::MAX))
    }

    /// Pays for reading or copying `bytes` bytes.
    pub(super) fn bytes(&mut self, bytes: usize) -> Result<(), OverBudget> {
        self.values(1 + bytes / BYTES_PER_UNIT)
    }

    /// Pays for a text of `bytes` bytes that is about to be built.
    pub(super) fn text(&mut self, bytes: usize) -> Result<(), OverBudget> {
        within_text(bytes)?;
        self.bytes(bytes)
    }

    /// Pays for a list of `length` items that is about to be built.
    pub(super) fn list(&mut self, length: usize) -> Result<(), OverBudget> {
        within_list(length)?;
        self.values(1 + length)
    }
}

/// Whether a text of `bytes` bytes may be built; it is paid for elsewhere.
pub(super) fn within_text(bytes: usize) -> Result<(), OverBudget> {
    if bytes > MAX_TEXT_BYTES {
        return Err(OverBudget(format!(
            "it builds a string of more than {MAX_TEXT_BYTES} bytes"
        )));
    }
    Ok(())
}

/// Whether a list of `length` items may be built; it is paid for elsewhere.
pub(super) fn within_list(length: usize) -> Result<(), OverBudget> {
    if length > MAX_LIST_LENGTH {
        return Err(OverBudget(format!(
            "it builds a list of more than {MAX_LIST_LENGTH} items"
        )));
    }
    Ok(())
}
