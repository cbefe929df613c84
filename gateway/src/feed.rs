//! What happens, as it happens, for everybody who follows it: one reader of HISTORY, which decodes
//! each event once, and any number of listeners.
//!
//! The reader reads while somebody listens. A listener that does not keep up is told how much it
//! missed, and holds up neither the reader nor the others.

mod outline;
mod told;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use afu9_broker::error::chain;
use afu9_broker::history::{HistoryConsumer, HistoryMessage};
use afu9_broker::{Broker, RequestError};
use afu9_schemas::codec;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{interval, sleep, timeout};

use crate::metrics::Metrics;

use outline::BatchOutline;
use told::kind_of;
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
    wants: Arc<Wants>,
}

/// How many listeners want each of [`KINDS`]: what nobody wants is not made into text.
#[derive(Debug, Default)]
struct Wants([AtomicUsize; KINDS.len()]);

impl Wants {
    fn has(&self, kind: &str) -> bool {
        let index = KINDS.iter().position(|known| *known == kind);
        index.is_some_and(|index| self.0[index].load(Ordering::SeqCst) > 0)
    }
}

/// What one listener wants, as long as it lives.
#[derive(Debug)]
struct Wish {
    wants: Arc<Wants>,
    kinds: Vec<&'static str>,
}

impl Wish {
    fn new(wants: Arc<Wants>, kinds: &[&'static str]) -> Self {
        let kinds = kinds.to_vec();
        let wish = Self { wants, kinds };
        for count in wish.counts() {
            count.fetch_add(1, Ordering::SeqCst);
        }
        wish
    }

    fn counts(&self) -> impl Iterator<Item = &AtomicUsize> {
        let counts = KINDS.iter().zip(&self.wants.0);
        counts.filter_map(|(kind, count)| self.kinds.contains(kind).then_some(count))
    }
}

impl Drop for Wish {
    fn drop(&mut self) {
        for count in self.counts() {
            count.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Events that are passed on together.
#[derive(Debug)]
pub(crate) struct Batch {
    /// How many events came before them, since the gateway began.
    begin: u64,
    /// How many there are, with those that nobody wants.
    count: u64,
    /// Events before them were never read.
    torn: bool,
    /// Those that somebody wants.
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
    _wish: Wish,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            sender: broadcast::Sender::new(KEPT),
            open: watch::Sender::new(false),
            wanted: Notify::new(),
            wants: Arc::default(),
        }
    }
}

impl Feed {
    /// Listens: hears everything of these kinds that is published from now on. `None` if history cannot
    /// be read now.
    pub(crate) async fn listen(&self, kinds: &[&'static str]) -> Option<Listener> {
        let wish = Wish::new(Arc::clone(&self.wants), kinds);
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
            _wish: wish,
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
                    self.pass_on(read, 0, true, Vec::new());
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
            self.tell(&messages, read, metrics);
        }
    }

    /// Passes on what messages say.
    fn tell(&self, messages: &[HistoryMessage], read: &mut u64, metrics: &Metrics) {
        let mut events = Vec::new();
        for message in messages {
            match codec::decode::<BatchOutline>(&message.raw) {
                Ok(batch) => events.extend(batch.events),
                Err(error) => {
                    metrics.history_unreadable.add();
                    tracing::debug!(error = %chain(&error), "unreadable history left out");
                }
            }
        }
        events.retain(|event| kind_of(&event.kind).is_some());
        for events in events.chunks(TOGETHER) {
            let wanted = |kind| self.wants.has(kind);
            let wanted = events
                .iter()
                .filter(|event| kind_of(&event.kind).is_some_and(wanted));
            let (begin, count) = (*read, events.len() as u64);
            *read += count;
            self.pass_on(begin, count, false, wanted.filter_map(Told::new).collect());
        }
    }

    fn pass_on(&self, begin: u64, count: u64, torn: bool, events: Vec<Told>) {
        // Nobody may listen just now.
        let _listeners = self.sender.send(Arc::new(Batch {
            begin,
            count,
            torn,
            events,
        }));
    }
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
        self.next = Some(batch.begin + batch.count);
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
        let mut quick = feed.listen(&KINDS).await.expect("open");
        let mut slow = feed.listen(&KINDS).await.expect("open");
        let mut read = 0;
        let mut never = feed.listen(&KINDS).await.expect("open");
        for batch in 0..KEPT + 11 {
            feed.pass_on(read, 3, false, events(3));
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
        feed.pass_on(read, 0, true, Vec::new());
        let (missed, _) = quick.next().await.expect("passed on");
        assert_eq!(missed, Some(Missed::Unknown));
    }

    #[tokio::test]
    async fn nobody_is_promised_anything_while_history_is_not_read() {
        tokio::time::pause();
        let feed = Feed::default();
        assert!(feed.listen(&KINDS).await.is_none());
        let (listener, ()) = tokio::join!(feed.listen(&KINDS), async {
            tokio::task::yield_now().await;
            feed.pass_on(0, 0, true, Vec::new());
            feed.open.send_replace(true);
        });
        let mut listener = listener.expect("open");
        feed.pass_on(0, 1, false, events(1));
        let (missed, _) = listener.next().await.expect("passed on");
        assert_eq!(missed, None, "what came before it listened is not missed");
    }

    #[tokio::test]
    async fn what_nobody_wants_is_not_made_into_text() {
        let feed = Feed::default();
        feed.open.send_replace(true);
        assert!(!feed.wants.has(ENDED));
        let one = feed.listen(&[ENDED]).await.expect("open");
        let other = feed.listen(&KINDS).await.expect("open");
        drop(other);
        assert!(feed.wants.has(ENDED));
        assert!(!feed.wants.has("step_ended"));
        drop(one);
        assert!(!feed.wants.has(ENDED));
    }
}
