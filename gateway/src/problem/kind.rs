//! The table of problems: each kind with its status, code, title and who has to act.

use http::StatusCode;

/// What kind of problem it is; decides status, code, title and who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Unauthenticated,
    MissingScope,
    SignatureMissing,
    SignatureInvalid,
    WebhooksNotConfigured,
    HeaderMissing,
    Malformed,
    NoSuchResource,
    MethodNotAllowed,
    TooLarge,
    Rejected(StatusCode),
    UnknownWorkflow,
    WorkflowDisabled,
    WorkflowUnreadable,
    TestTools,
    InvalidDefinition,
    InputInvalid,
    KeyInvalid,
    UnknownVersion,
    UnknownSchedule,
    IdempotencyConflict,
    UnknownDeadLetter,
    /// It has been replayed or discarded; the code says which.
    DeadLetterSettled,
    NotReplayable,
    UnknownExecution,
    ExecutionEnded,
    ExecutionUnreachable,
    /// The engine, or the state of an execution, does not allow it; the engine's code says why.
    Refused,
    /// The engine does not allow it to this caller; the engine's code says why.
    Forbidden,
    DatabaseNotConfigured,
    StreamFull,
    BrokerUnavailable,
    DatabaseUnavailable,
    Overloaded,
    TimedOut,
    Internal,
}

/// What stands in the way, and so who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockedBy {
    /// The state of the thing asked for.
    State,
    /// A rule of the API: the request must change.
    Policy,
    /// AFU-9's configuration: an operator must act.
    Config,
    /// Something AFU-9 depends on: try again later.
    Upstream,
    /// AFU-9 itself.
    Internal,
}

impl BlockedBy {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::State => "STATE",
            Self::Policy => "POLICY",
            Self::Config => "CONFIG",
            Self::Upstream => "UPSTREAM",
            Self::Internal => "INTERNAL",
        }
    }
}

/// What a kind of problem decides.
pub(super) struct Facts {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) title: &'static str,
    pub(super) blocked_by: BlockedBy,
}

impl Kind {
    pub(super) fn facts(self) -> Facts {
        use BlockedBy::{Config, Internal, Policy, State, Upstream};
        type S = StatusCode;
        let (status, code, title, blocked_by) = match self {
            Self::Unauthenticated => (
                S::UNAUTHORIZED,
                "auth.unauthenticated",
                "Not authenticated",
                Policy,
            ),
            Self::MissingScope => (S::FORBIDDEN, "auth.missing_scope", "Not allowed", Policy),
            Self::SignatureMissing => (
                S::UNAUTHORIZED,
                "webhook.signature_missing",
                "Signature missing",
                Policy,
            ),
            Self::SignatureInvalid => (
                S::UNAUTHORIZED,
                "webhook.signature_invalid",
                "Signature not valid",
                Policy,
            ),
            Self::WebhooksNotConfigured => (
                S::SERVICE_UNAVAILABLE,
                "webhook.not_configured",
                "Webhooks not configured",
                Config,
            ),
            Self::HeaderMissing => (
                S::BAD_REQUEST,
                "request.header_missing",
                "Header missing",
                Policy,
            ),
            Self::Malformed => (
                S::BAD_REQUEST,
                "request.malformed",
                "Malformed request",
                Policy,
            ),
            Self::NoSuchResource => (
                S::NOT_FOUND,
                "request.no_such_resource",
                "No such resource",
                Policy,
            ),
            Self::MethodNotAllowed => (
                S::METHOD_NOT_ALLOWED,
                "request.method_not_allowed",
                "Method not allowed",
                Policy,
            ),
            Self::TooLarge => (
                S::PAYLOAD_TOO_LARGE,
                "request.too_large",
                "Request too large",
                Policy,
            ),
            Self::Rejected(status) => (status, "request.rejected", "Request rejected", Policy),
            Self::UnknownWorkflow => (S::NOT_FOUND, "workflow.unknown", "Unknown workflow", State),
            Self::WorkflowDisabled => {
                (S::CONFLICT, "workflow.disabled", "Workflow disabled", State)
            }
            Self::WorkflowUnreadable => (
                S::CONFLICT,
                "workflow.unreadable",
                "Workflow not readable",
                State,
            ),
            Self::TestTools => (
                S::FORBIDDEN,
                "workflow.test_tools",
                "Test tools are not allowed",
                Policy,
            ),
            Self::InvalidDefinition => (
                S::UNPROCESSABLE_ENTITY,
                "definition.invalid",
                "Definition not valid",
                Policy,
            ),
            Self::InputInvalid => (
                S::BAD_REQUEST,
                "input.invalid",
                "Input does not fit",
                Policy,
            ),
            Self::KeyInvalid => (
                S::BAD_REQUEST,
                "concurrency.key",
                "No concurrency key",
                Policy,
            ),
            Self::UnknownVersion => (S::NOT_FOUND, "version.unknown", "Unknown version", State),
            Self::UnknownSchedule => (S::NOT_FOUND, "schedule.unknown", "Unknown schedule", State),
            Self::IdempotencyConflict => (
                S::UNPROCESSABLE_ENTITY,
                "idempotency.conflict",
                "Idempotency key used for another request",
                State,
            ),
            Self::UnknownDeadLetter => (
                S::NOT_FOUND,
                "dead_letter.unknown",
                "Unknown dead letter",
                State,
            ),
            Self::DeadLetterSettled => (
                S::CONFLICT,
                "dead_letter.replayed",
                "Dead letter is settled",
                State,
            ),
            Self::NotReplayable => (
                S::CONFLICT,
                "dead_letter.not_replayable",
                "Dead letter cannot be replayed",
                State,
            ),
            Self::UnknownExecution => (
                S::NOT_FOUND,
                "execution.unknown",
                "Unknown execution",
                State,
            ),
            Self::ExecutionEnded => (S::CONFLICT, "execution.ended", "Execution has ended", State),
            Self::ExecutionUnreachable => (
                S::SERVICE_UNAVAILABLE,
                "execution.unreachable",
                "Execution cannot be looked up",
                Upstream,
            ),
            Self::Refused => (S::CONFLICT, "control.refused", "Not possible now", State),
            Self::Forbidden => (
                S::FORBIDDEN,
                "control.forbidden",
                "Not possible for this caller",
                Policy,
            ),
            Self::DatabaseNotConfigured => (
                S::SERVICE_UNAVAILABLE,
                "database.not_configured",
                "No database configured",
                Config,
            ),
            Self::StreamFull => (S::SERVICE_UNAVAILABLE, "broker.full", "No room", Upstream),
            Self::BrokerUnavailable => (
                S::SERVICE_UNAVAILABLE,
                "broker.unavailable",
                "Broker not available",
                Upstream,
            ),
            Self::DatabaseUnavailable => (
                S::SERVICE_UNAVAILABLE,
                "database.unavailable",
                "Database not available",
                Upstream,
            ),
            Self::Overloaded => (
                S::SERVICE_UNAVAILABLE,
                "gateway.overloaded",
                "Too many requests at once",
                State,
            ),
            Self::TimedOut => (
                S::SERVICE_UNAVAILABLE,
                "gateway.timeout",
                "Request took too long",
                Internal,
            ),
            Self::Internal => (
                S::INTERNAL_SERVER_ERROR,
                "gateway.internal",
                "Internal error",
                Internal,
            ),
        };
        Facts {
            status,
            code,
            title,
            blocked_by,
        }
    }
}
