//! What a partition puts on record, history and dead letters, until the server has it.
//!
//! Called by the owner's loop. One send is on its way at a time, and what is decided meanwhile goes with
//! the next one. So an idle partition adds no delay, a busy one pays one publish (and in durable mode one
//! fsync) for many events, and no decision waits for either.
//!
//! What happens within an execution is held back for a moment: most executions are short, and one that
//! begins and ends within it becomes one message and one transaction instead of several. Its end, and
//! whatever people wait for, is never held back.
//!
//! A checkpoint is written only when everything decided before it is stored: a replay of the inputs above
//! the floor tells it all again.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use afu9_broker::history::{SPLIT_AT_BYTES, history_message};
use afu9_broker::publish::Outgoing;
use afu9_broker::{Broker, PublishError};
use afu9_schemas::artifact::json_size;
use afu9_schemas::message::{ControlAction, HistoryBatch, HistoryEvent, HistoryKind};
use afu9_schemas::{ExecutionId, Partition};
use futures::future::{BoxFuture, FutureExt};
use rustc_hash::FxHashMap;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::owner::{FULL_PAUSE, PAUSE};
use crate::stats::{Stats, add};
use crate::wait::{maybe, reached};

/// How long the beginning and the steps of an execution are held back: less than anybody who looks at
/// it notices.
const HOLD: Duration = Duration::from_millis(100);

/// When more than this is held back, all of it goes.
const MAX_HELD_BYTES: usize = 4 * 1024 * 1024;

/// When this many events of an execution are held back, they go: whoever reads them is not to have a tenth of
/// a second's worth of a long list at once, with what somebody waits for behind it.
const MAX_HELD_EVENTS: usize = 256;

/// With this much that the server has not taken, a partition decides nothing new: history is full, or
/// the server away.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// What is to be put on record.
#[derive(Debug)]
enum Record {
    Event(Weighed),
    Letter(Outgoing),
}

/// An event, and roughly how many bytes it takes.
#[derive(Debug)]
struct Weighed {
    event: Box<HistoryEvent>,
    bytes: usize,
}

/// What happened within an execution and was not told yet.
#[derive(Debug)]
struct Held {
    since: Instant,
    events: Vec<Weighed>,
}

/// What was decided and is not on record yet.
pub(crate) struct Records {
    broker: Broker,
    stats: Arc<Stats>,
    partition: Partition,
    held: FxHashMap<ExecutionId, Held>,
    /// Since when which execution's events are held back, the earliest first. One that is not held
    /// since then any more was told.
    turns: VecDeque<(Instant, ExecutionId)>,
    held_bytes: usize,
    ready: Vec<Record>,
    /// Size of what is ready or on its way.
    bytes: usize,
    sending: Option<BoxFuture<'static, ()>>,
    /// Records that were ever ready, and how many of them were handed to the last send or an earlier one.
    readied: u64,
    sent: u64,
    sent_bytes: usize,
    /// How many of them the server has.
    stored: watch::Sender<u64>,
}

impl Records {
    pub(crate) fn new(broker: Broker, stats: Arc<Stats>, partition: Partition) -> Self {
        Self {
            broker,
            stats,
            partition,
            held: FxHashMap::default(),
            turns: VecDeque::new(),
            held_bytes: 0,
            ready: Vec::new(),
            bytes: 0,
            sending: None,
            readied: 0,
            sent: 0,
            sent_bytes: 0,
            stored: watch::Sender::new(0),
        }
    }

    /// Puts on record what a tick decided.
    #[expect(clippy::vec_box, reason = "the engine's effects are boxed already")]
    pub(crate) fn push(&mut self, events: Vec<Box<HistoryEvent>>, letters: Vec<Outgoing>) {
        let now = Instant::now();
        for event in events {
            let (execution, can_wait) = (event.execution, can_wait(&event.kind));
            let bytes = weight(&event);
            let event = Weighed { event, bytes };
            match execution {
                Some(execution) if can_wait => self.hold(execution, event, now),
                Some(execution) => {
                    self.tell(execution);
                    self.ready(Record::Event(event));
                }
                None => self.ready(Record::Event(event)),
            }
        }
        for letter in letters {
            self.ready(Record::Letter(letter));
        }
        if self.held_bytes > MAX_HELD_BYTES {
            self.tell_all();
        }
        self.send();
    }

    /// Waits until something was stored, or something held back has to be told.
    ///
    /// Cancel safety: safe.
    pub(crate) async fn next(&mut self) {
        let due = self.turns.front().map(|(since, _)| *since + HOLD);
        tokio::select! {
            () = maybe(&mut self.sending) => {
                self.sending = None;
                self.bytes -= std::mem::take(&mut self.sent_bytes);
                self.stored.send_replace(self.sent);
            }
            () = reached(due) => {
                let now = Instant::now();
                while let Some((since, execution)) = self.turns.front().copied()
                    && since + HOLD <= now
                {
                    self.turns.pop_front();
                    if self.held.get(&execution).is_some_and(|held| held.since == since) {
                        self.tell(execution);
                    }
                }
            }
        }
        self.send();
    }

    /// So much waits for the server that nothing new should be decided.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes + self.held_bytes > MAX_BYTES
    }

    /// Holds nothing back any more, and returns what to wait for until everything decided so far is
    /// stored. It waits for as long as it takes, while somebody calls [`Self::next`].
    pub(crate) fn flush(&mut self) -> impl Future<Output = ()> + use<> {
        self.tell_all();
        self.send();
        let through = self.readied;
        let mut stored = self.stored.subscribe();
        async move {
            // Only an owner that is gone stores nothing more.
            if stored.wait_for(|stored| *stored >= through).await.is_err() {
                pending::<()>().await;
            }
        }
    }

    fn hold(&mut self, execution: ExecutionId, event: Weighed, now: Instant) {
        self.held_bytes += event.bytes;
        let held = self.held.entry(execution).or_insert_with(|| {
            self.turns.push_back((now, execution));
            let events = Vec::new();
            Held { since: now, events }
        });
        held.events.push(event);
        if held.events.len() >= MAX_HELD_EVENTS {
            self.tell(execution);
        }
    }

    /// Holds nothing of `execution` back any more.
    fn tell(&mut self, execution: ExecutionId) {
        let Some(held) = self.held.remove(&execution) else {
            return;
        };
        for event in held.events {
            self.held_bytes -= event.bytes;
            self.ready(Record::Event(event));
        }
    }

    fn tell_all(&mut self) {
        while let Some((_, execution)) = self.turns.pop_front() {
            self.tell(execution);
        }
    }

    fn ready(&mut self, record: Record) {
        self.bytes += match &record {
            Record::Event(event) => event.bytes,
            Record::Letter(outgoing) => outgoing.payload.len(),
        };
        self.readied += 1;
        self.ready.push(record);
    }

    /// Sends what is ready, unless something is on its way.
    fn send(&mut self) {
        if self.sending.is_some() || self.ready.is_empty() {
            return;
        }
        self.sent = self.readied;
        self.sent_bytes = self.bytes;
        let messages = self.messages();
        let (broker, stats, partition) = (self.broker.clone(), self.stats.clone(), self.partition);
        let mut sending = store(broker, stats, partition, messages).boxed();
        // It is on its way now, not when the loop comes round.
        if (&mut sending).now_or_never().is_none() {
            self.sending = Some(sending);
        } else {
            self.sending = Some(std::future::ready(()).boxed());
        }
    }

    /// What is ready as messages, none too large.
    fn messages(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        let mut batch = Vec::new();
        let mut bytes = 0;
        for record in std::mem::take(&mut self.ready) {
            match record {
                Record::Letter(outgoing) => messages.push(Message::Letter(outgoing)),
                Record::Event(event) => {
                    if !batch.is_empty() && bytes + event.bytes > SPLIT_AT_BYTES {
                        messages.extend(self.history(std::mem::take(&mut batch)));
                        bytes = 0;
                    }
                    bytes += event.bytes;
                    batch.push(*event.event);
                }
            }
        }
        if !batch.is_empty() {
            messages.extend(self.history(batch));
        }
        messages
    }

    fn history(&self, events: Vec<HistoryEvent>) -> Option<Message> {
        let batch = HistoryBatch {
            partition: Some(self.partition),
            events,
        };
        match history_message(&batch) {
            Ok(outgoing) => Some(Message::History(outgoing)),
            Err(error) => {
                let error = afu9_broker::error::chain(&error);
                tracing::error!(partition = %self.partition, error, "history that cannot be encoded");
                None
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Message {
    History(Outgoing),
    Letter(Outgoing),
}

/// Publishes everything, again and again until the server has it.
async fn store(
    broker: Broker,
    stats: Arc<Stats>,
    partition: Partition,
    mut messages: Vec<Message>,
) {
    while !messages.is_empty() {
        let outgoing = messages.iter().map(|message| match message {
            Message::History(outgoing) | Message::Letter(outgoing) => outgoing.clone(),
        });
        let verdicts = broker.publish_all(outgoing.collect()).await;
        let mut again = Vec::new();
        let mut pause = PAUSE;
        for (message, verdict) in messages.into_iter().zip(verdicts) {
            match (verdict, &message) {
                (Ok(_), Message::Letter(_)) => add(&stats.dead_letters, 1),
                (Ok(_), Message::History(_)) => {}
                (Err(PublishError::Full { .. }), Message::Letter(_)) => {
                    // The failed step is in history with everything it had: standing still until
                    // somebody makes room would stop every other execution for its sake.
                    add(&stats.dead_letters_lost, 1);
                    tracing::error!(%partition, "dead letters are full");
                }
                (Err(error), _) if error.is_retryable() => {
                    if matches!(error, PublishError::Full { .. }) {
                        pause = FULL_PAUSE;
                    }
                    again.push(message);
                }
                (Err(error), _) => {
                    let error = afu9_broker::error::chain(&error);
                    tracing::error!(%partition, error, "message refused");
                }
            }
        }
        messages = again;
        if !messages.is_empty() {
            tracing::debug!(%partition, left = messages.len(), "records repeated");
            tokio::time::sleep(pause).await;
        }
    }
}

/// What nobody waits for.
fn can_wait(kind: &HistoryKind) -> bool {
    match kind {
        HistoryKind::ExecutionStarted(_) | HistoryKind::StepEnded(_) => true,
        HistoryKind::ExecutionEnded(_)
        | HistoryKind::StatusChanged(_)
        | HistoryKind::StepProgressed(_)
        | HistoryKind::Controlled(_)
        | HistoryKind::DefinitionApplied(_) => false,
    }
}

/// Roughly how many bytes an event takes.
fn weight(event: &HistoryEvent) -> usize {
    let value = |value: &Option<serde_json::Value>| value.as_ref().map_or(0, json_size);
    200 + match &event.kind {
        HistoryKind::ExecutionStarted(started) => json_size(&started.input),
        HistoryKind::StepEnded(ended) => {
            value(&ended.input) + value(&ended.output) + ended.attempts.len() * 200
        }
        HistoryKind::ExecutionEnded(ended) => value(&ended.output),
        HistoryKind::DefinitionApplied(record) => json_size(&record.definition),
        HistoryKind::StatusChanged(_) => 0,
        HistoryKind::StepProgressed(progressed) => progressed.progress.len(),
        HistoryKind::Controlled(record) => match &record.control.action {
            ControlAction::Signal { payload, .. } => json_size(payload),
            ControlAction::Retry { params, .. } => value(params),
            _ => 0,
        },
    }
}
