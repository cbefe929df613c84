//! `afu9 workflows`: apply, check and list definitions.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use afu9_engine::workflow::{Compiled, compile};
use afu9_schemas::definition::{Diagnostic, ReadOptions};
use anyhow::Context;
use serde_json::{Value, json};

use crate::arguments::Workflows;
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
        Workflows::Versions { name } => {
            let client = Client::new(&settings()?.api)?;
            versions(&name, &client, output).await
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

async fn versions(name: &str, client: &Client, output: Output) -> anyhow::Result<ExitCode> {
    let path = format!("/api/workflows/{name}/versions");
    let found = client.get(&path).await?;
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
