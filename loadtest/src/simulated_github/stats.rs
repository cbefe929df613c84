//! Counters of what was asked and answered.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

/// A snapshot of the counters since the start or the last reset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Answers by route (`GET /repos/{owner}/{repo}/issues/{number}`) and status.
    pub responses: BTreeMap<String, BTreeMap<u16, u64>>,
    /// Connections that faults closed without an answer.
    pub connections_dropped: u64,
    /// Effects since the start, kept or not.
    pub effects_recorded: u64,
    /// Effects that the bounded log no longer has.
    pub effects_forgotten: u64,
}

impl Stats {
    /// All answers.
    pub fn requests(&self) -> u64 {
        self.responses.values().flat_map(BTreeMap::values).sum()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    responses: HashMap<String, BTreeMap<u16, u64>>,
    pub(crate) connections_dropped: u64,
}

impl Counters {
    pub(crate) fn count(&mut self, route: String, status: u16) {
        *self
            .responses
            .entry(route)
            .or_default()
            .entry(status)
            .or_default() += 1;
    }

    pub(crate) fn snapshot(&self) -> Stats {
        Stats {
            responses: self
                .responses
                .iter()
                .map(|(key, by)| (key.clone(), by.clone()))
                .collect(),
            connections_dropped: self.connections_dropped,
            ..Stats::default()
        }
    }
}
