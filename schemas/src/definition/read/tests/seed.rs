//! The predecessor's format, which stays as it was.

use std::time::Duration;

use super::*;
use crate::definition::{
    Backoff, Config, DEFAULT_CLEANUP_TIMEOUT, Flow, RetryPolicy, ToolCall, hash,
};

const SEED: &str = r#"{
    "name": "issue_to_pr",
    "description": "from the predecessor",
    "steps": [
        {"name": "fetch_issue", "tool": "github.getIssue", "assign": "issue",
         "params": {"owner": "${repo.owner}", "repo": "${repo.name}", "number": "${input.issue_number}"}},
        {"name": "create_branch", "tool": "github.createBranch", "assign": "branch",
         "if": "${issue.state === 'open'}",
         "params": {"owner": "${repo.owner}", "repo": "${repo.name}",
                    "branch": "fix/${issue.number}", "from": "${repo.default_branch}"},
         "retry": {"maxAttempts": 5, "backoff": "linear", "initialDelayMs": 200}},
        {"name": "comment", "tool": "github.addIssueComment", "condition": "${branch}",
         "params": {"owner": "o", "repo": "r", "number": 1, "body": "b"}}
    ],
    "config": {"continueOnError": false, "timeoutMs": 60000, "maxRetries": 1, "debugMode": "on"}
}"#;

#[test]
fn the_seed_format_is_read_unchanged() {
    let definition = right(SEED);
    assert_eq!(definition.name, "issue_to_pr");
    assert_eq!(
        definition.description.as_deref(),
        Some("from the predecessor")
    );
    assert_eq!(
        definition.config,
        Config {
            continue_on_error: false,
            timeout: Duration::from_secs(60),
            cleanup_timeout: DEFAULT_CLEANUP_TIMEOUT,
        }
    );
    let [fetch, branch, comment] = definition.steps.as_slice() else {
        panic!("three steps");
    };
    assert_eq!(fetch.retry.max_attempts, 2, "config.maxRetries counts");
    assert_eq!(fetch.assign.as_deref(), Some("issue"));
    assert_eq!(branch.retry.max_attempts, 5);
    assert_eq!(branch.retry.backoff, Backoff::Linear);
    assert_eq!(branch.retry.initial_delay, Duration::from_millis(200));
    assert_eq!(
        branch.condition.as_deref(),
        Some("${issue.state === 'open'}")
    );
    assert_eq!(comment.condition.as_deref(), Some("${branch}"));
    for step in &definition.steps {
        assert_eq!(step.needs, None, "one after the other");
        assert_eq!(step.for_each, None);
        assert_eq!(step.compensate, None);
        assert!(!step.continue_on_error);
    }
}

#[test]
fn what_the_seed_format_does_not_know_is_as_if_it_were_not_there() {
    let definition = right("{name: w, steps: [{name: a, tool: test.noop}]}");
    assert_eq!(definition.input_schema, None);
    assert_eq!(definition.triggers, []);
    assert_eq!(definition.flow, Flow::default());
    assert!(!definition.flow.has_limits());
    assert_eq!(definition.on_failure, []);
    assert_eq!(definition.output, None);
    assert_eq!(definition.config.timeout, Duration::from_secs(300));
    let step = &definition.steps[0];
    assert_eq!(
        step.action,
        Action::Tool(ToolCall {
            tool: "test.noop".parse().expect("valid"),
            params: serde_json::json!({}),
        })
    );
    assert_eq!(step.retry, RetryPolicy::default());
    assert_eq!(step.timeout, None);
}

#[test]
fn yaml_and_json_of_the_same_definition_are_the_same_version() {
    let yaml = "steps:\n  - name: a\n    tool: test.noop\nname: w\n";
    let json = r#"{"name": "w", "steps": [{"name": "a", "tool": "test.noop"}]}"#;
    let one = read(yaml, ReadOptions::default()).expect("valid yaml");
    let two = read(json, ReadOptions::default()).expect("valid json");
    assert_eq!(hash(&one.value), hash(&two.value));
}

#[test]
fn every_mistake_is_reported_with_its_place() {
    let mistakes = wrong(concat!(
        "name: «Wrong Name\n",
        "steps:\n",
        "  - name: a\n",
        "    tool: «github.getIsue\n",
        "    params: {}\n",
        "  - name: «a\n",
        "    tool: test.noop\n",
        "    retry: { maxAttempts: «11 }\n",
        "    asign: «x\n",
        "config:\n",
        "  timeoutMs: «5\n"
    ));
    let paths: Vec<&str> = mistakes.iter().map(|m| m.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "/name",
            "/steps/0/tool",
            "/steps/1/name",
            "/steps/1/retry/maxAttempts",
            "/steps/1/asign",
            "/config/timeoutMs",
        ]
    );
    says(&mistakes[1..2], "github.getIssue");
    says(&mistakes[4..5], "assign");
}

#[test]
fn parameters_are_checked_against_the_tool() {
    wrong(concat!(
        "name: w\n",
        "steps:\n",
        "  - name: a\n",
        "    tool: github.getIssue\n",
        "    params:\n",
        "      «owner: o\n",
        "      number: «seven\n",
        "      nummer: «7\n"
    ));
    wrong_step("tool: test.echo, params: «{}");
    wrong("name: w\nsteps:\n  - «{name: a, tool: test.echo}\n");
    wrong_step("tool: test.noop, params: «[]");
    wrong_step("tool: test.noop, params: «~");
    right_step("tool: test.sleep, params: {ms: '${input.ms}'}");
    right_step(
        "tool: github.commitFiles, params: {owner: o, repo: r, branch: b, message: m, \
                files: [{path: '${input.path}', executable: perhaps}]}",
    );
}

#[test]
fn a_name_may_come_from_outside() {
    wrong("«steps:\n  - name: a\n    tool: test.noop\n");
    let source = "steps:\n  - name: a\n    tool: test.noop\n";
    let named = |name| read(source, ReadOptions { name: Some(name) });
    let read = named("stored").expect("named");
    assert_eq!(read.definition.name, "stored");
    assert_eq!(read.value["name"], "stored");
    let mistakes = named("Not A Name").expect_err("not a name");
    assert_eq!(mistakes[0].position, Position::START);
}
