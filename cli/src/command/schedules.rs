//! `afu9 schedules`: when each starts something next, and who has paused it.

use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::arguments::{ChangeSchedule, Schedules, SwitchSchedule};
use crate::client::Client;
use crate::output::{Output, Tone};
use crate::settings::Settings;

pub(crate) async fn run(
    schedules: Schedules,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let client = Client::new(&settings.api)?;
    match schedules.change {
        None => list(schedules.workflow, &client, output).await?,
        Some(ChangeSchedule::Pause(which)) => switch("pause", which, &client, output).await?,
        Some(ChangeSchedule::Resume(which)) => switch("resume", which, &client, output).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn find(workflow: Option<String>, client: &Client) -> anyhow::Result<Value> {
    let query: Vec<_> = workflow
        .map(|name| ("workflow", name))
        .into_iter()
        .collect();
    client.get_with("/api/v1/schedules", &query).await
}

async fn list(workflow: Option<String>, client: &Client, output: Output) -> anyhow::Result<()> {
    let found = find(workflow, client).await?;
    output.json(&found);
    let rows: Vec<Vec<String>> = found["schedules"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|schedule| {
            let text = |key: &str| schedule[key].as_str().unwrap_or("-").to_owned();
            let next = match (schedule["enabled"] == true, schedule["paused"] == true) {
                (false, _) => output.paint(Tone::Quiet, "disabled"),
                (true, true) => output.paint(Tone::Waiting, "paused"),
                (true, false) => text("next"),
            };
            vec![
                text("workflow"),
                text("schedule"),
                text("cron"),
                text("timezone"),
                next,
                text("lastFired"),
                text("missed"),
                paused_by(schedule),
            ]
        })
        .collect();
    output.table(
        &[
            "WORKFLOW",
            "SCHEDULE",
            "CRON",
            "TIME ZONE",
            "NEXT",
            "LAST",
            "MISSED",
            "PAUSED BY",
        ],
        &rows,
    );
    Ok(())
}

fn paused_by(schedule: &Value) -> String {
    let by = schedule["pausedBy"].as_array().into_iter().flatten();
    let names: Vec<String> = by
        .map(|by| match (by["by"].as_str(), by["reason"].as_str()) {
            (Some(name), Some(reason)) => format!("{name} ({reason})"),
            (Some(name), None) => name.to_owned(),
            (None, _) => "its definition".to_owned(),
        })
        .collect();
    names.join(", ")
}

async fn switch(
    action: &str,
    which: SwitchSchedule,
    client: &Client,
    output: Output,
) -> anyhow::Result<()> {
    let SwitchSchedule {
        workflow,
        schedule,
        reason,
        key,
    } = which;
    let schedule = match schedule {
        Some(schedule) => schedule,
        None => only_one(&workflow, client).await?,
    };
    let path = format!("/api/v1/schedules/{workflow}/{schedule}/{action}");
    let answer = client
        .post(&path, &json!({ "reason": reason }), &key)
        .await?;
    output.json(&answer);
    let came_of_it = match answer["outcome"].as_str() {
        Some("applied") => "done",
        _ => "it was so already",
    };
    output.text(format!("{workflow} {schedule}: {action}: {came_of_it}"));
    if action == "resume" && answer["schedule"]["paused"] == true {
        output.text("its definition pauses it, too: apply a version that does not");
    }
    Ok(())
}

/// The schedule of a workflow that has one.
async fn only_one(workflow: &str, client: &Client) -> anyhow::Result<String> {
    let found = find(Some(workflow.to_owned()), client).await?;
    let ids: Vec<&str> = found["schedules"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|schedule| schedule["schedule"].as_str())
        .collect();
    match ids.as_slice() {
        [id] => Ok((*id).to_owned()),
        [] => Err(anyhow::anyhow!(
            "the newest version of {workflow} has no schedule"
        ))
        .context("`afu9 schedules` lists those there are"),
        several => bail!(
            "{workflow} has several schedules, name one: {}",
            several.join(", ")
        ),
    }
}
