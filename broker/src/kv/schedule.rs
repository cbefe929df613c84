//! How far each schedule has got, and when it is due next.
//!
//! One process runs the schedules; for a moment two may, after a failover. Compare-and-set keeps the one
//! that is late from taking a schedule back to where it was.

use afu9_schemas::{ScheduleId, Timestamp, codec};
use async_nats::jetstream::kv;
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::{Swap, swap};
use crate::connection::Broker;
use crate::error::RequestError;
use crate::topology::SCHEDULES;

/// Entries read at once.
const READ_AT_ONCE: usize = 32;

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
    /// It starts nothing, and what would have been due meanwhile does not count as missed.
    #[serde(default)]
    pub paused: bool,
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
        let failed = |error: async_nats::Error| RequestError::new("listing schedules", error);
        let keys = self
            .store
            .keys()
            .await
            .map_err(|error| failed(error.into()))?;
        let read = |key: Result<String, _>| async move {
            let key = key.map_err(|error: kv::WatcherError| failed(error.into()))?;
            self.read(&key).await
        };
        let mut found: Vec<(ScheduleState, u64)> = keys
            .map(read)
            .buffer_unordered(READ_AT_ONCE)
            .try_filter_map(|entry| async move { Ok(entry) })
            .try_collect()
            .await?;
        found.sort_by(|(a, _), (b, _)| (&a.workflow, &a.schedule).cmp(&(&b.workflow, &b.schedule)));
        Ok(found)
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

    async fn read(&self, key: &str) -> Result<Option<(ScheduleState, u64)>, RequestError> {
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
