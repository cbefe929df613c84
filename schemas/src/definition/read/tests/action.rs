//! What steps do.

use serde_json::json;

use super::*;
use crate::definition::{Approval, Child, Decision, MAX_DURATION, OnTimeout, Sleep, WaitFor};

#[test]
fn tools_must_exist() {
    for tool in [
        "«1",
        "«noop",
        "«test.nop",
        "«nowhere.noop",
        "«'test. noop'",
        "«''",
        "«~",
    ] {
        wrong_step(&format!("tool: {tool}"));
    }
    says(&wrong_step("tool: «test.nop"), "test.noop");
}

#[test]
fn approvals() {
    assert_eq!(
        right_action("approval: {}"),
        Action::Approval(Approval {
            scope: "approve".to_owned(),
            required: 1,
            approvers: Vec::new(),
            self_approval: true,
            on_expiry: Decision::Reject,
            message: None,
        })
    );
    assert_eq!(
        right_action(
            "approval: {scope: 'approve:deploy.prod', approvals: 2, approvers: [ann, ben], \
             selfApproval: false, onExpiry: approve, message: 'Deploy ${input.version}?'}, timeoutMs: 1000"
        ),
        Action::Approval(Approval {
            scope: "approve:deploy.prod".to_owned(),
            required: 2,
            approvers: vec!["ann".to_owned(), "ben".to_owned()],
            self_approval: false,
            on_expiry: Decision::Approve,
            message: Some("Deploy ${input.version}?".to_owned()),
        })
    );
    right_step("approval: {approvals: 20}");
    right_step("approval: {approvers: ann}");
    for bad in [
        "«1",
        "«ann",
        "«~",
        "{scope: «''}",
        "{scope: «' '}",
        "{scope: «1}",
        "{scope: «deploy}",
        "{scope: «admin}",
        "{scope: «'approve:'}",
        "{scope: «'approve:a b'}",
        "{scope: «'approve:a:b'}",
        "{scope: «' approve'}",
        "{scope: «\"a\\nb\"}",
        "{approvals: «0}",
        "{approvals: «21}",
        "{approvals: «two}",
        "{approvers: «[]}",
        "{approvers: «1}",
        "{approvers: [ann, «ann]}",
        "{approvers: [«'']}",
        "{approvers: [«1]}",
        "{selfApproval: «no}",
        "{onExpiry: «rejected}",
        "{onExpiry: «true}",
        "{message: «1}",
    ] {
        wrong_step(&format!("approval: {bad}, timeoutMs: 1000"));
    }
    right_step(&format!(
        "approval: {{scope: 'approve:{}'}}",
        "s".repeat(64)
    ));
    says(&wrong_step("approval: {scope: «deploy}"), "approve:deploy");
    let long = format!("approve:{}", "s".repeat(65));
    wrong_step(&format!("approval: {{scope: «{long}}}"));
    says(
        &wrong_step("approval: {onExpiry: «aprove}, timeoutMs: 1000"),
        "approve",
    );
    // More than may approve can never have approved.
    wrong_to_the_reader(&with_step(
        "approval: {approvals: «3, approvers: [ann, ben]}",
    ));
}

#[test]
fn waits_for_signals() {
    let named = |signal: &str| WaitFor {
        signal: signal.to_owned(),
        filter: None,
        on_timeout: OnTimeout::Fail,
    };
    assert_eq!(
        right_action("waitFor: build.done"),
        Action::WaitFor(named("build.done"))
    );
    assert_eq!(
        right_action("waitFor: {signal: s}"),
        Action::WaitFor(named("s"))
    );
    assert_eq!(
        right_action(
            "waitFor: {signal: A-1_b, filter: '${signal.ok}', onTimeout: continue}, timeoutMs: 1000"
        ),
        Action::WaitFor(WaitFor {
            signal: "A-1_b".to_owned(),
            filter: Some("${signal.ok}".to_owned()),
            on_timeout: OnTimeout::Continue,
        })
    );
    let longest = "s".repeat(128);
    right_step(&format!("waitFor: {longest}"));
    wrong_step(&format!("waitFor: «{longest}s"));
    wrong_step(&format!("waitFor: {{signal: «{longest}s}}"));
    for bad in [
        "«1",
        "«''",
        "«'a b'",
        "«~",
        "«{}",
        "{signal: «''}",
        "{signal: «a/b}",
        "{signal: «1}",
        "{signal: s, filter: «true}",
        "{signal: s, filter: «signal.ok}",
        "{signal: s, filter: «'a ${b}'}",
        "{signal: s, onTimeout: «skip}",
    ] {
        wrong_step(&format!("waitFor: {bad}, timeoutMs: 1000"));
    }
}

#[test]
fn sleeps() {
    for (text, value) in [
        ("1d12h30m", json!("1d12h30m")),
        ("5000", json!(5000)),
        ("0", json!(0)),
        ("'${input.wait}'", json!("${input.wait}")),
        ("'${input.hours}h'", json!("${input.hours}h")),
        ("{for: 90s}", json!("90s")),
        ("{for: 1}", json!(1)),
        ("{for: '${input.wait}'}", json!("${input.wait}")),
        ("{forMs: 250}", json!(250)),
    ] {
        assert_eq!(
            right_action(&format!("sleep: {text}")),
            Action::Sleep(Sleep::For(value)),
            "{text}"
        );
    }
    for text in [
        "2030-01-31T08:00:00Z",
        "2030-01-31T08:00:00.5+01:00",
        "${input.at}",
    ] {
        assert_eq!(
            right_action(&format!("sleep: {{until: '{text}'}}")),
            Action::Sleep(Sleep::Until(json!(text))),
            "{text}"
        );
    }
    for bad in [
        "«true",
        "«[]",
        "«~",
        "«{}",
        "«''",
        "«tomorrow",
        "«'5000'",
        "«1.5",
        "«-1",
        "«1h1h",
        "«5m2h",
        "{for: «true}",
        "{for: «-5}",
        "{forMs: «1s}",
        "{forMs: «-1}",
        "{forMs: «'${input.wait}'}",
        "{until: «tomorrow}",
        "{until: «2030-01-31}",
        "{until: «1700000000}",
        "{for: 1s, until: «'2030-01-31T08:00:00Z'}",
        "{for: 1s, forMs: «1000}",
    ] {
        wrong_step(&format!("sleep: {bad}"));
    }
    // Thirteen months and days no calendar has: only the reader knows calendars.
    wrong_to_the_reader(&with_step("sleep: {until: «'2030-13-01T00:00:00Z'}"));
    let longest = MAX_DURATION.as_millis();
    right_step(&format!("sleep: {longest}"));
    right_step("sleep: 366d");
    wrong_step(&format!("sleep: «{}", longest + 1));
    wrong_step(&format!("sleep: {{forMs: «{}}}", longest + 1));
    wrong_to_the_reader(&with_step("sleep: «367d"));
}

#[test]
fn workflows_within_workflows() {
    let child = |version, input, wait| {
        Action::Workflow(Child {
            workflow: "v".to_owned(),
            version,
            input,
            wait,
        })
    };
    assert_eq!(right_action("workflow: v"), child(None, json!({}), true));
    assert_eq!(
        right_action("workflow: {name: v}"),
        child(None, json!({}), true)
    );
    assert_eq!(
        right_action("workflow: {name: v, version: 3, input: {x: '${input.x}'}, wait: false}"),
        child(Some(3), json!({"x": "${input.x}"}), false)
    );
    right_step("workflow: w");
    for bad in [
        "«1",
        "«V",
        "«~",
        "«{}",
        "{name: «V}",
        "{name: v, version: «0}",
        "{name: v, version: «4294967296}",
        "{name: v, version: «latest}",
        "{name: v, input: «[]}",
        "{name: v, input: «'${input}'}",
        "{name: v, wait: «1}",
    ] {
        wrong_step(&format!("workflow: {bad}"));
    }
}
