//! `afu9 audit`: who changed what.

use std::process::ExitCode;

use serde_json::Value;

use crate::client::Client;
use crate::output::Output;
use crate::settings::Settings;

pub(crate) async fn run(
    execution: Option<String>,
    action: Option<String>,
    limit: u32,
    after: Option<String>,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let client = Client::new(&settings.api)?;
    let mut query = vec![("limit", limit.to_string())];
    query.extend(execution.map(|id| ("execution", id)));
    query.extend(action.map(|action| ("action", action)));
    query.extend(after.map(|after| ("after", after)));
    let found = client.get_with("/api/audit", &query).await?;
    output.json(&found);
    let rows: Vec<Vec<String>> = found["entries"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| {
            let text = |key: &str| entry[key].as_str().unwrap_or("-").to_owned();
            vec![
                text("at"),
                text("by"),
                text("action"),
                about(entry),
                text("outcome"),
                text("reason"),
            ]
        })
        .collect();
    output.table(&["AT", "BY", "ACTION", "ABOUT", "OUTCOME", "REASON"], &rows);
    if let Some(after) = found["nextAfter"].as_str() {
        output.text(format!("there are more: --after {after}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// What a wish was about: an execution, or else what its details name.
fn about(entry: &Value) -> String {
    let details = &entry["details"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    text(&entry["executionId"])
        .or_else(|| {
            let scope = details.get("scope")?;
            Some(text(scope).unwrap_or_else(|| scope.to_string()))
        })
        .or_else(|| {
            let workflow = details["workflow"].as_str()?;
            let schedule = details["schedule"].as_str();
            Some(schedule.map_or(workflow.to_owned(), |id| format!("{workflow} {id}")))
        })
        .unwrap_or_else(|| "-".to_owned())
}
