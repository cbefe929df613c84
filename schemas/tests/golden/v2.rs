//! What version 2 writes: every message, with every field given.

use afu9_schemas::definition::Decision;
use afu9_schemas::error::{ErrorClass, StepError};
use afu9_schemas::message::heartbeat::{DependencyCheck, DependencyStatus};
use afu9_schemas::message::{
    Cancel, CancelNotice, ChildEnded, ChildResolved, ChildStart, Control, ControlAction,
    ControlOutcome, ControlRecord, DeadLetter, DeadLetterReason, Deferral, DefinitionRecord,
    ExecutionEnded, ExecutionStarted, Heartbeat, HistoryBatch, HistoryEvent, HistoryKind,
    HoldScope, InboxBody, InboxDelivery, Input, InputEnvelope, InputKind, Job, JobEnvelope,
    JobResult, KeptStep, ListCursor, ListFilter, OrchestratorStatus, Outcome, Query, QueryReply,
    Rerun, ScheduleRef, Start, StatusChanged, StepEnded, StepProgressed, Switched, Trigger,
    TriggerKind, WorkQuery, WorkReply,
};
use afu9_schemas::view::{
    Cause, CauseView, DecisionView, ExecutionStatus, ExecutionView, ExplainView, HoldView,
    ItemsView, PauseView, StepAction, StepRole, StepStatus, StepView,
};
use afu9_schemas::{ArtifactRef, DeliveryId, ExecutionId, InstanceId, Lane, Partition, ScheduleId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::values::{
    at, attempt, dead_letter, definition_record, error, execution, job, job_id, kind,
    other_execution, parent, repository, request, summary, trigger, worker, workflow,
};
use super::{files, written};

fn envelope(execution: ExecutionId, kinds: impl IntoIterator<Item = InputKind>) -> InputEnvelope {
    let inputs = kinds
        .into_iter()
        .map(|kind| Input { execution, kind })
        .collect();
    InputEnvelope { inputs }
}

fn start() -> Start {
    Start {
        workflow: workflow(),
        input: json!({"issue_number": 7}),
        repository: Some(repository()),
        trigger: trigger(),
        lane: Lane::Bulk,
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        key: Some("issue_to_pr:octo/factory".to_owned()),
        priority: -5,
        parent: Some(parent()),
        rerun: Some(Box::new(Rerun {
            of: other_execution(),
            kept: vec![KeptStep {
                name: "fetch_issue".to_owned(),
                output: Some(json!({"number": 7})),
            }],
            from_step: Some("create_branch".to_owned()),
            reason: Some("the branch was gone".to_owned()),
            scopes: vec!["trigger".to_owned()],
        })),
    }
}

#[test]
fn inputs() {
    let result = |outcome| {
        InputKind::JobResult(Box::new(JobResult {
            step: 1,
            item: Some(7),
            attempt: 2,
            worker: worker(),
            started_at: at(2),
            ended_at: at(3),
            outcome,
        }))
    };
    let kinds = [
        InputKind::Start(Box::new(start())),
        result(Outcome::Done(json!({"sha": "abc"}))),
        result(Outcome::Failed {
            error: error(),
            retry_after_ms: Some(1500),
        }),
        InputKind::Cancel(Cancel {
            by: "ops".to_owned(),
            reason: Some("enough".to_owned()),
        }),
        InputKind::Wake { due: at(4) },
    ];
    written("input_envelope.v2.msgpack", &envelope(execution(), kinds));
}

#[test]
fn children() {
    let resolved = |child| {
        InputKind::ChildResolved(Box::new(ChildResolved {
            step: 1,
            item: Some(7),
            attempt: 2,
            child,
        }))
    };
    let ended = |status, output, error| {
        InputKind::ChildEnded(Box::new(ChildEnded {
            step: 1,
            item: Some(7),
            attempt: 2,
            child: other_execution(),
            status,
            output,
            error,
        }))
    };
    let kinds = [
        resolved(Ok(Box::new(ChildStart {
            execution: other_execution(),
            start: start(),
        }))),
        resolved(Err(error())),
        ended(ExecutionStatus::Completed, Some(json!({"n": 1})), None),
        ended(ExecutionStatus::Failed, None, Some(error())),
    ];
    written("input_children.v2.msgpack", &envelope(execution(), kinds));
}

fn control(action: ControlAction) -> Control {
    Control {
        request: request(),
        by: "ann".to_owned(),
        scopes: vec!["operate".to_owned(), "approve".to_owned()],
        reason: Some("because".to_owned()),
        reply_to: Some("_INBOX.1".to_owned()),
        content: Some(7),
        action,
    }
}

fn actions() -> Vec<ControlAction> {
    let decide = |decision| ControlAction::Decide {
        step: "ask".to_owned(),
        decision,
    };
    vec![
        ControlAction::Cancel,
        ControlAction::Pause,
        ControlAction::Resume,
        ControlAction::Retry {
            step: Some("create_branch".to_owned()),
            params: Some(json!({"branch": "b"})),
            failed: None,
        },
        ControlAction::Retry {
            step: None,
            params: Some(json!({"branch": "b"})),
            failed: Some(job_id(Some(7))),
        },
        ControlAction::Signal {
            name: "build.done".to_owned(),
            payload: json!({"ok": true}),
        },
        decide(Decision::Approve),
        decide(Decision::Reject),
        ControlAction::Move { to: workflow() },
        ControlAction::Rerun {
            execution: other_execution(),
            from_step: Some("create_branch".to_owned()),
            version: 3,
        },
        ControlAction::Apply { to: workflow() },
        ControlAction::Replay(dead_letter()),
        ControlAction::Discard(dead_letter()),
        ControlAction::Hold(HoldScope::All),
        ControlAction::Hold(HoldScope::Workflow("issue_to_pr".to_owned())),
        ControlAction::Release(HoldScope::Kind(kind())),
        ControlAction::Disable("issue_to_pr".to_owned()),
        ControlAction::Enable("issue_to_pr".to_owned()),
        ControlAction::PauseSchedule(schedule()),
        ControlAction::ResumeSchedule(schedule()),
    ]
}

fn schedule() -> ScheduleRef {
    ScheduleRef {
        workflow: "issue_to_pr".to_owned(),
        schedule: ScheduleId::new("0123456789abcdef-0").expect("valid"),
    }
}

fn disabled() -> DefinitionRecord {
    DefinitionRecord {
        enabled: false,
        switched: Some(Switched {
            by: "ann".to_owned(),
            reason: Some("because".to_owned()),
            at: at(4),
            requests: vec![request()],
        }),
        ..definition_record()
    }
}

#[test]
fn controls() {
    let kinds = actions()
        .into_iter()
        .map(|action| InputKind::Control(Box::new(control(action))));
    written("input_controls.v2.msgpack", &envelope(execution(), kinds));
    let outcomes = vec![
        ControlOutcome::Applied,
        ControlOutcome::Unchanged,
        ControlOutcome::refused("execution.ended", "it has ended"),
    ];
    written("control_outcomes.v2.msgpack", &outcomes);
}

#[test]
fn jobs() {
    written(
        "job_envelope.v2.msgpack",
        &JobEnvelope {
            jobs: vec![job(None), job(Some(7))],
        },
    );
    written(
        "cancel_notice.v2.msgpack",
        &CancelNotice {
            execution: execution(),
            before: Some(at(5)),
        },
    );
}

fn step_ended(role: StepRole, action: StepAction, item: Option<u32>) -> HistoryKind {
    HistoryKind::StepEnded(Box::new(StepEnded {
        index: 1,
        item,
        role,
        action,
        name: "create_branch".to_owned(),
        tool: Some("github.createBranch".parse().expect("valid")),
        status: StepStatus::Compensated,
        input: Some(json!({"a": 1})),
        output: Some(json!({"n": 1})),
        error: Some(error()),
        started_at: at(1),
        attempts: vec![attempt()],
    }))
}

#[test]
fn history() {
    let controlled = HistoryKind::Controlled(Box::new(ControlRecord {
        execution: Some(execution()),
        control: Control {
            reply_to: None,
            content: None,
            ..control(ControlAction::Pause)
        },
        outcome: ControlOutcome::refused("execution.ended", "it has ended"),
    }));
    let kinds = [
        HistoryKind::ExecutionStarted(Box::new(ExecutionStarted {
            workflow: workflow(),
            input: json!({}),
            repository: Some(repository()),
            trigger: trigger(),
            traceparent: None,
            key: Some("issue_to_pr:octo/factory".to_owned()),
            parent: Some(parent()),
            rerun_of: Some(other_execution()),
            rerun_reason: Some("the branch was gone".to_owned()),
            lane: Lane::Interactive,
            priority: -5,
            status: ExecutionStatus::Pending,
        })),
        HistoryKind::StatusChanged(Box::new(StatusChanged {
            status: ExecutionStatus::Paused,
            by: Some("ann".to_owned()),
            reason: Some("because".to_owned()),
            workflow: Some(workflow()),
        })),
        step_ended(StepRole::Main, StepAction::Workflow, Some(7)),
        step_ended(StepRole::Compensation, StepAction::Tool, None),
        HistoryKind::ExecutionEnded(Box::new(ExecutionEnded {
            status: ExecutionStatus::Failed,
            output: Some(json!({})),
            error: Some(error()),
            started_at: at(0),
            steps_completed: 1,
            steps_failed: 1,
            steps_skipped: 2,
            steps_compensated: 3,
            stale_results: 1,
        })),
        controlled,
    ];
    let events = (1..)
        .zip(kinds)
        .map(|(number, kind)| HistoryEvent {
            execution: Some(execution()),
            number,
            at: at(5),
            kind,
        })
        .collect();
    written(
        "history_batch.v2.msgpack",
        &HistoryBatch {
            partition: Some(Partition::new(3)),
            events,
        },
    );
    written("definition_record.v2.msgpack", &disabled());
    let event = HistoryEvent {
        execution: None,
        number: 3,
        at: at(0),
        kind: HistoryKind::DefinitionApplied(Box::new(disabled())),
    };
    written(
        "history_definition.v2.msgpack",
        &HistoryBatch {
            partition: None,
            events: vec![event],
        },
    );
}

#[test]
fn dead_letters_and_heartbeats() {
    written(
        "dead_letter.v2.msgpack",
        &DeadLetter {
            reason: DeadLetterReason::AttemptsExhausted,
            kind: Some(kind()),
            job: Some(job(Some(7))),
            raw: Some(vec![0, 255]),
            attempts: vec![attempt()],
            error: error(),
            at: at(6),
            job_id: Some(job_id(Some(7))),
            replay_of: Some(dead_letter()),
        },
    );
    written(
        "heartbeat.v2.msgpack",
        &Heartbeat {
            worker: worker(),
            kind: kind(),
            version: "0.2.0".to_owned(),
            host: "host".to_owned(),
            at: at(7),
            started_at: at(0),
            capacity: 32,
            in_flight: 2,
            oldest_job_since: Some(at(1)),
            finished: 40,
            last_error: Some("none".to_owned()),
            draining: true,
            checks: vec![DependencyCheck {
                name: "github_api".to_owned(),
                status: DependencyStatus::Warning,
                message: Some("slow".to_owned()),
                latency_ms: Some(2400),
            }],
            tools: vec!["getIssue".to_owned()],
        },
    );
}

#[test]
fn deliveries() {
    let delivery = |body| InboxDelivery {
        id: DeliveryId::new("d-1").expect("valid"),
        source: "github".to_owned(),
        event: "issues".to_owned(),
        action: Some("labeled".to_owned()),
        headers: vec![("x-github-event".to_owned(), "issues".to_owned())],
        body,
        received_at: at(0),
        traceparent: None,
        replay_of: Some(dead_letter()),
    };
    written(
        "inbox_delivery.v2.msgpack",
        &delivery(InboxBody::Inline(b"{}".to_vec())),
    );
    let artifact = ArtifactRef {
        name: "a".to_owned(),
        bytes: 300_000,
        sha256: "00".to_owned(),
    };
    written(
        "inbox_delivery_large.v2.msgpack",
        &delivery(InboxBody::Artifact(artifact)),
    );
}

#[test]
fn queries() {
    let execution = execution();
    written("query_show.v2.msgpack", &Query::Show { execution });
    written("query_explain.v2.msgpack", &Query::Explain { execution });
    written("query_holds.v2.msgpack", &Query::Holds);
    written("query_status.v2.msgpack", &Query::Status);
    written(
        "query_list.v2.msgpack",
        &Query::List {
            limit: 50,
            filter: ListFilter {
                statuses: vec![ExecutionStatus::Running, ExecutionStatus::Paused],
                workflow: Some("issue_to_pr".to_owned()),
                key: Some("issue_to_pr:octo/factory".to_owned()),
                parent: Some(other_execution()),
                rerun_of: Some(other_execution()),
                triggered_by: Some("ann".to_owned()),
                started_after: Some(at(0)),
                before: Some(ListCursor {
                    started_at: at(1),
                    id: execution,
                }),
            },
        },
    );
    written(
        "work_query.v2.msgpack",
        &WorkQuery {
            jobs: vec![job_id(None), job_id(Some(7))],
        },
    );
}

fn pause() -> PauseView {
    PauseView {
        by: "ann".to_owned(),
        reason: Some("because".to_owned()),
        at: at(4),
    }
}

fn view() -> ExecutionView {
    ExecutionView {
        summary: summary(),
        input: json!({}),
        output: Some(json!({"n": 1})),
        error: Some(error()),
        repository: Some("octo/factory".to_owned()),
        steps: vec![StepView {
            index: 0,
            name: "fetch_issue".to_owned(),
            tool: Some("github.getIssue".parse().expect("valid")),
            status: StepStatus::Waiting,
            input: Some(json!({"n": 1})),
            output: Some(json!([])),
            error: Some(error()),
            started_at: Some(at(1)),
            completed_at: Some(at(9)),
            attempts: vec![attempt()],
            waiting_until: Some(at(8)),
            progress: None,
            item: Some(7),
            role: StepRole::OnFailure,
            action: StepAction::Approval,
            items: Some(ItemsView {
                total: 10,
                completed: 4,
                failed: 3,
                in_progress: 2,
            }),
            decisions: vec![DecisionView {
                by: "ann".to_owned(),
                decision: Decision::Reject,
                reason: Some("because".to_owned()),
                at: at(4),
            }],
            message: Some("Deploy?".to_owned()),
            child: Some(other_execution()),
        }],
        paused: Some(pause()),
        key: Some("issue_to_pr:octo/factory".to_owned()),
        parent: Some(parent()),
        rerun_of: Some(other_execution()),
        default_branch: Some("main".to_owned()),
        rerun_reason: Some("the branch was gone".to_owned()),
        lane: Lane::Interactive,
        priority: -5,
        signals: 2,
        truncated: true,
    }
}

#[test]
fn replies() {
    written(
        "query_reply.v2.msgpack",
        &QueryReply::Execution(Box::new(view())),
    );
    written("query_reply_unknown.v2.msgpack", &QueryReply::Unknown);
    written(
        "query_reply_holds.v2.msgpack",
        &QueryReply::Holds(vec![HoldView {
            scope: HoldScope::Kind(kind()),
            pause: pause(),
        }]),
    );
    written(
        "query_reply_status.v2.msgpack",
        &QueryReply::Status(OrchestratorStatus {
            instance: InstanceId::from_uuid(uuid::Uuid::from_u128(7)),
            counters: [("orphans".to_owned(), 0), ("repaired".to_owned(), 2)].into(),
            full: vec![Lane::Bulk],
        }),
    );
    written(
        "query_reply_list.v2.msgpack",
        &QueryReply::Executions {
            executions: vec![summary()],
            live: 1,
            more: true,
        },
    );
    written(
        "work_reply.v2.msgpack",
        &WorkReply {
            worker: worker(),
            running: vec![(job_id(Some(7)), at(2))],
        },
    );
}

fn causes() -> Vec<Cause> {
    let key = || "issue_to_pr:octo/factory".to_owned();
    vec![
        Cause::Running {
            job: job_id(None),
            tool: "github.getIssue".parse().expect("valid"),
            worker: Some(worker()),
            since: at(1),
        },
        Cause::Worker {
            job: Some(job_id(Some(7))),
            kind: kind(),
            lane: Lane::Interactive,
            live: Some(2),
            ahead: Some(40),
            since: at(1),
        },
        Cause::Key {
            key: key(),
            held_by: vec![other_execution()],
            ahead: 1,
        },
        Cause::RateLimit {
            key: key(),
            until: at(8),
        },
        Cause::Debounce {
            key: key(),
            until: at(8),
        },
        Cause::Timer { until: at(8) },
        Cause::Signal {
            name: "build.done".to_owned(),
            until: Some(at(8)),
        },
        Cause::Approval {
            scope: "approve".to_owned(),
            required: 2,
            approved: 1,
            until: Some(at(8)),
        },
        Cause::Child {
            execution: Some(other_execution()),
            workflow: "build".to_owned(),
        },
        Cause::Retry {
            attempt: 2,
            of: 3,
            at: at(8),
            error: error(),
        },
        Cause::Paused {
            scope: Some(HoldScope::Workflow("issue_to_pr".to_owned())),
            by: "ann".to_owned(),
            reason: Some("because".to_owned()),
            since: at(4),
        },
        Cause::DeadLettered {
            job: Some(job_id(None)),
            error: error(),
        },
    ]
}

#[test]
fn explanations() {
    let causes = causes()
        .into_iter()
        .map(|cause| CauseView {
            step: Some("create_branch".to_owned()),
            item: Some(7),
            cause,
        })
        .collect();
    let explained = ExplainView {
        summary: summary(),
        error: Some(error()),
        causes,
        more: 3,
    };
    written(
        "query_reply_explained.v2.msgpack",
        &QueryReply::Explained(Box::new(explained)),
    );
}

/// Every word that stands on the wire, so that none is renamed by accident.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Words {
    triggers: Vec<TriggerKind>,
    classes: Vec<ErrorClass>,
    executions: Vec<ExecutionStatus>,
    steps: Vec<StepStatus>,
    roles: Vec<StepRole>,
    actions: Vec<StepAction>,
    decisions: Vec<Decision>,
    reasons: Vec<DeadLetterReason>,
    checks: Vec<DependencyStatus>,
    lanes: Vec<Lane>,
}

#[test]
fn words() {
    let words = Words {
        triggers: vec![
            TriggerKind::Manual,
            TriggerKind::Webhook,
            TriggerKind::Schedule,
            TriggerKind::Child,
            TriggerKind::Workflow,
            TriggerKind::Rerun,
            TriggerKind::Mcp,
        ],
        classes: vec![
            ErrorClass::Retryable,
            ErrorClass::Permanent,
            ErrorClass::Timeout,
            ErrorClass::Cancelled,
            ErrorClass::RateLimited,
            ErrorClass::WorkerLost,
        ],
        executions: vec![
            ExecutionStatus::Pending,
            ExecutionStatus::Running,
            ExecutionStatus::Paused,
            ExecutionStatus::Completed,
            ExecutionStatus::Failed,
            ExecutionStatus::Cancelled,
        ],
        steps: vec![
            StepStatus::Pending,
            StepStatus::Running,
            StepStatus::Waiting,
            StepStatus::Completed,
            StepStatus::Failed,
            StepStatus::Skipped,
            StepStatus::Compensated,
        ],
        roles: vec![StepRole::Main, StepRole::Compensation, StepRole::OnFailure],
        actions: vec![
            StepAction::Tool,
            StepAction::Approval,
            StepAction::WaitFor,
            StepAction::Sleep,
            StepAction::Workflow,
        ],
        decisions: vec![Decision::Approve, Decision::Reject],
        reasons: vec![
            DeadLetterReason::Undecodable,
            DeadLetterReason::Permanent,
            DeadLetterReason::AttemptsExhausted,
            DeadLetterReason::DeliveriesExhausted,
            DeadLetterReason::Unroutable,
            DeadLetterReason::Unstarted,
            DeadLetterReason::Unwritable,
            DeadLetterReason::Poison,
        ],
        checks: vec![
            DependencyStatus::Ok,
            DependencyStatus::Warning,
            DependencyStatus::Error,
            DependencyStatus::NotConfigured,
        ],
        lanes: Lane::ALL.to_vec(),
    };
    written("words.v2.msgpack", &words);
}

/// What a message leaves out because it has its default is read as that.
#[test]
fn fields_with_a_default_may_be_absent() {
    #[derive(Serialize)]
    struct Bare {
        request: afu9_schemas::RequestId,
        by: String,
        action: ControlAction,
    }
    let bare = Bare {
        request: request(),
        by: "ann".to_owned(),
        action: ControlAction::Pause,
    };
    let bytes = afu9_schemas::codec::encode(&bare).expect("encodes");
    let read: Control = afu9_schemas::codec::decode(&bytes).expect("readable");
    assert_eq!(
        read,
        Control {
            request: request(),
            by: "ann".to_owned(),
            scopes: Vec::new(),
            reason: None,
            reply_to: None,
            content: None,
            action: ControlAction::Pause,
        }
    );
}

#[test]
fn a_message_of_a_later_version_is_refused() {
    let mut bytes = afu9_schemas::codec::encode(&Query::Holds)
        .expect("encodes")
        .to_vec();
    assert_eq!(bytes[0], 2);
    for future in [3, 255] {
        bytes[0] = future;
        let refused = afu9_schemas::codec::decode::<Query>(&bytes).expect_err("from the future");
        assert!(refused.is_from_the_future());
    }
}

#[test]
fn every_file_of_version_1_has_a_successor() {
    if option_env!("AFU9_GOLDEN") == Some("write") {
        return; // Other tests are still writing them.
    }
    let now = files("v2");
    for name in files("v1") {
        let successor = match name.as_str() {
            // One file for each question.
            "query.v1.msgpack" => "query_show.v2.msgpack".to_owned(),
            name => name.replace(".v1.", ".v2."),
        };
        assert!(now.contains(&successor), "{successor}");
    }
}

/// The smallest error there is, which leaves out its causes.
#[test]
fn an_error_without_causes() {
    written(
        "step_error.v2.msgpack",
        &StepError::new(ErrorClass::Permanent, "params.invalid", "no"),
    );
}

#[test]
fn a_trigger_behind_other_executions() {
    written(
        "trigger.v2.msgpack",
        &Trigger {
            kind: TriggerKind::Workflow,
            by: "build".to_owned(),
            delivery: None,
            depth: 2,
            initiator: None,
        },
    );
}

/// What an attempt brings along whose tool waits for something outside.
#[test]
fn deferrals() {
    let outcome = Outcome::Deferred(Box::new(Deferral {
        after_ms: 5000,
        state: json!({"polls": 3}),
        progress: Some("1 of 2 tasks run".to_owned()),
    }));
    let result = InputKind::JobResult(Box::new(JobResult {
        step: 1,
        item: Some(7),
        attempt: 2,
        worker: worker(),
        started_at: at(2),
        ended_at: at(3),
        outcome,
    }));
    written(
        "input_deferred.v2.msgpack",
        &envelope(execution(), [result]),
    );
    let job = Job {
        state: Some(json!({"polls": 3})),
        ..job(Some(7))
    };
    written("job_deferred.v2.msgpack", &JobEnvelope { jobs: vec![job] });
    let progressed = HistoryKind::StepProgressed(Box::new(StepProgressed {
        index: 1,
        name: "wait".to_owned(),
        item: Some(7),
        progress: "1 of 2 tasks run".to_owned(),
        next: at(9),
    }));
    let mut record = attempt();
    record.deferrals = 3;
    let event = HistoryEvent {
        execution: Some(execution()),
        number: 4,
        at: at(4),
        kind: progressed,
    };
    written(
        "history_deferred.v2.msgpack",
        &(
            record,
            HistoryBatch {
                partition: None,
                events: vec![event],
            },
        ),
    );
    let cause = Cause::Deferred {
        at: at(9),
        progress: Some("1 of 2 tasks run".to_owned()),
    };
    written("cause_deferred.v2.msgpack", &cause);
}
