//! The newest definitions that webhook deliveries start by themselves (`on: [{webhook: …}]`), as they
//! are now.
//!
//! Loaded before the first delivery is routed, then kept up to date by what is applied: here at once,
//! elsewhere when the broker tells.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use afu9_broker::RequestError;
use afu9_broker::error::chain;
use afu9_schemas::definition::TriggerRule;
use afu9_schemas::message::DefinitionRecord;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::definitions::{Definitions, Known};

/// Pause before definitions are followed again after they could not be.
const FOLLOW_AGAIN: Duration = Duration::from_secs(1);

/// The newest definitions that deliveries start.
#[derive(Debug)]
pub(crate) struct Catalog {
    newest: Mutex<BTreeMap<String, Entry>>,
    loaded: watch::Sender<bool>,
}

#[derive(Debug)]
struct Entry {
    version: u32,
    enabled: bool,
    /// None where the version has no rule for deliveries, or is disabled.
    known: Option<Arc<Known>>,
}

impl Default for Catalog {
    fn default() -> Self {
        Self {
            newest: Mutex::default(),
            loaded: watch::Sender::new(false),
        }
    }
}

impl Catalog {
    /// Loads everything there is, then follows what is applied, until the task is dropped.
    pub(crate) async fn follow(&self, definitions: &Definitions) {
        loop {
            if let Err(error) = self.follow_once(definitions).await {
                tracing::debug!(error = %chain(&error), "definitions followed anew");
            }
            sleep(FOLLOW_AGAIN).await;
        }
    }

    async fn follow_once(&self, definitions: &Definitions) -> Result<(), RequestError> {
        let store = definitions.store().await?;
        // The changes first, so that none is missed between the list and them.
        let mut changes = store.follow().await?;
        for record in store.list().await? {
            self.read(record).await;
        }
        self.loaded.send_replace(true);
        loop {
            let record = changes.next().await?;
            self.read(record).await;
        }
    }

    /// Takes in a newest version, unless it is known.
    async fn read(&self, record: DefinitionRecord) {
        if self.has(&record) {
            return;
        }
        // Reading a large definition takes milliseconds, and there may be a thousand.
        let read = tokio::task::spawn_blocking(|| Known::new(record)).await;
        match read {
            Ok(known) => self.note(&Arc::new(known)),
            Err(error) => tracing::error!(%error, "a definition could not be read"),
        }
    }

    fn has(&self, record: &DefinitionRecord) -> bool {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let version = record.workflow.version;
        newest.get(&record.workflow.name).is_some_and(|entry| {
            // A version never changes but for being enabled.
            entry.version > version || (entry.version, entry.enabled) == (version, record.enabled)
        })
    }

    /// Takes in a newest version.
    pub(crate) fn note(&self, known: &Arc<Known>) {
        let workflow = &known.record.workflow;
        let entry = Entry {
            version: workflow.version,
            enabled: known.record.enabled,
            known: starts_by_webhook(known).then(|| Arc::clone(known)),
        };
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let stale = newest
            .get(&workflow.name)
            .is_some_and(|before| before.version > entry.version);
        if !stale {
            newest.insert(workflow.name.clone(), entry);
        }
    }

    /// Waits until everything there was when this gateway began is known.
    pub(crate) async fn loaded(&self) {
        let mut loaded = self.loaded.subscribe();
        // The sender lives as long as this value.
        let _closed = loaded.wait_for(|loaded| *loaded).await;
    }

    /// Every enabled definition with a rule for deliveries, by name.
    pub(crate) fn started_by_webhook(&self) -> Vec<Arc<Known>> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest
            .values()
            .filter_map(|entry| entry.known.clone())
            .collect()
    }
}

fn starts_by_webhook(known: &Known) -> bool {
    let by_rule = match &known.workflow {
        Some(workflow) => workflow
            .definition
            .triggers
            .iter()
            .any(|rule| matches!(rule, TriggerRule::Webhook(_))),
        // What a newer AFU-9 accepted may have rules: deliveries of their events are set aside.
        None => known.record.definition.get("on").is_some(),
    };
    known.record.enabled && by_rule
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::definitions::tests::known;

    fn version(version: u32, on: &serde_json::Value) -> Arc<Known> {
        let steps = json!([{"name": "a", "tool": "test.noop"}]);
        let mut known = known(json!({"name": "w", "on": on, "steps": steps}));
        known.record.workflow.version = version;
        Arc::new(known)
    }

    #[test]
    fn only_the_newest_version_counts_and_only_with_a_rule() {
        let catalog = Catalog::default();
        let webhook = json!([{"webhook": {"event": "issues"}}]);
        let schedule = json!([{"schedule": {"cron": "0 6 * * *"}}]);
        catalog.note(&version(2, &webhook));
        catalog.note(&version(1, &webhook));
        let found = catalog.started_by_webhook();
        assert_eq!(found[0].record.workflow.version, 2);
        catalog.note(&version(3, &schedule));
        assert!(catalog.started_by_webhook().is_empty());
        catalog.note(&version(2, &webhook));
        assert!(catalog.started_by_webhook().is_empty(), "an older one");
    }

    #[test]
    fn a_disabled_definition_starts_nothing() {
        let catalog = Catalog::default();
        let mut disabled = known(json!({
            "name": "w",
            "on": [{"webhook": {"event": "issues"}}],
            "steps": [{"name": "a", "tool": "test.noop"}],
        }));
        disabled.record.enabled = false;
        catalog.note(&Arc::new(disabled));
        assert!(catalog.started_by_webhook().is_empty());
    }
}
