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
        .pages("/api/audit", &query, names, audit.limit)
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
                text("executionId"),
                text("outcome"),
                text("reason"),
            ]
        })
        .collect();
    output.table(
        &["AT", "BY", "ACTION", "EXECUTION", "OUTCOME", "REASON"],
        &rows,
    );
    Ok(ExitCode::SUCCESS)
}
