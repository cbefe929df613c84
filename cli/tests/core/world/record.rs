//! All history, as it is published.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use afu9_broker::Broker;
use afu9_broker::history::HistoryConsumer;
use afu9_schemas::ExecutionId;
use afu9_schemas::message::{ExecutionEnded, HistoryEvent, HistoryKind, Query, StepEnded};
use anyhow::{Context, Result, bail};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{PATIENCE, World};

/// Pause before history is opened again after it could not be read.
const PAUSE: Duration = Duration::from_millis(50);

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Record {
    story: Arc<Mutex<Story>>,
    /// How many executions have ended, retried ones once for each end.
    ended: watch::Sender<usize>,
}

#[derive(Default)]
struct Story {
    /// Everything, repetitions included.
    events: Vec<HistoryEvent>,
    /// The ends of each execution by the number of their event: one that is retried by hand has
    /// several.
    ends: HashMap<ExecutionId, BTreeMap<u32, ExecutionEnded>>,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            story: Arc::default(),
            ended: watch::Sender::new(0),
        }
    }
}

impl Record {
    fn lock(&self) -> MutexGuard<'_, Story> {
        self.story.lock().expect("not poisoned")
    }

    fn note(&self, events: Vec<HistoryEvent>) {
        let mut new_ends = 0;
        {
            let mut story = self.lock();
            for event in &events {
                if let (Some(id), HistoryKind::ExecutionEnded(ended)) =
                    (event.execution, &event.kind)
                {
                    let ends = story.ends.entry(id).or_default();
                    new_ends += usize::from(ends.insert(event.number, (**ended).clone()).is_none());
                }
            }
            story.events.extend(events);
        }
        self.ended.send_modify(|ended| *ended += new_ends);
    }
}

/// Follows history until `end`.
pub(super) async fn keep(
    record: Record,
    broker: Broker,
    mut history: HistoryConsumer,
    end: CancellationToken,
) {
    let mut last = 0;
    loop {
        let batch = tokio::select! {
            batch = history.next_batch(256) => batch,
            () = end.cancelled() => return,
        };
        let Ok(batch) = batch else {
            tokio::time::sleep(PAUSE).await;
            if let Ok(reopened) = broker.observe_history().await {
                history = reopened;
            }
            continue;
        };
        for message in batch {
            if message.stream_sequence <= last {
                continue;
            }
            last = message.stream_sequence;
            record.note(message.decode().expect("our own history").events);
        }
    }
}

impl World {
    pub(crate) fn events(&self) -> Vec<HistoryEvent> {
        self.record.lock().events.clone()
    }

    /// What `pick` makes of the events.
    pub(crate) fn events_as<T>(&self, pick: impl FnMut(&HistoryEvent) -> Option<T>) -> Vec<T> {
        self.record.lock().events.iter().filter_map(pick).collect()
    }

    /// How many executions have ended.
    pub(crate) fn ended(&self) -> usize {
        *self.record.ended.borrow()
    }

    /// Waits until `count` executions have ended.
    pub(crate) async fn wait_until_ended(&self, count: usize) -> Result<()> {
        let mut ended = self.record.ended.subscribe();
        loop {
            let now = *ended.borrow_and_update();
            if now >= count {
                return Ok(());
            }
            if timeout(PATIENCE, ended.changed()).await.is_err() {
                bail!("{now} executions have ended, {count} were to end, and no more do");
            }
        }
    }

    /// Waits until all of `ids` have ended, as long as any execution still does.
    pub(crate) async fn wait_for_ends(
        &self,
        ids: &[ExecutionId],
    ) -> Result<HashMap<ExecutionId, ExecutionEnded>> {
        self.wait_for_ends_again(ids, 1).await
    }

    /// Waits until each of `ids` has ended `times` times, and returns the last end of each.
    pub(crate) async fn wait_for_ends_again(
        &self,
        ids: &[ExecutionId],
        times: usize,
    ) -> Result<HashMap<ExecutionId, ExecutionEnded>> {
        let mut ended = self.record.ended.subscribe();
        let mut missing: HashSet<ExecutionId> = ids.iter().copied().collect();
        loop {
            ended.mark_unchanged();
            {
                let story = self.record.lock();
                missing.retain(|id| story.ends.get(id).is_none_or(|ends| ends.len() < times));
                if missing.is_empty() {
                    let last = |id: &ExecutionId| {
                        Some((*id, story.ends.get(id)?.last_key_value()?.1.clone()))
                    };
                    return Ok(ids.iter().filter_map(last).collect());
                }
            }
            if timeout(PATIENCE, ended.changed()).await.is_err() {
                let (missed, of) = (missing.len(), ids.len());
                let one = *missing.iter().next().context("one is missing")?;
                let query = Query::Explain { execution: one };
                let partition = self.broker.partitions().of(one);
                let why = self.broker.ask(partition, &query).await?;
                bail!("{missed} of {of} did not end, for example {one}: {why:?}");
            }
        }
    }

    /// The last end of each step of an execution, items left out.
    pub(crate) fn steps(&self, id: ExecutionId) -> Vec<StepEnded> {
        let mut steps: BTreeMap<u32, StepEnded> = BTreeMap::new();
        let ends = self.events_as(|event| match &event.kind {
            HistoryKind::StepEnded(step) if event.execution == Some(id) && step.item.is_none() => {
                Some((event.number, (**step).clone()))
            }
            _ => None,
        });
        let in_order: BTreeMap<u32, StepEnded> = ends.into_iter().collect();
        for step in in_order.into_values() {
            steps.insert(step.index, step);
        }
        steps.into_values().collect()
    }

    pub(crate) fn step(&self, id: ExecutionId, name: &str) -> StepEnded {
        self.steps(id)
            .into_iter()
            .find(|step| step.name == name)
            .context(format!("step {name} of {id}"))
            .expect("the step has ended")
    }

    /// Every execution's events are numbered from 1 without a gap; a number that comes twice (after
    /// a replay) says the same thing twice.
    pub(crate) fn assert_history_is_gapless(&self) {
        let mut by_execution: BTreeMap<ExecutionId, BTreeMap<u32, HistoryEvent>> = BTreeMap::new();
        for event in self.events() {
            let Some(id) = event.execution else { continue };
            let numbered = by_execution.entry(id).or_default();
            match numbered.get(&event.number) {
                Some(before) => assert_eq!(before.kind, event.kind, "{id}: {}", event.number),
                None => {
                    numbered.insert(event.number, event);
                }
            }
        }
        for (id, events) in by_execution {
            let numbers: Vec<u32> = events.keys().copied().collect();
            let expected: Vec<u32> = (1..=u32::try_from(numbers.len()).expect("few")).collect();
            assert_eq!(numbers, expected, "{id}");
        }
    }
}
