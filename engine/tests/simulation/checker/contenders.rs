//! Those who contend for a key never have it together, and no more begin in a time than may.

use std::collections::{BTreeMap, BTreeSet};

use afu9_engine::Effect;
use afu9_schemas::definition::RateLimit;
use afu9_schemas::message::{HistoryEvent, HistoryKind, WorkflowRef};
use afu9_schemas::view::ExecutionStatus;
use afu9_schemas::{ExecutionId, Timestamp};

use super::Violation;
use crate::workflows::catalogue;

#[derive(Default)]
struct Contenders {
    /// The key and the workflow of each execution.
    of: BTreeMap<ExecutionId, (String, WorkflowRef)>,
    /// Who has each key.
    holders: BTreeMap<String, BTreeSet<ExecutionId>>,
    /// When executions with a rate limit began.
    begun: BTreeMap<String, (RateLimit, Vec<Timestamp>)>,
}

/// `effects` of one partition, in order.
pub(super) fn check(effects: &[Effect]) -> Result<(), Violation> {
    let mut contenders = Contenders::default();
    for effect in effects {
        if let Effect::History(event) = effect
            && let Some(id) = event.execution
        {
            contenders.take(id, event)?;
        }
    }
    for (key, (rate, begun)) in &contenders.begun {
        check_rate(key, *rate, begun)?;
    }
    Ok(())
}

impl Contenders {
    fn take(&mut self, id: ExecutionId, event: &HistoryEvent) -> Result<(), Violation> {
        match &event.kind {
            HistoryKind::ExecutionStarted(started) => {
                if let Some(key) = &started.key {
                    let own = (key.clone(), started.workflow.clone());
                    self.of.insert(id, own);
                    if started.status == ExecutionStatus::Running {
                        self.begin(id, event.at, true)?;
                    }
                }
            }
            HistoryKind::StatusChanged(changed) if changed.status == ExecutionStatus::Running => {
                // Somebody wished it: it goes on, or is retried. Nobody did: its turn has come.
                self.begin(id, event.at, changed.by.is_none())?;
            }
            HistoryKind::ExecutionEnded(_) => {
                if let Some((key, _)) = self.of.get(&id) {
                    self.holders.entry(key.clone()).or_default().remove(&id);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, id: ExecutionId, at: Timestamp, counts: bool) -> Result<(), Violation> {
        let Some((key, workflow)) = self.of.get(&id) else {
            return Ok(());
        };
        let flow = &catalogue().definitions[&workflow.hash].definition.flow;
        let holders = self.holders.entry(key.clone()).or_default();
        if !holders.insert(id) {
            return Ok(());
        }
        if let Some(concurrency) = flow.concurrency
            && holders.len() > concurrency.limit as usize
        {
            return Err(Violation::new(format!(
                "{} have the key {key} at once, {} may: {holders:?}",
                holders.len(),
                concurrency.limit
            )));
        }
        if let (true, Some(rate)) = (counts, flow.rate) {
            let (_, begun) = self.begun.entry(key.clone()).or_insert((rate, Vec::new()));
            begun.push(at);
        }
        Ok(())
    }
}

/// In any time no more begin than are allowed at once, and one more for each share of the period.
fn check_rate(key: &str, rate: RateLimit, begun: &[Timestamp]) -> Result<(), Violation> {
    let interval = rate.period.as_micros() / u128::from(rate.limit);
    for (first, from) in begun.iter().enumerate() {
        for (last, to) in begun.iter().enumerate().skip(first) {
            let allowed = u128::from(rate.limit) + to.since(*from).as_micros() / interval;
            let number = (last - first + 1) as u128;
            if number > allowed {
                return Err(Violation::new(format!(
                    "{number} of {key} begin from {from} to {to}, {allowed} may"
                )));
            }
        }
    }
    Ok(())
}
