//! What the predecessor's engine promised and did not do, each from a definition to its end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use afu9_engine::submit::Roots;
use afu9_schemas::definition::ReadOptions;
use afu9_schemas::message::{ControlAction, ControlOutcome, InputKind, Outcome, Repository};
use afu9_schemas::view::{Cause, ExecutionStatus, StepStatus};
use afu9_schemas::{ErrorClass, ExecutionId};
use serde_json::{Value, json};

use crate::inputs::failure;
use crate::rig::{Rig, value};

fn mistakes(source: &str) -> Vec<String> {
    let mistakes = afu9_engine::workflow::compile(source, ReadOptions::default());
    let mistakes = mistakes.expect_err("it has mistakes");
    mistakes
        .into_iter()
        .map(|mistake| mistake.message)
        .collect()
}

/// Outputs given a name by `assign` could only be found under another root than the documented one, so
/// that every built-in workflow passed its placeholders on as they were written.
#[test]
fn an_assigned_output_is_found_by_its_name() {
    let mut rig = Rig::new(&["
name: branch
steps:
  - { name: fetch, tool: test.noop, assign: issue }
  - { name: branch, tool: test.echo, params: { value: \"fix/${issue.number}\" } }
"]);
    rig.start("branch", json!({}));
    rig.done(json!({ "number": 17 }));
    assert_eq!(rig.job().params, value("fix/17"));
}

/// A placeholder for something that was not there stayed in the parameters and reached the tool.
#[test]
fn what_is_not_there_fails_the_step_and_reaches_no_tool() {
    let mut rig = Rig::new(&["
name: absent
steps:
  - { name: a, tool: test.echo, params: { value: \"to ${input.user.login}\" } }
"]);
    let id = rig.start("absent", json!({ "user": {} }));
    assert_eq!(rig.status(id), ExecutionStatus::Failed);
    assert!(rig.dispatched().is_empty());
    let error = rig.view(id).error.expect("a reason");
    assert_eq!(error.code, "expression.unresolved");
    assert!(
        error.message.contains("input.user.login"),
        "{}",
        error.message
    );
}

/// Numbers became texts, and objects `[object Object]`.
#[test]
fn values_keep_their_types_on_the_way_from_step_to_step() {
    let mut rig = Rig::new(&["
name: types
steps:
  - { name: a, tool: test.noop, assign: a }
  - { name: b, tool: test.echo, params: { value: { n: \"${a.n}\", o: \"${a.o}\", l: \"${a.l}\",
        t: \"${a.o} and ${a.n}\" } } }
"]);
    rig.start("types", json!({}));
    rig.done(json!({ "n": 7, "o": { "x": [1.5, null] }, "l": [true] }));
    assert_eq!(
        rig.job().params["value"],
        json!({ "n": 7, "o": { "x": [1.5, null] }, "l": [true], "t": "{\"x\":[1.5,null]} and 7" })
    );
}

/// Conditions were pasted together from texts of strangers and run as a program: the title of an issue
/// could do what it wished.
#[test]
fn the_title_of_an_issue_is_never_evaluated() {
    let titles = [
        "process.exit(1)",
        "\" == \"\" || true || \"",
        "' + input.secret + '",
        "${input.secret}",
        "$${input.secret}",
        "true) || (true",
        "}${input.secret}${",
    ];
    for title in titles {
        let mut rig = Rig::new(&["
name: triage
steps:
  - { name: fetch, tool: test.noop, assign: issue }
  - { name: urgent, tool: test.noop, if: \"${issue.title == 'urgent'}\" }
  - { name: quote, tool: test.echo, params: { value: \"about ${issue.title}\" } }
  - { name: pass, tool: test.echo, params: { value: \"${steps.quote.output.value}\" } }
"]);
        let id = rig.start("triage", json!({ "secret": "s3cret" }));
        rig.done(json!({ "title": title }));
        assert_eq!(rig.view(id).steps[1].status, StepStatus::Skipped, "{title}");
        let quoted = value(format!("about {title}"));
        assert_eq!(rig.job().params, quoted);
        // Through a tool and back, it is still nothing but a text.
        rig.done(quoted.clone());
        assert_eq!(rig.job().params, quoted);
        rig.done(json!({}));
        assert_eq!(rig.status(id), ExecutionStatus::Completed);
    }
}

/// A step's `retry` was read by nobody.
#[test]
fn the_retry_of_a_step_is_its_own() {
    for attempts in [1, 2, 5] {
        let mut rig = Rig::new(&[&format!(
            "{{ name: own, config: {{ maxRetries: 7 }}, steps: [{{ name: a, tool: test.noop,
               retry: {{ maxAttempts: {attempts} }} }}] }}"
        )]);
        assert_eq!(attempts_until_failure(&mut rig, "own"), attempts);
    }
}

/// `config.maxRetries` was a default nobody asked for.
#[test]
fn the_default_of_the_definition_counts_where_a_step_says_nothing() {
    let mut rig = Rig::new(&[
        "{ name: default, config: { maxRetries: 4 }, steps: [{ name: a, tool: test.noop }] }",
    ]);
    assert_eq!(attempts_until_failure(&mut rig, "default"), 5);
}

/// Each of the engine's attempts was three of the client's, without a pause between them. Attempts are
/// counted in one place, and the delays grow.
#[test]
fn attempts_are_not_multiplied_and_keep_growing_distances() {
    let mut rig = Rig::new(&["
name: patient
steps:
  - { name: a, tool: test.noop, retry: { maxAttempts: 6, backoff: exponential, initialDelayMs: 1000,
        maxDelayMs: 8000 } }
"]);
    let ids: Vec<ExecutionId> = (0..40).map(|_| rig.start("patient", json!({}))).collect();
    let mut longest = Vec::new();
    for _ in 1..6 {
        for job in rig.jobs() {
            rig.answer(&job, failure(ErrorClass::Retryable));
        }
        let delays = ids.iter().map(|id| {
            let causes = rig.state.explain(*id).expect("live").causes;
            match &causes[0].cause {
                Cause::Retry { at, .. } => at.since(rig.now),
                other => panic!("it waits for {other:?}"),
            }
        });
        longest.push(delays.max().expect("forty"));
        while rig.jobs().len() < ids.len() {
            rig.wake();
        }
    }
    for (limit, longest) in [1, 2, 4, 8, 8].into_iter().zip(longest) {
        let limit = Duration::from_secs(limit);
        assert!(
            longest <= limit && longest > limit / 2,
            "{longest:?} of {limit:?}"
        );
    }
    for job in rig.jobs() {
        rig.answer(&job, failure(ErrorClass::Retryable));
    }
    for id in ids {
        assert_eq!(rig.status(id), ExecutionStatus::Failed);
        let of_it = rig
            .dispatched()
            .iter()
            .filter(|job| job.id.execution == id)
            .count();
        assert_eq!(of_it, 6);
    }
}

/// Tools that change something were called again without a sign that it is the same call.
#[test]
fn every_attempt_at_a_step_has_one_idempotency_key_and_every_step_its_own() {
    let mut rig = Rig::new(&["
name: keyed
steps:
  - { name: a, tool: test.noop, retry: { maxAttempts: 3, initialDelayMs: 100 } }
  - { name: b, forEach: [1, 2], tool: test.noop }
"]);
    rig.start("keyed", json!({}));
    for _ in 0..2 {
        rig.answer(&rig.job(), failure(ErrorClass::Retryable));
        rig.wake();
    }
    rig.work();
    let keys: Vec<String> = rig
        .dispatched()
        .iter()
        .map(|job| job.id.idempotency_key())
        .collect();
    assert_eq!(keys.len(), 5);
    assert!(keys[0] == keys[1] && keys[1] == keys[2]);
    let different: BTreeSet<&String> = keys.iter().collect();
    assert_eq!(different.len(), 3, "{keys:?}");
}

/// `timeoutMs` of a step ended nothing, and the client's own timeouts were not retried because of how
/// their message was spelt.
#[test]
fn an_attempt_ends_at_its_time_and_is_made_again() {
    let mut rig = Rig::new(&["
name: timed
steps:
  - { name: a, tool: test.noop, timeoutMs: 1000, retry: { maxAttempts: 2, initialDelayMs: 100 } }
"]);
    let id = rig.start("timed", json!({}));
    let late = rig.job();
    assert_eq!(
        late.deadline,
        Some(late.dispatched_at.plus(Duration::from_secs(1)))
    );
    rig.wake();
    rig.wake();
    assert_eq!(rig.job().id.attempt, 2);
    rig.answer(&late, Outcome::Done(json!({})));
    assert_eq!(rig.state.counters().stale_results, 1);
    assert_eq!(
        rig.status(id),
        ExecutionStatus::Running,
        "the late answer counts for nothing"
    );
    rig.wake();
    assert_eq!(rig.status(id), ExecutionStatus::Failed);
    assert_eq!(rig.view(id).error.expect("a reason").code, "step.timeout");
}

/// `config.timeoutMs` ended nothing either.
#[test]
fn an_execution_ends_at_its_time_whatever_its_steps_do() {
    let mut rig = Rig::new(&["
name: endless
config: { timeoutMs: 5000, continueOnError: true }
steps:
  - { name: a, tool: test.noop }
  - { name: b, tool: test.noop }
"]);
    let id = rig.start("endless", json!({}));
    let job = rig.job();
    rig.wake();
    assert_eq!(rig.status(id), ExecutionStatus::Failed);
    assert_eq!(
        rig.view(id).error.expect("a reason").code,
        "execution.timeout"
    );
    rig.answer(&job, Outcome::Done(json!({})));
    let statuses: Vec<StepStatus> = rig.view(id).steps.iter().map(|step| step.status).collect();
    assert_eq!(statuses, [StepStatus::Failed, StepStatus::Skipped]);
}

/// Resuming wrote `running` into the database, and nothing ran.
#[test]
fn a_resumed_execution_runs_to_its_end_even_if_its_owner_died_meanwhile() {
    for crash in [false, true] {
        let mut rig = Rig::new(&["
name: paused
steps:
  - { name: a, tool: test.noop }
  - { name: b, tool: test.noop }
  - { name: c, tool: test.noop }
"]);
        let id = rig.start("paused", json!({}));
        assert_eq!(
            rig.control(id, ControlAction::Pause),
            ControlOutcome::Applied
        );
        rig.done(json!({}));
        assert!(rig.jobs().is_empty(), "nothing new begins");
        assert_eq!(rig.state.next_wake(), None, "a pause never times out");
        if crash {
            rig.crash();
        }
        assert_eq!(
            rig.control(id, ControlAction::Resume),
            ControlOutcome::Applied
        );
        assert_eq!(rig.job().step_name, "b");
        rig.work();
        assert_eq!(rig.status(id), ExecutionStatus::Completed);
    }
}

/// An engine in a process's memory: whatever it was doing when the process ended, nobody went on.
#[test]
fn an_execution_goes_on_where_it_was_when_its_owner_died_after_any_input() {
    let source = "
name: long
steps:
  - { name: a, tool: test.noop, retry: { initialDelayMs: 100 } }
  - { name: b, forEach: [1, 2, 3], maxParallel: 2, tool: test.echo, params: { value: \"${item}\" } }
  - { name: c, sleep: { for: 1h } }
  - { name: d, tool: test.echo, params: { value: \"${steps.b.output}\" } }
";
    let run = |crash_after: usize| {
        let mut rig = Rig::new(&[source]);
        let id = rig.start("long", json!({}));
        let mut failed = false;
        let mut crashed = false;
        while rig.state.live() > 0 {
            if rig.log.len() == crash_after && !crashed {
                rig.crash();
                crashed = true;
            }
            match rig.jobs().first().cloned() {
                Some(job) if job.step_name == "a" && !failed => {
                    failed = true;
                    rig.answer(&job, failure(ErrorClass::Retryable));
                }
                Some(job) => {
                    let output = job.params.clone();
                    rig.answer(&job, Outcome::Done(output));
                }
                None => {
                    rig.wake();
                }
            }
        }
        let ends: Vec<(String, StepStatus, Option<Value>)> = rig
            .ends(id)
            .iter()
            .filter(|end| end.name != "c")
            .map(|end| (end.name.clone(), end.status, end.output.clone()))
            .collect();
        (rig.log.len(), ends)
    };
    let (inputs, undisturbed) = run(usize::MAX);
    for crash_after in 1..inputs {
        assert_eq!(run(crash_after).1, undisturbed, "after input {crash_after}");
    }
}

/// Names with more than one dot (`logs.search`) were cut at the second, and reached no tool.
#[test]
fn a_tool_is_looked_up_by_all_of_its_name() {
    let said = mistakes("{ name: dots, steps: [{ name: a, tool: test.echo.twice }] }");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("test.echo.twice"), "{said:?}");
}

/// Most tools that the built-in workflows called did not exist, which showed when they ran.
#[test]
fn a_tool_that_does_not_exist_is_a_mistake_of_the_definition() {
    let said = mistakes("{ name: absent, steps: [{ name: a, tool: github.getIsue }] }");
    assert!(
        said[0].contains("github.getIssue"),
        "what is near it: {said:?}"
    );
}

/// With `continueOnError` an execution was `completed` and nothing told that steps of it had failed.
#[test]
fn tolerated_failures_are_counted() {
    let mut rig = Rig::new(&["
name: tolerant
config: { continueOnError: true }
steps:
  - { name: a, tool: test.noop, retry: { maxAttempts: 1 } }
  - { name: b, tool: test.noop }
  - { name: c, tool: test.noop, if: \"${steps.a.status == 'failed'}\" }
  - { name: d, tool: test.noop, if: \"${steps.b.status == 'failed'}\" }
"]);
    let id = rig.start("tolerant", json!({}));
    rig.answer(&rig.job(), failure(ErrorClass::Permanent));
    rig.work();
    let end = rig.end(id).expect("ended");
    assert_eq!(end.status, ExecutionStatus::Completed);
    let counted = (end.steps_completed, end.steps_failed, end.steps_skipped);
    assert_eq!(counted, (2, 1, 1));
}

/// The key of the issue's lock contained who asked: two people ran the same issue at once.
#[test]
fn who_starts_an_execution_is_no_part_of_its_key() {
    let mut rig = Rig::new(&["
name: issue
concurrency: { key: \"${input.issue}\", limit: 1, onConflict: queue }
steps: [{ name: a, tool: test.noop }]
"]);
    let mut ids = Vec::new();
    for (number, by) in ["anna", "bert"].into_iter().enumerate() {
        let mut kind = rig.submission("issue", json!({ "issue": 5 }));
        if let InputKind::Start(start) = &mut kind {
            start.trigger.by = by.to_owned();
        }
        let id = crate::inputs::drawn(100 + number as u64);
        rig.send(id, kind);
        ids.push(id);
    }
    assert_eq!(rig.status(ids[0]), ExecutionStatus::Running);
    assert_eq!(rig.status(ids[1]), ExecutionStatus::Pending);
}

/// The second wish to go on within an hour got the answer to the first, and nothing went on.
#[test]
fn each_wish_is_carried_out_once_and_the_next_one_too() {
    let mut rig = Rig::new(&["
name: asked
steps:
  - { name: first, approval: {} }
  - { name: second, approval: {} }
"]);
    let id = rig.start("asked", json!({}));
    for step in ["first", "second"] {
        let decide = ControlAction::Decide {
            step: step.to_owned(),
            decision: afu9_schemas::definition::Decision::Approve,
        };
        assert_eq!(rig.control(id, decide), ControlOutcome::Applied);
    }
    assert_eq!(rig.status(id), ExecutionStatus::Completed);
}

/// A definition as the predecessor stored them: only the steps, assigned values under `variables`, the
/// old name of `if`, comparisons around placeholders, a number of retries without bound.
const SEED_SHAPED: &str = r#"{
  "steps": [
    { "name": "fetch_issue", "tool": "github.getIssue", "assign": "issue", "condition": "true",
      "params": { "owner": "${repo.owner}", "repo": "${repo.name}", "number": "${input.issue_number}" } },
    { "name": "create_branch", "tool": "github.createBranch", "assign": "branch",
      "condition": "${variables.issue.state} === 'open'",
      "params": { "owner": "${repo.owner}", "repo": "${repo.name}",
                  "branch": "fix/${variables.issue.number}", "from": "${repo.default_branch}" } },
    { "name": "create_pull_request", "tool": "github.createPullRequest", "assign": "pull_request",
      "if": "${variables.branch.branch}",
      "retry": { "maxAttempts": 3, "backoff": "exponential", "initialDelayMs": 1000 },
      "params": { "owner": "${repo.owner}", "repo": "${repo.name}",
                  "title": "Fix #${issue.number}: ${issue.title}", "head": "${branch.branch}",
                  "base": "${repo.default_branch}", "body": "Closes #${issue.number}" } },
    { "name": "comment", "tool": "github.addIssueComment",
      "condition": "${variables.pull_request.number} > ${variables.issue.number}",
      "params": { "owner": "${repo.owner}", "repo": "${repo.name}", "number": "${issue.number}",
                  "body": "See ${pull_request.html_url}" } },
    { "name": "never", "tool": "github.addIssueComment", "condition": "${variables.issue.assignee} !== 'ann'",
      "params": { "owner": "o", "repo": "r", "number": 1, "body": "b" } }
  ],
  "config": { "continueOnError": false, "timeoutMs": 300000, "maxRetries": 10, "debugMode": false }
}"#;

/// What ran there runs here unchanged.
#[test]
fn a_definition_of_the_predecessor_runs_to_its_end() {
    for (state, ran) in [("open", true), ("closed", false)] {
        let named = SEED_SHAPED.replacen('{', "{ \"name\": \"issue_to_pr\",", 1);
        let options = ReadOptions {
            name: Some("issue_to_pr"),
        };
        afu9_engine::workflow::compile(SEED_SHAPED, options).expect("its name was a column");
        let mut rig = Rig::new(&[&named]);
        let mut kind = rig.submission("issue_to_pr", json!({ "issue_number": 7 }));
        if let InputKind::Start(start) = &mut kind {
            start.repository = Some(Repository {
                owner: "octo".to_owned(),
                name: "factory".to_owned(),
                default_branch: None,
            });
        }
        let id = crate::inputs::drawn(1);
        rig.send(id, kind);
        assert_eq!(
            rig.job().params,
            json!({ "owner": "octo", "repo": "factory", "number": 7 })
        );
        let title = "${input.secret} === true";
        rig.done(json!({ "number": 7, "title": title, "state": state }));
        if ran {
            assert_eq!(
                rig.job().params,
                json!({ "owner": "octo", "repo": "factory", "branch": "fix/7", "from": "main" })
            );
            rig.done(json!({ "branch": "fix/7" }));
            assert_eq!(rig.job().params["title"], json!(format!("Fix #7: {title}")));
            rig.done(json!({ "number": 8, "html_url": "https://github.com/octo/factory/pull/8" }));
            assert_eq!(rig.job().tool.to_string(), "github.addIssueComment");
            rig.done(json!({}));
        }
        assert_eq!(rig.status(id), ExecutionStatus::Completed);
        let end = rig.end(id).expect("ended");
        let counted = (end.steps_completed, end.steps_skipped);
        assert_eq!(counted, if ran { (4, 1) } else { (1, 4) }, "{state}");
    }
}

/// Texts from outside, as far as they can come.
const TITLES: [&str; 4] = [
    "${input.secret}",
    "\"; process.exit(1); \"",
    "' + input.secret + '",
    "}${input.secret}${",
];

#[test]
fn a_title_is_data_wherever_a_definition_puts_it() {
    for title in TITLES {
        let mut rig = Rig::new(&["
name: everywhere
concurrency: { key: \"about ${input.title}\" }
steps:
  - { name: each, forEach: \"${[input.title, [input.title]]}\", tool: test.echo, params: { value: \"${item}\" },
      compensate: { tool: test.echo, params: { value: \"undo ${input.title}, ${failure.message}\" } } }
  - { name: ask, approval: { message: \"Ship ${input.title}?\" } }
  - { name: broken, tool: test.noop, retry: { maxAttempts: 1 } }
onFailure:
  - { name: tell, tool: test.echo, params: { value: \"${input.title}: ${failure.message}\" } }
output: \"${input.title}\"
"]);
        let input = json!({ "secret": "s3cret", "title": title });
        let workflow = Arc::clone(rig.workflow("everywhere"));
        assert_eq!(
            workflow.key(&input, None),
            Ok(Some(format!("everywhere:about {title}")))
        );
        let id = rig.start("everywhere", input);
        let items: Vec<Value> = rig.jobs().iter().map(|job| job.params.clone()).collect();
        assert_eq!(items, [value(title), value(json!([title]))]);
        rig.work();
        let view = rig.view(id);
        let asked = view.steps.iter().find(|step| step.name == "ask");
        let message = asked.and_then(|step| step.message.clone());
        assert_eq!(message, Some(format!("Ship {title}?")));
        let approve = ControlAction::Decide {
            step: "ask".to_owned(),
            decision: afu9_schemas::definition::Decision::Approve,
        };
        assert_eq!(rig.control(id, approve), ControlOutcome::Applied);
        // What a tool says of its failure comes from outside as well.
        let mut error = failure(ErrorClass::Permanent);
        if let Outcome::Failed { error, .. } = &mut error {
            error.message = title.to_owned();
        }
        rig.answer(&rig.job(), error);
        assert_eq!(
            rig.job().params,
            value(format!("undo {title}, step `broken`: {title}"))
        );
        rig.done(json!({}));
        assert_eq!(
            rig.job().params,
            value(format!("{title}: step `broken`: {title}"))
        );
        rig.done(json!({}));
        assert_eq!(rig.status(id), ExecutionStatus::Failed);
    }
}

#[test]
fn a_title_is_data_in_what_a_trigger_starts() {
    let source = "
name: triggered
on:
  - webhook: { event: issues, filter: \"${payload.issue.title == 'x'}\", input: { title: \"${payload.issue.title}\" } }
  - webhook: { event: issues, input: { about: \"on ${payload.issue.title}\", secret: \"${headers.secret}\" } }
  - workflow: { name: other, input: { why: \"${upstream.error.message}\" } }
steps: [{ name: a, tool: test.noop }]
";
    let compiled = afu9_engine::workflow::compile(source, ReadOptions::default()).expect("valid");
    for title in TITLES {
        let payload = json!({ "issue": { "title": title } });
        let upstream = json!({ "error": { "message": title } });
        let headers = json!({ "secret": "s3cret" });
        let known = [
            ("payload", &payload),
            ("upstream", &upstream),
            ("headers", &headers),
        ];
        let roots = Roots(&known);
        let rules = &compiled.workflow.triggers;
        let filter = rules[0].filter.as_ref().expect("a filter");
        assert_eq!(filter.holds(&roots), Ok(false), "{title}");
        let input = |rule: usize| {
            let template = rules[rule].input.as_ref().expect("an input");
            template.render(&roots).expect("a value")
        };
        assert_eq!(input(0), json!({ "title": title }));
        assert_eq!(
            input(1),
            json!({ "about": format!("on {title}"), "secret": "s3cret" })
        );
        assert_eq!(input(2), json!({ "why": title }));
    }
}

fn attempts_until_failure(rig: &mut Rig, name: &str) -> usize {
    let id = rig.start(name, json!({}));
    while rig.state.live() > 0 {
        match rig.jobs().first() {
            Some(job) => rig.answer(job, failure(ErrorClass::Retryable)),
            None => rig.wake(),
        };
    }
    assert_eq!(rig.status(id), ExecutionStatus::Failed);
    rig.view(id).steps[0].attempts.len()
}

/// A name that a step assigns stays readable when the step is undone, and when some items of it failed.
#[test]
fn an_assigned_output_is_found_after_an_undo_and_with_failed_items() {
    let mut rig = Rig::new(&["
name: undone
steps:
  - { name: a, tool: test.echo, params: { value: 7 }, assign: pr, compensate: { tool: test.noop } }
  - { name: b, tool: test.noop, retry: { maxAttempts: 1 } }
onFailure:
  - { name: tell, tool: test.echo, params: { value: \"${pr.value}\" } }
", "
name: partly
steps:
  - { name: each, forEach: [1, 2], continueOnError: true, tool: test.echo, params: { value: \"${item}\" },
      retry: { maxAttempts: 1 }, assign: all }
  - { name: tell, tool: test.echo, params: { value: \"${all}\" } }
"]);
    rig.start("undone", json!({}));
    rig.done(json!({ "value": 7 }));
    rig.answer(&rig.job(), failure(ErrorClass::Permanent));
    rig.done(json!({}));
    assert_eq!(rig.job().params, json!({ "value": 7 }));
    rig.work();
    rig.start("partly", json!({}));
    let jobs = rig.jobs();
    rig.answer(&jobs[0], failure(ErrorClass::Permanent));
    rig.answer(&jobs[1], Outcome::Done(json!(2)));
    assert_eq!(rig.job().params, json!({ "value": [null, 2] }));
}
