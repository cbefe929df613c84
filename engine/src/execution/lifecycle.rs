//! The beginning and the end of an execution.

use std::time::Duration;

use afu9_schemas::artifact::MAX_INLINE_BYTES;
use afu9_schemas::error::{ErrorClass, StepError};
use afu9_schemas::message::{
    CancelNotice, ChildEnded, Control, ControlAction, ControlOutcome, ExecutionEnded,
    ExecutionStarted, HistoryKind, Input, InputKind, Start, StatusChanged, WorkflowRef,
};
use afu9_schemas::view::{ExecutionStatus, StepStatus};
use afu9_schemas::{ExecutionId, Partition, RequestId, Timestamp};
use serde_json::Value;

use super::control::answer;
use super::outbox::small_enough;
use super::{Applied, Cx, Effect, Ended, Execution, HeldKinds, Ignored, Outbox, Queued, StepState};
use crate::requests::Requests;
use crate::workflow::{NodeAction, Workflow};

impl Execution {
    /// An execution whose submission is recorded and which has not begun: `begin` it, or
    /// `queue` it. It has ended already if its input does not fit.
    pub fn submitted(id: ExecutionId, mut start: Start, waits: bool, cx: &mut Cx<'_>) -> Self {
        let input = std::mem::take(&mut start.input);
        let prepared = match &cx.workflow.input_schema {
            None => Ok(input),
            Some(schema) => schema
                .prepare(input.clone())
                .map_err(|error| (input, error)),
        };
        let mut execution = Self::new(id, start, cx.now);
        execution.steps = vec![StepState::default(); cx.workflow.nodes.len()];
        execution.open = u32::try_from(cx.workflow.main).unwrap_or(u32::MAX);
        match prepared {
            Ok(input) => {
                execution.input = input;
                if waits {
                    execution.status = ExecutionStatus::Pending;
                }
                execution.record_start(cx);
            }
            Err((input, error)) => {
                execution.input = input;
                execution.record_start(cx);
                let error =
                    StepError::new(ErrorClass::Permanent, "input.invalid", error.to_string());
                execution.end(ExecutionStatus::Failed, Some(error), cx);
            }
        }
        execution
    }

    /// Ends an execution that cannot begin, if it has not ended already.
    pub(crate) fn refuse(&mut self, error: StepError, cx: &mut Cx<'_>) {
        if !self.status.is_terminal() {
            self.end(ExecutionStatus::Failed, Some(error), cx);
        }
    }

    /// An execution whose definition does not exist: it fails at once, so that its submitter learns
    /// of it.
    pub fn without_definition(
        id: ExecutionId,
        start: Start,
        partition: Partition,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Self {
        let error = definition_missing(&start.workflow);
        Self::refused(id, start, error, partition, now, out)
    }

    /// An execution that fails before anything of its definition is looked at.
    pub(crate) fn refused(
        id: ExecutionId,
        start: Start,
        error: StepError,
        partition: Partition,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Self {
        let input = start.input.clone();
        let mut execution = Self::new(id, start, now);
        execution.input = input;
        let mut cx = Cx {
            workflow: &Workflow::none(),
            partition,
            now,
            held: HeldKinds::default(),
            out,
        };
        execution.record_start(&mut cx);
        execution.end(ExecutionStatus::Failed, Some(error), &mut cx);
        execution
    }

    /// Ends an execution whose definition is not there any more.
    pub(crate) fn fail_without_definition(&mut self, cx: &mut Cx<'_>) {
        let error = definition_missing(&self.workflow);
        self.steps = Vec::new();
        self.end(ExecutionStatus::Failed, Some(error), cx);
    }

    fn new(id: ExecutionId, start: Start, now: Timestamp) -> Self {
        Self {
            id,
            workflow: start.workflow,
            status: ExecutionStatus::Running,
            input: Value::Null,
            repository: start.repository,
            trigger: start.trigger,
            lane: start.lane,
            traceparent: start.traceparent,
            key: start.key,
            priority: start.priority,
            parent: start.parent,
            rerun: start.rerun,
            started_at: now,
            ended_at: None,
            queued: None,
            ticket: 0,
            deadline: now,
            steps: Vec::new(),
            open: 0,
            ending: None,
            events: 0,
            context_bytes: 0,
            stale_results: 0,
            output: None,
            error: None,
            paused: None,
            halted_since: None,
            breathes: false,
            signals: Vec::new(),
            requests: Requests::default(),
        }
    }

    fn record_start(&mut self, cx: &mut Cx<'_>) {
        let started = ExecutionStarted {
            workflow: self.workflow.clone(),
            input: self.input.clone(),
            repository: self.repository.clone(),
            trigger: self.trigger.clone(),
            traceparent: self.traceparent.clone(),
            key: self.key.clone(),
            parent: self.parent,
            rerun_of: self.rerun.as_ref().map(|rerun| rerun.of),
            rerun_reason: self.rerun.as_ref().and_then(|rerun| rerun.reason.clone()),
            lane: self.lane,
            priority: self.priority,
            status: self.status,
        };
        self.record(HistoryKind::ExecutionStarted(Box::new(started)), cx);
        self.audit_rerun(cx);
    }

    /// Somebody wished that an execution be repeated: that it is so is on record with its start.
    fn audit_rerun(&self, cx: &mut Cx<'_>) {
        let Some(rerun) = &self.rerun else { return };
        let control = Control {
            // There is one start of this execution, however often it is told.
            request: RequestId::from_uuid(self.id.as_uuid()),
            by: self.trigger.by.clone(),
            scopes: rerun.scopes.clone(),
            reason: rerun.reason.clone(),
            reply_to: None,
            content: None,
            action: ControlAction::Rerun {
                execution: self.id,
                from_step: rerun.from_step.clone(),
                version: self.workflow.version,
            },
        };
        answer(
            Some(rerun.of),
            &control,
            ControlOutcome::Applied,
            cx.now,
            cx.out,
        );
    }

    /// It has to wait for its key.
    pub(crate) fn queue(&mut self, queued: Queued) {
        self.status = ExecutionStatus::Pending;
        self.ticket = queued.ticket;
        self.queued = Some(queued);
    }

    /// Its place among those that wait for its key, also if it does not wait any more.
    pub(crate) fn place_before_key(&self) -> Option<(i32, u64)> {
        (self.ticket > 0).then_some((self.priority, self.ticket))
    }

    /// Ends the execution in favour of another one, or because there is no room for it.
    pub(crate) fn supersede(&mut self, status: ExecutionStatus, error: StepError, cx: &mut Cx<'_>) {
        if !self.status.is_terminal() && self.ending.is_none() {
            self.stop(status, error, cx);
        }
    }

    /// Its first steps begin. Its time begins too: what it spent waiting for its key does not count.
    pub(crate) fn begin(&mut self, cx: &mut Cx<'_>) {
        if self.queued.take().is_some() {
            self.status = ExecutionStatus::Running;
            self.record_status(None, None, cx);
        }
        self.deadline = cx.now.plus(cx.workflow.definition.config.timeout);
        // What is to be taken over counts from now on.
        self.context_bytes = self.counted_bytes();
        self.advance_all(cx);
    }

    /// Takes over the step, whose turn has come, from the execution that this one repeats, if it is
    /// one of those. Only now, so that it waits for an approval before it as if it had run. Returns
    /// whether it was taken over.
    pub(super) fn take_over(&mut self, step: u32, cx: &mut Cx<'_>) -> bool {
        let node = &cx.workflow.nodes[step as usize];
        // What people decided about the other execution, they have not decided about this one.
        if matches!(node.action, NodeAction::Approval { .. }) {
            return false;
        }
        let Some(rerun) = &mut self.rerun else {
            return false;
        };
        let Some(at) = rerun.kept.iter().position(|kept| kept.name == node.name) else {
            return false;
        };
        let kept = rerun.kept.remove(at);
        self.reach(step, cx.now);
        if let Some(run) = &mut self.steps[step as usize].run {
            run.output = kept.output;
            run.kept = true;
        }
        self.end_step(step, StepStatus::Completed, cx);
        true
    }

    pub(super) fn record_status(
        &mut self,
        by: Option<&str>,
        reason: Option<&str>,
        cx: &mut Cx<'_>,
    ) {
        let changed = StatusChanged {
            status: self.status,
            by: by.map(str::to_owned),
            reason: reason.map(str::to_owned),
            workflow: None,
        };
        self.record(HistoryKind::StatusChanged(Box::new(changed)), cx);
    }

    pub(super) fn wake(&mut self, cx: &mut Cx<'_>) -> Applied {
        if let Some(queued) = &mut self.queued {
            // The partition asks its key again. Only who is first then waits for an instant: one that
            // has passed would be waited for again and again.
            queued.not_before = queued.not_before.filter(|at| *at > cx.now);
            return Applied::Changed;
        }
        let halted = self.halted_since.is_some();
        if !halted && self.deadline <= cx.now {
            self.out_of_time(cx);
            return Applied::Changed;
        }
        let due = self.due(halted, cx.now);
        if self.breathes && !halted {
            self.breathes = false;
            for (step, item) in due {
                self.wait_over(step, item, cx);
            }
            self.go_on(cx);
            return Applied::Changed;
        }
        if due.is_empty() {
            // An execution that nothing would ever move again goes on with whatever can.
            if self.has_cause() {
                return Applied::Ignored(Ignored::EarlyWake);
            }
            self.go_on(cx);
            return Applied::Changed;
        }
        for (step, item) in due {
            self.wait_over(step, item, cx);
            self.after(step, cx);
        }
        Applied::Changed
    }

    /// Units whose wait is over at `now`.
    fn due(&self, halted: bool, now: Timestamp) -> Vec<(u32, Option<u32>)> {
        let mut due = Vec::new();
        for (step, state) in self.steps.iter().enumerate() {
            if let Some(run) = state.run.as_ref().filter(|_| !state.status.is_terminal()) {
                let step = u32::try_from(step).unwrap_or(u32::MAX);
                due.extend(run.due(halted, now).into_iter().map(|item| (step, item)));
            }
        }
        due
    }

    /// The end of its time, or of the time for cleaning up, has come.
    fn out_of_time(&mut self, cx: &mut Cx<'_>) {
        if self.ending.is_some() {
            self.clean_up_out_of_time(cx);
            return;
        }
        // Work that an operator holds back must not run out of time meanwhile: its time begins anew.
        if self.waits_for_held_turn(cx) {
            self.deadline = cx.now.plus(cx.workflow.definition.config.timeout);
            return;
        }
        let timeout = cx.workflow.definition.config.timeout;
        let error = StepError::new(
            ErrorClass::Timeout,
            "execution.timeout",
            format!(
                "the execution did not end within {} s (config.timeoutMs)",
                timeout.as_secs_f64()
            ),
        );
        self.stop(ExecutionStatus::Failed, error, cx);
    }

    /// Ends at once: nothing is undone, and nothing of what it holds is looked at any more.
    pub(crate) fn cut_short(&mut self, error: StepError, cx: &mut Cx<'_>) {
        if self.units().next().is_some() {
            cx.out.effects.push(Effect::CancelJobs(CancelNotice {
                execution: self.id,
                before: None,
            }));
        }
        for (step, state) in (0..).zip(&self.steps) {
            if !state.status.is_terminal() {
                self.abandon(step, cx);
            }
        }
        self.steps = Vec::new();
        self.end(ExecutionStatus::Failed, Some(error), cx);
    }

    /// Whether how it ends is decided.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// The execution has ended in every respect.
    pub(super) fn end(
        &mut self,
        status: ExecutionStatus,
        error: Option<StepError>,
        cx: &mut Cx<'_>,
    ) {
        self.status = status;
        self.ended_at = Some(cx.now);
        self.error = error;
        self.ending = None;
        self.queued = None;
        self.halted_since = None;
        self.paused = None;
        if self.output.is_none() && !self.steps.is_empty() {
            self.output = Some(self.assigned_output(cx.workflow));
        }
        let count = |status| {
            let steps = self.steps.iter().take(cx.workflow.main);
            let matching = steps.filter(|step| step.status == status).count();
            u32::try_from(matching).unwrap_or(u32::MAX)
        };
        let ended = ExecutionEnded {
            status,
            output: self.output.clone(),
            error: self.error.clone(),
            started_at: self.started_at,
            steps_completed: count(StepStatus::Completed),
            steps_failed: count(StepStatus::Failed),
            steps_skipped: count(StepStatus::Skipped),
            steps_compensated: count(StepStatus::Compensated),
            stale_results: self.stale_results,
        };
        self.record(HistoryKind::ExecutionEnded(Box::new(ended)), cx);
        self.tell_parent(cx);
    }

    fn tell_parent(&self, cx: &mut Cx<'_>) {
        let Some(parent) = self.parent.filter(|parent| parent.waits) else {
            return;
        };
        let output = self.output.as_ref();
        let ended = ChildEnded {
            step: parent.step,
            item: parent.item,
            attempt: parent.attempt,
            child: self.id,
            status: self.status,
            output: output.map(|output| small_enough(output, MAX_INLINE_BYTES)),
            error: self.error.clone(),
        };
        let input = Input {
            execution: parent.execution,
            kind: InputKind::ChildEnded(Box::new(ended)),
        };
        cx.out.effects.push(Effect::Submit(Box::new(input)));
    }

    /// What executions are told that start when this one has ended.
    pub(crate) fn ended(&self) -> Ended {
        Ended {
            execution: self.id,
            workflow: self.workflow.name.clone(),
            initiator: self.trigger.initiator().to_owned(),
            status: self.status,
            input: self.input.clone(),
            output: self.output.clone(),
            error: self.error.clone(),
            repository: self.repository.clone(),
            depth: self.chain(),
            at: self.ended_at.unwrap_or(self.started_at),
        }
    }

    /// Nothing new begins any more, until [`Self::unhalt`]. Returns whether that is new.
    pub(crate) fn halt(&mut self, now: Timestamp) -> bool {
        if self.status.is_terminal() || self.halted_since.is_some() {
            return false;
        }
        self.halted_since = Some(now);
        true
    }

    /// What waited to begin begins, and the time that passed meanwhile does not count.
    pub(crate) fn unhalt(&mut self, cx: &mut Cx<'_>) {
        let Some(since) = self.halted_since.take() else {
            return;
        };
        if self.queued.is_some() {
            return;
        }
        let passed: Duration = cx.now.since(since);
        self.deadline = self.deadline.plus(passed);
        for state in &mut self.steps {
            let Some(run) = state.run.as_mut().filter(|_| !state.status.is_terminal()) else {
                continue;
            };
            run.postpone(passed);
        }
        self.go_on(cx);
    }
}

fn definition_missing(workflow: &WorkflowRef) -> StepError {
    StepError::new(
        ErrorClass::Permanent,
        "definition.missing",
        format!(
            "version {} of workflow `{}` ({}) is not stored, or this build cannot read it; \
             apply it again",
            workflow.version, workflow.name, workflow.hash
        ),
    )
}
