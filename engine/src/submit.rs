//! What every submission has in common, wherever it comes from: a trigger, a delivery, a schedule, a
//! step, the end of another execution.

use std::borrow::Cow;

use afu9_schemas::message::Start;
use serde_json::Value;
use thiserror::Error;

use crate::expression::{EvalError, Scope};
use crate::workflow::{CompiledTrigger, InputError, KeyError, Workflow};

/// Why an execution cannot be submitted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SubmitError {
    /// Its input does not fit the workflow's `inputSchema`.
    #[error(transparent)]
    Input(#[from] InputError),
    /// What it contends for cannot be worked out.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl SubmitError {
    /// A stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Input(_) => "input.invalid",
            Self::Key(_) => "concurrency.key",
        }
    }
}

/// Fills in what the definition says about a submission: defaults of the input, the key, and the
/// priority where the submission has none (0).
///
/// The key decides which partition the execution belongs to, so whoever submits has to know it before
/// choosing an id.
///
/// # Errors
/// When the input does not fit, or the key has no value.
pub fn prepare(workflow: &Workflow, start: &mut Start) -> Result<(), SubmitError> {
    if let Some(schema) = &workflow.input_schema {
        start.input = schema.prepare(start.input.clone())?;
    }
    start.key = workflow.key(&start.input, start.repository.as_ref())?;
    if start.priority == 0 {
        start.priority = workflow.definition.flow.priority;
    }
    Ok(())
}

/// The roots that a trigger's expressions know.
#[derive(Debug, Clone, Copy)]
pub struct Roots<'a>(pub &'a [(&'a str, &'a Value)]);

impl Scope for Roots<'_> {
    fn root(&self, name: &str) -> Option<Cow<'_, Value>> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| Cow::Borrowed(*value))
    }
}

impl CompiledTrigger {
    /// The input of what the trigger starts, or `None` if its filter does not hold. Without an input
    /// of its own it passes on `default`.
    ///
    /// # Errors
    /// When an expression has no value, with its place.
    pub fn fire(
        &self,
        roots: Roots<'_>,
        default: impl FnOnce() -> Value,
    ) -> Result<Option<Value>, (String, EvalError)> {
        match self.filter.as_ref().map(|filter| filter.holds(&roots)) {
            None | Some(Ok(true)) => {}
            // What the filter looks at is not there: it is about something else.
            Some(Ok(false) | Err(EvalError::Unresolved { .. })) => return Ok(None),
            Some(Err(error)) => return Err(("filter".to_owned(), error)),
        }
        match &self.input {
            None => Ok(Some(default())),
            Some(input) => input
                .render(&roots)
                .map(Some)
                .map_err(|(at, error)| (format!("input{at}"), error)),
        }
    }
}
