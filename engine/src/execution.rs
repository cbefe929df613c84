//! The state machine of one execution.
//!
//! ```text
//!                 start            every step ended
//!   (nothing) ──────────▶ running ──────────────────▶ completed
//!                           │  a step failed, or the deadline passed
//!                           ├──────────────────────────▶ failed
//!                           │  cancel
//!                           └──────────────────────────▶ cancelled
//!
//!   input          running                                         terminal
//!   start          ignored (duplicate)                             ignored (duplicate)
//!   job result     of the awaited attempt: step ends or waits      ignored (stale), counted
//!                  of any other: ignored (stale), counted
//!   cancel         ends as cancelled                               ignored (late)
//!   wake           deadline: ends as failed; attempt's deadline:   ignored (late)
//!                  attempt timed out; retry due: next attempt;
//!                  nothing due: ignored (early)
//! ```
//!
//! Every row is total and deterministic. What the outside shall see comes out as [`Effect`]s.

mod scope;
mod step;
mod view;

use std::time::Duration;

use afu9_schemas::artifact::json_size;
use afu9_schemas::error::{ErrorClass, StepError};
use afu9_schemas::message::history::{ExecutionEnded, ExecutionStarted, HistoryKind, StepEnded};
use afu9_schemas::message::{
    DeadLetter, DeadLetterReason, HistoryEvent, InputKind, Job, JobResult, Outcome, Repository,
    Start, Trigger, WorkflowRef,
};
use afu9_schemas::view::{ExecutionStatus, StepStatus};
use afu9_schemas::{ExecutionId, JobId, Lane, Partition, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::retry;
use crate::workflow::Workflow;

pub use step::{StepState, Wait};

/// Most bytes of outputs one execution may hold inline. Larger outputs are artifacts; more than this
/// in small pieces would make each checkpoint of the execution a burden for its neighbours.
pub const MAX_CONTEXT_BYTES: usize = 4 * 1024 * 1024;

/// Most bytes of resolved parameters: a job must fit into a message.
pub const MAX_PARAMS_BYTES: usize = 512 * 1024;

/// What the outside shall see of a transition. Carried out by the shell after the decision; a
/// replay of the same inputs gives the same effects again, with the same ids.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Publish a job.
    Dispatch(Box<Job>),
    /// Tell workers to stop working for the execution.
    CancelJobs(ExecutionId),
    /// Record what happened.
    History(Box<HistoryEvent>),
    /// Set a job aside that nobody could finish.
    DeadLetter(Box<DeadLetter>),
}

/// What an input did to an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "an ignored input is counted"]
pub enum Applied {
    /// The state changed.
    Changed,
    /// The state is as it was, except for a counter.
    Ignored(Ignored),
}

/// Why an input changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// The execution is there already.
    DuplicateStart,
    /// An answer for an attempt nobody waits for: late, or a second copy.
    StaleResult,
    /// The execution has ended.
    Late,
    /// Nothing was due.
    EarlyWake,
}

/// What an execution needs to know of its surroundings.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    /// The version it is pinned to.
    pub workflow: &'a Workflow,
    /// The partition that owns it.
    pub partition: Partition,
}

/// The state of one execution. Serialised into checkpoints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Execution {
    id: ExecutionId,
    workflow: WorkflowRef,
    status: ExecutionStatus,
    input: Value,
    #[serde(default)]
    repository: Option<Repository>,
    trigger: Trigger,
    #[serde(default)]
    lane: Lane,
    #[serde(default)]
    traceparent: Option<String>,
    started_at: Timestamp,
    #[serde(default)]
    ended_at: Option<Timestamp>,
    deadline: Timestamp,
    steps: Vec<StepState>,
    /// The step that is in progress, or the number of steps once all have ended.
    cursor: u32,
    /// Number of the last history event.
    events: u32,
    #[serde(default)]
    context_bytes: usize,
    #[serde(default)]
    stale_results: u32,
    #[serde(default)]
    output: Option<Value>,
    #[serde(default)]
    error: Option<StepError>,
}

impl Execution {
    /// Begins an execution: its first step is dispatched, or it ends at once.
    pub fn start(
        id: ExecutionId,
        start: Start,
        setting: Setting<'_>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Self {
        let definition = &setting.workflow.definition;
        let mut execution = Self::new(id, start, now, definition.config.timeout);
        execution.steps = vec![StepState::default(); definition.steps.len()];
        execution.record_start(now, effects);
        execution.advance(setting, now, effects);
        execution
    }

    /// An execution whose definition does not exist: it fails at once, so that its submitter learns
    /// of it.
    pub fn without_definition(
        id: ExecutionId,
        start: Start,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Self {
        let mut execution = Self::new(id, start, now, Duration::ZERO);
        execution.record_start(now, effects);
        let workflow = &execution.workflow;
        execution.error = Some(StepError::new(
            ErrorClass::Permanent,
            "definition.missing",
            format!(
                "version {} of workflow `{}` ({}) is not stored; apply it again",
                workflow.version, workflow.name, workflow.hash
            ),
        ));
        execution.end(ExecutionStatus::Failed, None, now, effects);
        execution
    }

    fn new(id: ExecutionId, start: Start, now: Timestamp, timeout: Duration) -> Self {
        Self {
            id,
            workflow: start.workflow,
            status: ExecutionStatus::Running,
            input: start.input,
            repository: start.repository,
            trigger: start.trigger,
            lane: start.lane,
            traceparent: start.traceparent,
            started_at: now,
            ended_at: None,
            deadline: now.plus(timeout),
            steps: Vec::new(),
            cursor: 0,
            events: 0,
            context_bytes: 0,
            stale_results: 0,
            output: None,
            error: None,
        }
    }

    fn record_start(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let started = ExecutionStarted {
            workflow: self.workflow.clone(),
            input: self.input.clone(),
            repository: self.repository.clone(),
            trigger: self.trigger.clone(),
            traceparent: self.traceparent.clone(),
        };
        self.record(
            HistoryKind::ExecutionStarted(Box::new(started)),
            now,
            effects,
        );
    }

    /// Folds one input. `now` is the input's stream timestamp.
    pub fn apply(
        &mut self,
        input: &InputKind,
        setting: Setting<'_>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Applied {
        match (self.status.is_terminal(), input) {
            (_, InputKind::Start(_)) => Applied::Ignored(Ignored::DuplicateStart),
            (false, InputKind::JobResult(result)) if self.awaits(result.step, result.attempt) => {
                self.settle(result, setting, now, effects);
                Applied::Changed
            }
            (_, InputKind::JobResult(_)) => {
                self.stale_results = self.stale_results.saturating_add(1);
                Applied::Ignored(Ignored::StaleResult)
            }
            (true, _) => Applied::Ignored(Ignored::Late),
            (false, InputKind::Cancel(cancel)) => {
                let why = cancel.reason.as_deref().unwrap_or("no reason given");
                let error = StepError::new(
                    ErrorClass::Cancelled,
                    "execution.cancelled",
                    format!("cancelled by {}: {why}", cancel.by),
                );
                effects.push(Effect::CancelJobs(self.id));
                self.stop(ExecutionStatus::Cancelled, error, setting, now, effects);
                Applied::Changed
            }
            // The owner's clock decides that an instant has come; the log's may be behind it.
            (false, InputKind::Wake { due }) => self.wake(setting, now.max(*due), effects),
        }
    }

    fn wake(&mut self, setting: Setting<'_>, now: Timestamp, effects: &mut Vec<Effect>) -> Applied {
        if self.deadline <= now {
            let seconds = self.deadline.since(self.started_at).as_secs_f64();
            let error = StepError::new(
                ErrorClass::Timeout,
                "execution.timeout",
                format!("the execution did not end within {seconds} s (config.timeoutMs)"),
            );
            effects.push(Effect::CancelJobs(self.id));
            self.stop(ExecutionStatus::Failed, error, setting, now, effects);
            return Applied::Changed;
        }
        let Some(step) = self.steps.get(self.cursor as usize) else {
            return Applied::Ignored(Ignored::EarlyWake);
        };
        match step.wait {
            Some(Wait::Retry { at }) if at <= now => {
                self.dispatch(setting, now, effects);
                Applied::Changed
            }
            Some(Wait::Job {
                deadline: Some(deadline),
            }) if deadline <= now => {
                let error = StepError::new(
                    ErrorClass::Timeout,
                    "step.timeout",
                    "no result came before the attempt's deadline (timeoutMs)",
                );
                self.fail_attempt(error, None, setting, now, effects);
                Applied::Changed
            }
            _ => Applied::Ignored(Ignored::EarlyWake),
        }
    }

    /// Whether the answer for `attempt` at `step` is what the execution waits for.
    fn awaits(&self, step: u32, attempt: u32) -> bool {
        step == self.cursor
            && self
                .steps
                .get(step as usize)
                .is_some_and(|state| state.awaits(attempt))
    }

    /// Takes in the answer that was waited for.
    fn settle(
        &mut self,
        result: &JobResult,
        setting: Setting<'_>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let step = &mut self.steps[self.cursor as usize];
        step.answered(result);
        match &result.outcome {
            Outcome::Done(output) => {
                let bytes = json_size(output);
                if self.context_bytes.saturating_add(bytes) > MAX_CONTEXT_BYTES {
                    let error = StepError::new(
                        ErrorClass::Permanent,
                        "context.too_large",
                        format!("the outputs of the execution exceed {MAX_CONTEXT_BYTES} bytes"),
                    );
                    self.fail_attempt(error, None, setting, now, effects);
                    return;
                }
                self.context_bytes += bytes;
                let step = &mut self.steps[self.cursor as usize];
                step.output = Some(output.clone());
                self.end_step(StepStatus::Completed, setting, now, effects);
                self.cursor += 1;
                self.advance(setting, now, effects);
            }
            Outcome::Failed {
                error,
                retry_after_ms,
            } => {
                let retry_after = retry_after_ms.map(Duration::from_millis);
                self.fail_attempt(error.clone(), retry_after, setting, now, effects);
            }
        }
    }

    /// The attempt in progress failed: the step waits for another one, or fails.
    fn fail_attempt(
        &mut self,
        error: StepError,
        retry_after: Option<Duration>,
        setting: Setting<'_>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let index = self.cursor;
        let policy = &setting.workflow.definition.steps[index as usize].retry;
        let step = &mut self.steps[index as usize];
        step.attempt_failed(&error, now);
        let failed = JobId {
            execution: self.id,
            step: index,
            attempt: step.attempt(),
        };
        let delay = if error.class.is_retryable() {
            retry::delay(policy, failed, retry_after)
        } else {
            None
        };
        if let Some(delay) = delay {
            step.status = StepStatus::Waiting;
            step.wait = Some(Wait::Retry {
                at: now.plus(delay),
            });
            step.error = Some(error);
            return;
        }
        let reason = if error.class.is_retryable() {
            DeadLetterReason::AttemptsExhausted
        } else {
            DeadLetterReason::Permanent
        };
        let letter = DeadLetter {
            reason,
            kind: Some(
                setting.workflow.definition.steps[index as usize]
                    .tool
                    .kind()
                    .clone(),
            ),
            job: self.job(setting),
            raw: None,
            attempts: self.steps[index as usize].attempts.clone(),
            error: error.clone(),
            at: now,
        };
        effects.push(Effect::DeadLetter(Box::new(letter)));
        self.fail_step(error, setting, now, effects);
        if !self.status.is_terminal() {
            self.advance(setting, now, effects);
        }
    }

    /// The step in progress failed for good: the execution fails, or goes on behind it.
    fn fail_step(
        &mut self,
        error: StepError,
        setting: Setting<'_>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let index = self.cursor as usize;
        self.steps[index].error = Some(error.clone());
        self.end_step(StepStatus::Failed, setting, now, effects);
        self.cursor += 1;
        if setting.workflow.definition.config.continue_on_error {
            return;
        }
        let name = &setting.workflow.definition.steps[index].name;
        self.error = Some(StepError {
            message: format!("step `{name}`: {}", error.message),
            ..error
        });
        self.skip_rest(setting, now, effects);
        self.end(ExecutionStatus::Failed, Some(setting), now, effects);
    }

    /// Goes on from the cursor until a job is dispatched or the execution has ended.
    fn advance(&mut self, setting: Setting<'_>, now: Timestamp, effects: &mut Vec<Effect>) {
        while (self.cursor as usize) < self.steps.len() {
            let index = self.cursor as usize;
            let compiled = &setting.workflow.steps[index];
            self.steps[index].started_at = Some(now);
            if let Some(condition) = &compiled.condition {
                match condition.holds(&self.scope(setting.workflow)) {
                    Ok(true) => {}
                    Ok(false) => {
                        self.end_step(StepStatus::Skipped, setting, now, effects);
                        self.cursor += 1;
                        continue;
                    }
                    Err(error) => {
                        let error = StepError::new(
                            ErrorClass::Permanent,
                            error.code(),
                            format!("`if`: {error}"),
                        );
                        self.fail_step(error, setting, now, effects);
                        if self.status.is_terminal() {
                            return;
                        }
                        continue;
                    }
                }
            }
            match self.render_params(setting) {
                Ok(params) => {
                    self.steps[index].params = Some(params);
                    self.dispatch(setting, now, effects);
                    return;
                }
                Err(error) => {
                    self.fail_step(error, setting, now, effects);
                    if self.status.is_terminal() {
                        return;
                    }
                }
            }
        }
        self.end(ExecutionStatus::Completed, Some(setting), now, effects);
    }

    fn render_params(&self, setting: Setting<'_>) -> Result<Value, StepError> {
        let compiled = &setting.workflow.steps[self.cursor as usize];
        let params = compiled
            .params
            .render(&self.scope(setting.workflow))
            .map_err(|(at, error)| {
                StepError::new(
                    ErrorClass::Permanent,
                    error.code(),
                    format!("params{at}: {error}"),
                )
            })?;
        let bytes = json_size(&params);
        if bytes > MAX_PARAMS_BYTES {
            return Err(StepError::new(
                ErrorClass::Permanent,
                "params.too_large",
                format!(
                    "the parameters have {bytes} bytes, at most {MAX_PARAMS_BYTES} are \
                         allowed; pass large data as an artifact"
                ),
            ));
        }
        Ok(params)
    }

    /// Begins the next attempt at the step in progress.
    fn dispatch(&mut self, setting: Setting<'_>, now: Timestamp, effects: &mut Vec<Effect>) {
        let index = self.cursor as usize;
        let timeout = setting.workflow.definition.steps[index].timeout;
        self.steps[index].begin_attempt(now, timeout.map(|timeout| now.plus(timeout)));
        if let Some(job) = self.job(setting) {
            effects.push(Effect::Dispatch(Box::new(job)));
        }
    }

    /// The job of the attempt in progress, as it was dispatched; `None` if the execution waits for
    /// something else. Used again when a dispatched job may have been lost.
    pub fn job(&self, setting: Setting<'_>) -> Option<Job> {
        let step = self.steps.get(self.cursor as usize)?;
        let definition = &setting.workflow.definition.steps[self.cursor as usize];
        let attempt = step.attempts.last()?;
        let deadline = match step.wait {
            Some(Wait::Job { deadline }) => deadline,
            _ => None,
        };
        Some(Job {
            id: JobId {
                execution: self.id,
                step: self.cursor,
                attempt: attempt.attempt,
            },
            partition: setting.partition,
            step_name: definition.name.clone(),
            tool: definition.tool.clone(),
            params: step.params.clone().unwrap_or_default(),
            lane: self.lane,
            dispatched_at: attempt.dispatched_at,
            deadline,
            workflow: self.workflow.name.clone(),
            traceparent: self.traceparent.clone(),
        })
    }

    /// Whether a worker has been asked and has not answered.
    pub fn awaits_job(&self) -> bool {
        let step = self.steps.get(self.cursor as usize);
        matches!(
            step,
            Some(StepState {
                wait: Some(Wait::Job { .. }),
                ..
            })
        )
    }

    /// Ends the execution from outside, whatever the step in progress does.
    fn stop(
        &mut self,
        status: ExecutionStatus,
        error: StepError,
        setting: Setting<'_>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        if (self.cursor as usize) < self.steps.len() {
            let step = &mut self.steps[self.cursor as usize];
            step.attempt_failed(&error, now);
            step.error = Some(error.clone());
            self.end_step(StepStatus::Failed, setting, now, effects);
            self.cursor += 1;
        }
        self.error = Some(error);
        self.skip_rest(setting, now, effects);
        self.end(status, Some(setting), now, effects);
    }

    /// Steps that will not be reached any more.
    fn skip_rest(&mut self, setting: Setting<'_>, now: Timestamp, effects: &mut Vec<Effect>) {
        while (self.cursor as usize) < self.steps.len() {
            self.end_step(StepStatus::Skipped, setting, now, effects);
            self.cursor += 1;
        }
    }

    /// The step at the cursor reaches its final status.
    fn end_step(
        &mut self,
        status: StepStatus,
        setting: Setting<'_>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let index = self.cursor;
        let definition = &setting.workflow.definition.steps[index as usize];
        let step = &mut self.steps[index as usize];
        step.status = status;
        step.wait = None;
        step.ended_at = Some(now);
        if status == StepStatus::Completed {
            step.error = None;
        }
        let ended = StepEnded {
            index,
            name: definition.name.clone(),
            tool: Some(definition.tool.clone()),
            status,
            input: step.params.clone(),
            output: step.output.clone(),
            error: step.error.clone(),
            started_at: step.started_at.unwrap_or(now),
            attempts: step.attempts.clone(),
        };
        self.record(HistoryKind::StepEnded(Box::new(ended)), now, effects);
    }

    fn end(
        &mut self,
        status: ExecutionStatus,
        setting: Option<Setting<'_>>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        self.status = status;
        self.ended_at = Some(now);
        self.output = setting.map(|setting| self.assigned_output(setting.workflow));
        let count = |status| {
            let steps = self
                .steps
                .iter()
                .filter(|step| step.status == status)
                .count();
            u32::try_from(steps).unwrap_or(u32::MAX)
        };
        let ended = ExecutionEnded {
            status,
            output: self.output.clone(),
            error: self.error.clone(),
            started_at: self.started_at,
            steps_completed: count(StepStatus::Completed),
            steps_failed: count(StepStatus::Failed),
            steps_skipped: count(StepStatus::Skipped),
            stale_results: self.stale_results,
        };
        self.record(HistoryKind::ExecutionEnded(Box::new(ended)), now, effects);
    }

    fn record(&mut self, kind: HistoryKind, now: Timestamp, effects: &mut Vec<Effect>) {
        self.events += 1;
        effects.push(Effect::History(Box::new(HistoryEvent {
            execution: Some(self.id),
            number: self.events,
            at: now,
            kind,
        })));
    }

    /// The next instant at which the execution wants a wake, if it has not ended.
    pub fn next_wake(&self) -> Option<Timestamp> {
        if self.status.is_terminal() {
            return None;
        }
        let step = self
            .steps
            .get(self.cursor as usize)
            .and_then(|step| match step.wait {
                Some(Wait::Retry { at }) => Some(at),
                Some(Wait::Job { deadline }) => deadline,
                None => None,
            });
        Some(step.map_or(self.deadline, |at| at.min(self.deadline)))
    }

    /// Its id.
    pub fn id(&self) -> ExecutionId {
        self.id
    }

    /// The version it is pinned to.
    pub fn workflow(&self) -> &WorkflowRef {
        &self.workflow
    }

    /// Its status.
    pub fn status(&self) -> ExecutionStatus {
        self.status
    }

    /// Its steps.
    pub fn steps(&self) -> &[StepState] {
        &self.steps
    }

    /// When it began.
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }
}
