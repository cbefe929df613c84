//! Letting a job run with nothing beside it: what crashes then is that job's doing.

use std::sync::Arc;

use tokio::sync::{
    Mutex, OwnedMutexGuard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, watch,
};

/// Lets one job at a time run with nothing beside it. One for all workers of a process: they crash
/// together.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Held for reading by whoever has jobs, or may be given some; for writing by the job that is alone.
    company: Arc<RwLock<()>>,
    /// Whether a job waits to be alone, or is.
    wanted: watch::Sender<bool>,
    /// Held by whoever may be given a job that is to run alone: each delivery counts against the job, so
    /// that none may wait for another.
    turn: Arc<Mutex<()>>,
}

/// As long as it is there, no job is alone.
#[derive(Debug)]
pub(super) struct Company(#[expect(dead_code, reason = "it is held")] OwnedRwLockReadGuard<()>);

/// As long as it is there, nothing else runs.
#[derive(Debug)]
pub(super) struct Alone {
    gate: Gate,
    #[expect(dead_code, reason = "it is held")]
    held: OwnedRwLockWriteGuard<()>,
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.gate.0.wanted.send_replace(false);
    }
}

impl Gate {
    /// Tells whether a job waits to be alone: then nothing new is to be taken.
    pub(super) fn wanted(&self) -> watch::Receiver<bool> {
        self.0.wanted.subscribe()
    }

    /// Waits until no job is alone or wants to be.
    pub(super) async fn enter(&self) -> Company {
        let mut wanted = self.wanted();
        // The sender lives as long as the gate.
        let _ = wanted.wait_for(|wanted| !wanted).await;
        Company(Arc::clone(&self.0.company).read_owned().await)
    }

    /// Waits for the right to ask for a job that is to run alone.
    pub(super) async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.0.turn).lock_owned().await
    }

    /// Asks all others to take nothing more, and waits until what they have has ended. Only with the turn.
    pub(super) async fn alone(&self) -> Alone {
        let asked = Asked(self);
        self.0.wanted.send_replace(true);
        let held = Arc::clone(&self.0.company).write_owned().await;
        std::mem::forget(asked);
        Alone {
            gate: self.clone(),
            held,
        }
    }
}

/// A wish to be alone that is taken back when nobody waits for it any more.
struct Asked<'a>(&'a Gate);

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.0.0.wanted.send_replace(false);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn who_is_alone_has_waited_for_all_others_and_they_wait_for_it() {
        let gate = Gate::default();
        let (first, second) = (gate.enter().await, gate.enter().await);
        let mut alone = Box::pin(gate.alone());
        assert!(alone.as_mut().now_or_never().is_none());
        assert!(*gate.wanted().borrow());
        drop(first);
        assert!(alone.as_mut().now_or_never().is_none());
        assert!(gate.enter().now_or_never().is_none(), "nobody enters");
        drop(second);
        let alone = alone.await;
        assert!(gate.enter().now_or_never().is_none());
        drop(alone);
        assert!(!*gate.wanted().borrow());
        assert!(gate.enter().now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_does_not_wait_any_more_holds_up_nobody() {
        let gate = Gate::default();
        let company = gate.enter().await;
        assert!(gate.alone().now_or_never().is_none());
        assert!(gate.enter().now_or_never().is_some());
        drop(company);
    }
}
