//! `afu9 audit`: who changed what.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::arguments::Audit;
use crate::client::Client;
use crate::output::Output;
use crate::settings::Settings;

pub(crate) async fn run(
    audit: Audit,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let client = Client::new(&settings.api)?;
    let given = [
        ("execution", audit.execution),
        ("action", audit.action),
        ("by", audit.by),
        ("outcome", audit.outcome),
        ("from", audit.from),
        ("to", audit.to),
    ];
    let query: Vec<_> = given
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    let names = ("entries", "nextAfter", "after");
    let (entries, next) = client
        .pages("/api/audit", &query, names, audit.limit, audit.after)
        .await?;
    output.json(&json!({ "entries": entries, "nextAfter": next }));
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|entry: &Value| {
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
    if let Some(after) = next.as_str() {
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
        .or_else(|| text(&details["deadLetter"]))
        .or_else(|| {
            let workflow = details["workflow"].as_str()?;
            let schedule = details["schedule"].as_str();
            Some(schedule.map_or(workflow.to_owned(), |id| format!("{workflow} {id}")))
        })
        .unwrap_or_else(|| "-".to_owned())
}
