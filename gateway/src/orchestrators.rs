//! What the orchestrators count, added up: owners are asked, and answer for their process.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use afu9_schemas::message::{Query, QueryReply};
use futures::future::join_all;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::app::App;

/// How old an answer may be: whoever asks often costs the owners nothing more.
const FRESH_FOR: Duration = Duration::from_secs(5);

/// The last answer.
#[derive(Debug, Default)]
pub(crate) struct Orchestrators {
    known: Mutex<Option<(Instant, Counted)>>,
}

/// What orchestrators that own a partition have counted since they started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) orchestrators: usize,
    pub(crate) counters: BTreeMap<String, u64>,
}

impl App {
    /// What the orchestrators count, as far as they answer.
    pub(crate) async fn counted(&self) -> Counted {
        let mut known = self.orchestrators.known.lock().await;
        if let Some((at, counted)) = &*known
            && at.elapsed() < FRESH_FOR
        {
            return counted.clone();
        }
        let partitions = self.broker.partitions().all();
        let asked = partitions.map(|partition| self.broker.ask(partition, &Query::Status));
        let mut instances = BTreeSet::new();
        let mut counted = Counted::default();
        for answer in join_all(asked).await {
            // One answers for all partitions it owns.
            if let Ok(Some(QueryReply::Status(status))) = answer
                && instances.insert(status.instance)
            {
                for (name, count) in status.counters {
                    *counted.counters.entry(name).or_default() += count;
                }
            }
        }
        counted.orchestrators = instances.len();
        *known = Some((Instant::now(), counted.clone()));
        counted
    }
}
