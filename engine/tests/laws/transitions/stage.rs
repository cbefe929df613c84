//! An execution in each state that can be told apart.

use std::sync::Arc;
use std::time::Duration;

use afu9_engine::execution::{Cx, HeldKinds, Outbox};
use afu9_engine::{Effect, Execution, Workflow};
use afu9_schemas::message::{
    ChildResolved, ChildStart, ControlAction, ControlOutcome, HoldScope, InputKind, Outcome, Parent,
};
use afu9_schemas::view::ExecutionStatus;
use afu9_schemas::{ErrorClass, ExecutionId, WorkerKind};
use serde_json::json;

use crate::inputs::{self, failure};
use crate::rig::{PARTITION, Rig};

/// The states. What they wait for is the step at [`Stage::step`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Another execution has its key.
    PendingKey,
    /// Too many have begun of late.
    PendingRate,
    /// It shall be quiet first.
    PendingDebounce,
    /// The queue of its step is full.
    Turn,
    /// The queue of its step is held.
    HeldTurn,
    Job,
    Retry,
    Timer,
    Signal,
    Approval,
    /// It is not known yet which version of a workflow it is to run.
    ChildUnresolved,
    ChildRunning,
    /// Two of four items are in progress.
    Items,
    /// With a job outside.
    Paused,
    PausedPending,
    /// With a job outside, and its workflow on hold.
    Held,
    /// It failed, and undoes what was done.
    Compensating,
    /// It failed, and its last words are being spoken.
    OnFailure,
    /// It was cancelled, and undoes what was done.
    Undoing,
    Completed,
    FailedRetriable,
    /// It failed, and another execution has its key.
    FailedKeyTaken,
    FailedUndone,
    Cancelled,
}

pub(crate) const STATES: [State; 24] = [
    State::PendingKey,
    State::PendingRate,
    State::PendingDebounce,
    State::Turn,
    State::HeldTurn,
    State::Job,
    State::Retry,
    State::Timer,
    State::Signal,
    State::Approval,
    State::ChildUnresolved,
    State::ChildRunning,
    State::Items,
    State::Paused,
    State::PausedPending,
    State::Held,
    State::Compensating,
    State::OnFailure,
    State::Undoing,
    State::Completed,
    State::FailedRetriable,
    State::FailedKeyTaken,
    State::FailedUndone,
    State::Cancelled,
];

impl State {
    pub(crate) const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Completed
                | Self::FailedRetriable
                | Self::FailedKeyTaken
                | Self::FailedUndone
                | Self::Cancelled
        )
    }

    pub(crate) const fn is_pending(self) -> bool {
        matches!(
            self,
            Self::PendingKey | Self::PendingRate | Self::PendingDebounce | Self::PausedPending
        )
    }

    /// A worker has a job of it.
    pub(crate) const fn has_job(self) -> bool {
        matches!(
            self,
            Self::Job
                | Self::Items
                | Self::Paused
                | Self::Held
                | Self::Compensating
                | Self::OnFailure
                | Self::Undoing
        )
    }

    pub(crate) const fn status(self) -> ExecutionStatus {
        match self {
            Self::PendingKey | Self::PendingRate | Self::PendingDebounce => {
                ExecutionStatus::Pending
            }
            Self::Paused | Self::PausedPending => ExecutionStatus::Paused,
            Self::Completed => ExecutionStatus::Completed,
            Self::FailedRetriable | Self::FailedKeyTaken | Self::FailedUndone => {
                ExecutionStatus::Failed
            }
            Self::Cancelled => ExecutionStatus::Cancelled,
            _ => ExecutionStatus::Running,
        }
    }

    /// What is at the top of its definition, and its first step; a second one follows.
    const fn definition(self) -> (&'static str, &'static str) {
        const JOB: &str = "{ name: a, tool: test.noop, timeoutMs: 1000, retry: { maxAttempts: 2, \
            initialDelayMs: 100 } }";
        const UNDOABLE: &str = "{ name: a, tool: test.noop, compensate: { tool: test.noop } }";
        match self {
            Self::PendingKey | Self::PausedPending | Self::FailedKeyTaken => {
                ("concurrency: { limit: 1, onConflict: queue }", JOB)
            }
            Self::PendingRate => ("rateLimit: { limit: 1, periodMs: 1000 }", JOB),
            Self::PendingDebounce => ("debounce: { periodMs: 1000 }", JOB),
            Self::Turn => (
                "",
                "{ name: a, tool: github.getIssue, params: { owner: o, repo: r, number: 1 } }",
            ),
            Self::Timer => ("", "{ name: a, sleep: { for: 1h } }"),
            Self::Signal => (
                "",
                "{ name: a, waitFor: { signal: go, filter: \"${signal.ok}\" }, timeoutMs: 1000 }",
            ),
            Self::Approval => (
                "",
                "{ name: a, approval: { scope: approve }, timeoutMs: 1000 }",
            ),
            Self::ChildUnresolved | Self::ChildRunning => (
                "",
                "{ name: a, workflow: { name: child }, timeoutMs: 1000 }",
            ),
            Self::Items => (
                "",
                "{ name: a, forEach: [1, 2, 3, 4], maxParallel: 2, tool: test.noop, timeoutMs: 1000 }",
            ),
            Self::Compensating | Self::FailedUndone | Self::Undoing => ("", UNDOABLE),
            Self::OnFailure => ("onFailure: [{ name: tell, tool: test.noop }]", JOB),
            _ => ("", JOB),
        }
    }
}

/// An execution in a state, alone and in its partition.
pub(crate) struct Stage {
    pub(crate) rig: Rig,
    pub(crate) id: ExecutionId,
    /// The execution by itself.
    pub(crate) execution: Execution,
    pub(crate) workflow: Arc<Workflow>,
    /// What it waits for, or waited for last.
    pub(crate) step: u32,
    pub(crate) item: Option<u32>,
    pub(crate) attempt: u32,
    pub(crate) child: ExecutionId,
}

/// The definition of the subject; `more` is a further step that another version has.
pub(crate) fn source(state: State, first: &str, more: &str) -> String {
    let (top, step) = state.definition();
    let step = step.replace("name: a,", &format!("name: {first},"));
    format!("name: subject\n{top}\nsteps:\n  - {step}\n  - {{ name: b, tool: test.noop }}\n{more}")
}

impl Stage {
    pub(crate) fn new(state: State) -> Self {
        let mut rig = Rig::new(&[
            &source(state, "a", ""),
            "{ name: child, steps: [{ name: c, tool: test.noop }] }",
            "{ name: crowd, steps: [{ name: each, forEach: \"${input.items}\", maxParallel: 1000,
               tool: github.getIssue, params: { owner: o, repo: r, number: 1 } }] }",
        ]);
        let id = begin(state, &mut rig);
        let workflow = Arc::clone(rig.workflow("subject"));
        let mut stage = Self {
            execution: alone(&mut rig, id),
            workflow,
            step: u32::from(state == State::FailedUndone),
            item: (state == State::Items).then_some(0),
            attempt: 1,
            child: inputs::drawn(5000),
            rig,
            id,
        };
        stage.go_on(state);
        if let Some(job) = stage.rig.jobs().iter().find(|job| job.id.execution == id)
            && state.has_job()
        {
            stage.step = job.id.step;
        }
        stage
    }

    /// From where it began to its state.
    fn go_on(&mut self, state: State) {
        let job = |stage: &Self| {
            let jobs = stage.rig.jobs();
            let job = jobs.into_iter().find(|job| job.id.execution == stage.id);
            job.expect("a job of it")
        };
        let done = || Outcome::Done(json!({}));
        match state {
            State::Retry => {
                self.take(inputs::answer(&job(self), failure(ErrorClass::Retryable)).kind)
            }
            State::ChildRunning => {
                let found = InputKind::ChildResolved(Box::new(self.found()));
                self.take(found);
            }
            State::Paused | State::PausedPending => self.wish(ControlAction::Pause),
            State::Held => {
                let scope = HoldScope::Workflow("subject".to_owned());
                self.rig
                    .control(ExecutionId::NONE, ControlAction::Hold(scope));
                self.execution = alone(&mut self.rig, self.id);
            }
            State::Compensating | State::FailedUndone => {
                self.take(inputs::answer(&job(self), done()).kind);
                self.take(inputs::answer(&job(self), failure(ErrorClass::Permanent)).kind);
                if state == State::FailedUndone {
                    self.take(inputs::answer(&job(self), done()).kind);
                }
            }
            State::Undoing => {
                self.take(inputs::answer(&job(self), done()).kind);
                self.wish(ControlAction::Cancel);
            }
            State::OnFailure | State::FailedRetriable | State::FailedKeyTaken => {
                self.take(inputs::answer(&job(self), failure(ErrorClass::Permanent)).kind);
            }
            State::Completed => {
                self.take(inputs::answer(&job(self), done()).kind);
                self.take(inputs::answer(&job(self), done()).kind);
            }
            State::Cancelled => self.wish(ControlAction::Cancel),
            _ => {}
        }
        if state == State::FailedKeyTaken {
            self.rig.start("subject", json!({}));
        }
    }

    fn wish(&mut self, action: ControlAction) {
        let control = inputs::control(77_000, action);
        self.take(InputKind::Control(Box::new(control)));
    }

    /// Gives an input to the execution, alone and in its partition.
    fn take(&mut self, kind: InputKind) {
        let before = (self.execution.status().is_terminal(), self.rig.state.live());
        self.rig.send(self.id, kind.clone());
        let live = self.rig.state.take_full().executions;
        match live.into_iter().find(|execution| execution.id() == self.id) {
            Some(execution) => self.execution = execution,
            // It has ended, and the partition does not give it out any more.
            None => {
                let _out = self.apply(&kind);
                assert!(self.execution.status().is_terminal(), "{before:?}");
            }
        }
    }

    /// What the execution by itself makes of an input.
    pub(crate) fn apply(
        &mut self,
        kind: &InputKind,
    ) -> (afu9_engine::execution::Applied, Vec<Effect>) {
        let mut out = Outbox::default();
        let mut cx = Cx {
            workflow: &self.workflow,
            partition: PARTITION,
            now: match kind {
                InputKind::Wake { due } => self.rig.now.max(*due),
                _ => self.rig.now.plus(Duration::from_micros(1)),
            },
            held: HeldKinds::default(),
            out: &mut out,
        };
        let applied = self.execution.apply(kind, &mut cx);
        (applied, out.effects)
    }

    /// What the owner found for the child.
    pub(crate) fn found(&self) -> ChildResolved {
        let mut kind = self.rig.submission("child", json!({}));
        let InputKind::Start(start) = &mut kind else {
            unreachable!("a submission");
        };
        start.parent = Some(Parent {
            execution: self.id,
            step: self.step,
            item: self.item,
            attempt: self.attempt,
            waits: true,
            depth: 1,
        });
        ChildResolved {
            step: self.step,
            item: self.item,
            attempt: self.attempt,
            child: Ok(Box::new(ChildStart {
                execution: self.child,
                start: (**start).clone(),
            })),
        }
    }
}

fn begin(state: State, rig: &mut Rig) -> ExecutionId {
    match state {
        State::PendingKey | State::PausedPending | State::PendingRate => {
            rig.start("subject", json!({}));
        }
        State::Turn => {
            let items = vec![1; 128];
            rig.start("crowd", json!({ "items": items }));
        }
        State::HeldTurn => {
            let kind = HoldScope::Kind(WorkerKind::new("test").expect("a valid kind"));
            let held = rig.control(ExecutionId::NONE, ControlAction::Hold(kind));
            assert_eq!(held, ControlOutcome::Applied);
        }
        _ => {}
    }
    rig.start("subject", json!({}))
}

/// The execution as a checkpoint holds it.
fn alone(rig: &mut Rig, id: ExecutionId) -> Execution {
    let executions = rig.state.take_full().executions;
    executions
        .into_iter()
        .find(|execution| execution.id() == id)
        .expect("live")
}
