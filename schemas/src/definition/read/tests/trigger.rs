//! `on`.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::definition::{AfterTrigger, MissedRuns, ScheduleTrigger, TriggerRule, WebhookTrigger};
use crate::view::ExecutionStatus;

fn trigger(text: &str) -> TriggerRule {
    right_top(&format!("on:\n  - {text}")).triggers.remove(0)
}

#[test]
fn webhooks() {
    assert_eq!(
        trigger("webhook: {event: issues}"),
        TriggerRule::Webhook(WebhookTrigger {
            source: "github".to_owned(),
            event: "issues".to_owned(),
            actions: Vec::new(),
            repositories: Vec::new(),
            filter: None,
            input: None,
        })
    );
    assert_eq!(
        trigger(
            "webhook: {source: my-forge_2, event: issues, action: labeled, repository: octo/*, \
             filter: \"${payload.label.name == 'afu9'}\", input: {n: '${payload.issue.number}'}}"
        ),
        TriggerRule::Webhook(WebhookTrigger {
            source: "my-forge_2".to_owned(),
            event: "issues".to_owned(),
            actions: vec!["labeled".to_owned()],
            repositories: vec!["octo/*".to_owned()],
            filter: Some("${payload.label.name == 'afu9'}".to_owned()),
            input: Some(json!({"n": "${payload.issue.number}"})),
        })
    );
    let TriggerRule::Webhook(lists) =
        trigger("webhook: {event: e, action: [opened, reopened], repository: [octo/a.b, o-1/_c]}")
    else {
        panic!("a webhook");
    };
    assert_eq!(lists.actions, ["opened", "reopened"]);
    assert_eq!(lists.repositories, ["octo/a.b", "o-1/_c"]);
    for bad in [
        "«1",
        "«{}",
        "{event: «''}",
        "{event: «1}",
        "{event: e, source: «''}",
        "{event: e, source: «a.b}",
        "{event: e, source: «1}",
        "{event: e, action: «[]}",
        "{event: e, action: «1}",
        "{event: e, action: [a, «a]}",
        "{event: e, action: [a, «1]}",
        "{event: e, action: «''}",
        "{event: e, repository: «octo}",
        "{event: e, repository: «'*'}",
        "{event: e, repository: «'*/a'}",
        "{event: e, repository: «octo/}",
        "{event: e, repository: «octo/a/b}",
        "{event: e, repository: «octo/a*}",
        "{event: e, repository: [octo/a, «'octo /b']}",
        "{event: e, repository: «[]}",
        "{event: e, filter: «payload.ok}",
        "{event: e, filter: «true}",
        "{event: e, input: «[]}",
        "{event: e, input: «'${payload}'}",
    ] {
        wrong_top(&format!("on: [{{webhook: {bad}}}]"));
    }
    let long = "s".repeat(65);
    wrong_top(&format!("on: [{{webhook: {{event: e, source: «{long}}}}}]"));
}

#[test]
fn schedules() {
    assert_eq!(
        trigger("schedule: {cron: '30 6 * * 1-5'}"),
        TriggerRule::Schedule(ScheduleTrigger {
            cron: "30 6 * * 1-5".to_owned(),
            timezone: "UTC".to_owned(),
            missed: MissedRuns::One,
            jitter: Duration::ZERO,
            paused: false,
            input: None,
        })
    );
    assert_eq!(
        trigger(
            "schedule: {cron: '0 */5 8-18 ? JAN,FEB MON#1', timezone: America/Port-au-Prince, \
             missed: all, jitterMs: 3600000, paused: true, input: {at: '${schedule.at}'}}"
        ),
        TriggerRule::Schedule(ScheduleTrigger {
            cron: "0 */5 8-18 ? JAN,FEB MON#1".to_owned(),
            timezone: "America/Port-au-Prince".to_owned(),
            missed: MissedRuns::All,
            jitter: Duration::from_secs(3600),
            paused: true,
            input: Some(json!({"at": "${schedule.at}"})),
        })
    );
    for good in [
        "{cron: '* * * * *', timezone: Etc/GMT+1}",
        "{cron: '* * * * *', timezone: America/Argentina/Buenos_Aires}",
        "{cron: '* * * * *', missed: skip}",
        "{cron: '* * * * *', jitterMs: 0}",
        "{cron: '*  * * *  L'}",
    ] {
        trigger(&format!("schedule: {good}"));
    }
    for bad in [
        "«1",
        "«'* * * * *'",
        "«{}",
        "{cron: «''}",
        "{cron: «1}",
        "{cron: «'* * * *'}",
        "{cron: «'* * * * * * *'}",
        "{cron: «'@daily'}",
        "{cron: «'* * * * $'}",
        "{cron: «'* * * * ${input.x}'}",
        "{cron: '* * * * *', timezone: «''}",
        "{cron: '* * * * *', timezone: «Europe/}",
        "{cron: '* * * * *', timezone: «/Berlin}",
        "{cron: '* * * * *', timezone: «'Europe Berlin'}",
        "{cron: '* * * * *', timezone: «1}",
        "{cron: '* * * * *', missed: «some}",
        "{cron: '* * * * *', jitterMs: «-1}",
        "{cron: '* * * * *', jitterMs: «3600001}",
        "{cron: '* * * * *', paused: «0}",
        "{cron: '* * * * *', input: «1}",
    ] {
        wrong_top(&format!("on: [{{schedule: {bad}}}]"));
    }
}

#[test]
fn ends_of_other_workflows() {
    assert_eq!(
        trigger("workflow: {name: build}"),
        TriggerRule::Workflow(AfterTrigger {
            workflow: "build".to_owned(),
            statuses: vec![ExecutionStatus::Completed],
            filter: None,
            input: None,
        })
    );
    assert_eq!(
        trigger(
            "workflow: {name: build, status: [failed, cancelled, completed], \
             filter: '${upstream.output.ok}', input: {id: '${upstream.id}'}}"
        ),
        TriggerRule::Workflow(AfterTrigger {
            workflow: "build".to_owned(),
            statuses: vec![
                ExecutionStatus::Failed,
                ExecutionStatus::Cancelled,
                ExecutionStatus::Completed,
            ],
            filter: Some("${upstream.output.ok}".to_owned()),
            input: Some(json!({"id": "${upstream.id}"})),
        })
    );
    trigger("workflow: {name: build, status: failed}");
    for bad in [
        "«build",
        "«{}",
        "{name: «Build}",
        "{name: build, status: «[]}",
        "{name: build, status: «running}",
        "{name: build, status: [failed, «failed]}",
        "{name: build, status: [«1]}",
        "{name: build, status: «1}",
        "{name: build, filter: «1}",
        "{name: build, input: «1}",
    ] {
        wrong_top(&format!("on: [{{workflow: {bad}}}]"));
    }
    says(
        &wrong_top("on: [{workflow: {name: build, status: «complete}}]"),
        "completed",
    );
}

#[test]
fn a_trigger_is_one_thing_and_there_are_not_too_many() {
    wrong_top("on: «{webhook: {event: e}}");
    wrong_top("on: «push");
    wrong_top("on: [«push]");
    wrong_top("on: [«{}]");
    wrong_top("on: [{webhook: {event: e}, schedule: «{cron: '* * * * *'}}]");
    let many = |count: usize| vec!["{webhook: {event: e}}"; count].join(", ");
    assert_eq!(right_top(&format!("on: [{}]", many(50))).triggers.len(), 50);
    wrong_top(&format!("on: «[{}]", many(51)));
    assert_eq!(right_top("on: []").triggers, []);
}
