//! `afu9 executions`: list and show executions, and what they are wished.

use std::process::ExitCode;

use serde_json::Value;

use super::{bulk, control, events};
use crate::arguments::{Executions, Filter};
use crate::client::Client;
use crate::output::{Output, Tone};
use crate::settings::Settings;

/// Of an item's output or error, so much is shown; `--output json` has all of it.
const MAX_SAID_CHARS: usize = 80;

pub(crate) async fn run(
    command: Executions,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let client = Client::new(&settings.api)?;
    match command {
        Executions::Ls { filter, limit } => {
            let mut query = vec![("limit", limit.to_string())];
            query.extend(filter.cursor.clone().map(|cursor| ("cursor", cursor)));
            query.extend(given(filter));
            let found = client.get_with("/api/executions", &query).await?;
            output.json(&found);
            list(&found, output);
        }
        Executions::Show { id } => {
            let found = client.get(&format!("/api/executions/{id}")).await?;
            output.json(&found);
            show(&found, output);
        }
        Executions::Items {
            id,
            step,
            limit,
            after,
        } => {
            let mut query = vec![("limit", limit.to_string())];
            query.extend(after.map(|after| ("after", after.to_string())));
            let path = format!("/api/executions/{id}/steps/{step}/items");
            let found = client.get_with(&path, &query).await?;
            output.json(&found);
            items(&found, output);
        }
        Executions::Events { id, kinds } => {
            return events::run(id.as_deref(), kinds, &client, output).await;
        }
        Executions::Bulk(bulk) => return bulk::run(bulk, &client, output).await,
        wish => return control::run(wish, &client, output).await,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(found: &Value, output: Output) {
    let rows: Vec<Vec<String>> = found["executions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|execution| {
            let text = |key: &str| execution[key].as_str().unwrap_or("-").to_owned();
            vec![
                text("id"),
                text("workflow"),
                output.status(execution["status"].as_str().unwrap_or("-")),
                text("startedAt"),
                duration(&execution["durationMs"]),
                text("triggeredBy"),
            ]
        })
        .collect();
    output.table(
        &[
            "ID",
            "WORKFLOW",
            "STATUS",
            "STARTED",
            "TOOK",
            "TRIGGERED BY",
        ],
        &rows,
    );
    if found["incomplete"] == true {
        output.text("some partitions did not answer; live executions may be missing");
    }
    if let Some(cursor) = found["nextCursor"].as_str() {
        output.text(format!("there are more: --cursor {cursor}"));
    }
}

/// What a filter says, by its names in the API.
pub(super) fn given(filter: Filter) -> impl Iterator<Item = (&'static str, String)> {
    let Filter {
        status,
        workflow,
        key,
        triggered_by,
        started_after,
        started_before,
        cursor: _,
    } = filter;
    let given = [
        ("status", status),
        ("workflow", workflow),
        ("key", key),
        ("triggeredBy", triggered_by),
        ("startedAfter", started_after),
        ("startedBefore", started_before),
    ];
    given
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
}

fn items(found: &Value, output: Output) {
    let rows: Vec<Vec<String>> = found["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|item| {
            let attempts = item["attempts"].as_array().map_or(0, Vec::len);
            let said = match item["error"]["message"].as_str() {
                Some(message) => message.to_owned(),
                None => item["output"].to_string(),
            };
            vec![
                item["item"].to_string(),
                output.status(item["status"].as_str().unwrap_or("-")),
                attempts.to_string(),
                duration(&item["durationMs"]),
                said.chars().take(MAX_SAID_CHARS).collect(),
            ]
        })
        .collect();
    output.table(
        &["ITEM", "STATUS", "ATTEMPTS", "TOOK", "OUTPUT OR ERROR"],
        &rows,
    );
    if let Some(after) = found["nextAfter"].as_u64() {
        output.text(format!("there are more: --after {after}"));
    }
}

fn show(found: &Value, output: Output) {
    let execution = &found["execution"];
    let text = |key: &str| execution[key].as_str().unwrap_or("-");
    output.text(format!(
        "{}  {} v{}  {}  {}",
        text("id"),
        text("workflow"),
        execution["version"],
        output.status(text("status")),
        duration(&execution["durationMs"]),
    ));
    output.text(format!(
        "started {} by {}",
        text("startedAt"),
        text("triggeredBy")
    ));
    if let Some(message) = execution["error"]["message"].as_str() {
        output.text(format!("{} {message}", output.paint(Tone::Bad, "error:")));
    }
    for step in found["steps"].as_array().into_iter().flatten() {
        output.text(format!("  {}", step_line(step, output)));
        for attempt in step["attempts"].as_array().into_iter().flatten() {
            if let Some(message) = attempt["error"]["message"].as_str() {
                let attempt = &attempt["attempt"];
                output.text(format!("      attempt {attempt}: {message}"));
            }
        }
    }
}

/// One step on one line.
pub(crate) fn step_line(step: &Value, output: Output) -> String {
    let status = step["status"].as_str().unwrap_or("-");
    let (sign, tone) = match status {
        "completed" => ("✓", Tone::Good),
        "failed" => ("✗", Tone::Bad),
        "compensated" => ("↩", Tone::Quiet),
        "skipped" => ("-", Tone::Quiet),
        _ => ("…", Tone::Waiting),
    };
    let mut line = format!(
        "{} {:<24} {:<10} {:>8}",
        output.paint(tone, sign),
        step["name"].as_str().unwrap_or("-"),
        status,
        duration(&step["durationMs"]),
    );
    let items = &step["items"];
    if items.is_object() {
        line.push_str(&format!(
            "  {}/{} items",
            items["completed"], items["total"]
        ));
    }
    let retries = step["retryCount"].as_u64().unwrap_or(0);
    if retries > 0 {
        line.push_str(&format!("  {retries} retries"));
    }
    if let Some(message) = step["error"]["message"]
        .as_str()
        .filter(|_| status != "completed")
    {
        line.push_str(&format!("  {message}"));
    }
    line
}

/// Milliseconds as a person reads them.
pub(crate) fn duration(value: &Value) -> String {
    match value.as_f64() {
        None => "-".to_owned(),
        Some(ms) if ms < 10_000.0 => format!("{ms:.0} ms"),
        Some(ms) => format!("{:.1} s", ms / 1000.0),
    }
}
