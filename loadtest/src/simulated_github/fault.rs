//! Faults that can be switched on and off while the simulation runs.
//!
//! Whether a fault strikes is decided once, before the request has any effect, from a generator of
//! the fault's own: the same seed and the same order of matching requests give the same faults.

use serde::{Deserialize, Serialize};

use crate::random::Generator;

/// Which requests a fault may strike; all given conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultMatch {
    /// `GET`, `POST`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// A part of the path, without the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_contains: Option<String>,
    /// The beginning of the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_prefix: Option<String>,
}

impl FaultMatch {
    fn accepts(&self, method: &str, path: &str) -> bool {
        self.method
            .as_ref()
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && self
                .path_contains
                .as_ref()
                .is_none_or(|part| path.contains(part))
            && self
                .path_prefix
                .as_ref()
                .is_none_or(|prefix| path.starts_with(prefix))
    }
}

/// Whether the request has its effect although the answer is an error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// The request has no effect.
    #[default]
    BeforeEffect,
    /// The request has its effect, and the true answer is lost.
    AfterEffect,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// The request waits before it is processed. Adds up with other faults.
    Latency {
        /// At least so long.
        ms: u64,
        /// At most so much longer.
        #[serde(default)]
        jitter_ms: u64,
    },
    /// An error answer.
    Status {
        /// 400 to 599.
        status: u16,
        /// The raw body; an error in GitHub's shape if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<String>,
        /// A gateway may give up (502) on a request that succeeds behind it.
        #[serde(default)]
        moment: Moment,
    },
    /// 403, or 429, with `retry-after`.
    SecondaryLimit {
        /// The value of `retry-after`.
        retry_after_s: u64,
        /// 403 or 429.
        #[serde(default = "FaultKind::default_secondary_status")]
        status: u16,
    },
    /// 403 with no request remaining.
    PrimaryLimit {
        /// How far in the future `x-ratelimit-reset` is.
        reset_after_s: u64,
    },
    /// The connection is closed without an answer; the request has no effect.
    DropBeforeEffect,
    /// The connection is closed without an answer; the request had its effect.
    DropAfterEffect,
    /// The body comes in pieces.
    SlowBody {
        /// Bytes per piece.
        chunk_bytes: usize,
        /// Between two pieces.
        pause_ms: u64,
    },
}

impl FaultKind {
    fn default_secondary_status() -> u16 {
        403
    }
}

/// One fault, as it is switched on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Which requests it may strike; all if empty.
    #[serde(default, rename = "match")]
    pub matching: FaultMatch,
    /// What goes wrong.
    pub kind: FaultKind,
    /// From 0 (never) to 1 (always).
    #[serde(default = "Fault::default_probability")]
    pub probability: f64,
    /// How often it may still strike; `None` for no bound.
    #[serde(default)]
    pub count: Option<u64>,
}

impl Fault {
    /// Strikes every request that `matching` accepts.
    pub fn always(matching: FaultMatch, kind: FaultKind) -> Self {
        Self {
            matching,
            kind,
            probability: 1.0,
            count: None,
        }
    }

    /// Strikes the first request of `method` whose path contains `path_contains`.
    pub fn once(method: &str, path_contains: &str, kind: FaultKind) -> Self {
        let matching = FaultMatch {
            method: Some(method.to_owned()),
            path_contains: Some(path_contains.to_owned()),
            path_prefix: None,
        };
        Self {
            count: Some(1),
            ..Self::always(matching, kind)
        }
    }

    /// What is wrong with the fault itself, if anything.
    pub(crate) fn mistake(&self) -> Option<&'static str> {
        match self.kind {
            _ if !(0.0..=1.0).contains(&self.probability) => Some("probability is not in 0..=1"),
            FaultKind::Status { status, .. } if !(400..=599).contains(&status) => {
                Some("status is not in 400..=599")
            }
            FaultKind::SecondaryLimit { status, .. } if !matches!(status, 403 | 429) => {
                Some("status of a secondary limit is not 403 or 429")
            }
            FaultKind::SlowBody { chunk_bytes: 0, .. } => Some("chunk_bytes is 0"),
            _ => None,
        }
    }

    fn default_probability() -> f64 {
        1.0
    }
}

/// A fault that is switched on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActiveFault {
    /// Names it for removal.
    pub id: u64,
    /// What it does; `count` is what remains.
    #[serde(flatten)]
    pub fault: Fault,
    /// How often it struck.
    pub hits: u64,
}

/// What happens to one request.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) latency_ms: u64,
    /// The oldest fault that struck and is not a latency.
    pub(crate) kind: Option<FaultKind>,
}

#[derive(Debug)]
pub(crate) struct Faults {
    seed: u64,
    next_id: u64,
    active: Vec<(ActiveFault, Generator)>,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            next_id: 1,
            active: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, fault: Fault) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let generator = Generator::new(self.seed, id);
        self.active
            .push((ActiveFault { id, fault, hits: 0 }, generator));
        id
    }

    pub(crate) fn remove(&mut self, id: u64) -> bool {
        let before = self.active.len();
        self.active.retain(|(active, _)| active.id != id);
        self.active.len() < before
    }

    pub(crate) fn clear(&mut self) {
        self.active.clear();
    }

    pub(crate) fn list(&self) -> Vec<ActiveFault> {
        self.active
            .iter()
            .map(|(active, _)| active.clone())
            .collect()
    }

    /// Decides what strikes a request, and counts it.
    pub(crate) fn plan(&mut self, method: &str, path: &str) -> Plan {
        let mut plan = Plan::default();
        for (active, generator) in &mut self.active {
            let fault = &mut active.fault;
            let is_latency = matches!(fault.kind, FaultKind::Latency { .. });
            let is_possible = fault.count != Some(0) && (is_latency || plan.kind.is_none());
            if !is_possible || !fault.matching.accepts(method, path) {
                continue;
            }
            if generator.unit() >= fault.probability {
                continue;
            }
            active.hits += 1;
            fault.count = fault.count.map(|left| left - 1);
            match &fault.kind {
                FaultKind::Latency { ms, jitter_ms } => {
                    plan.latency_ms += ms + (generator.unit() * *jitter_ms as f64) as u64;
                }
                kind => plan.kind = Some(kind.clone()),
            }
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_strikes_the_same_requests() {
        let strikes = |seed| {
            let mut faults = Faults::new(seed);
            let fault = Fault::always(FaultMatch::default(), FaultKind::DropBeforeEffect);
            faults.add(Fault {
                probability: 0.3,
                ..fault
            });
            (0..1_000)
                .map(|_| faults.plan("GET", "/").kind.is_some())
                .collect::<Vec<_>>()
        };
        assert_eq!(strikes(7), strikes(7));
        assert_ne!(strikes(7), strikes(8));
        let count = strikes(7).into_iter().filter(|struck| *struck).count();
        assert!((200..400).contains(&count), "{count} of 1000 at 0.3");
    }

    #[test]
    fn a_fault_is_spent_and_others_do_not_match() {
        let mut faults = Faults::new(0);
        faults.add(Fault::once("POST", "/pulls", FaultKind::DropAfterEffect));
        assert!(faults.plan("GET", "/repos/a/b/pulls").kind.is_none());
        assert!(faults.plan("POST", "/repos/a/b/issues").kind.is_none());
        assert!(faults.plan("POST", "/repos/a/b/pulls").kind.is_some());
        assert!(faults.plan("POST", "/repos/a/b/pulls").kind.is_none());
    }
}
