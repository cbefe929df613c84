//! Ways to build the shell wrongly. The checker must find each of them: a check that cannot fail
//! proves nothing.

use afu9_engine::checkpoint::Segment;
use serde_json::Value;

/// What is done wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// A checkpoint's head is written without looking whether another owner has written since.
    SkipFencing,
    /// Covered inputs are dropped before the checkpoint is stored that covers them.
    TruncateEarly,
    /// Jobs get ids of their own when inputs are folded again.
    RandomJobIds,
    /// Checkpoints do not hold which executions have ended.
    ForgetTombstones,
    /// A successor begins to count attempts anew.
    ResetAttempts,
    /// A checkpoint covers inputs whose effects were not published.
    CheckpointBeforePublish,
    /// Checkpoints do not hold what executions share: tickets, clocks, rates, holds.
    ForgetShared,
    /// Jobs that a restarted server lost are not published again.
    LeaveLostJobs,
    /// Questions that a dead owner had not answered are not asked again.
    ForgetQuestions,
    /// What a checkpoint that could not be written would have held is not put into the next one.
    DropFailedDelta,
    /// A wake that could not be published is not armed again.
    ForgetWakes,
    /// A message of the log is passed over where two are fetched together.
    SkipMessages,
    /// A publish without an acknowledgement is taken for done.
    TrustSilence,
    /// An owner looks the wall clock up instead of taking the log's.
    OwnClock,
}

/// The segment as a shell would write it that does not count attempts.
pub(crate) fn without_attempts(segment: &Segment) -> Segment {
    fn forget(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    match field {
                        Value::Array(attempts) if name == "attempts" => {
                            for attempt in attempts {
                                attempt["attempt"] = Value::from(1);
                            }
                        }
                        other => forget(other),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(forget),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(segment).expect("segments are data");
    forget(&mut value);
    serde_json::from_value(value).expect("segments are data")
}
