//! `afu9 hold`, `afu9 release`, `afu9 holds`: begin nothing new in a scope, for a while.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::arguments::{Hold, Scope};
use crate::client::Client;
use crate::output::{Output, Tone};
use crate::settings::Settings;

pub(crate) async fn hold(
    hold: Hold,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<ExitCode> {
    send("/api/holds", "held", hold, settings, output).await
}

pub(crate) async fn release(
    hold: Hold,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<ExitCode> {
    send("/api/holds/release", "released", hold, settings, output).await
}

async fn send(
    path: &str,
    done: &str,
    hold: Hold,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let client = Client::new(&settings.api)?;
    let body = json!({ "scope": scope(&hold.scope), "reason": hold.reason });
    let answer = client.post(path, &body, &hold.key).await?;
    output.json(&answer);
    output.text(match answer["outcome"].as_str() {
        Some("applied") => done,
        Some("unchanged") => "it was so already",
        _ => "stored; it takes effect as soon as every orchestrator is back",
    });
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn list(settings: &Settings, output: Output) -> anyhow::Result<ExitCode> {
    let client = Client::new(&settings.api)?;
    let found = client.get("/api/holds").await?;
    output.json(&found);
    let rows: Vec<Vec<String>> = found["holds"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|hold| {
            let text = |key: &str| hold[key].as_str().unwrap_or("-").to_owned();
            let everywhere = if hold["everywhere"] == true {
                "everywhere".to_owned()
            } else {
                output.paint(Tone::Bad, "only in a part: repeat it")
            };
            vec![
                scope_text(&hold["scope"]),
                everywhere,
                text("by"),
                text("since"),
                text("reason"),
            ]
        })
        .collect();
    output.table(&["HELD", "WHERE", "BY", "SINCE", "REASON"], &rows);
    if found["incomplete"] == true {
        output.text("some partitions did not answer; more may be held there");
    }
    Ok(ExitCode::SUCCESS)
}

fn scope(scope: &Scope) -> Value {
    match scope {
        Scope {
            workflow: Some(name),
            ..
        } => json!({ "workflow": name }),
        Scope {
            kind: Some(kind), ..
        } => json!({ "kind": kind }),
        _ => json!("all"),
    }
}

fn scope_text(scope: &Value) -> String {
    match (scope["workflow"].as_str(), scope["kind"].as_str()) {
        (Some(name), _) => format!("workflow {name}"),
        (_, Some(kind)) => format!("kind {kind}"),
        _ => "everything".to_owned(),
    }
}
