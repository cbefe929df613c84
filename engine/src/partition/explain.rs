//! Why an execution is where it is.

use afu9_schemas::message::HoldScope;
use afu9_schemas::view::{Cause, CauseView, ExplainView};
use afu9_schemas::{ExecutionId, Timestamp};

use super::{Live, PartitionState};
use crate::execution::whole;

/// Most causes told of one execution: a list of ten thousand items waits for ten thousand jobs, and
/// the first few say it all.
const MAX_CAUSES: usize = 50;

/// Most holders of a key told.
const MAX_HOLDERS: usize = 10;

impl PartitionState {
    /// Why an execution is where it is, if it is live or a failed one that is kept.
    pub fn explain(&self, id: ExecutionId) -> Option<ExplainView> {
        let live = self.live.get(&id).or_else(|| self.retained.get(id))?;
        let execution = &live.execution;
        let mut causes = self.holds_on(live);
        causes.extend(self.key_cause(live));
        let (mut own, more) = if live.stranded {
            (
                vec![whole(Cause::Timer {
                    until: Timestamp::default(),
                })],
                0,
            )
        } else {
            execution.causes(&live.workflow, self.partition, MAX_CAUSES)
        };
        self.add_places(live, &mut own);
        causes.append(&mut own);
        Some(ExplainView {
            summary: execution.summary(),
            error: execution.error().cloned(),
            causes,
            more,
        })
    }

    fn holds_on(&self, live: &Live) -> Vec<CauseView> {
        if live.execution.status().is_terminal() {
            return Vec::new();
        }
        self.holds
            .iter()
            .filter(|hold| match &hold.scope {
                HoldScope::All => true,
                HoldScope::Workflow(name) => *name == live.execution.workflow().name,
                HoldScope::Kind(kind) => live.execution.turns().any(|(step, _, _)| {
                    live.workflow.nodes[step as usize]
                        .tool()
                        .is_some_and(|tool| tool.kind() == kind)
                }),
            })
            .map(|hold| {
                whole(Cause::Paused {
                    scope: Some(hold.scope.clone()),
                    by: hold.pause.by.clone(),
                    reason: hold.pause.reason.clone(),
                    since: hold.pause.at,
                })
            })
            .collect()
    }

    fn key_cause(&self, live: &Live) -> Option<CauseView> {
        let execution = &live.execution;
        let queued = execution.queued()?;
        let key = execution.key()?;
        let state = self.keys.get(key)?;
        let flow = &live.workflow.definition.flow;
        let name = key.to_owned();
        if let Some(until) = queued.quiet_until.filter(|until| *until > self.last_at) {
            return Some(whole(Cause::Debounce { key: name, until }));
        }
        let limit = flow
            .concurrency
            .map(|concurrency| concurrency.limit as usize);
        let taken = limit.is_some_and(|limit| state.holders.len() >= limit);
        if let (false, Some(until)) = (taken, queued.not_before) {
            return Some(whole(Cause::RateLimit { key: name, until }));
        }
        let place = (-execution.priority(), queued.ticket, execution.id());
        Some(whole(Cause::Key {
            key: name,
            held_by: state.holders.iter().take(MAX_HOLDERS).copied().collect(),
            ahead: u32::try_from(state.waiting.range(..place).count()).unwrap_or(u32::MAX),
        }))
    }

    /// How many units are ahead of those that wait for a place.
    fn add_places(&self, live: &Live, causes: &mut [CauseView]) {
        let priority = live.execution.priority();
        let turns: Vec<_> = live.execution.turns().take(MAX_CAUSES).collect();
        for (step, item, turn) in turns {
            let Some(queue) = live.execution.queue_of(step, &live.workflow) else {
                continue;
            };
            let name = &live.workflow.nodes[step as usize].name;
            for view in causes.iter_mut() {
                if view.step.as_ref() == Some(name)
                    && view.item == item
                    && let Cause::Worker {
                        job: None, ahead, ..
                    } = &mut view.cause
                {
                    *ahead = Some(self.dispatcher.ahead(queue, priority, turn));
                }
            }
        }
    }
}
