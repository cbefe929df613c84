//! Holds: nothing new begins in a scope until it is released. Every partition keeps its own copy, so
//! a hold is wished of each of them, and what is held is asked of each.

use std::collections::BTreeMap;

use afu9_broker::error::chain;
use afu9_schemas::message::{Control, HoldScope, Query, QueryReply};
use afu9_schemas::view::PauseView;
use afu9_schemas::{ExecutionId, Partition};
use futures::future::join_all;

use crate::app::App;
use crate::control::{CONTROL_PATIENCE, Carried, ControlError};

/// What is held.
#[derive(Debug)]
pub(crate) struct Held {
    /// By scope: who wished it first, and in how many partitions it is held.
    pub(crate) scopes: BTreeMap<HoldScope, (PauseView, usize)>,
    /// How many partitions answered.
    pub(crate) answered: usize,
    /// How many there are.
    pub(crate) partitions: usize,
}

/// What came of a wish in every partition.
#[derive(Debug)]
pub(crate) struct Everywhere {
    /// What came of it where it was decided: applied, if it changed anything anywhere.
    pub(crate) carried: Carried,
    /// How many partitions decided it.
    pub(crate) decided: usize,
    /// How many have it and did not decide it in time.
    pub(crate) pending: usize,
    /// Partitions that may not have it, and the first reason why.
    pub(crate) failed: Option<(Vec<Partition>, ControlError)>,
}

impl App {
    /// What is held, as far as the partitions' owners answer.
    pub(crate) async fn held(&self) -> Held {
        let partitions: Vec<Partition> = self.broker.partitions().all().collect();
        let asked = partitions
            .iter()
            .map(|partition| self.broker.ask(*partition, &Query::Holds));
        let mut held = Held {
            scopes: BTreeMap::new(),
            answered: 0,
            partitions: partitions.len(),
        };
        for answer in join_all(asked).await {
            match answer {
                Ok(Some(QueryReply::Holds(holds))) => {
                    held.answered += 1;
                    for hold in holds {
                        let entry = held.scopes.entry(hold.scope);
                        let (first, count) = entry.or_insert_with(|| (hold.pause.clone(), 0));
                        *count += 1;
                        if hold.pause.at < first.at {
                            *first = hold.pause;
                        }
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(error = %chain(&error), "owner did not answer");
                }
            }
        }
        held
    }

    /// Wishes `control` of every partition, and waits for all of them together. Wishing it again as
    /// the same request changes nothing where it was decided.
    pub(crate) async fn control_everywhere(&self, control: &Control) -> Everywhere {
        let partitions = self.broker.partitions().all();
        let wished = partitions.map(|partition| async move {
            let wish = control.clone();
            let carried = self.control_in(partition, ExecutionId::NONE, wish, CONTROL_PATIENCE);
            (partition, carried.await)
        });
        let mut everywhere = Everywhere {
            carried: Carried::Unchanged,
            decided: 0,
            pending: 0,
            failed: None,
        };
        for (partition, carried) in join_all(wished).await {
            match carried {
                Ok(Carried::Pending) => everywhere.pending += 1,
                Ok(carried) => {
                    everywhere.decided += 1;
                    if carried != Carried::Unchanged {
                        everywhere.carried = carried;
                    }
                }
                Err(error) => match &mut everywhere.failed {
                    Some((failed, _)) => failed.push(partition),
                    None => everywhere.failed = Some((vec![partition], error)),
                },
            }
        }
        everywhere
    }
}
