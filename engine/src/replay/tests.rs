//! Records against the definitions they come from, and others.

use afu9_schemas::artifact::OmittedItems;
use afu9_schemas::definition::ReadOptions;
use afu9_schemas::error::ErrorClass;
use afu9_schemas::message::{Trigger, TriggerKind, WorkflowRef};
use afu9_schemas::{DefinitionHash, WorkflowId};
use serde_json::json;

use super::*;

fn workflow(second: &str) -> Arc<Workflow> {
    let source = format!(
        "name: w\nsteps:\n\
         \x20 - {{ name: a, tool: test.echo, params: {{ value: \"${{input.n}}\" }}, assign: a }}\n\
         {second}"
    );
    let compiled = crate::workflow::compile(&source, ReadOptions::default());
    Arc::new(compiled.expect("valid").workflow)
}

fn record() -> Record {
    Record {
        id: ExecutionId::derived("recorded"),
        started_at: Timestamp::from_micros(1_800_000_000_000_000),
        start: Start::new(
            WorkflowRef {
                id: WorkflowId::from_uuid(uuid::Uuid::from_u128(1)),
                name: "w".to_owned(),
                version: 1,
                hash: DefinitionHash::of(b"w"),
            },
            json!({ "n": 7 }),
            Trigger {
                kind: TriggerKind::Manual,
                by: "test".to_owned(),
                delivery: None,
                depth: 0,
                initiator: None,
            },
        ),
        status: ExecutionStatus::Completed,
        error: None,
        output: Some(json!({ "a": { "value": 7 } })),
        steps: ["a", "b"]
            .map(|name| RecordedStep {
                name: name.to_owned(),
                item: None,
                status: StepStatus::Completed,
                input: Some(json!({ "value": 7 })),
                output: Some(json!({ "value": 7 })),
                error: None,
            })
            .to_vec(),
    }
}

fn kinds(second: &str) -> Vec<(Option<String>, Differs)> {
    let differences = replay(&workflow(second), &record());
    differences.into_iter().map(|d| (d.step, d.what)).collect()
}

#[test]
fn the_same_definition_makes_no_difference() {
    let same = "  - { name: b, tool: test.echo, params: { value: \"${a.value}\" } }\n";
    assert_eq!(kinds(same), []);
}

#[test]
fn other_parameters_new_steps_and_gone_steps_are_told() {
    let other = "  - { name: b, tool: test.echo, params: { value: 8 } }\n";
    assert!(matches!(&kinds(other)[..], [(Some(step), Differs::Params { .. })] if step == "b"));
    let skipped = "  - { name: b, tool: test.echo, params: { value: 7 }, if: \"${false}\" }\n";
    assert!(matches!(&kinds(skipped)[..], [(Some(step), Differs::Status { .. })] if step == "b"));
    let renamed = "  - { name: c, tool: test.echo, params: { value: 7 } }\n";
    let found = kinds(renamed);
    assert!(
        found.contains(&(Some("b".to_owned()), Differs::Gone)),
        "{found:?}"
    );
    assert!(
        found.contains(&(Some("c".to_owned()), Differs::New)),
        "{found:?}"
    );
}

/// What is known of an execution of `source` that ran steps to these ends.
fn ended(status: ExecutionStatus, steps: &[(&str, Option<u32>, Result<Value, &str>)]) -> Record {
    let failed = |code: &&str| StepError::new(ErrorClass::Timeout, *code, "then");
    let steps = steps.iter().map(|(name, item, end)| RecordedStep {
        name: (*name).to_owned(),
        item: *item,
        status: match end {
            Ok(_) => StepStatus::Completed,
            Err(_) => StepStatus::Failed,
        },
        input: None,
        output: end.as_ref().ok().cloned(),
        error: end.as_ref().err().map(failed),
    });
    Record {
        status,
        output: None,
        steps: steps.collect(),
        ..record()
    }
}

fn compiled(source: &str) -> Arc<Workflow> {
    let compiled = crate::workflow::compile(source, ReadOptions::default());
    Arc::new(compiled.expect("valid").workflow)
}

fn timed_out(mut record: Record) -> Record {
    let error = StepError::new(ErrorClass::Timeout, "execution.timeout", "then");
    record.error = Some(error);
    record
}

#[test]
fn the_time_that_passed_then_passes_again() {
    use ExecutionStatus::{Completed, Failed};
    let out_of_time = Err("execution.timeout");
    let waits = "name: w\nconfig: { timeoutMs: 5000 }\nsteps:\n\
                 \x20 - { name: a, waitFor: go }\n  - { name: b, tool: test.noop }\n";
    let mut record = timed_out(ended(Failed, &[("a", None, out_of_time.clone())]));
    record.steps.push(RecordedStep {
        name: "b".to_owned(),
        status: StepStatus::Skipped,
        ..record.steps[0].clone()
    });
    assert_eq!(replay(&compiled(waits), &record), []);
    for does in [
        "tool: test.noop",
        "sleep: 1h",
        "approval: {}",
        "workflow: other",
        "tool: test.noop, forEach: [1, 2], maxParallel: 1",
    ] {
        let record = timed_out(ended(
            Failed,
            &[
                ("a", None, out_of_time.clone()),
                ("a", Some(0), out_of_time.clone()),
            ],
        ));
        let source = waits
            .replace("waitFor: go", does)
            .replace("- { name: b, tool: test.noop }", "");
        assert_eq!(replay(&compiled(&source), &record), [], "{does}");
    }
    // Also where the failed step alone would not have been the end of it.
    let record = timed_out(ended(Failed, &[("a", None, out_of_time)]));
    let source =
        "name: w\nsteps: [{ name: a, tool: test.noop }]\nconfig: { continueOnError: true }\n";
    assert_eq!(replay(&compiled(source), &record), []);

    let signal = "name: w\nsteps:\n\
                  \x20 - { name: a, waitFor: { signal: go, onTimeout: continue }, timeoutMs: 1000 }\n";
    assert_eq!(
        replay(
            &compiled(signal),
            &ended(Completed, &[("a", None, Ok(Value::Null))])
        ),
        []
    );
    let strict = signal.replace(", onTimeout: continue", "");
    let record = ended(Failed, &[("a", None, Err("signal.timeout"))]);
    assert_eq!(replay(&compiled(&strict), &record), []);
    let ask =
        "name: w\nsteps:\n  - { name: a, approval: { onExpiry: approve }, timeoutMs: 1000 }\n";
    let expired = json!({ "approved": true, "expired": true, "decisions": [] });
    assert_eq!(
        replay(
            &compiled(ask),
            &ended(Completed, &[("a", None, Ok(expired))])
        ),
        []
    );
    let reject = ask.replace("onExpiry: approve", "");
    let record = ended(Failed, &[("a", None, Err("approval.expired"))]);
    assert_eq!(replay(&compiled(&reject), &record), []);
}

#[test]
fn a_signal_that_does_not_fit_any_more_leaves_the_step_waiting() {
    let source = "name: w\nsteps:\n\
                  \x20 - { name: a, waitFor: { signal: go, filter: \"${signal.ok}\" } }\n";
    let record = ended(
        ExecutionStatus::Completed,
        &[("a", None, Ok(json!({ "ok": false })))],
    );
    let differences = replay(&compiled(source), &record);
    assert!(
        matches!(
            &differences[..],
            [Difference {
                step: None,
                what: Differs::Status { .. }
            }]
        ),
        "{differences:?}"
    );
}

#[test]
fn an_error_is_the_one_that_it_was() {
    let source = "name: w\nsteps:\n\
                  \x20 - { name: a, tool: test.noop, continueOnError: true }\n\
                  \x20 - { name: b, tool: test.echo, params: { value: \"${steps.a.error.class}\" } }\n";
    let mut record = ended(
        ExecutionStatus::Completed,
        &[
            ("a", None, Err("step.timeout")),
            ("b", None, Ok(json!({ "value": "timeout" }))),
        ],
    );
    record.steps[1].input = Some(json!({ "value": "timeout" }));
    assert_eq!(replay(&compiled(source), &record), []);
}

#[test]
fn items_that_never_began_are_no_difference_and_a_lost_list_is() {
    let source = "name: w\nsteps:\n\
                  \x20 - { name: a, tool: test.noop, forEach: [1, 2, 3, 4], maxParallel: 2 }\n";
    let record = ended(
        ExecutionStatus::Failed,
        &[
            ("a", None, Err("forEach.items_failed")),
            ("a", Some(0), Ok(json!({}))),
            ("a", Some(1), Ok(json!({}))),
            ("a", Some(2), Err("test.fail")),
        ],
    );
    assert_eq!(replay(&compiled(source), &record), []);
    let list = OmittedItems {
        count: 9,
        bytes: 900_000,
    }
    .to_value();
    let record = ended(ExecutionStatus::Completed, &[("a", None, Ok(list))]);
    let source = "name: w\nsteps: [{ name: a, tool: test.noop }]\n";
    let differences = replay(&compiled(source), &record);
    assert!(
        differences.iter().any(|found| found.what == Differs::New),
        "{differences:?}"
    );
}

#[test]
fn steps_that_were_taken_over_are_taken_over_again() {
    use afu9_schemas::message::{KeptStep, Rerun};
    let source = "name: w\nsteps:\n\
                  \x20 - { name: a, tool: test.noop, compensate: { tool: test.noop } }\n\
                  \x20 - { name: b, tool: test.noop, retry: { maxAttempts: 1 } }\n";
    let mut record = ended(
        ExecutionStatus::Failed,
        &[("a", None, Ok(json!({}))), ("b", None, Err("test.fail"))],
    );
    record.start.rerun = Some(Box::new(Rerun {
        of: ExecutionId::derived("earlier"),
        kept: vec![KeptStep {
            name: "a".to_owned(),
            output: Some(json!({})),
        }],
        from_step: None,
        reason: None,
        scopes: Vec::new(),
    }));
    assert_eq!(replay(&compiled(source), &record), []);
}
