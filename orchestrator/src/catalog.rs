//! The newest version of every workflow, as it is now: for triggers that belong to definitions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use afu9_broker::RequestError;
use afu9_schemas::message::DefinitionRecord;
use tokio::sync::watch;

use crate::definitions::{DefinitionCache, Found};

/// Pause before definitions are watched again after they could not be.
const PAUSE: Duration = Duration::from_secs(1);

/// The newest versions. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Catalog {
    definitions: DefinitionCache,
    newest: Arc<Mutex<BTreeMap<String, Found>>>,
    /// Counts the changes.
    changes: Arc<watch::Sender<u64>>,
}

impl Catalog {
    /// Everything there is now; [`Self::run`] keeps it up to date.
    pub(crate) async fn load(definitions: DefinitionCache) -> Result<Self, RequestError> {
        let catalog = Self {
            newest: Arc::default(),
            changes: Arc::new(watch::Sender::new(0)),
            definitions,
        };
        for record in catalog.definitions.store().list().await? {
            catalog.note(record);
        }
        Ok(catalog)
    }

    /// Follows what is applied, for ever.
    pub(crate) async fn run(&self) {
        loop {
            let followed: Result<(), RequestError> = async {
                let mut watch = self.definitions.store().follow().await?;
                loop {
                    self.note(watch.next().await?);
                }
            }
            .await;
            if let Err(error) = followed {
                let error = afu9_broker::error::chain(&error);
                tracing::debug!(error, "definitions not readable, trying again");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn note(&self, record: DefinitionRecord) {
        let name = record.workflow.name.clone();
        let workflow = self.definitions.compiled(&record);
        {
            let mut newest = self.newest.lock().expect("no panic while the lock is held");
            let known = newest.get(&name);
            if known.is_some_and(|known| known.record == record) {
                return;
            }
            match workflow {
                Some(workflow) => newest.insert(name, Found { record, workflow }),
                // Its triggers are those of a version nobody here can read.
                None => newest.remove(&name),
            };
        }
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Every workflow this build can read.
    pub(crate) fn readable(&self) -> Vec<Found> {
        let newest = self.newest.lock().expect("no panic while the lock is held");
        newest.values().cloned().collect()
    }

    /// Every workflow that may be started.
    pub(crate) fn enabled(&self) -> Vec<Found> {
        let mut enabled = self.readable();
        enabled.retain(|found| found.record.enabled);
        enabled
    }

    /// Counts the changes: a new value means that something is different.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
