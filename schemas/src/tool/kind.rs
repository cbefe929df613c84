//! Worker kinds: what their jobs have in common.

use std::sync::LazyLock;
use std::time::Duration;

use crate::id::WorkerKind;

/// What the jobs of one worker kind have in common.
#[derive(Debug, Clone)]
pub struct KindProfile {
    /// The kind.
    pub kind: WorkerKind,
    /// How many jobs may share one message. One, where a job is slow or has an effect outside: it
    /// then has a message id of its own, by which the server drops a second copy, and no job waits
    /// for a neighbour's acknowledgement.
    pub jobs_per_message: usize,
    /// How many jobs of one partition and lane may be in the queue or at work at once. The rest waits
    /// with the orchestrator, where it is shared out fairly and can still be paused; in a queue it
    /// could not. Deep enough that a fleet never runs dry between two ticks.
    pub window: usize,
    /// Longest time a tool may run where its step does not say.
    pub tool_timeout: Duration,
    /// How many jobs one worker runs at once where its configuration does not say.
    pub default_slots: usize,
    /// Whether it belongs to production: the test kind does not.
    pub production: bool,
}

static PROFILES: LazyLock<Vec<KindProfile>> = LazyLock::new(|| {
    let kind = |name: &str| WorkerKind::new(name).expect("names of built-in kinds are valid");
    vec![
        KindProfile {
            kind: kind("github"),
            jobs_per_message: 1,
            window: 128,
            tool_timeout: Duration::from_secs(30),
            // GitHub asks clients to keep concurrency low; beyond this, secondary limits begin.
            default_slots: 32,
            production: true,
        },
        KindProfile {
            kind: kind("test"),
            jobs_per_message: 64,
            window: 512,
            tool_timeout: Duration::from_secs(30),
            default_slots: 1024,
            production: false,
        },
    ]
});

/// Every worker kind there is.
pub fn kinds() -> &'static [KindProfile] {
    &PROFILES
}

/// The position of `kind` in [`kinds`].
pub fn kind_index(kind: &WorkerKind) -> Option<usize> {
    PROFILES.iter().position(|profile| profile.kind == *kind)
}

/// The profile of `kind`.
pub fn kind_profile(kind: &WorkerKind) -> Option<&'static KindProfile> {
    PROFILES.iter().find(|profile| profile.kind == *kind)
}
