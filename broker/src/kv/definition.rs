//! Workflow definitions: every version by its hash, and the newest one by name.

use afu9_schemas::message::{Control, ControlOutcome, DefinitionRecord, Switched, WorkflowRef};
use afu9_schemas::{DefinitionHash, Timestamp, WorkflowId, codec, definition};
use async_nats::jetstream::kv;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde_json::Value;

use super::{Swap, swap};
use crate::connection::Broker;
use crate::error::RequestError;
use crate::topology::DEFINITIONS;

/// How often a lost race for the newest version is run again.
const MAX_RACES: usize = 16;

/// Versions read side by side: a definition may be half a megabyte.
const READ_AT_ONCE: usize = 8;

/// The stored definitions.
#[derive(Debug, Clone)]
pub struct DefinitionStore {
    store: kv::Store,
}

impl Broker {
    /// Opens the definitions.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn definitions(&self) -> Result<DefinitionStore, RequestError> {
        Ok(DefinitionStore {
            store: self.bucket(DEFINITIONS).await?,
        })
    }
}

impl DefinitionStore {
    /// Stores a definition as the newest version of its workflow. The same content as the newest
    /// version is that version. A workflow that is disabled stays so.
    ///
    /// `name` and `value` must come from a definition that was compiled.
    ///
    /// # Errors
    /// When the server does not answer, or very many others store versions at the same time.
    pub async fn apply(
        &self,
        name: &str,
        value: &Value,
        by: &str,
        now: Timestamp,
    ) -> Result<Applied, RequestError> {
        let hash = definition::hash(value);
        let key = format!("name.{name}");
        for race in 0..MAX_RACES {
            let (newest, revision) = self.read(&key).await?.unzip();
            if let Some(newest) = &newest
                && newest.workflow.hash == hash
            {
                if race > 0 {
                    // Our record of this content may lie over the winner's, which has another
                    // workflow id.
                    self.put_by_hash(newest).await?;
                }
                // Whoever stored it may have died before this.
                self.put_version(newest).await?;
                return Ok(Applied {
                    record: newest.clone(),
                    created: false,
                });
            }
            let record = DefinitionRecord {
                workflow: WorkflowRef {
                    id: newest
                        .as_ref()
                        .map_or_else(WorkflowId::new, |newest| newest.workflow.id),
                    name: name.to_owned(),
                    version: newest
                        .as_ref()
                        .map_or(1, |newest| newest.workflow.version + 1),
                    hash,
                },
                definition: value.clone(),
                enabled: newest.as_ref().is_none_or(|newest| newest.enabled),
                applied_at: now,
                applied_by: by.to_owned(),
                switched: newest.as_ref().and_then(|newest| newest.switched.clone()),
            };
            let payload = codec::encode(&record)
                .map_err(|error| RequestError::new("storing a definition", error))?;
            // The version before it is found by its number from now on. Whoever stored it may have died
            // before that, or knew nothing of numbers.
            if let Some(newest) = &newest {
                self.put_version(newest).await?;
            }
            // By hash first: whoever finds the name must find the content.
            self.put_by_hash(&record).await?;
            match swap(&self.store, &key, payload, revision.unwrap_or(0)).await? {
                Swap::Stored(_) => {
                    self.put_version(&record).await?;
                    return Ok(Applied {
                        record,
                        created: true,
                    });
                }
                Swap::Lost => {}
            }
        }
        Err(RequestError::new(
            format!("storing a definition of {name}"),
            "too many others store versions of it at the same time",
        ))
    }

    /// Lets a workflow be started (`enabled`), or not any more, as `control` wishes. `None` if there is
    /// no such workflow.
    ///
    /// # Errors
    /// When the server does not answer, or very many others change the workflow at the same time.
    pub async fn switch(
        &self,
        name: &str,
        enabled: bool,
        control: &Control,
        now: Timestamp,
    ) -> Result<Option<(DefinitionRecord, ControlOutcome)>, RequestError> {
        let key = format!("name.{name}");
        for _ in 0..MAX_RACES {
            let Some((mut record, revision)) = self.read(&key).await? else {
                return Ok(None);
            };
            let before = record.switched.as_ref();
            let repeated = before.is_some_and(|before| before.knows(control.request));
            if repeated || record.enabled == enabled {
                return Ok(Some((record, ControlOutcome::Unchanged)));
            }
            record.switched = Some(Switched::by(control, now, before));
            record.enabled = enabled;
            let payload = codec::encode(&record)
                .map_err(|error| RequestError::new(format!("switching {name}"), error))?;
            if let Swap::Stored(_) = swap(&self.store, &key, payload, revision).await? {
                return Ok(Some((record, ControlOutcome::Applied)));
            }
        }
        Err(RequestError::new(
            format!("switching {name}"),
            "too many others change it at the same time",
        ))
    }

    /// The newest version of a workflow.
    ///
    /// # Errors
    /// When the server does not answer or the record cannot be read.
    pub async fn newest(&self, name: &str) -> Result<Option<DefinitionRecord>, RequestError> {
        Ok(self
            .read(&format!("name.{name}"))
            .await?
            .map(|(record, _)| record))
    }

    /// The version with this hash. Whether the workflow is enabled, only [`Self::newest`] knows.
    ///
    /// # Errors
    /// When the server does not answer or the record cannot be read.
    pub async fn by_hash(
        &self,
        hash: DefinitionHash,
    ) -> Result<Option<DefinitionRecord>, RequestError> {
        Ok(self
            .read(&format!("hash.{hash}"))
            .await?
            .map(|(record, _)| record))
    }

    /// Version `version` of a workflow. Whether the workflow is enabled, only [`Self::newest`] knows.
    ///
    /// # Errors
    /// When the server does not answer or the record cannot be read.
    pub async fn version(
        &self,
        name: &str,
        version: u32,
    ) -> Result<Option<DefinitionRecord>, RequestError> {
        let found = self.read(&version_key(name, version)).await?;
        if let Some((record, _)) = found {
            return Ok(Some(record));
        }
        let newest = self.newest(name).await?;
        Ok(newest.filter(|newest| newest.workflow.version == version))
    }

    /// The versions of a workflow, the oldest first. One that an older store has lost is left out.
    ///
    /// # Errors
    /// When the server does not answer or a record cannot be read.
    pub async fn versions(&self, name: &str) -> Result<Vec<DefinitionRecord>, RequestError> {
        let Some(newest) = self.newest(name).await? else {
            return Ok(Vec::new());
        };
        let former = (1..newest.workflow.version).map(|version| self.version(name, version));
        let former: Vec<Option<DefinitionRecord>> = stream::iter(former)
            .buffered(READ_AT_ONCE)
            .try_collect()
            .await?;
        Ok(former.into_iter().flatten().chain([newest]).collect())
    }

    /// Stores a version under its number, unless it is there already: versions never change.
    async fn put_version(&self, record: &DefinitionRecord) -> Result<(), RequestError> {
        let failed = |error: async_nats::Error| RequestError::new("storing a version", error);
        let payload = codec::encode(record).map_err(|error| failed(error.into()))?;
        let key = version_key(&record.workflow.name, record.workflow.version);
        match self.store.create(key, payload).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == kv::CreateErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// The newest version of every workflow, by name.
    ///
    /// # Errors
    /// When the server does not answer or a record cannot be read.
    pub async fn list(&self) -> Result<Vec<DefinitionRecord>, RequestError> {
        let failed = |error: async_nats::Error| RequestError::new("listing definitions", error);
        let keys = self
            .store
            .keys()
            .await
            .map_err(|error| failed(error.into()))?;
        let keys: Vec<_> = keys.collect().await;
        let mut records = Vec::new();
        for key in keys {
            let key = key.map_err(|error| failed(error.into()))?;
            if key.starts_with("name.") {
                records.extend(self.read(&key).await?.map(|(record, _)| record));
            }
        }
        records.sort_by(|a, b| a.workflow.name.cmp(&b.workflow.name));
        Ok(records)
    }

    /// The newest version of every workflow, and then each that replaces one, for ever.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn follow(&self) -> Result<DefinitionWatch, RequestError> {
        let watch = self
            .store
            .watch_with_history("name.>")
            .await
            .map_err(|error| RequestError::new("watching definitions", error))?;
        Ok(DefinitionWatch { watch })
    }

    async fn put_by_hash(&self, record: &DefinitionRecord) -> Result<(), RequestError> {
        let failed = |error: async_nats::Error| RequestError::new("storing a definition", error);
        let payload = codec::encode(record).map_err(|error| failed(error.into()))?;
        self.store
            .put(format!("hash.{}", record.workflow.hash), payload)
            .await
            .map_err(|error| failed(error.into()))?;
        Ok(())
    }

    async fn read(&self, key: &str) -> Result<Option<(DefinitionRecord, u64)>, RequestError> {
        let failed = |error: async_nats::Error| {
            RequestError::new(format!("reading definition {key}"), error)
        };
        let entry = self
            .store
            .entry(key)
            .await
            .map_err(|error| failed(error.into()))?;
        let Some(entry) = entry.filter(|entry| entry.operation == kv::Operation::Put) else {
            return Ok(None);
        };
        let record = codec::decode(&entry.value).map_err(|error| failed(error.into()))?;
        Ok(Some((record, entry.revision)))
    }
}

fn version_key(name: &str, version: u32) -> String {
    format!("version.{name}.{version}")
}

/// Tells every newest version, and every change of one.
pub struct DefinitionWatch {
    watch: kv::Watch,
}

impl std::fmt::Debug for DefinitionWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DefinitionWatch").finish_non_exhaustive()
    }
}

impl DefinitionWatch {
    /// Waits for the next one.
    ///
    /// Cancel safety: safe.
    ///
    /// # Errors
    /// When the server does not answer any more: watch anew.
    pub async fn next(&mut self) -> Result<DefinitionRecord, RequestError> {
        loop {
            let entry = match self.watch.next().await {
                Some(Ok(entry)) => entry,
                Some(Err(error)) => return Err(RequestError::new("watching definitions", error)),
                None => return Err(RequestError::new("watching definitions", "the watch ended")),
            };
            if entry.operation != kv::Operation::Put {
                continue;
            }
            match codec::decode(&entry.value) {
                Ok(record) => return Ok(record),
                Err(error) => {
                    tracing::warn!(key = entry.key, %error, "definition not readable, passed over");
                }
            }
        }
    }
}

/// What applying a definition came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// The newest version.
    pub record: DefinitionRecord,
    /// It is a new one.
    pub created: bool,
}
