//! Which wishes have been answered, so that each is decided once however often it comes.

use std::collections::VecDeque;
use std::time::Duration;

use afu9_schemas::message::ControlOutcome;
use afu9_schemas::{RequestId, Timestamp};
use serde::{Deserialize, Serialize};

/// How long a wish is remembered at least: whoever makes one repeats it, without an answer, for less than
/// a minute, and what the broker delivers twice is not minutes apart.
const KEPT_FOR: Duration = Duration::from_secs(300);

/// How many are remembered however old they are: people repeat what they did yesterday.
const ALWAYS_KEPT: usize = 64;

/// Most wishes that are remembered: programs may send signals by the hundred.
const MAX_KEPT: usize = 4096;

/// Wishes that were answered, oldest first: when, and whether the answer was a refusal.
///
/// Whatever came of a wish is remembered, not only that it took effect: one that was refused, or that
/// asked for what was so already, must not take effect when it comes a second time, after things have
/// changed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Requests(VecDeque<(RequestId, Timestamp, bool)>);

impl Requests {
    /// What to answer a wish that was answered before.
    pub(crate) fn repeated(&self, request: RequestId) -> Option<ControlOutcome> {
        let known = |entry: &&(RequestId, Timestamp, bool)| entry.0 == request;
        let (_, _, refused) = self.0.iter().rev().find(known)?;
        Some(if *refused {
            ControlOutcome::refused(
                "control.repeated",
                "this very request was refused before; make a new one",
            )
        } else {
            ControlOutcome::Unchanged
        })
    }

    /// Notes what came of a wish. Old ones are forgotten, except for the last few.
    pub(crate) fn note(&mut self, request: RequestId, outcome: &ControlOutcome, now: Timestamp) {
        while let Some((_, at, _)) = self.0.front()
            && (self.0.len() >= MAX_KEPT
                || (self.0.len() >= ALWAYS_KEPT && at.plus(KEPT_FOR) < now))
        {
            self.0.pop_front();
        }
        let refused = matches!(outcome, ControlOutcome::Refused { .. });
        self.0.push_back((request, now, refused));
    }
}
