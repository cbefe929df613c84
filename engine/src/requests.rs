//! Which wishes have been answered, so that each is decided once when it comes again.

use std::collections::VecDeque;
use std::time::Duration;

use afu9_schemas::message::{Control, ControlOutcome};
use afu9_schemas::{RequestId, Timestamp};
use serde::{Deserialize, Serialize};

/// How long a wish is remembered at least: whoever makes one repeats it, without an answer, for less than
/// a minute, and what the broker delivers twice is not minutes apart.
const KEPT_FOR: Duration = Duration::from_secs(300);

/// How many are remembered however old they are: people repeat what they did yesterday.
const ALWAYS_KEPT: usize = 64;

/// Most wishes that are remembered: programs may send signals by the hundred.
const MAX_KEPT: usize = 4096;

/// Wishes that were answered, oldest first.
///
/// Whatever came of a wish is remembered, not only that it took effect: one that was refused, or that
/// asked for what was so already, must not take effect when it comes a second time, after things have
/// changed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Requests(VecDeque<Answered>);

/// A wish that was answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Answered {
    #[serde(rename = "r")]
    request: RequestId,
    #[serde(rename = "t")]
    at: Timestamp,
    /// Whether the answer was a refusal.
    #[serde(rename = "n")]
    refused: bool,
    /// See [`Control::content`].
    #[serde(rename = "c", default)]
    content: Option<u64>,
}

impl Requests {
    /// What to answer a wish that was answered before.
    pub(crate) fn repeated(&self, control: &Control) -> Option<ControlOutcome> {
        let mut known = self.0.iter().rev();
        let before = known.find(|known| known.request == control.request)?;
        if control.content != before.content {
            return Some(ControlOutcome::refused(
                "idempotency.conflict",
                "this Idempotency-Key was used for a request with another content",
            ));
        }
        Some(if before.refused {
            ControlOutcome::refused(
                "control.repeated",
                "this very request was refused before; make a new one",
            )
        } else {
            ControlOutcome::Unchanged
        })
    }

    /// Notes what came of a wish. Old ones are forgotten, except for the last few.
    pub(crate) fn note(&mut self, control: &Control, outcome: &ControlOutcome, now: Timestamp) {
        while let Some(oldest) = self.0.front()
            && (self.0.len() >= MAX_KEPT
                || (self.0.len() >= ALWAYS_KEPT && oldest.at.plus(KEPT_FOR) < now))
        {
            self.0.pop_front();
        }
        self.0.push_back(Answered {
            request: control.request,
            at: now,
            refused: matches!(outcome, ControlOutcome::Refused { .. }),
            content: control.content,
        });
    }
}
