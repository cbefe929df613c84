//! How far each schedule has got, and when it is due next; and which of them people have paused.
//!
//! One process runs the schedules; for a moment two may, after a failover. Compare-and-set keeps the one
//! that is late from taking a schedule back to where it was.
//!
//! A pause has a key of its own, which only gateways write: it outlives new versions of the definition,
//! and what a process that runs the schedules writes can never undo it.

use afu9_schemas::message::{Control, ControlOutcome, ScheduleRef, Switched};
use afu9_schemas::{ScheduleId, Timestamp, codec};
use async_nats::jetstream::kv;
use futures::{StreamExt, TryStreamExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Swap, swap};
use crate::connection::Broker;
use crate::error::RequestError;
use crate::topology::SCHEDULES;

/// Entries read at once.
const READ_AT_ONCE: usize = 32;

/// The last part of a pause's key.
const PAUSE: &str = "pause";

/// How often a lost race for a pause is run again.
const MAX_RACES: usize = 16;

/// A schedule of an enabled workflow, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleState {
    /// The workflow it starts.
    pub workflow: String,
    /// Which of the workflow's schedules it is.
    pub schedule: ScheduleId,
    /// Its cron expression.
    pub cron: String,
    /// Its time zone.
    pub timezone: String,
    /// Every instant up to this one has been dealt with. It begins where the schedule was first seen.
    pub through: Timestamp,
    /// The last instant that started an execution.
    #[serde(default)]
    pub fired: Option<Timestamp>,
    /// When the next execution starts, the delay of the rule's jitter included; `None` while it is
    /// paused.
    #[serde(default)]
    pub next: Option<Timestamp>,
    /// It starts nothing, and what would have been due meanwhile does not count as missed: the
    /// definition says so, or somebody has paused it.
    #[serde(default)]
    pub paused: bool,
}

/// What people have last wished of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedulePause {
    /// Which one.
    pub of: ScheduleRef,
    /// It shall start nothing. Once it is false, everything up to [`Switched::at`] is dealt with.
    pub paused: bool,
    /// Who wished it.
    pub last: Switched,
}

/// The schedules.
#[derive(Debug, Clone)]
pub struct ScheduleStore {
    store: kv::Store,
}

impl Broker {
    /// Opens the schedules.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn schedules(&self) -> Result<ScheduleStore, RequestError> {
        Ok(ScheduleStore {
            store: self.bucket(SCHEDULES).await?,
        })
    }
}

impl ScheduleStore {
    /// Every schedule with the revision of its entry, by workflow.
    ///
    /// # Errors
    /// When the server does not answer or an entry cannot be read.
    pub async fn list(&self) -> Result<Vec<(ScheduleState, u64)>, RequestError> {
        let mut found: Vec<(ScheduleState, u64)> = self.read_all(|key| !is_pause(key)).await?;
        found.sort_by(|(a, _), (b, _)| (&a.workflow, &a.schedule).cmp(&(&b.workflow, &b.schedule)));
        Ok(found)
    }

    /// What people have last wished of each schedule they have ever paused.
    ///
    /// # Errors
    /// When the server does not answer or an entry cannot be read.
    pub async fn pauses(&self) -> Result<Vec<SchedulePause>, RequestError> {
        let found = self.read_all(is_pause).await?;
        Ok(found.into_iter().map(|(pause, _)| pause).collect())
    }

    /// What people have last wished of a schedule, if they ever paused it.
    ///
    /// # Errors
    /// When the server does not answer or the entry cannot be read.
    pub async fn pause_of(&self, of: &ScheduleRef) -> Result<Option<SchedulePause>, RequestError> {
        let found = self.read(&pause_key(of)).await?;
        Ok(found.map(|(pause, _)| pause))
    }

    /// Pauses a schedule, or lets it go on, as `control` wishes.
    ///
    /// # Errors
    /// When the server does not answer, or very many others change it at the same time.
    pub async fn switch(
        &self,
        of: &ScheduleRef,
        paused: bool,
        control: &Control,
        now: Timestamp,
    ) -> Result<(Option<SchedulePause>, ControlOutcome), RequestError> {
        let key = pause_key(of);
        for _ in 0..MAX_RACES {
            let found: Option<(SchedulePause, u64)> = self.read(&key).await?;
            let before = found.as_ref().map(|(before, _)| &before.last);
            let repeated = before.is_some_and(|before| before.knows(control.request));
            let is_paused = found.as_ref().is_some_and(|(before, _)| before.paused);
            if repeated || is_paused == paused {
                return Ok((found.map(|(pause, _)| pause), ControlOutcome::Unchanged));
            }
            let pause = SchedulePause {
                of: of.clone(),
                paused,
                last: Switched::by(control, now, before),
            };
            let payload = codec::encode(&pause)
                .map_err(|error| RequestError::new(format!("writing {key}"), error))?;
            let revision = found.map_or(0, |(_, revision)| revision);
            if let Swap::Stored(_) = swap(&self.store, &key, payload, revision).await? {
                return Ok((Some(pause), ControlOutcome::Applied));
            }
        }
        Err(RequestError::new(
            format!("writing {key}"),
            "too many others change it at the same time",
        ))
    }

    /// Tells whenever somebody pauses a schedule or lets one go on, from now on.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn follow_pauses(&self) -> Result<PauseWatch, RequestError> {
        let watch = self.store.watch(format!("*.*.{PAUSE}")).await;
        let watch = watch.map_err(|error| RequestError::new("watching schedules", error))?;
        Ok(PauseWatch { watch })
    }

    /// Stores a schedule, if its entry is still at `expected` (0: there is none).
    ///
    /// # Errors
    /// When the server does not answer. It may be stored all the same.
    pub async fn put(&self, state: &ScheduleState, expected: u64) -> Result<Swap, RequestError> {
        let payload =
            codec::encode(state).map_err(|error| RequestError::new("writing a schedule", error))?;
        swap(
            &self.store,
            &key(&state.workflow, &state.schedule),
            payload,
            expected,
        )
        .await
    }

    /// Removes a schedule that no definition has any more. Does nothing if its entry is not at `expected`
    /// any more: then it is somebody else's.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn remove(
        &self,
        workflow: &str,
        schedule: &ScheduleId,
        expected: u64,
    ) -> Result<(), RequestError> {
        let key = key(workflow, schedule);
        let removed = self.store.purge_expect_revision(&key, Some(expected));
        match removed.await {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == kv::UpdateErrorKind::WrongLastRevision => Ok(()),
            Err(error) => Err(RequestError::new(format!("removing schedule {key}"), error)),
        }
    }

    /// Every entry whose key is `wanted`.
    async fn read_all<T: DeserializeOwned>(
        &self,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<(T, u64)>, RequestError> {
        let failed = |error: async_nats::Error| RequestError::new("listing schedules", error);
        let keys = self
            .store
            .keys()
            .await
            .map_err(|error| failed(error.into()))?;
        keys.map_err(|error| failed(error.into()))
            .try_filter(|key| std::future::ready(wanted(key)))
            .map_ok(|key| async move { self.read(&key).await })
            .try_buffer_unordered(READ_AT_ONCE)
            .try_filter_map(|entry| async move { Ok(entry) })
            .try_collect()
            .await
    }

    async fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<(T, u64)>, RequestError> {
        let failed =
            |error: async_nats::Error| RequestError::new(format!("reading schedule {key}"), error);
        let entry = self
            .store
            .entry(key)
            .await
            .map_err(|error| failed(error.into()))?;
        let Some(entry) = entry.filter(|entry| entry.operation == kv::Operation::Put) else {
            return Ok(None);
        };
        let state = codec::decode(&entry.value).map_err(|error| failed(error.into()))?;
        Ok(Some((state, entry.revision)))
    }
}

fn key(workflow: &str, schedule: &ScheduleId) -> String {
    format!("{workflow}.{schedule}")
}

/// Neither a workflow's name nor an id of a schedule has a dot.
fn pause_key(of: &ScheduleRef) -> String {
    format!("{}.{PAUSE}", key(&of.workflow, &of.schedule))
}

fn is_pause(key: &str) -> bool {
    key.split('.').nth(2) == Some(PAUSE)
}

/// Tells of pauses as they change.
pub struct PauseWatch {
    watch: kv::Watch,
}

impl std::fmt::Debug for PauseWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PauseWatch").finish_non_exhaustive()
    }
}

impl PauseWatch {
    /// Waits for the next change.
    ///
    /// Cancel safety: safe.
    ///
    /// # Errors
    /// When the server does not answer any more, or an entry cannot be read: watch anew, and read
    /// [`ScheduleStore::pauses`].
    pub async fn next(&mut self) -> Result<SchedulePause, RequestError> {
        loop {
            let entry = match self.watch.next().await {
                Some(Ok(entry)) => entry,
                Some(Err(error)) => return Err(RequestError::new("watching schedules", error)),
                None => return Err(RequestError::new("watching schedules", "the watch ended")),
            };
            // Nobody removes one.
            if entry.operation == kv::Operation::Put {
                return codec::decode(&entry.value)
                    .map_err(|error| RequestError::new("reading a pause", error));
            }
        }
    }
}
