//! What happens, as it happens, for everybody who follows it: one reader of HISTORY, which decodes
//! each event once, and any number of listeners.
//!
//! The reader reads while somebody listens. A listener that does not keep up is told how much it
//! missed, and holds up neither the reader nor the others.

mod told;

use std::sync::Arc;
use std::time::Duration;

use afu9_broker::error::chain;
use afu9_broker::history::{HistoryConsumer, HistoryMessage};
use afu9_broker::{Broker, RequestError};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{interval, sleep, timeout};

use crate::metrics::Metrics;

pub(crate) use told::{ENDED, KINDS, Told, event_text};

/// Messages of history read at once.
const READ_AT_ONCE: usize = 64;

/// Events passed on together. With [`KEPT`], this bounds what the slowest listener may be behind, and
/// so what is held for it: 65,536 events of some hundred bytes.
const TOGETHER: usize = 256;

/// Of those, how many are kept for the slowest listener.
const KEPT: usize = 256;

/// How often the reader looks whether anybody listens.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Pause before history is opened again after it could not be read.
const OPEN_AGAIN: Duration = Duration::from_secs(1);

/// How long a listener waits for the reader.
const OPEN_WITHIN: Duration = Duration::from_secs(5);

/// The one reader and its listeners.
#[derive(Debug)]
pub(crate) struct Feed {
    sender: broadcast::Sender<Arc<Batch>>,
    /// Whether whoever listens now hears everything from now on.
    open: watch::Sender<bool>,
    wanted: Notify,
}

/// Events that are passed on together.
#[derive(Debug)]
pub(crate) struct Batch {
    /// How many events came before them, since the gateway began.
    begin: u64,
    /// Events before them were never read.
    torn: bool,
    pub(crate) events: Vec<Told>,
}

/// What was not heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missed {
    /// So many events, of whatever kind and execution.
    Events(u64),
    /// Nobody knows how many.
    Unknown,
}

/// One listener.
#[derive(Debug)]
pub(crate) struct Listener {
    receiver: broadcast::Receiver<Arc<Batch>>,
    /// Events heard or missed before the next batch; none before the first.
    next: Option<u64>,
    /// Batches were missed.
    behind: bool,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            sender: broadcast::Sender::new(KEPT),
            open: watch::Sender::new(false),
            wanted: Notify::new(),
        }
    }
}

impl Feed {
    /// Listens: hears everything that is published from now on. `None` if history cannot be read now.
    pub(crate) async fn listen(&self) -> Option<Listener> {
        // From here on the reader does not close any more.
        let waiting = self.sender.subscribe();
        self.wanted.notify_one();
        let mut open = self.open.subscribe();
        let opened = timeout(OPEN_WITHIN, open.wait_for(|open| *open)).await;
        opened.ok()?.ok()?;
        // What was passed on meanwhile came before anything was promised.
        Some(Listener {
            receiver: waiting.resubscribe(),
            next: None,
            behind: false,
        })
    }

    /// Reads for those who listen, until the task is dropped.
    pub(crate) async fn run(&self, broker: &Broker, metrics: &Metrics) {
        let mut read = 0;
        let mut torn = false;
        loop {
            while self.sender.receiver_count() == 0 {
                self.wanted.notified().await;
            }
            let failed = async {
                let mut history = broker.follow_history().await?;
                if torn {
                    self.pass_on(read, true, Vec::new());
                }
                self.open.send_replace(true);
                self.read(&mut history, &mut read, metrics).await
            };
            let Err(error) = failed.await else {
                // Nobody listens any more, so nobody missed anything.
                torn = false;
                continue;
            };
            tracing::debug!(error = %chain(&error), "history followed anew");
            self.open.send_replace(false);
            torn = true;
            sleep(OPEN_AGAIN).await;
        }
    }

    /// Reads until nobody listens.
    async fn read(
        &self,
        history: &mut HistoryConsumer,
        read: &mut u64,
        metrics: &Metrics,
    ) -> Result<(), RequestError> {
        let mut look = interval(LOOK_EVERY);
        loop {
            let messages = tokio::select! {
                messages = history.next_batch(READ_AT_ONCE) => messages?,
                _ = look.tick() => {
                    // Whoever begins to listen now waits for what this comes to.
                    let closed = self.open.send_if_modified(|open| {
                        let close = self.sender.receiver_count() == 0;
                        *open &= !close;
                        close
                    });
                    if closed {
                        return Ok(());
                    }
                    continue;
                }
            };
            let mut events = told(&messages, metrics);
            while !events.is_empty() {
                let rest = events.split_off(events.len().min(TOGETHER));
                let begin = *read;
                *read += events.len() as u64;
                self.pass_on(begin, false, events);
                events = rest;
            }
        }
    }

    fn pass_on(&self, begin: u64, torn: bool, events: Vec<Told>) {
        // Nobody may listen just now.
        let _listeners = self.sender.send(Arc::new(Batch {
            begin,
            torn,
            events,
        }));
    }
}

fn told(messages: &[HistoryMessage], metrics: &Metrics) -> Vec<Told> {
    let mut told = Vec::new();
    for message in messages {
        match message.decode() {
            Ok(batch) => told.extend(batch.events.iter().filter_map(Told::new)),
            Err(error) => {
                metrics.history_unreadable.add();
                tracing::debug!(error = %chain(&error), "unreadable history left out");
            }
        }
    }
    told
}

impl Listener {
    /// What was missed before the next events, and those; `None` when the feed is gone.
    ///
    /// Cancel safety: safe.
    pub(crate) async fn next(&mut self) -> Option<(Option<Missed>, Arc<Batch>)> {
        let batch = loop {
            match self.receiver.recv().await {
                Ok(batch) => break batch,
                Err(RecvError::Lagged(_)) => self.behind = true,
                Err(RecvError::Closed) => return None,
            }
        };
        let missed = match self.next {
            _ if batch.torn => Some(Missed::Unknown),
            _ if !self.behind => None,
            Some(next) => Some(Missed::Events(batch.begin.saturating_sub(next))),
            None => Some(Missed::Unknown),
        };
        self.behind = false;
        self.next = Some(batch.begin + batch.events.len() as u64);
        Some((missed, batch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(count: usize) -> Vec<Told> {
        let event = || Told {
            execution: None,
            kind: "controlled",
            text: String::new(),
        };
        (0..count).map(|_| event()).collect()
    }

    #[tokio::test]
    async fn who_does_not_keep_up_is_told_how_much_it_missed() {
        let feed = Feed::default();
        feed.open.send_replace(true);
        let mut quick = feed.listen().await.expect("open");
        let mut slow = feed.listen().await.expect("open");
        let mut read = 0;
        let mut never = feed.listen().await.expect("open");
        for batch in 0..KEPT + 11 {
            feed.pass_on(read, false, events(3));
            read += 3;
            let (missed, _) = quick.next().await.expect("passed on");
            assert_eq!(missed, None);
            if batch == 0 {
                let (missed, _) = slow.next().await.expect("passed on");
                assert_eq!(missed, None);
            }
        }
        let (missed, batch) = slow.next().await.expect("passed on");
        assert_eq!(missed, Some(Missed::Events(30)));
        assert_eq!(batch.begin, 33);
        let (missed, _) = slow.next().await.expect("passed on");
        assert_eq!(missed, None);
        let (missed, _) = never.next().await.expect("passed on");
        assert_eq!(
            missed,
            Some(Missed::Unknown),
            "it does not know what came first"
        );
        feed.pass_on(read, true, Vec::new());
        let (missed, _) = quick.next().await.expect("passed on");
        assert_eq!(missed, Some(Missed::Unknown));
    }

    #[tokio::test]
    async fn nobody_is_promised_anything_while_history_is_not_read() {
        tokio::time::pause();
        let feed = Feed::default();
        assert!(feed.listen().await.is_none());
        let (listener, ()) = tokio::join!(feed.listen(), async {
            tokio::task::yield_now().await;
            feed.pass_on(0, true, Vec::new());
            feed.open.send_replace(true);
        });
        let mut listener = listener.expect("open");
        feed.pass_on(0, false, events(1));
        let (missed, _) = listener.next().await.expect("passed on");
        assert_eq!(missed, None, "what came before it listened is not missed");
    }
}
