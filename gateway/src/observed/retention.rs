//! How much of HISTORY is kept where nobody writes it down.

use std::collections::VecDeque;

/// Messages kept: what a gateway that starts reads to know the past.
const KEEP_MESSAGES: usize = 10_000;

/// Of the stream's bound, the part that may be kept: the rest is room for what comes while the
/// gateway is away.
const KEEP_FRACTION: u64 = 2;

/// Messages that may be dropped before the server is told: one request for many.
const DROP_AT_LEAST: usize = 256;

/// Decides which messages to drop, in the order in which they are read.
#[derive(Debug)]
pub(super) struct Retention {
    keep_messages: usize,
    keep_bytes: u64,
    kept: VecDeque<(u64, u64)>,
    bytes: u64,
    dropped: usize,
    drop_at_least: usize,
}

impl Retention {
    /// For a stream that refuses new messages beyond `stream_bytes`.
    pub(super) fn new(stream_bytes: i64) -> Self {
        Self {
            keep_messages: KEEP_MESSAGES,
            // A negative bound means none.
            keep_bytes: u64::try_from(stream_bytes).unwrap_or(u64::MAX) / KEEP_FRACTION,
            kept: VecDeque::new(),
            bytes: 0,
            dropped: 0,
            drop_at_least: DROP_AT_LEAST,
        }
    }

    /// Notes the message at `sequence`; returns the position up to which the stream may now be
    /// dropped, if that is worth a request.
    pub(super) fn note(&mut self, sequence: u64, bytes: u64) -> Option<u64> {
        self.kept.push_back((sequence, bytes));
        self.bytes += bytes;
        let mut last = None;
        while self.kept.len() > self.keep_messages
            || (self.bytes > self.keep_bytes && self.kept.len() > 1)
        {
            let Some((oldest, bytes)) = self.kept.pop_front() else {
                break;
            };
            self.bytes -= bytes;
            self.dropped += 1;
            last = Some(oldest);
        }
        // Messages can be large: many bytes are worth a request as well.
        if self.dropped >= self.drop_at_least
            || (last.is_some() && self.bytes * 2 > self.keep_bytes)
        {
            self.dropped = 0;
            return last;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_messages_are_kept() {
        let mut retention = Retention {
            keep_messages: 3,
            drop_at_least: 2,
            ..Retention::new(-1)
        };
        let dropped: Vec<Option<u64>> = (11..=17)
            .map(|sequence| retention.note(sequence, 10))
            .collect();
        assert_eq!(dropped, [None, None, None, None, Some(12), None, Some(14)]);
    }

    #[test]
    fn large_messages_are_dropped_before_the_stream_is_full() {
        let mut retention = Retention::new(1000);
        let dropped: Vec<Option<u64>> = (1..=4)
            .map(|sequence| retention.note(sequence, 200))
            .collect();
        assert_eq!(dropped, [None, None, Some(1), Some(2)]);
    }
}
