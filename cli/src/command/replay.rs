//! `afu9 workflows replay`: recorded executions under another definition.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use afu9_engine::Workflow;
use afu9_engine::replay::{Difference, Differs, Record, RecordedStep, replay};
use afu9_schemas::message::{Repository, Start, Trigger, TriggerKind, WorkflowRef};
use afu9_schemas::view::{ExecutionStatus, StepStatus};
use afu9_schemas::{DefinitionHash, Lane, WorkflowId};
use anyhow::{Context, bail};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::workflows::{print_mistakes, read};
use crate::client::Client;
use crate::output::{Output, Tone};

/// Which executions are replayed.
pub(crate) struct Wanted {
    pub(crate) workflow: Option<String>,
    pub(crate) execution: Option<String>,
    pub(crate) limit: u32,
}

pub(crate) async fn run(
    file: &Path,
    wanted: Wanted,
    client: &Client,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let workflow = match read(file)?.compiled {
        Ok(compiled) => Arc::new(compiled.workflow),
        Err(mistakes) => {
            print_mistakes(file, &mistakes, output);
            return Ok(ExitCode::FAILURE);
        }
    };
    let ids = match wanted.execution {
        Some(id) => vec![id],
        None => {
            let name = wanted.workflow;
            let name = name.unwrap_or_else(|| workflow.definition.name.clone());
            ended(&name, wanted.limit, client).await?
        }
    };
    let mut different = 0;
    for id in &ids {
        let shown = client.get(&format!("/api/executions/{id}")).await?;
        let record = record(&shown).with_context(|| format!("execution {id}"))?;
        let differences = replay(&workflow, &record);
        different += usize::from(!differences.is_empty());
        tell(id, &workflow, &differences, output);
    }
    let total = ids.len();
    output.text(format!("{total} executions replayed, {different} differ"));
    output.json(&json!({ "event": "summary", "replayed": total, "different": different }));
    Ok(if different == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The newest executions of a workflow that have ended.
async fn ended(name: &str, limit: u32, client: &Client) -> anyhow::Result<Vec<String>> {
    let mut ids = Vec::new();
    for status in ["completed", "failed"] {
        let query = [
            ("workflow", name.to_owned()),
            ("status", status.to_owned()),
            ("limit", limit.to_string()),
        ];
        let found = client.get_with("/api/executions", &query).await?;
        for execution in found["executions"].as_array().into_iter().flatten() {
            let text = |key: &str| execution[key].as_str().unwrap_or_default().to_owned();
            ids.push((text("startedAt"), text("id")));
        }
    }
    ids.sort();
    let newest = ids.into_iter().rev().map(|(_, id)| id);
    Ok(newest.take(limit as usize).collect())
}

/// What the gateway shows of an execution, as a record.
fn record(shown: &Value) -> anyhow::Result<Record> {
    if shown["metadata"]["truncated"] == true {
        bail!("its inputs and outputs are too large to be shown whole, so it cannot be replayed");
    }
    let execution = &shown["execution"];
    let text = |key: &str| execution[key].as_str().unwrap_or_default().to_owned();
    let named = text("repository");
    let repository = named.split_once('/').map(|(owner, name)| Repository {
        owner: owner.to_owned(),
        name: name.to_owned(),
        default_branch: None,
    });
    let steps = shown["steps"].as_array().map_or(&[][..], Vec::as_slice);
    Ok(Record {
        start: Start {
            workflow: WorkflowRef {
                id: WorkflowId::new(),
                name: text("workflow"),
                version: 0,
                hash: DefinitionHash::of(b"replayed"),
            },
            input: execution["input"].clone(),
            repository,
            trigger: Trigger {
                kind: TriggerKind::Manual,
                by: text("triggeredBy"),
                delivery: None,
                depth: 0,
                initiator: None,
            },
            lane: Lane::Bulk,
            traceparent: None,
            key: None,
            priority: 0,
            parent: None,
            rerun: None,
        },
        status: word::<ExecutionStatus>(&execution["status"])?,
        output: Some(execution["output"].clone()).filter(|output| !output.is_null()),
        steps: steps
            .iter()
            .map(recorded)
            .collect::<anyhow::Result<Vec<_>>>()?
            .into_iter()
            .flatten()
            .collect(),
    })
}

/// A step, and its items where it has some: their outputs are the elements of its own.
fn recorded(step: &Value) -> anyhow::Result<Vec<RecordedStep>> {
    let name = step["name"].as_str().unwrap_or_default().to_owned();
    let value = |key: &str| Some(step[key].clone()).filter(|value| !value.is_null());
    let status = word::<StepStatus>(&step["status"])?;
    let mut recorded = vec![RecordedStep {
        name: name.clone(),
        item: None,
        status,
        input: value("input"),
        output: value("output"),
        error: None,
    }];
    if step["items"].is_object() {
        let outputs = step["output"].as_array().map_or(&[][..], Vec::as_slice);
        recorded.extend(
            outputs
                .iter()
                .enumerate()
                .map(|(item, output)| RecordedStep {
                    name: name.clone(),
                    item: u32::try_from(item).ok(),
                    status: if output.is_null() {
                        StepStatus::Failed
                    } else {
                        StepStatus::Completed
                    },
                    input: None,
                    output: Some(output.clone()),
                    error: None,
                }),
        );
    }
    Ok(recorded)
}

fn word<T: DeserializeOwned>(value: &Value) -> anyhow::Result<T> {
    serde_json::from_value(value.clone()).with_context(|| format!("{value} is not known"))
}

fn tell(id: &str, workflow: &Workflow, differences: &[Difference], output: Output) {
    let lines: Vec<String> = differences.iter().map(line).collect();
    output.json(&json!({
        "event": "replayed",
        "executionId": id,
        "workflow": workflow.definition.name,
        "differences": lines,
    }));
    if lines.is_empty() {
        output.text(format!("{id}: {}", output.paint(Tone::Good, "the same")));
        return;
    }
    output.text(format!("{id}:"));
    for line in lines {
        output.text(format!("  {} {line}", output.paint(Tone::Bad, "~")));
    }
}

fn line(difference: &Difference) -> String {
    let place = match &difference.step {
        Some(step) => format!("step `{step}`"),
        None => "the execution".to_owned(),
    };
    match &difference.what {
        Differs::New => format!("{place} would run and did not: what follows is not known"),
        Differs::Gone => format!("{place} ran and does not exist any more"),
        Differs::Params { before, after } => {
            format!("{place} would get {after} instead of {before}")
        }
        Differs::Status { before, after } => {
            format!("{place} would be {after} instead of {before}")
        }
        Differs::Output { before, after } => {
            format!("{place} would give {after} instead of {before}")
        }
    }
}
