//! Attempts at a tool: from the parameters to the last answer.

use std::time::Duration;

use afu9_schemas::artifact::json_size;
use afu9_schemas::error::{ErrorClass, StepError};
use afu9_schemas::message::{
    DeadLetter, DeadLetterReason, Deferral, HistoryEvent, HistoryKind, Job, JobResult, Outcome,
    StepProgressed,
};
use afu9_schemas::view::StepStatus;
use afu9_schemas::{JobId, Partition};

use super::advance::expression_error;
use super::step::{Deferred, Turn, Wait};
use super::{Cx, Effect, Execution, MAX_PARAMS_BYTES, Queue, Ready};
use crate::expression::Template;
use crate::retry;
use crate::workflow::{NodeAction, Workflow};

/// How many attempts of a unit workers may be lost with: one beside other jobs, one alone.
const MAX_LOST: usize = 2;

/// How often the progress of a unit is told at most.
const TELL_EVERY: Duration = Duration::from_secs(1);

impl Execution {
    /// Resolves the parameters and asks for a turn.
    pub(super) fn begin_tool(
        &mut self,
        step: u32,
        item: Option<u32>,
        params: &Template,
        cx: &mut Cx<'_>,
    ) {
        // Parameters that were given by hand, or that an earlier attempt had, stay.
        if self
            .unit(step, item)
            .is_some_and(|unit| unit.params.is_none())
        {
            let rendered = self.render(step, item, "params", params, cx);
            let kept = rendered.and_then(|params| self.set_params(step, item, params));
            if let Err(error) = kept {
                self.fail_unit(step, item, error, cx);
                return;
            }
        }
        self.ask_for_turn(step, item, cx);
    }

    /// The value of a template of a unit.
    pub(super) fn render(
        &self,
        step: u32,
        item: Option<u32>,
        place: &str,
        template: &Template,
        cx: &mut Cx<'_>,
    ) -> Result<serde_json::Value, StepError> {
        let mut scope = self.scope(cx.workflow, step);
        if let (Some(item), Some(items)) = (item, self.items(step))
            && let Some(value) = items.list.get(item as usize)
        {
            scope = scope.with_item(value, item);
        }
        let rendered = template
            .render_metered(&scope, &mut cx.out.cost)
            .map_err(|(at, error)| expression_error(&format!("{place}{at}"), &error))?;
        let bytes = json_size(&rendered);
        if bytes > MAX_PARAMS_BYTES {
            return Err(StepError::new(
                ErrorClass::Permanent,
                "params.too_large",
                format!(
                    "{place} has {bytes} bytes, at most {MAX_PARAMS_BYTES} are allowed; pass large \
                     data as an artifact"
                ),
            ));
        }
        Ok(rendered)
    }

    /// The unit waits until the partition gives it a place in the queue of its worker kind; usually
    /// that is at once.
    pub(super) fn ask_for_turn(&mut self, step: u32, item: Option<u32>, cx: &mut Cx<'_>) {
        let NodeAction::Tool { kind, .. } = cx.workflow.nodes[step as usize].action else {
            return;
        };
        let queue = Queue {
            kind,
            lane: self.lane,
        };
        let turn = Turn {
            tag: 0,
            ticket: 0,
            since: cx.now,
        };
        self.set_wait(step, item, Wait::Turn(turn));
        cx.out.ready.push(Ready {
            execution: self.id,
            step,
            item,
            queue,
        });
    }

    /// Notes the place in the queue before the queue.
    pub(crate) fn set_turn(&mut self, ready: Ready, tag: u64, ticket: u64) {
        if let Some(unit) = self.unit_mut(ready.step, ready.item)
            && let Some(Wait::Turn(turn)) = &mut unit.wait
        {
            turn.tag = tag;
            turn.ticket = ticket;
        }
    }

    /// Begins the next attempt at a unit whose turn has come. Returns false if it does not wait for
    /// one.
    pub(crate) fn dispatch(&mut self, step: u32, item: Option<u32>, cx: &mut Cx<'_>) -> bool {
        let timeout = cx.workflow.nodes[step as usize].timeout;
        let Some(unit) = self.unit_mut(step, item) else {
            return false;
        };
        let Some(Wait::Turn(turn)) = unit.wait else {
            return false;
        };
        let deadline = unit.begin_attempt(cx.now, turn.since, timeout);
        unit.is_dead_letter = false;
        self.set_wait(step, item, Wait::Job { deadline });
        self.set_status(step, StepStatus::Running);
        if let Some(job) = self.job(step, item, cx.workflow, cx.partition) {
            cx.out.effects.push(Effect::Dispatch(Box::new(job)));
        }
        true
    }

    pub(super) fn set_status(&mut self, step: u32, status: StepStatus) {
        let state = &mut self.steps[step as usize];
        if !state.status.is_terminal() && is_one_unit(state) {
            state.status = status;
        }
    }

    /// The job of the attempt in progress, as it was dispatched, also if it was deferred since; `None` if the
    /// unit waits for something else. Used again when a dispatched job may have been lost.
    pub fn job(
        &self,
        step: u32,
        item: Option<u32>,
        workflow: &Workflow,
        partition: Partition,
    ) -> Option<Job> {
        let unit = self.unit(step, item)?;
        let node = &workflow.nodes[step as usize];
        let attempt = unit.attempts.last()?;
        let deadline = match unit.wait {
            Some(Wait::Job { deadline }) => deadline,
            Some(Wait::Deferred { .. }) => unit.deferred.as_ref()?.deadline,
            _ => return None,
        };
        Some(Job {
            id: JobId {
                execution: self.id,
                step,
                attempt: attempt.attempt,
                item,
            },
            partition,
            step_name: node.name.clone(),
            tool: node.tool()?.clone(),
            params: unit.params.clone().unwrap_or_default(),
            lane: self.lane,
            dispatched_at: unit
                .deferred
                .as_ref()
                .map_or(attempt.dispatched_at, |deferred| deferred.dispatched_at),
            deadline,
            workflow: self.workflow.name.clone(),
            traceparent: self.traceparent.clone(),
            alone: unit.lost() > 0,
            state: unit
                .deferred
                .as_ref()
                .map(|deferred| deferred.state.clone()),
        })
    }

    /// Jobs that were dispatched and not answered, as they were dispatched.
    pub fn outstanding_jobs<'a>(
        &'a self,
        workflow: &'a Workflow,
        partition: Partition,
    ) -> impl Iterator<Item = Job> + 'a {
        self.units()
            .filter(|(_, _, unit)| matches!(unit.wait, Some(Wait::Job { .. })))
            .filter_map(move |(step, item, _)| self.job(step, item, workflow, partition))
    }

    /// Whether the answer is for an attempt that is waited for.
    pub(super) fn awaits(&self, result: &JobResult) -> bool {
        self.unit(result.step, result.item)
            .is_some_and(|unit| unit.awaits_job(result.attempt))
    }

    /// The queue of the unit's jobs.
    pub(crate) fn queue_of(&self, step: u32, workflow: &Workflow) -> Option<Queue> {
        match workflow.nodes.get(step as usize)?.action {
            NodeAction::Tool { kind, .. } => Some(Queue {
                kind,
                lane: self.lane,
            }),
            _ => None,
        }
    }

    /// Notes that a job is not waited for any more.
    pub(super) fn free(&self, step: u32, cx: &mut Cx<'_>) {
        if let Some(queue) = self.queue_of(step, cx.workflow) {
            cx.out.freed.push(queue);
        }
    }

    /// Takes in the answer that was waited for.
    pub(super) fn job_answered(&mut self, result: &JobResult, cx: &mut Cx<'_>) {
        let (step, item) = (result.step, result.item);
        self.free(step, cx);
        if let Some(unit) = self.unit_mut(step, item) {
            unit.answered(result);
        }
        match &result.outcome {
            Outcome::Done(output) => {
                if let Some(unit) = self.unit_mut(step, item) {
                    unit.deferred = None;
                }
                self.complete_unit(step, item, output.clone(), cx);
            }
            Outcome::Failed {
                error,
                retry_after_ms,
            } => {
                let retry_after = retry_after_ms.map(Duration::from_millis);
                self.attempt_failed(step, item, error.clone(), retry_after, cx);
            }
            Outcome::Deferred(deferral) => self.defer(step, item, deferral, cx),
        }
        self.after(step, cx);
    }

    /// The tool waits for something outside, and is run again later; until then nobody waits with it.
    fn defer(&mut self, step: u32, item: Option<u32>, deferral: &Deferral, cx: &mut Cx<'_>) {
        let bytes = json_size(&deferral.state);
        if bytes > Deferral::MAX_STATE_BYTES {
            let error = StepError::new(
                ErrorClass::Permanent,
                "tool.state_too_large",
                format!(
                    "the tool was deferred with a state of {bytes} bytes, at most {} are allowed",
                    Deferral::MAX_STATE_BYTES
                ),
            );
            self.attempt_failed(step, item, error, None, cx);
            return;
        }
        let Some(unit) = self.unit_mut(step, item) else {
            return;
        };
        let deadline = match unit.wait {
            Some(Wait::Job { deadline }) => deadline,
            _ => None,
        };
        let progress = deferral.progress.as_deref().map(|text| {
            let end = text.floor_char_boundary(Deferral::MAX_PROGRESS_BYTES);
            text[..end].to_owned()
        });
        let before = unit.deferred.as_deref();
        let told = before.and_then(|before| before.progress.as_ref());
        let told_at = before.and_then(|before| before.told_at);
        let is_time = told_at.is_none_or(|at| cx.now.since(at) >= TELL_EVERY);
        let news = progress
            .clone()
            .filter(|text| Some(text) != told && is_time);
        let after_ms = deferral
            .after_ms
            .clamp(*Deferral::AFTER_MS.start(), *Deferral::AFTER_MS.end());
        let next = cx.now.plus(Duration::from_millis(after_ms));
        let at = deadline.map_or(next, |deadline| deadline.min(next));
        unit.deferred = Some(Box::new(Deferred {
            state: deferral.state.clone(),
            progress,
            told_at: news.as_ref().map(|_| cx.now).or(told_at),
            dispatched_at: cx.now,
            deadline,
        }));
        self.set_wait(step, item, Wait::Deferred { at });
        self.set_status(step, StepStatus::Waiting);
        if let Some(progress) = news {
            let progressed = StepProgressed {
                index: step,
                name: cx.workflow.nodes[step as usize].name.clone(),
                item,
                progress,
                next: at,
            };
            let kind = HistoryKind::StepProgressed(Box::new(progressed));
            cx.out.effects.push(Effect::History(Box::new(HistoryEvent {
                execution: Some(self.id),
                number: 0,
                at: cx.now,
                kind,
            })));
        }
    }

    /// It is time to look again, or the attempt has had its time.
    pub(super) fn deferral_over(&mut self, step: u32, item: Option<u32>, cx: &mut Cx<'_>) {
        let deadline = self
            .unit(step, item)
            .and_then(|unit| unit.deferred.as_ref()?.deadline);
        if deadline.is_some_and(|deadline| deadline <= cx.now) {
            self.attempt_timed_out(step, item, cx);
        } else {
            self.ask_for_turn(step, item, cx);
        }
    }

    /// The attempt in progress failed: the unit waits for another one, or fails.
    pub(super) fn attempt_failed(
        &mut self,
        step: u32,
        item: Option<u32>,
        error: StepError,
        retry_after: Option<Duration>,
        cx: &mut Cx<'_>,
    ) {
        let policy = &cx.workflow.nodes[step as usize].retry;
        let id = self.id;
        let Some(unit) = self.unit_mut(step, item) else {
            return;
        };
        unit.attempt_ended(Some(&error), cx.now);
        let failed = JobId {
            execution: id,
            step,
            attempt: unit.attempt(),
            item,
        };
        let delay = if error.class == ErrorClass::WorkerLost {
            // It crashes workers, or was beside a job that does. Alone it shows: that attempt is nobody's
            // failure. Once it was lost alone, no other worker shall be.
            let again = unit.lost() < MAX_LOST;
            unit.spent += u32::from(again);
            again.then_some(Duration::ZERO)
        } else if policy.covers(error.class) {
            let made = unit.attempt().saturating_sub(unit.spent);
            retry::delay(policy, failed, made, retry_after)
        } else {
            None
        };
        if delay.is_none() {
            self.dead_letter(step, item, &error, cx);
        }
        if let Some(unit) = self.unit_mut(step, item) {
            unit.deferred = None;
        }
        if let Some(delay) = delay {
            let at = cx.now.plus(delay);
            self.set_wait(step, item, Wait::Retry { at });
            self.set_status(step, StepStatus::Waiting);
            self.set_error(step, item, error);
            return;
        }
        self.fail_unit(step, item, error, cx);
    }

    fn set_error(&mut self, step: u32, item: Option<u32>, error: StepError) {
        let Some(run) = &mut self.steps[step as usize].run else {
            return;
        };
        match (&mut run.body, item) {
            (super::Body::Each(items), Some(item)) => {
                if let Some(active) = items.active.get_mut(&item) {
                    active.error = Some(error);
                }
            }
            _ => run.error = Some(error),
        }
    }

    /// Sets aside a job that nobody could finish.
    fn dead_letter(&mut self, step: u32, item: Option<u32>, error: &StepError, cx: &mut Cx<'_>) {
        let Some(tool) = cx.workflow.nodes[step as usize].tool() else {
            return;
        };
        let reason = if error.class == ErrorClass::WorkerLost {
            DeadLetterReason::DeliveriesExhausted
        } else if error.class.is_retryable() {
            DeadLetterReason::AttemptsExhausted
        } else {
            DeadLetterReason::Permanent
        };
        let attempts = self
            .unit(step, item)
            .map(|unit| unit.attempts.clone())
            .unwrap_or_default();
        let letter = DeadLetter {
            reason,
            kind: Some(tool.kind().clone()),
            job: self.job(step, item, cx.workflow, cx.partition),
            raw: None,
            attempts,
            error: error.clone(),
            at: cx.now,
            job_id: None,
            replay_of: None,
        };
        cx.out.effects.push(Effect::DeadLetter(Box::new(letter)));
        if let Some(unit) = self.unit_mut(step, item) {
            unit.is_dead_letter = true;
        }
    }

    /// No answer came before the attempt's deadline.
    pub(super) fn job_timed_out(&mut self, step: u32, item: Option<u32>, cx: &mut Cx<'_>) {
        self.free(step, cx);
        self.attempt_timed_out(step, item, cx);
    }

    fn attempt_timed_out(&mut self, step: u32, item: Option<u32>, cx: &mut Cx<'_>) {
        let error = StepError::new(
            ErrorClass::Timeout,
            "step.timeout",
            "no result came before the attempt's deadline (timeoutMs)",
        );
        self.attempt_failed(step, item, error, None, cx);
    }

    /// Units that wait for their turn.
    pub(crate) fn turns(&self) -> impl Iterator<Item = (u32, Option<u32>, Turn)> + '_ {
        self.units()
            .filter_map(|(step, item, unit)| match unit.wait {
                Some(Wait::Turn(turn)) => Some((step, item, turn)),
                _ => None,
            })
    }

    /// Whether a unit waits for its turn in a queue that somebody holds.
    pub(super) fn waits_for_held_turn(&self, cx: &Cx<'_>) -> bool {
        self.turns().any(|(step, _, _)| {
            self.queue_of(step, cx.workflow)
                .is_some_and(|queue| cx.held.contains(queue.kind))
        })
    }
}

/// Whether the step is one unit; a step with items is running until all have ended.
fn is_one_unit(state: &super::StepState) -> bool {
    matches!(
        state.run.as_deref(),
        Some(super::Run {
            body: super::Body::One(_),
            ..
        })
    )
}
