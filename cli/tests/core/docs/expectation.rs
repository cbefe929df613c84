//! What an example is to do, as its block ` ```json expect ` says.

use std::collections::BTreeMap;

use afu9_schemas::definition::Decision;
use afu9_schemas::message::{Control, ControlAction};
use afu9_schemas::view::{ExecutionStatus, StepStatus};
use anyhow::{Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::world::wish;

/// What an example is to do.
pub(super) enum Expectation {
    /// To be valid: what it needs to run is not part of the core.
    Valid,
    /// To run.
    Runs(Runs),
}

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
}

fn empty() -> Value {
    json!({})
}

impl Expectation {
    /// Reads the block: `{"validate": true}`, one run, or several as `{"runs": […]}`.
    pub(super) fn read(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text)?;
        if value == json!({ "validate": true }) {
            return Ok(Self::Valid);
        }
        let runs = if value.get("runs").is_some() {
            serde_json::from_value(value)?
        } else {
            Runs {
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
                act.action()?;
            }
        }
        Ok(Self::Runs(runs))
    }
}

impl Act {
    fn action(&self) -> Result<ControlAction> {
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
        };
        let given: Vec<ControlAction> = [
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
        .collect();
        match given.as_slice() {
            [action] => Ok(action.clone()),
            _ => bail!("{} actions in one: {self:?}", given.len()),
        }
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

    pub(super) fn control(&self) -> Result<Control> {
        let mut control = wish(self.action()?);
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
