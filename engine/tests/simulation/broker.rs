//! What is stored: the logs, the checkpoints, the work queue. It keeps what it has acknowledged, and
//! nothing else may be relied on.

use std::collections::BTreeSet;

use afu9_engine::checkpoint::Segment;
use afu9_schemas::message::{InputEnvelope, Job};
use afu9_schemas::{Timestamp, codec};

/// One message of a log.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) sequence: u64,
    pub(crate) at: Timestamp,
    pub(crate) envelope: InputEnvelope,
}

/// The log of one partition.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Every message there ever was: the checker reads them all.
    pub(crate) all: Vec<Message>,
    /// Up to here they were dropped: nobody else can read them.
    pub(crate) dropped: u64,
    ids: BTreeSet<String>,
}

impl Log {
    pub(crate) fn last(&self) -> u64 {
        self.all.len() as u64
    }

    /// Stores a message, unless one with its id is remembered.
    pub(crate) fn append(&mut self, id: &str, now: Timestamp, envelope: InputEnvelope) {
        if !self.ids.insert(id.to_owned()) {
            return;
        }
        // A server gives each message an instant of its own.
        let after = self.all.last().map_or(Timestamp::default(), |last| last.at);
        let at = now.max(Timestamp::from_micros(after.as_micros() + 1));
        self.all.push(Message {
            sequence: self.last() + 1,
            at,
            envelope,
        });
    }

    /// The window in which the server remembers this id has passed.
    pub(crate) fn forget(&mut self, id: &str) {
        self.ids.remove(id);
    }

    /// The next message behind `position` that is still there.
    pub(crate) fn next(&self, position: u64) -> Option<&Message> {
        let at = position.max(self.dropped);
        self.all.get(usize::try_from(at).ok()?)
    }

    pub(crate) fn drop_to(&mut self, floor: u64) {
        self.dropped = self.dropped.max(floor);
    }
}

/// The head of a checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) owner: u64,
    pub(crate) epoch: u64,
    pub(crate) floor: u64,
    pub(crate) segments: Vec<u64>,
    /// The server process the owner was connected to.
    pub(crate) server: u64,
}

/// The checkpoints of one partition.
#[derive(Debug, Default)]
pub(crate) struct Checkpoints {
    pub(crate) head: Head,
    /// 0 while there is no head.
    pub(crate) revision: u64,
    segments: Vec<(u64, Stored)>,
}

#[derive(Debug)]
enum Stored {
    Bytes(Vec<u8>),
    Plain(Box<Segment>),
}

impl Checkpoints {
    /// Replaces the head if it is still at `expected`. Returns its new revision.
    pub(crate) fn swap(&mut self, head: Head, expected: u64) -> Option<u64> {
        (self.revision == expected).then(|| self.overwrite(head))
    }

    pub(crate) fn overwrite(&mut self, head: Head) -> u64 {
        self.head = head;
        self.revision += 1;
        self.revision
    }

    /// Stores a segment, as bytes or (which is faster) as it is.
    pub(crate) fn put(&mut self, id: u64, segment: &Segment, as_bytes: bool) {
        let stored = if as_bytes {
            Stored::Bytes(codec::encode(segment).expect("encodable").to_vec())
        } else {
            Stored::Plain(Box::new(segment.clone()))
        };
        self.segments.push((id, stored));
    }

    pub(crate) fn get(&self, id: u64) -> Option<Segment> {
        let (_, stored) = self.segments.iter().find(|(other, _)| *other == id)?;
        Some(match stored {
            Stored::Bytes(bytes) => codec::decode(bytes).expect("what was written can be read"),
            Stored::Plain(segment) => (**segment).clone(),
        })
    }

    /// Removes every segment the head does not name.
    pub(crate) fn sweep(&mut self) {
        let named = &self.head.segments;
        self.segments.retain(|(id, _)| named.contains(id));
    }
}

/// The work queue, of every kind.
#[derive(Debug, Default)]
pub(crate) struct WorkQueue {
    pub(crate) jobs: Vec<Job>,
    ids: BTreeSet<String>,
}

impl WorkQueue {
    /// Stores a job, unless one with its id is remembered.
    pub(crate) fn append(&mut self, job: Job) {
        if self.ids.insert(job.id.to_string()) {
            self.jobs.push(job);
        }
    }

    /// The server restarts: the queue was in memory.
    pub(crate) fn restart(&mut self) {
        self.jobs.clear();
        self.ids.clear();
    }

    /// The window in which the server remembers ids has passed.
    pub(crate) fn forget(&mut self) {
        self.ids.clear();
    }
}
