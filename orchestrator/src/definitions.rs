//! Definitions by hash, loaded before they are needed: the engine cannot wait for them.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use afu9_broker::kv::DefinitionStore;
use afu9_broker::{Broker, RequestError};
use afu9_engine::{Definitions, Workflow};
use afu9_schemas::DefinitionHash;
use afu9_schemas::definition::ReadOptions;
use afu9_schemas::message::DefinitionRecord;

/// How long to wait before a lookup that failed is repeated.
const PAUSE: Duration = Duration::from_millis(250);

/// Compiled definitions, shared by the owners of a process. Versions are immutable, so that an entry
/// is never stale.
#[derive(Debug, Clone)]
pub(crate) struct DefinitionCache {
    store: DefinitionStore,
    compiled: Arc<Mutex<Definitions>>,
}

impl DefinitionCache {
    pub(crate) async fn open(broker: &Broker) -> Result<Self, RequestError> {
        Ok(Self {
            store: broker.definitions().await?,
            compiled: Arc::new(Mutex::new(Definitions::default())),
        })
    }

    /// Adds the definitions of `wanted` to `known`, waiting for the server as long as it takes. What
    /// does not exist, or cannot be compiled any more, stays out.
    pub(crate) async fn load(
        &self,
        wanted: impl IntoIterator<Item = DefinitionHash>,
        known: &mut Definitions,
    ) {
        for hash in wanted {
            if known.contains_key(&hash) {
                continue;
            }
            if let Some(workflow) = self.cached(hash) {
                known.insert(hash, workflow);
                continue;
            }
            if let Some(workflow) = self.fetch(hash).await {
                self.remember(hash, Arc::clone(&workflow));
                known.insert(hash, workflow);
            }
        }
    }

    /// The newest version of a workflow, or the one asked for, waiting for the server as long as it
    /// takes. `None` if there is none, or none this build can read.
    pub(crate) async fn find(&self, name: &str, version: Option<u32>) -> Option<Found> {
        let record = loop {
            let found = self.read(name, version).await;
            match found {
                Ok(record) => break record?,
                Err(error) => {
                    let error = afu9_broker::error::chain(&error);
                    tracing::warn!(name, error, "definition cannot be read, trying again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        let workflow = self.compiled(&record)?;
        Some(Found { record, workflow })
    }

    /// A version, enabled if its workflow is.
    async fn read(
        &self,
        name: &str,
        version: Option<u32>,
    ) -> Result<Option<DefinitionRecord>, RequestError> {
        let Some(newest) = self.store.newest(name).await? else {
            return Ok(None);
        };
        let record = match version {
            Some(version) if version != newest.workflow.version => {
                self.store.version(name, version).await?
            }
            _ => return Ok(Some(newest)),
        };
        let enabled = newest.enabled;
        Ok(record.map(|record| DefinitionRecord { enabled, ..record }))
    }

    /// What executions of a stored version run; `None` if this build cannot read it.
    pub(crate) fn compiled(&self, record: &DefinitionRecord) -> Option<Arc<Workflow>> {
        let hash = record.workflow.hash;
        if let Some(workflow) = self.cached(hash) {
            return Some(workflow);
        }
        let workflow = compile(&record.definition, &record.workflow.name, hash)?;
        self.remember(hash, Arc::clone(&workflow));
        Some(workflow)
    }

    pub(crate) fn store(&self) -> &DefinitionStore {
        &self.store
    }

    async fn fetch(&self, hash: DefinitionHash) -> Option<Arc<Workflow>> {
        loop {
            match self.store.by_hash(hash).await {
                Ok(None) => return None,
                Ok(Some(record)) => {
                    return compile(&record.definition, &record.workflow.name, hash);
                }
                Err(error) => {
                    let error = afu9_broker::error::chain(&error);
                    tracing::warn!(%hash, error, "definition cannot be read, trying again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn cached(&self, hash: DefinitionHash) -> Option<Arc<Workflow>> {
        let compiled = self
            .compiled
            .lock()
            .expect("no panic while the lock is held");
        compiled.get(&hash).cloned()
    }

    fn remember(&self, hash: DefinitionHash, workflow: Arc<Workflow>) {
        let mut compiled = self
            .compiled
            .lock()
            .expect("no panic while the lock is held");
        compiled.insert(hash, workflow);
    }
}

/// A stored version and what its executions run.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) record: DefinitionRecord,
    pub(crate) workflow: Arc<Workflow>,
}

fn compile(
    definition: &serde_json::Value,
    name: &str,
    hash: DefinitionHash,
) -> Option<Arc<Workflow>> {
    let options = ReadOptions { name: Some(name) };
    match afu9_engine::workflow::compile(&definition.to_string(), options) {
        Ok(compiled) => Some(Arc::new(compiled.workflow)),
        Err(mistakes) => {
            let mistake = mistakes
                .first()
                .map(ToString::to_string)
                .unwrap_or_default();
            tracing::error!(%hash, name, mistake, "stored definition is not valid any more");
            None
        }
    }
}
