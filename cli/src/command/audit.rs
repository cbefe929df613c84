//! `afu9 audit`: who changed what.

use std::process::ExitCode;

use crate::client::Client;
use crate::output::Output;
use crate::settings::Settings;

pub(crate) async fn run(
    execution: Option<String>,
    action: Option<String>,
    limit: u32,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let client = Client::new(&settings.api)?;
    let mut query = vec![("limit", limit.to_string())];
    query.extend(execution.map(|id| ("execution", id)));
    query.extend(action.map(|action| ("action", action)));
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
