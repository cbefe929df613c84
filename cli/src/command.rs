//! Operator commands, one per file.

pub(crate) mod audit;
pub(crate) mod bulk;
pub(crate) mod completions;
pub(crate) mod control;
pub(crate) mod dead_letters;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod executions;
pub(crate) mod hold;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod schedules;
pub(crate) mod workflows;

use std::process::ExitCode;

use crate::client::{Refused, Unreachable};
use crate::settings::Mistakes;

/// A mistake in the configuration or on the command line (`EX_USAGE`, as far as there is a custom).
const USAGE: u8 = 64;

/// Something that is needed cannot be reached (`EX_UNAVAILABLE`).
const UNAVAILABLE: u8 = 69;

/// The exit code that says how a command failed.
pub(crate) fn exit_code_of(error: &anyhow::Error) -> ExitCode {
    if error.is::<Mistakes>() {
        return ExitCode::from(USAGE);
    }
    if error.is::<Unreachable>() {
        return ExitCode::from(UNAVAILABLE);
    }
    match error.downcast_ref::<Refused>() {
        Some(refused) if refused.status.is_server_error() => ExitCode::from(UNAVAILABLE),
        _ => ExitCode::FAILURE,
    }
}
