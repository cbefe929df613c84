//! Submissions: what begins at once, what waits for its key, and what gives way to what.

use afu9_schemas::definition::OnConflict;
use afu9_schemas::error::{ErrorClass, StepError};
use afu9_schemas::message::Start;
use afu9_schemas::view::ExecutionStatus;
use afu9_schemas::{ExecutionId, Timestamp};

use super::{Definitions, Live, PartitionState};
use crate::execution::{Cx, Execution, Outbox, Queued};
use crate::workflow::Workflow;

impl PartitionState {
    pub(super) fn start(
        &mut self,
        id: ExecutionId,
        mut start: Start,
        definitions: &Definitions,
        now: Timestamp,
        out: &mut Outbox,
    ) {
        self.counters.started += 1;
        let Some(workflow) = definitions.get(&start.workflow.hash).cloned() else {
            let execution = Execution::without_definition(id, start, self.partition, now, out);
            let mut live = Live::new(execution, Workflow::none());
            live.stranded = true;
            self.settle(live, now, out);
            return;
        };
        // Whoever submits works the key out, because it decides which partition this is; one that has
        // no value must not pass by the limit.
        let flow = &workflow.definition.flow;
        let given = start.key.take().filter(|_| flow.has_limits());
        let (key, refusal) = match given {
            Some(key) => (Some(key), None),
            None => match workflow.key(&start.input, start.repository.as_ref()) {
                Ok(key) => (key, None),
                Err(error) => (None, Some(error)),
            },
        };
        start.key.clone_from(&key);
        let waits = key
            .as_ref()
            .is_some_and(|key| !self.keys.is_free(key, flow, now));
        let mut cx = Cx {
            workflow: &workflow,
            partition: self.partition,
            now,
            held: self.held,
            out,
        };
        let mut execution = Execution::submitted(id, start, waits, &mut cx);
        if let Some(error) = refusal {
            let (class, code) = (ErrorClass::Permanent, "concurrency.key");
            let error = StepError::new(class, code, error.to_string());
            execution.refuse(error, &mut cx);
        }
        let mut live = Live::new(execution, workflow);
        if live.execution.status().is_terminal() {
            self.settle(live, now, out);
            return;
        }
        match key {
            Some(key) if waits => self.contend(&key, &mut live, now, out),
            Some(key) => self.begin(Some(&key), &mut live, now, out),
            None => self.begin(None, &mut live, now, out),
        }
        self.settle(live, now, out);
    }

    /// An execution begins.
    pub(super) fn begin(
        &mut self,
        key: Option<&str>,
        live: &mut Live,
        now: Timestamp,
        out: &mut Outbox,
    ) {
        if let Some(key) = key {
            self.keys.hold(key, live.execution.id());
            if let Some(rate) = live.workflow.definition.flow.rate {
                self.keys.spend(key, rate, now);
                self.shared_dirty = true;
            }
        }
        if self.wants_halt(live) {
            live.execution.halt(now);
        }
        let mut cx = Cx {
            workflow: &live.workflow,
            partition: self.partition,
            now,
            held: self.held,
            out,
        };
        live.execution.begin(&mut cx);
    }

    /// An execution whose key is not free: it waits, gives way, or others give way to it.
    fn contend(&mut self, key: &str, live: &mut Live, now: Timestamp, out: &mut Outbox) {
        let id = live.execution.id();
        let flow = live.workflow.definition.flow.clone();
        if self.keys.is_full() {
            let error = refusal(
                ErrorClass::RateLimited,
                "concurrency.queue_full",
                "too many executions wait for their keys already; submit it again later",
            );
            self.stop(live, ExecutionStatus::Failed, error, now, out);
            return;
        }
        let limit = flow.concurrency.map(|concurrency| concurrency.limit);
        let taken = self.is_full(key, limit)
            // Those that wait for quiet are no conflict: the last of a series is the one that runs.
            || (flow.debounce.is_none() && self.has_waiting(key));
        let conflict = flow.concurrency.filter(|_| taken).map(|c| c.on_conflict);
        let mut queued = Queued {
            ticket: 0,
            not_before: None,
            quiet_until: None,
            series_since: None,
        };
        match conflict {
            Some(OnConflict::CancelNewest) => {
                let error = refusal(
                    ErrorClass::Cancelled,
                    "concurrency.conflict",
                    "another execution has the key, and the newest gives way (onConflict)",
                );
                self.stop(live, ExecutionStatus::Cancelled, error, now, out);
                return;
            }
            Some(OnConflict::CancelRunning) => self.give_way(key, id, Who::All, now, out),
            Some(OnConflict::Coalesce) => self.give_way(key, id, Who::Waiting, now, out),
            Some(OnConflict::Queue) | None => {}
        }
        if let Some(debounce) = flow.debounce {
            let since = self.series_since(key).unwrap_or(now);
            self.give_way(key, id, Who::Waiting, now, out);
            let latest = since.plus(debounce.max_wait);
            queued.series_since = Some(since);
            queued.quiet_until = Some(now.plus(debounce.period).min(latest));
        }
        self.ticket += 1;
        self.shared_dirty = true;
        queued.ticket = self.ticket;
        live.execution.queue(queued);
        let priority = live.execution.priority();
        self.keys.wait(key, priority, queued.ticket, id);
    }

    fn is_full(&self, key: &str, limit: Option<u32>) -> bool {
        let limit = limit.map_or(usize::MAX, |limit| limit as usize);
        let state = self.keys.get(key);
        state.is_some_and(|state| state.holders.len() >= limit)
    }

    fn has_waiting(&self, key: &str) -> bool {
        let state = self.keys.get(key);
        state.is_some_and(|state| !state.waiting.is_empty())
    }

    /// When the first of a series came of which the last still waits for quiet.
    fn series_since(&self, key: &str) -> Option<Timestamp> {
        let waiting = &self.keys.get(key)?.waiting;
        waiting
            .iter()
            .filter_map(|(_, _, id)| self.live.get(id)?.execution.queued()?.series_since)
            .min()
    }

    /// Executions with the same key end in favour of another one.
    fn give_way(&mut self, key: &str, to: ExecutionId, who: Who, now: Timestamp, out: &mut Outbox) {
        let Some(state) = self.keys.get(key) else {
            return;
        };
        let mut ids: Vec<ExecutionId> = state.waiting.iter().map(|(_, _, id)| *id).collect();
        if who == Who::All {
            ids.extend(&state.holders);
        }
        for id in ids {
            let Some(mut live) = self.take(id) else {
                continue;
            };
            let error = refusal(
                ErrorClass::Cancelled,
                "concurrency.superseded",
                &format!("execution {to} came later and takes its place"),
            );
            self.stop(&mut live, ExecutionStatus::Cancelled, error, now, out);
            self.settle(live, now, out);
        }
    }

    fn stop(
        &self,
        live: &mut Live,
        status: ExecutionStatus,
        error: StepError,
        now: Timestamp,
        out: &mut Outbox,
    ) {
        let mut cx = Cx {
            workflow: &live.workflow,
            partition: self.partition,
            now,
            held: self.held,
            out,
        };
        live.execution.supersede(status, error, &mut cx);
    }
}

/// Who gives way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Waiting,
    All,
}

fn refusal(class: ErrorClass, code: &str, message: &str) -> StepError {
    StepError::new(class, code, message)
}
