//! Which wishes have been answered, so that each is decided once however often it comes.

use afu9_schemas::RequestId;
use afu9_schemas::message::ControlOutcome;
use serde::{Deserialize, Serialize};

/// Wishes that were answered, oldest first, and whether the answer was a refusal.
///
/// Whatever came of a wish is remembered, not only that it took effect: one that was refused, or that
/// asked for what was so already, must not take effect when it comes a second time, after things have
/// changed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Requests(Vec<(RequestId, bool)>);

impl Requests {
    /// What to answer a wish that was answered before.
    pub(crate) fn repeated(&self, request: RequestId) -> Option<ControlOutcome> {
        let (_, refused) = self.0.iter().rev().find(|(known, _)| *known == request)?;
        Some(if *refused {
            ControlOutcome::refused(
                "control.repeated",
                "this very request was refused before; make a new one",
            )
        } else {
            ControlOutcome::Unchanged
        })
    }

    /// Notes what came of a wish; of more than `most`, the oldest are forgotten.
    pub(crate) fn note(&mut self, request: RequestId, outcome: &ControlOutcome, most: usize) {
        if self.0.len() >= most {
            self.0.remove(0);
        }
        let refused = matches!(outcome, ControlOutcome::Refused { .. });
        self.0.push((request, refused));
    }
}
