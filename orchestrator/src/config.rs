//! What can be set about an orchestrator, and the bounds that cannot.

use std::time::Duration;

use afu9_schemas::InstanceId;

/// What can be set about an orchestrator.
#[derive(Debug, Clone)]
pub struct Config {
    /// This process, new at every start.
    pub instance: InstanceId,
    /// How far apart checkpoints are. Shorter means less to replay after a crash, longer means fewer
    /// writes: an execution that begins and ends between two checkpoints is never written at all.
    pub checkpoint_interval: Duration,
    /// Called before each input that changes something is folded: it may panic, or end the process.
    #[cfg(feature = "testing")]
    pub fault: Option<fn(&afu9_schemas::message::Input)>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            instance: InstanceId::new(),
            checkpoint_interval: Duration::from_millis(500),
            #[cfg(feature = "testing")]
            fault: None,
        }
    }
}

/// How often a lease is renewed.
pub(crate) const RENEW_EVERY: Duration = Duration::from_secs(1);

/// An owner that could not renew its lease for this long stops by itself. Less than
/// [`LEASE_EXPIRES`], so that it has stopped before anybody else begins; should it be frozen
/// meanwhile, the checkpoint's compare-and-set stops it.
pub(crate) const STOP_AFTER: Duration = Duration::from_millis(3200);

/// A lease that nobody saw renewed for this long is free, and taken at that instant: with the time it
/// takes to load a partition this keeps a failover below five seconds.
pub(crate) const LEASE_EXPIRES: Duration = Duration::from_secs(4);

/// Most messages of the log in one tick: a tick must stay short against the patience of everybody
/// who waits for its results.
pub(crate) const MAX_TICK_MESSAGES: usize = 64;

/// Most executions woken at once; the rest is woken with the next turn.
pub(crate) const MAX_WAKES: usize = 1024;

/// An input that was begun this often, and not survived, is set aside.
pub(crate) const MAX_TRIES: u32 = 3;

/// An owner folds with care when the checkpoint was claimed this often without getting any further: an
/// owner before it ended before its first checkpoint, and may have been brought down.
pub(crate) const CAREFUL_AFTER: u32 = 2;

const _: () = assert!(STOP_AFTER.as_millis() < LEASE_EXPIRES.as_millis());
const _: () = assert!(RENEW_EVERY.as_millis() * 3 < STOP_AFTER.as_millis());
