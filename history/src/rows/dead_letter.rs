//! Rows of `dead_letters`: one for each dead letter of the stream.

use afu9_schemas::codec;
use afu9_schemas::error::{ErrorClass, StepError};
use afu9_schemas::message::{DeadLetter, DeadLetterReason, InboxDelivery, Job};
use afu9_schemas::{DeadLetterId, Timestamp};
use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::text;

/// The largest dead letter that is kept in its row, in bytes. A job has at most 256 KiB of parameters, so
/// most fit; a larger letter is read from the stream.
pub(crate) const MAX_LETTER_BYTES: usize = 64 * 1024;

/// Instants outside of these years are a broken clock, which must not put a letter first in every list.
const BELIEVABLE: std::ops::Range<i64> = 946_684_800_000..7_258_118_400_000;

/// A dead letter as the stream delivered it.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Derived from the message's id.
    pub id: DeadLetterId,
    /// Its place in the stream.
    pub stream_sequence: u64,
    /// When the stream took it.
    pub stored_at: Timestamp,
    /// The bytes as they came.
    pub raw: Vec<u8>,
    /// What it says; none if that cannot be read.
    pub letter: Option<DeadLetter>,
}

/// A dead letter as the table has it.
#[derive(Debug, Clone)]
pub(crate) struct LetterRow {
    pub(crate) id: Uuid,
    pub(crate) stream_sequence: i64,
    pub(crate) at: DateTime<Utc>,
    pub(crate) reason: &'static str,
    pub(crate) kind: Option<String>,
    pub(crate) tool: Option<String>,
    pub(crate) workflow: Option<String>,
    pub(crate) execution_id: Option<Uuid>,
    pub(crate) step_index: Option<i32>,
    pub(crate) step_name: Option<String>,
    pub(crate) item_index: Option<i32>,
    pub(crate) attempt: Option<i32>,
    pub(crate) attempts: i32,
    pub(crate) error_class: &'static str,
    pub(crate) error_code: String,
    pub(crate) error_message: String,
    pub(crate) trace_id: Option<String>,
    pub(crate) delivery: Option<String>,
    pub(crate) earlier_id: Option<Uuid>,
    pub(crate) bytes: i32,
    pub(crate) letter: Option<Vec<u8>>,
}

impl LetterRow {
    pub(crate) fn new(stored: &Letter) -> Self {
        let unreadable;
        let letter = match &stored.letter {
            Some(letter) => letter,
            None => {
                unreadable = unreadable_letter(stored);
                &unreadable
            }
        };
        let job: Option<&Job> = letter.job.as_ref();
        let job_id = letter.job_id();
        let raw = letter.raw.as_deref().filter(|_| letter.kind.is_none());
        let delivery: Option<InboxDelivery> = raw.and_then(|raw| codec::decode(raw).ok());
        // What a trigger had to go by is JSON, and names the workflow.
        let cause = raw.filter(|_| letter.reason == DeadLetterReason::Unstarted);
        let cause: Option<Value> = cause.and_then(|raw| serde_json::from_slice(raw).ok());
        let caused = cause.as_ref().and_then(|cause| cause["workflow"].as_str());
        let traceparent = match (job, &delivery) {
            (Some(job), _) => job.traceparent.as_deref(),
            (None, Some(delivery)) => delivery.traceparent.as_deref(),
            (None, None) => None,
        };
        let believable = BELIEVABLE.contains(&letter.at.as_millis());
        let at = if believable {
            letter.at
        } else {
            stored.stored_at
        };
        let workflow = job.map(|job| job.workflow.as_str()).or(caused);
        Self {
            id: stored.id.as_uuid(),
            stream_sequence: i64::try_from(stored.stream_sequence).unwrap_or(i64::MAX),
            at: at.to_datetime(),
            reason: letter.reason.as_str(),
            kind: letter.kind.as_ref().map(ToString::to_string),
            tool: job.map(|job| text::name(&job.tool.to_string())),
            workflow: workflow.map(text::name),
            execution_id: job_id.map(|id| id.execution.as_uuid()),
            step_index: job_id.map(|id| signed(id.step)),
            step_name: job.map(|job| text::name(&job.step_name)),
            item_index: job_id.and_then(|id| id.item).map(signed),
            attempt: job_id.map(|id| signed(id.attempt)),
            attempts: i32::try_from(letter.attempts.len()).unwrap_or(i32::MAX),
            error_class: letter.error.class.as_str(),
            error_code: text::name(&letter.error.code),
            error_message: text::clean(&letter.error.message),
            trace_id: traceparent.and_then(trace_id),
            delivery: delivery.map(|delivery| text::name(&delivery.id.to_string())),
            earlier_id: letter.replay_of.map(DeadLetterId::as_uuid),
            bytes: i32::try_from(stored.raw.len()).unwrap_or(i32::MAX),
            letter: (stored.raw.len() <= MAX_LETTER_BYTES).then(|| stored.raw.clone()),
        }
    }
}

/// Stands for a dead letter that is not readable itself; its bytes are.
fn unreadable_letter(stored: &Letter) -> DeadLetter {
    DeadLetter {
        reason: DeadLetterReason::Undecodable,
        kind: None,
        job: None,
        job_id: None,
        raw: None,
        attempts: Vec::new(),
        error: StepError::new(
            ErrorClass::Permanent,
            "dead_letter.undecodable",
            "the dead letter itself cannot be read",
        ),
        at: stored.stored_at,
        replay_of: None,
    }
}

/// The trace of a W3C `traceparent`.
fn trace_id(traceparent: &str) -> Option<String> {
    let id = traceparent.split('-').nth(1)?;
    let is_one = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_one.then(|| id.to_owned())
}

fn signed(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_that_cannot_be_read_is_a_row_all_the_same() {
        let stored = Letter {
            id: DeadLetterId::derived("x"),
            stream_sequence: 7,
            stored_at: Timestamp::from_micros(1_800_000_000_000_000),
            raw: vec![9; MAX_LETTER_BYTES + 1],
            letter: None,
        };
        let row = LetterRow::new(&stored);
        assert_eq!((row.reason, row.stream_sequence), ("undecodable", 7));
        assert_eq!((row.letter, row.bytes), (None, 65537));
    }

    #[test]
    fn a_trace_is_32_digits() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let parent = format!("00-{trace}-b7ad6b7169203331-01");
        assert_eq!(trace_id(&parent).as_deref(), Some(trace));
        for bad in ["", "00", "00-xyz-1-01", "00--"] {
            assert_eq!(trace_id(bad), None, "{bad}");
        }
    }
}
