//! The newest version of every workflow, as it is now: for triggers that belong to definitions.

use std::collections::{BTreeMap, HashMap};
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
    newest: Arc<Mutex<Newest>>,
    /// Counts the changes.
    changes: Arc<watch::Sender<u64>>,
}

#[derive(Debug, Default)]
struct Newest {
    by_name: BTreeMap<String, Arc<Found>>,
    /// By the workflow that is followed: what follows it.
    followers: HashMap<String, Vec<Follower>>,
}

/// A workflow that follows another one.
#[derive(Debug, Clone)]
pub(crate) struct Follower {
    pub(crate) found: Arc<Found>,
    /// Position of the rule among its triggers.
    pub(crate) index: usize,
}

impl Newest {
    fn replace(&mut self, name: &str, found: Option<Arc<Found>>) {
        let before = match &found {
            Some(found) => self.by_name.insert(name.to_owned(), Arc::clone(found)),
            None => self.by_name.remove(name),
        };
        for (_, upstream) in before.iter().flat_map(|before| before.follows()) {
            if let Some(followers) = self.followers.get_mut(upstream) {
                followers.retain(|follower| follower.found.record.workflow.name != name);
                if followers.is_empty() {
                    self.followers.remove(upstream);
                }
            }
        }
        let enabled = found.iter().filter(|found| found.record.enabled);
        for (found, (index, upstream)) in
            enabled.flat_map(|found| found.follows().map(move |rule| (found, rule)))
        {
            let follower = Follower {
                found: Arc::clone(found),
                index,
            };
            let followers = self.followers.entry(upstream.to_owned()).or_default();
            followers.push(follower);
        }
    }
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
            let known = newest.by_name.get(&name);
            if known.is_some_and(|known| known.record == record) {
                return;
            }
            // If nobody here can read it, its triggers are unknown.
            let found = workflow.map(|workflow| Arc::new(Found { record, workflow }));
            newest.replace(&name, found);
        }
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Every workflow this build can read.
    pub(crate) fn readable(&self) -> Vec<Arc<Found>> {
        let newest = self.newest.lock().expect("no panic while the lock is held");
        newest.by_name.values().cloned().collect()
    }

    /// The newest version of a workflow as it is known here, or the one asked for, and whether the workflow
    /// may be started now: a version keeps what was so when it was stored. What is not known is looked for,
    /// for as long as it takes; `None` if there is none, or none this build can read.
    pub(crate) async fn find(
        &self,
        name: &str,
        version: Option<u32>,
    ) -> Option<(Arc<Found>, bool)> {
        let newest = {
            let newest = self.newest.lock().expect("no panic while the lock is held");
            newest.by_name.get(name).cloned()
        };
        let Some(newest) = newest else {
            let found = self.definitions.look_up(name, version).await?;
            let enabled = found.record.enabled;
            return Some((Arc::new(found), enabled));
        };
        let enabled = newest.record.enabled;
        match version {
            Some(version) if version != newest.record.workflow.version => {
                let found = self.definitions.numbered(name, version).await?;
                Some((found, enabled))
            }
            _ => Some((newest, enabled)),
        }
    }

    /// The workflows that others follow.
    pub(crate) fn followed(&self) -> Vec<String> {
        let newest = self.newest.lock().expect("no panic while the lock is held");
        newest.followers.keys().cloned().collect()
    }

    /// What follows the workflow `upstream` and may be started.
    pub(crate) fn followers_of(&self, upstream: &str) -> Vec<Follower> {
        let newest = self.newest.lock().expect("no panic while the lock is held");
        newest.followers.get(upstream).cloned().unwrap_or_default()
    }

    /// Counts the changes: a new value means that something is different.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
