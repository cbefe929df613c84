//! What the messages are made of.

use afu9_schemas::error::{ErrorClass, StepError};
use afu9_schemas::message::{
    AttemptRecord, DefinitionRecord, Job, Parent, Repository, Trigger, TriggerKind, WorkflowRef,
};
use afu9_schemas::view::{ExecutionStatus, ExecutionSummary};
use afu9_schemas::{
    DeadLetterId, DefinitionHash, ExecutionId, JobId, Lane, Partition, RequestId, Timestamp,
    WorkerId, WorkerKind, WorkflowId,
};
use serde_json::json;
use uuid::Uuid;

const fn uuid(last: u128) -> Uuid {
    Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0000 + last)
}

pub(crate) fn execution() -> ExecutionId {
    ExecutionId::from_uuid(uuid(1))
}

pub(crate) fn other_execution() -> ExecutionId {
    ExecutionId::from_uuid(uuid(3))
}

pub(crate) fn dead_letter() -> DeadLetterId {
    DeadLetterId::from_uuid(uuid(5))
}

pub(crate) fn request() -> RequestId {
    RequestId::from_uuid(uuid(4))
}

pub(crate) fn workflow() -> WorkflowRef {
    WorkflowRef {
        id: WorkflowId::from_uuid(uuid(2)),
        name: "issue_to_pr".to_owned(),
        version: 3,
        hash: DefinitionHash::of(b"golden"),
    }
}

pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_micros(1_764_000_000_000_000 + millis * 1000)
}

pub(crate) fn error() -> StepError {
    StepError {
        class: ErrorClass::RateLimited,
        code: "github.rate_limited".to_owned(),
        message: "wait".to_owned(),
        chain: vec!["403".to_owned()],
    }
}

pub(crate) fn worker() -> WorkerId {
    WorkerId::new("github-host-1").expect("valid")
}

pub(crate) fn kind() -> WorkerKind {
    WorkerKind::new("github").expect("valid")
}

pub(crate) fn attempt() -> AttemptRecord {
    AttemptRecord {
        deferrals: 0,
        attempt: 1,
        dispatched_at: at(1),
        worker: Some(worker()),
        started_at: Some(at(2)),
        ended_at: Some(at(3)),
        error: Some(error()),
    }
}

pub(crate) fn trigger() -> Trigger {
    Trigger {
        kind: TriggerKind::Webhook,
        by: "route".to_owned(),
        delivery: Some("d-1".to_owned()),
        depth: 0,
        initiator: None,
    }
}

pub(crate) fn repository() -> Repository {
    Repository {
        owner: "octo".to_owned(),
        name: "factory".to_owned(),
        default_branch: Some("main".to_owned()),
    }
}

pub(crate) fn parent() -> Parent {
    Parent {
        execution: other_execution(),
        step: 4,
        item: Some(5),
        attempt: 1,
        waits: true,
        depth: 1,
    }
}

pub(crate) fn job_id(item: Option<u32>) -> JobId {
    JobId {
        execution: execution(),
        step: 1,
        attempt: 2,
        item,
    }
}

pub(crate) fn job(item: Option<u32>) -> Job {
    Job {
        id: job_id(item),
        partition: Partition::new(3),
        step_name: "create_branch".to_owned(),
        tool: "github.createBranch".parse().expect("valid"),
        params: json!({"owner": "octo", "n": 1, "list": [true, null, 1.5]}),
        lane: Lane::Interactive,
        dispatched_at: at(1),
        deadline: Some(at(9)),
        workflow: "issue_to_pr".to_owned(),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        alone: false,
        state: None,
    }
}

pub(crate) fn definition_record() -> DefinitionRecord {
    DefinitionRecord {
        workflow: workflow(),
        definition: json!({"name": "issue_to_pr", "steps": []}),
        enabled: true,
        applied_at: at(0),
        applied_by: "ops".to_owned(),
        switched: None,
    }
}

pub(crate) fn summary() -> ExecutionSummary {
    ExecutionSummary {
        id: execution(),
        workflow_id: workflow().id,
        workflow: "issue_to_pr".to_owned(),
        version: 3,
        status: ExecutionStatus::Running,
        triggered_by: "route".to_owned(),
        started_at: at(0),
        completed_at: None,
    }
}
