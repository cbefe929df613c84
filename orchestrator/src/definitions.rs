//! Definitions by hash, loaded before they are needed: the engine cannot wait for them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use afu9_broker::kv::DefinitionStore;
use afu9_broker::{Broker, RequestError};
use afu9_engine::{Definitions, Workflow};
use afu9_schemas::DefinitionHash;
use afu9_schemas::definition::{ReadOptions, TriggerRule};
use afu9_schemas::message::DefinitionRecord;

use crate::stats::{Stats, add};

/// How long to wait before a lookup that failed is repeated.
const PAUSE: Duration = Duration::from_millis(250);

/// So many compiled definitions are kept though nobody uses them: more than workflows are started of at
/// a time, and some megabytes.
pub(crate) const MAX_IDLE: usize = 512;

/// Compiled definitions, shared by the owners of a process. Versions are immutable, so that an entry
/// is never stale.
#[derive(Debug, Clone)]
pub(crate) struct DefinitionCache {
    store: DefinitionStore,
    compiled: Arc<Mutex<Compiled>>,
    /// Versions that were asked for by their number. They never change.
    numbered: Arc<Mutex<Numbered>>,
    /// One lookup at a time: thousands that want the same version at once read it once.
    asking: Arc<tokio::sync::Mutex<()>>,
    stats: Arc<Stats>,
}

/// By the workflow's name and the version's number.
type Numbered = HashMap<(String, u32), Arc<Found>>;

#[derive(Debug, Default)]
struct Compiled {
    by_hash: Definitions,
    /// At this many the ones nobody uses are dropped.
    sweep_at: usize,
}

impl Compiled {
    fn insert(&mut self, hash: DefinitionHash, workflow: Arc<Workflow>) {
        if self.by_hash.len() >= self.sweep_at.max(MAX_IDLE) {
            // Whoever uses one has an own pointer to it: an execution, an owner, the newest versions.
            self.by_hash
                .retain(|_, workflow| Arc::strong_count(workflow) > 1);
            self.sweep_at = self.by_hash.len() * 2;
        }
        self.by_hash.insert(hash, workflow);
    }
}

impl DefinitionCache {
    pub(crate) async fn open(broker: &Broker, stats: Arc<Stats>) -> Result<Self, RequestError> {
        Ok(Self {
            store: broker.definitions().await?,
            compiled: Arc::default(),
            numbered: Arc::default(),
            asking: Arc::default(),
            stats,
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

    /// A version by its number, waiting for the server as long as it takes; read once. Its `enabled` is
    /// what it was then. `None` if there is none, or none this build can read.
    pub(crate) async fn numbered(&self, name: &str, version: u32) -> Option<Arc<Found>> {
        let key = (name.to_owned(), version);
        if let Some(found) = self.remembered(&key) {
            return Some(found);
        }
        let _turn = self.asking.lock().await;
        if let Some(found) = self.remembered(&key) {
            return Some(found);
        }
        let found = Arc::new(self.look_up(name, Some(version)).await?);
        let mut numbered = self
            .numbered
            .lock()
            .expect("no panic while the lock is held");
        if numbered.len() >= MAX_IDLE {
            numbered.clear();
        }
        numbered.insert(key, Arc::clone(&found));
        Some(found)
    }

    fn remembered(&self, key: &(String, u32)) -> Option<Arc<Found>> {
        let numbered = self
            .numbered
            .lock()
            .expect("no panic while the lock is held");
        numbered.get(key).cloned()
    }

    /// The newest version of a workflow, or the one asked for, waiting for the server as long as it
    /// takes. `None` if there is none, or none this build can read.
    pub(crate) async fn look_up(&self, name: &str, version: Option<u32>) -> Option<Found> {
        add(&self.stats.definitions_read, 1);
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
        add(&self.stats.definitions_read, 1);
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
        compiled.by_hash.get(&hash).cloned()
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

impl Found {
    /// The workflows whose ends start it, each with the position of the trigger that says so.
    pub(crate) fn follows(&self) -> impl Iterator<Item = (usize, &str)> {
        let triggers = self.workflow.definition.triggers.iter().enumerate();
        triggers.filter_map(|(index, rule)| match rule {
            TriggerRule::Workflow(rule) => Some((index, rule.workflow.as_str())),
            TriggerRule::Webhook(_) | TriggerRule::Schedule(_) => None,
        })
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workflow(name: &str) -> Arc<Workflow> {
        let source = json!({"name": name, "steps": [{"name": "a", "sleep": "1ms"}]});
        compile(&source, name, DefinitionHash::of(name.as_bytes())).expect("valid")
    }

    #[test]
    fn what_nobody_uses_is_dropped_and_the_rest_is_kept() {
        let mut compiled = Compiled::default();
        let mut used = Vec::new();
        for number in 0..3 * MAX_IDLE {
            let name = format!("w{number}");
            let workflow = workflow(&name);
            if number % 100 == 0 {
                used.push((DefinitionHash::of(name.as_bytes()), Arc::clone(&workflow)));
            }
            compiled.insert(DefinitionHash::of(name.as_bytes()), workflow);
            assert!(compiled.by_hash.len() <= MAX_IDLE);
        }
        for (hash, _) in &used {
            assert!(compiled.by_hash.contains_key(hash));
        }
    }
}
