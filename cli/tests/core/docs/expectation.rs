//! What an example is to do, as its block ` ```json expect ` says.

use std::collections::BTreeMap;

use afu9_schemas::definition::Decision;
use afu9_schemas::message::{Control, ControlAction, WorkflowRef};
use afu9_schemas::view::{ExecutionStatus, StepStatus};
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::world::wish;

/// Executions that are submitted in this order, each at once after the one before.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Runs {
    pub(super) runs: Vec<Run>,
    /// Positions of runs in the order in which they began.
    #[serde(default)]
    pub(super) begin: Option<Vec<usize>>,
}

/// One execution.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Run {
    /// The workflow; that of the last block where it is not said.
    #[serde(default)]
    pub(super) start: Option<String>,
    /// Its version; the newest where it is not said.
    #[serde(default)]
    pub(super) version: Option<u32>,
    /// It is started by a webhook.
    #[serde(default)]
    pub(super) deliver: Option<Delivery>,
    /// It is started by a schedule.
    #[serde(default)]
    pub(super) scheduled: bool,
    #[serde(default = "empty")]
    pub(super) input: Value,
    /// `owner/name`.
    #[serde(default)]
    pub(super) repository: Option<String>,
    /// What is asked for, in this order, once every run is submitted.
    #[serde(default)]
    pub(super) act: Vec<Act>,
    /// The code with which the submission is refused; then there is nothing else.
    #[serde(default)]
    pub(super) refused: Option<String>,
    #[serde(default)]
    pub(super) status: Option<ExecutionStatus>,
    #[serde(default)]
    pub(super) output: Option<Value>,
    /// The code of the error.
    #[serde(default)]
    pub(super) error: Option<String>,
    /// How each step ended, compensations and `onFailure` steps included.
    #[serde(default)]
    pub(super) steps: Option<BTreeMap<String, StepStatus>>,
    /// How many attempts steps had.
    #[serde(default)]
    pub(super) attempts: BTreeMap<String, usize>,
    /// The least time from its submission to its end.
    #[serde(default)]
    pub(super) took_ms: Option<u64>,
    /// What its end starts.
    #[serde(default)]
    pub(super) then: Vec<Then>,
    /// How it is repeated when it has ended, in this order.
    #[serde(default)]
    pub(super) reruns: Vec<Again>,
}

/// A delivery of a webhook.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Delivery {
    #[serde(default = "github")]
    pub(super) source: String,
    pub(super) event: String,
    pub(super) payload: Value,
}

fn github() -> String {
    "github".to_owned()
}

/// An execution that repeats one that has ended.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Again {
    #[serde(default)]
    pub(super) input: Option<Value>,
    #[serde(default)]
    pub(super) from_step: Option<String>,
    /// The code with which it is refused; then there is nothing else.
    #[serde(default)]
    pub(super) refused: Option<String>,
    #[serde(default)]
    pub(super) status: Option<ExecutionStatus>,
    #[serde(default)]
    pub(super) output: Option<Value>,
    /// The steps that are taken over.
    #[serde(default)]
    pub(super) kept: Option<Vec<String>>,
}

/// An execution that the end of another one starts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Then {
    pub(super) workflow: String,
    pub(super) status: ExecutionStatus,
    #[serde(default)]
    pub(super) output: Option<Value>,
}

/// One wish: exactly one of the actions, and how it is asked for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Act {
    /// The step that must wait for something first; for a decision it is the step it is about, unless
    /// this is empty.
    #[serde(default)]
    when: Option<String>,
    #[serde(default)]
    by: Option<String>,
    #[serde(default)]
    scopes: Option<Vec<String>>,
    #[serde(default)]
    reason: Option<String>,
    /// The code with which it is refused; otherwise it takes effect.
    #[serde(default)]
    pub(super) refused: Option<String>,
    #[serde(default)]
    signal: Option<String>,
    #[serde(default)]
    payload: Option<Value>,
    #[serde(default)]
    approve: Option<String>,
    #[serde(default)]
    reject: Option<String>,
    /// These take the value `true`.
    #[serde(default)]
    cancel: bool,
    #[serde(default)]
    pause: bool,
    #[serde(default)]
    resume: bool,
    #[serde(default)]
    retry: bool,
    /// To the newest version.
    #[serde(default, rename = "move")]
    moved: bool,
    /// A workflow, that nothing of it may begin; and that it may again.
    #[serde(default)]
    pub(super) hold: Option<String>,
    #[serde(default)]
    pub(super) release: Option<String>,
}

fn empty() -> Value {
    json!({})
}

impl Runs {
    /// Reads the block: one run, or several as `{"runs": […]}`.
    pub(super) fn read(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text)?;
        let runs: Self = if value.get("runs").is_some() {
            serde_json::from_value(value)?
        } else {
            Self {
                runs: vec![serde_json::from_value(value)?],
                begin: None,
            }
        };
        ensure!(!runs.runs.is_empty(), "nothing runs");
        for run in &runs.runs {
            ensure!(
                run.status.is_some() != run.refused.is_some(),
                "a run ends with a status, or is refused"
            );
            for act in &run.act {
                act.check()?;
            }
        }
        Ok(runs)
    }
}

impl Act {
    /// That it is exactly one action.
    fn check(&self) -> Result<()> {
        let scopes = usize::from(self.hold.is_some()) + usize::from(self.release.is_some());
        let wishes = self.wishes(None).len() + usize::from(self.moved);
        ensure!(scopes + wishes == 1, "not one action: {self:?}");
        Ok(())
    }

    fn wishes(&self, newest: Option<&WorkflowRef>) -> Vec<ControlAction> {
        let decide = |step: &Option<String>, decision| {
            step.clone()
                .map(|step| ControlAction::Decide { step, decision })
        };
        let signal = self.signal.clone().map(|name| ControlAction::Signal {
            name,
            payload: self.payload.clone().unwrap_or_default(),
        });
        let retry = ControlAction::Retry {
            step: None,
            params: None,
            failed: None,
        };
        let moved = newest.filter(|_| self.moved).cloned();
        [
            moved.map(|to| ControlAction::Move { to }),
            signal,
            decide(&self.approve, Decision::Approve),
            decide(&self.reject, Decision::Reject),
            self.cancel.then_some(ControlAction::Cancel),
            self.pause.then_some(ControlAction::Pause),
            self.resume.then_some(ControlAction::Resume),
            self.retry.then_some(retry),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The step that must wait first.
    pub(super) fn when(&self) -> Option<&str> {
        let when = self.when.as_ref();
        let step = when.or(self.approve.as_ref()).or(self.reject.as_ref());
        step.map(String::as_str).filter(|step| !step.is_empty())
    }

    /// Whether it lets a failed execution go on.
    pub(super) fn reopens(&self) -> bool {
        self.retry && self.refused.is_none()
    }

    /// The wish, of an execution whose workflow's newest version is `newest`.
    pub(super) fn control(&self, newest: &WorkflowRef) -> Result<Control> {
        let mut wishes = self.wishes(Some(newest));
        let mut control = wish(wishes.pop().context("a wish")?);
        control.reason.clone_from(&self.reason);
        if let Some(by) = &self.by {
            control.by.clone_from(by);
        }
        if let Some(scopes) = &self.scopes {
            control.scopes.clone_from(scopes);
        }
        Ok(control)
    }
}
