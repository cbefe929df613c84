//! The vocabulary of the language: the reader knows no other keys and words, and the JSON Schema
//! describes each of them.

use super::{Backoff, Decision, KeyScope, MissedRuns, OnConflict, OnTimeout};
use crate::error::ErrorClass;
use crate::view::ExecutionStatus;

/// The keys of each object.
pub(super) mod keys {
    pub(in crate::definition) const DEFINITION: &[&str] = &[
        "name",
        "description",
        "inputSchema",
        "on",
        "concurrency",
        "rateLimit",
        "debounce",
        "priority",
        "steps",
        "onFailure",
        "output",
        "config",
    ];

    pub(in crate::definition) const CONFIG: &[&str] = &[
        "continueOnError",
        "timeoutMs",
        "maxRetries",
        "debugMode",
        "cleanupTimeoutMs",
    ];

    pub(in crate::definition) const CONCURRENCY: &[&str] = &["key", "scope", "limit", "onConflict"];

    pub(in crate::definition) const RATE_LIMIT: &[&str] = &["key", "scope", "limit", "periodMs"];

    pub(in crate::definition) const DEBOUNCE: &[&str] = &["key", "scope", "periodMs", "maxWaitMs"];

    /// A trigger has exactly one of them.
    pub(in crate::definition) const TRIGGER: &[&str] = &["webhook", "schedule", "workflow"];

    pub(in crate::definition) const WEBHOOK: &[&str] =
        &["source", "event", "action", "repository", "filter", "input"];

    pub(in crate::definition) const SCHEDULE: &[&str] =
        &["cron", "timezone", "missed", "jitterMs", "paused", "input"];

    /// Of a trigger that is the end of another workflow.
    pub(in crate::definition) const AFTER: &[&str] = &["name", "status", "filter", "input"];

    pub(in crate::definition) const STEP: &[&str] = &[
        "name",
        "tool",
        "params",
        "approval",
        "waitFor",
        "sleep",
        "workflow",
        "assign",
        "if",
        "condition",
        "needs",
        "forEach",
        "as",
        "maxParallel",
        "retry",
        "timeoutMs",
        "continueOnError",
        "compensate",
    ];

    /// A step has exactly one of them.
    pub(in crate::definition) const ACTION: &[&str] =
        &["tool", "approval", "waitFor", "sleep", "workflow"];

    /// They have no meaning in `onFailure`.
    pub(in crate::definition) const ONLY_MAIN: &[&str] =
        &["needs", "forEach", "as", "maxParallel", "compensate"];

    /// They are for steps that run something, not for those that only wait.
    pub(in crate::definition) const ONLY_RUNNING: &[&str] = &["forEach", "retry", "compensate"];

    /// Keys of an action that say what it means that the step's `timeoutMs` passed.
    pub(in crate::definition) const ONLY_TIMED: &[(&str, &str)] =
        &[("approval", "onExpiry"), ("waitFor", "onTimeout")];

    pub(in crate::definition) const RETRY: &[&str] = &[
        "maxAttempts",
        "backoff",
        "backoffMultiplier",
        "initialDelayMs",
        "maxDelayMs",
        "on",
    ];

    pub(in crate::definition) const COMPENSATE: &[&str] = &["tool", "params", "retry", "timeoutMs"];

    pub(in crate::definition) const APPROVAL: &[&str] = &[
        "scope",
        "approvals",
        "approvers",
        "selfApproval",
        "onExpiry",
        "message",
    ];

    pub(in crate::definition) const WAIT_FOR: &[&str] = &["signal", "filter", "onTimeout"];

    /// A sleep has exactly one of them.
    pub(in crate::definition) const SLEEP: &[&str] = &["for", "forMs", "until"];

    pub(in crate::definition) const WORKFLOW: &[&str] = &["name", "version", "input", "wait"];
}

pub(super) const BACKOFFS: &[(&str, Backoff)] = &[
    ("fixed", Backoff::Fixed),
    ("linear", Backoff::Linear),
    ("exponential", Backoff::Exponential),
];

/// Classes of errors that another attempt can follow.
pub(super) const CLASSES: &[(&str, ErrorClass)] = &[
    ("retryable", ErrorClass::Retryable),
    ("permanent", ErrorClass::Permanent),
    ("timeout", ErrorClass::Timeout),
    ("rate_limited", ErrorClass::RateLimited),
    ("worker_lost", ErrorClass::WorkerLost),
];

pub(super) const DECISIONS: &[(&str, Decision)] =
    &[("approve", Decision::Approve), ("reject", Decision::Reject)];

pub(super) const ON_TIMEOUT: &[(&str, OnTimeout)] =
    &[("fail", OnTimeout::Fail), ("continue", OnTimeout::Continue)];

pub(super) const SCOPES: &[(&str, KeyScope)] = &[
    ("workflow", KeyScope::Workflow),
    ("global", KeyScope::Global),
];

pub(super) const ON_CONFLICT: &[(&str, OnConflict)] = &[
    ("queue", OnConflict::Queue),
    ("cancel_newest", OnConflict::CancelNewest),
    ("cancel_running", OnConflict::CancelRunning),
    ("coalesce", OnConflict::Coalesce),
];

pub(super) const MISSED: &[(&str, MissedRuns)] = &[
    ("skip", MissedRuns::Skip),
    ("one", MissedRuns::One),
    ("all", MissedRuns::All),
];

/// How executions end.
pub(super) const ENDS: &[(&str, ExecutionStatus)] = &[
    ("completed", ExecutionStatus::Completed),
    ("failed", ExecutionStatus::Failed),
    ("cancelled", ExecutionStatus::Cancelled),
];

/// What a decider's token must be allowed to do, where the step does not say.
pub(super) const DEFAULT_SCOPE: &str = "approve";

/// The name of an item, where the step does not say.
pub(super) const DEFAULT_ALIAS: &str = "item";

/// The source of a delivery, where the trigger does not say.
pub(super) const DEFAULT_SOURCE: &str = "github";

/// The time zone of a schedule, where it does not say.
pub(super) const DEFAULT_TIMEZONE: &str = "UTC";

/// What the `$schema` of an `inputSchema` may say: other drafts give the same words other meanings.
pub(super) const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The words of a table.
pub(super) fn words<'a, T>(choices: &[(&'a str, T)]) -> Vec<&'a str> {
    choices.iter().map(|(word, _)| *word).collect()
}
