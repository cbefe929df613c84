//! Control: what people and programs want changed about executions. Each is an input like any other,
//! so that it is durable before it is answered, and takes effect once though it is sent again.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::artifact::json_size;
use crate::definition::Decision;
use crate::id::{DeadLetterId, ExecutionId, JobId, RequestId, ScheduleId, WorkerKind};
use crate::message::definition::WorkflowRef;
use crate::time::Timestamp;

/// The largest payload or set of parameters kept, in bytes of JSON: enough to see what somebody sent,
/// and small enough that a page of the log is. Of a larger one only the size is kept.
pub const MAX_RECORDED_PAYLOAD: usize = 16 * 1024;

/// A wish to change something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Control {
    /// Identifies the wish: the same one twice is carried out once.
    pub request: RequestId,
    /// Who wishes it.
    pub by: String,
    /// What their token may do.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// The subject on which somebody waits to hear what came of it.
    #[serde(default)]
    pub reply_to: Option<String>,
    /// Tells what was sent with the request's key: the same request with another content is a mistake
    /// of whoever sent it. None where no key was sent.
    #[serde(default)]
    pub content: Option<u64>,
    /// What is to be changed.
    pub action: ControlAction,
}

/// What is to be changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlAction {
    /// End the execution.
    Cancel,
    /// Begin nothing new in the execution.
    Pause,
    /// Go on.
    Resume,
    /// Run the failed steps of a failed execution again.
    Retry {
        /// Only this step; otherwise every failed one.
        #[serde(default)]
        step: Option<String>,
        /// Parameters in place of those the step had.
        #[serde(default)]
        params: Option<Value>,
        /// Only if this is still the last attempt at what it was for, and the parameters are for that
        /// step or item: so the replay of a dead letter takes effect once, whoever else retries.
        #[serde(default)]
        failed: Option<JobId>,
    },
    /// Tell the execution something it may wait for.
    Signal {
        /// The signal's name.
        name: String,
        /// What is told.
        #[serde(default)]
        payload: Value,
    },
    /// Decide an approval.
    Decide {
        /// The step.
        step: String,
        /// What is decided.
        decision: Decision,
    },
    /// Go on with another version of the workflow.
    Move {
        /// That version.
        to: WorkflowRef,
    },
    /// Begin nothing new, in every execution of a scope.
    Hold(HoldScope),
    /// Go on with a scope.
    Release(HoldScope),
    /// Let nothing start a workflow; carried out where definitions are kept.
    Disable(String),
    /// Let a workflow be started again.
    Enable(String),
    /// Let a schedule start nothing; carried out where schedules are kept.
    PauseSchedule(ScheduleRef),
    /// Go on with a schedule.
    ResumeSchedule(ScheduleRef),
    /// Start the execution again as a new one. No input: it is a [`Start`](crate::message::Start), which
    /// puts this on record.
    Rerun {
        /// The new execution.
        execution: ExecutionId,
        /// The step it begins at; none where it is repeated whole.
        #[serde(default)]
        from_step: Option<String>,
        /// The version it runs.
        version: u32,
    },
    /// Have the delivery of a dead letter routed again, or start what a trigger could not start. No
    /// input: the gateway puts it on record when that is done. (A dead letter of a step is replayed by a
    /// retry.)
    Replay(DeadLetterId),
    /// Set a dead letter aside for good. No input: the gateway puts it on record when it is done.
    Discard(DeadLetterId),
    /// Store a version of a workflow. No input: the gateway puts it on record when it has stored it.
    Apply {
        /// The version.
        to: WorkflowRef,
    },
}

impl ControlAction {
    /// Its name in the API and in the audit log.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Retry { .. } => "retry",
            Self::Signal { .. } => "signal",
            Self::Decide {
                decision: Decision::Approve,
                ..
            } => "approve",
            Self::Decide {
                decision: Decision::Reject,
                ..
            } => "reject",
            Self::Move { .. } => "move",
            Self::Hold(_) => "hold",
            Self::Release(_) => "release",
            Self::Disable(_) => "disable",
            Self::Enable(_) => "enable",
            Self::PauseSchedule(_) => "pause_schedule",
            Self::ResumeSchedule(_) => "resume_schedule",
            Self::Rerun { .. } => "rerun",
            Self::Replay(_) => "replay",
            Self::Discard(_) => "discard",
            Self::Apply { .. } => "apply",
        }
    }

    /// What it says beyond its name, as the audit log keeps it.
    pub fn details(&self) -> Option<Value> {
        match self {
            Self::Cancel | Self::Pause | Self::Resume => None,
            Self::Retry {
                step,
                params,
                failed,
            } => {
                let mut details = json!({
                    "step": step,
                    "params": params.as_ref().map(bounded),
                });
                if let Some(failed) = failed {
                    details["failed"] = json!(failed.to_string());
                }
                Some(details)
            }
            Self::Signal { name, payload } => Some(json!({
                "name": name,
                "payload": bounded(payload),
            })),
            Self::Decide { step, decision } => Some(json!({
                "step": step,
                "decision": decision,
            })),
            Self::Move { to } => Some(json!({ "to": to })),
            Self::Disable(workflow) | Self::Enable(workflow) => {
                Some(json!({ "workflow": workflow }))
            }
            Self::PauseSchedule(schedule) | Self::ResumeSchedule(schedule) => Some(json!(schedule)),
            Self::Rerun {
                execution,
                from_step,
                version,
            } => Some(json!({
                "executionId": execution,
                "fromStep": from_step,
                "version": version,
            })),
            Self::Replay(letter) | Self::Discard(letter) => Some(json!({ "deadLetter": letter })),
            Self::Apply { to } => Some(json!({ "to": to })),
            Self::Hold(scope) | Self::Release(scope) => Some(json!({ "scope": scope })),
        }
    }
}

/// `value`, or its size where it is too large.
fn bounded(value: &Value) -> Value {
    let bytes = json_size(value);
    if bytes <= MAX_RECORDED_PAYLOAD {
        value.clone()
    } else {
        json!({ "$omitted": { "bytes": bytes } })
    }
}

/// What is held.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldScope {
    /// Everything.
    All,
    /// Executions of a workflow.
    Workflow(String),
    /// Jobs of a worker kind.
    Kind(WorkerKind),
}

/// One schedule of a workflow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ScheduleRef {
    /// The workflow.
    pub workflow: String,
    /// Which of its schedules.
    pub schedule: ScheduleId,
}

/// Who last turned something off or on that stays so until somebody turns it back: a workflow, a
/// schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switched {
    /// Who.
    pub by: String,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
    /// The last wishes that turned it: repeated, they change nothing.
    #[serde(default)]
    pub requests: Vec<RequestId>,
}

impl Switched {
    /// How many wishes are remembered: a wish is repeated within minutes, and few come meanwhile.
    pub const MAX_REQUESTS: usize = 32;

    /// What `control` leaves behind, after `before`.
    pub fn by(control: &Control, at: Timestamp, before: Option<&Self>) -> Self {
        let known = before.map_or(&[][..], |before| &before.requests);
        let kept = known.len().saturating_sub(Self::MAX_REQUESTS - 1);
        let requests = known[kept..].iter().copied().chain([control.request]);
        Self {
            by: control.by.clone(),
            reason: control.reason.clone(),
            at,
            requests: requests.collect(),
        }
    }

    /// Whether this wish turned it before.
    pub fn knows(&self, request: RequestId) -> bool {
        self.requests.contains(&request)
    }
}

/// What came of a wish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlOutcome {
    /// It took effect.
    Applied,
    /// It was so already.
    Unchanged,
    /// It is not possible.
    Refused {
        /// A stable code.
        code: String,
        /// Why, and what would be possible.
        message: String,
    },
}

impl ControlOutcome {
    /// Its name in the API and in Postgres.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Refused { .. } => "refused",
        }
    }

    /// A refusal.
    pub fn refused(code: &str, message: impl Into<String>) -> Self {
        Self::Refused {
            code: code.to_owned(),
            message: message.into(),
        }
    }
}

/// A wish and what came of it: a line of the audit log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ControlRecord {
    /// The execution it was about; none where it was about a scope, a workflow or a schedule.
    #[serde(default)]
    pub execution: Option<ExecutionId>,
    /// The wish, without the subject of its reply.
    pub control: Control,
    /// What came of it.
    pub outcome: ControlOutcome,
}
