//! `afu9 workflows`: apply, check and list definitions; start and switch workflows.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use afu9_engine::workflow::{Compiled, compile};
use afu9_schemas::definition::{Diagnostic, ReadOptions};
use anyhow::Context;
use serde_json::{Value, json};

use crate::arguments::{Start, SwitchWorkflow, Workflows};
use crate::client::Client;
use crate::output::{Output, Tone};
use crate::settings::{Mistakes, Settings};

pub(crate) async fn run(
    command: Workflows,
    settings: &dyn Fn() -> Result<Settings, Mistakes>,
    output: Output,
) -> anyhow::Result<ExitCode> {
    match command {
        Workflows::Validate { files } => validate(&files, output),
        Workflows::Apply { files } => {
            let client = Client::new(&settings()?.api)?;
            apply(&files, &client, output).await
        }
        Workflows::Ls => {
            let client = Client::new(&settings()?.api)?;
            list(&client, output).await
        }
        Workflows::Show { name, of_version } => {
            let client = Client::new(&settings()?.api)?;
            show(&name, of_version, &client, output).await
        }
        Workflows::Start(wanted) => {
            let client = Client::new(&settings()?.api)?;
            start(wanted, &client, output).await
        }
        Workflows::Disable(which) => {
            let client = Client::new(&settings()?.api)?;
            switch("disable", which, &client, output).await
        }
        Workflows::Enable(which) => {
            let client = Client::new(&settings()?.api)?;
            switch("enable", which, &client, output).await
        }
        Workflows::Versions {
            name,
            limit,
            before,
        } => {
            let client = Client::new(&settings()?.api)?;
            versions(&name, limit, before, &client, output).await
        }
        Workflows::Diff { name, from, to } => {
            let client = Client::new(&settings()?.api)?;
            diff(&name, from, to, &client, output).await
        }
        Workflows::Replay {
            file,
            workflow,
            execution,
            limit,
        } => {
            let client = Client::new(&settings()?.api)?;
            let wanted = super::replay::Wanted {
                workflow,
                execution,
                limit,
            };
            super::replay::run(&file, wanted, &client, output).await
        }
    }
}

/// A definition that was read from a file.
pub(crate) struct Source {
    pub(crate) text: String,
    pub(crate) compiled: Result<Compiled, Vec<Diagnostic>>,
}

/// Reads and compiles a file.
pub(crate) fn read(file: &Path) -> anyhow::Result<Source> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let compiled = compile(&text, ReadOptions::default());
    Ok(Source { text, compiled })
}

/// Prints the mistakes of a file, one a line: `file:line:column: message`.
pub(crate) fn print_mistakes(file: &Path, mistakes: &[Diagnostic], output: Output) {
    for mistake in mistakes {
        let bad = output.paint(Tone::Bad, "error");
        output.text(format!("{}:{} {bad}", file.display(), mistake));
    }
}

fn mistakes_json(mistakes: &[Diagnostic]) -> Value {
    mistakes
        .iter()
        .map(|mistake| {
            json!({
                "line": mistake.position.line,
                "column": mistake.position.column,
                "path": mistake.path,
                "message": mistake.message,
            })
        })
        .collect()
}

fn validate(files: &[PathBuf], output: Output) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for file in files {
        let name = file.display().to_string();
        match read(file)?.compiled {
            Ok(compiled) => {
                output.text(format!("{name}: {}", output.paint(Tone::Good, "valid")));
                let workflow = &compiled.workflow.definition.name;
                output.json(&json!({ "file": name, "valid": true, "workflow": workflow }));
            }
            Err(mistakes) => {
                code = ExitCode::FAILURE;
                print_mistakes(file, &mistakes, output);
                let errors = mistakes_json(&mistakes);
                output.json(&json!({ "file": name, "valid": false, "errors": errors }));
            }
        }
    }
    Ok(code)
}

async fn apply(files: &[PathBuf], client: &Client, output: Output) -> anyhow::Result<ExitCode> {
    // All files are checked before the first is stored.
    let mut sources = Vec::new();
    let mut valid = true;
    for file in files {
        let source = read(file)?;
        match source.compiled {
            Ok(compiled) => sources.push((source.text, compiled.workflow.definition.name)),
            Err(mistakes) => {
                valid = false;
                print_mistakes(file, &mistakes, output);
                let errors = mistakes_json(&mistakes);
                let name = file.display().to_string();
                output.json(&json!({ "file": name, "valid": false, "errors": errors }));
            }
        }
    }
    if !valid {
        return Ok(ExitCode::FAILURE);
    }
    for (text, name) in sources {
        let applied = client.put_definition(&name, text).await?;
        output.json(&applied);
        let version = &applied["version"];
        if applied["created"] == true {
            let created = output.paint(Tone::Good, "applied");
            output.text(format!("{name}: {created} as version {version}"));
        } else {
            output.text(format!("{name}: unchanged, version {version}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, output: Output) -> anyhow::Result<ExitCode> {
    let found = client.get("/api/workflows").await?;
    output.json(&found);
    let rows: Vec<Vec<String>> = found["workflows"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|workflow| {
            let text = |key: &str| workflow[key].as_str().unwrap_or_default().to_owned();
            let last = workflow["last_run"]["status"].as_str().unwrap_or("-");
            let enabled = workflow["enabled"] != false;
            vec![
                text("name"),
                workflow["version"].to_string(),
                if enabled { "yes" } else { "no" }.to_owned(),
                output.status(last),
                text("description"),
            ]
        })
        .collect();
    output.table(
        &["NAME", "VERSION", "ENABLED", "LAST RUN", "DESCRIPTION"],
        &rows,
    );
    Ok(ExitCode::SUCCESS)
}

async fn show(
    name: &str,
    version: Option<u32>,
    client: &Client,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let path = match version {
        Some(version) => format!("/api/workflows/{name}/versions/{version}"),
        None => format!("/api/workflows/{name}"),
    };
    let found = client.get(&path).await?;
    output.json(&found);
    let text = |key: &str| found[key].as_str().unwrap_or("-");
    output.text(format!(
        "{} v{}  {}",
        text("name"),
        found["version"],
        text("hash")
    ));
    output.text(format!(
        "applied {} by {}",
        text("appliedAt"),
        text("appliedBy")
    ));
    if found["enabled"] == false {
        let by = &found["switched"];
        let part = |key: &str| by[key].as_str().unwrap_or("-");
        let disabled = output.paint(Tone::Bad, "disabled");
        let (whom, since, why) = (part("by"), part("at"), part("reason"));
        output.text(format!("{disabled} by {whom} since {since}: {why}"));
    }
    output.text(serde_json::to_string_pretty(&found["definition"])?);
    Ok(ExitCode::SUCCESS)
}

async fn start(wanted: Start, client: &Client, output: Output) -> anyhow::Result<ExitCode> {
    let Start {
        name,
        given,
        priority,
        wait,
        key,
    } = wanted;
    let mut body = super::run::body(&given)?;
    if let Some(priority) = priority {
        body["priority"] = json!(priority);
    }
    let path = format!("/api/workflows/{name}/trigger");
    let started = client.post(&path, &body, &key).await?;
    let id = started["executionId"]
        .as_str()
        .context("the gateway gave no execution id")?;
    output.json(&started);
    let version = &started["version"];
    output.text(format!(
        "{name} v{version}  {}",
        output.paint(Tone::Quiet, id)
    ));
    match wait {
        None => Ok(ExitCode::SUCCESS),
        Some(wait) => super::run::follow(client, id, Duration::from_secs(wait), output).await,
    }
}

async fn switch(
    action: &str,
    which: SwitchWorkflow,
    client: &Client,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let SwitchWorkflow { name, reason, key } = which;
    let path = format!("/api/workflows/{name}/{action}");
    let answer = client
        .post(&path, &json!({ "reason": reason }), &key)
        .await?;
    output.json(&answer);
    let came_of_it = match answer["outcome"].as_str() {
        Some("applied") => "done",
        _ => "it was so already",
    };
    output.text(format!("{name}: {action}: {came_of_it}"));
    Ok(ExitCode::SUCCESS)
}

async fn versions(
    name: &str,
    limit: u32,
    before: Option<u32>,
    client: &Client,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let path = format!("/api/workflows/{name}/versions");
    let mut query = vec![("limit", limit.to_string())];
    query.extend(before.map(|before| ("before", before.to_string())));
    let found = client.get_with(&path, &query).await?;
    output.json(&found);
    let rows: Vec<Vec<String>> = found["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|version| {
            let text = |key: &str| version[key].as_str().unwrap_or("-").to_owned();
            let hash: String = text("hash").chars().take(12).collect();
            vec![
                version["version"].to_string(),
                hash,
                text("appliedAt"),
                text("appliedBy"),
            ]
        })
        .collect();
    output.table(&["VERSION", "HASH", "APPLIED", "BY"], &rows);
    if let Some(before) = found["nextBefore"].as_u64() {
        output.text(format!("there are more: --before {before}"));
    }
    Ok(ExitCode::SUCCESS)
}

async fn diff(
    name: &str,
    from: Option<u32>,
    to: Option<u32>,
    client: &Client,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let mut query = Vec::new();
    query.extend(from.map(|from| ("from", from.to_string())));
    query.extend(to.map(|to| ("to", to.to_string())));
    let path = format!("/api/workflows/{name}/diff");
    let found = client.get_with(&path, &query).await?;
    output.json(&found);
    let changes = found["changes"].as_array().map_or(&[][..], Vec::as_slice);
    if changes.is_empty() {
        output.text("no difference");
    }
    for change in changes {
        let path = change["path"].as_str().unwrap_or_default();
        let (sign, tone) = match change["op"].as_str() {
            Some("added") => ("+", Tone::Good),
            Some("removed") => ("-", Tone::Bad),
            _ => ("~", Tone::Waiting),
        };
        let side = |key: &str| change.get(key).filter(|value| !value.is_null());
        let values = match (side("old"), side("new")) {
            (Some(before), Some(after)) => format!("{before} → {after}"),
            (Some(value), None) | (None, Some(value)) => value.to_string(),
            (None, None) => String::new(),
        };
        output.text(format!("{} {path}  {values}", output.paint(tone, sign)));
    }
    Ok(ExitCode::SUCCESS)
}
