//! `afu9 workflows replay`: recorded executions under another definition.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use afu9_engine::Workflow;
use afu9_engine::replay::{Difference, Differs, Record, RecordedStep, replay};
use afu9_schemas::message::{
    KeptStep, Repository, Rerun, Start, Trigger, TriggerKind, WorkflowRef,
};
use afu9_schemas::view::{ExecutionStatus, StepAction, StepStatus};
use afu9_schemas::{DefinitionHash, ExecutionId, StepError, Timestamp, WorkflowId};
use anyhow::{Context, ensure};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::workflows::{print_mistakes, read};
use crate::client::Client;
use crate::output::{Output, Tone};

/// Most items of one step that are read: as many as a step can have.
const MAX_ITEMS: usize = 100_000;

/// Which executions are replayed.
pub(crate) struct Wanted {
    pub(crate) workflow: Option<String>,
    pub(crate) execution: Option<String>,
    pub(crate) limit: usize,
}

/// Succeeds if at least one could be replayed, or there are none, and none differs.
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
    let (mut replayed, mut different, mut skipped) = (0, 0, 0);
    for id in &ids {
        let shown = client.get(&format!("/api/executions/{id}")).await?;
        match record(&shown, client).await {
            Ok(record) => {
                let differences = replay(&workflow, &record);
                replayed += 1;
                different += usize::from(!differences.is_empty());
                tell(id, &workflow, &differences, output);
            }
            Err(reason) => {
                skipped += 1;
                skip(id, &reason, output);
            }
        }
    }
    output.text(format!(
        "{replayed} executions replayed, {different} differ; {skipped} cannot be replayed"
    ));
    output.json(&json!({
        "event": "summary", "replayed": replayed, "different": different, "skipped": skipped,
    }));
    Ok(if different == 0 && (replayed > 0 || skipped == 0) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The newest executions of a workflow that have completed or failed.
async fn ended(name: &str, limit: usize, client: &Client) -> anyhow::Result<Vec<String>> {
    let mut ids = Vec::new();
    for status in ["completed", "failed"] {
        let query = [("workflow", name.to_owned()), ("status", status.to_owned())];
        let names = ("executions", "nextCursor", "cursor");
        let (found, _) = client
            .pages("/api/executions", &query, names, limit, None)
            .await?;
        for execution in found {
            let text = |key: &str| execution[key].as_str().unwrap_or_default().to_owned();
            ids.push((text("startedAt"), text("id")));
        }
    }
    ids.sort();
    let newest = ids.into_iter().rev().map(|(_, id)| id);
    Ok(newest.take(limit).collect())
}

/// What the gateway shows of an execution, as a record; an error says why it cannot be replayed.
async fn record(shown: &Value, client: &Client) -> anyhow::Result<Record> {
    let execution = &shown["execution"];
    let text = |key: &str| execution[key].as_str().unwrap_or_default().to_owned();
    let status = word::<ExecutionStatus>(&execution["status"])?;
    ensure!(
        status.is_terminal(),
        "it has not ended: it is {}",
        status.as_str()
    );
    ensure!(
        status != ExecutionStatus::Cancelled,
        "it was cancelled, and when is not known"
    );
    ensure!(
        shown["metadata"]["truncated"] != true,
        "its inputs and outputs are not known whole: its orchestrator leaves out what does not fit \
         into a message, and the database does not have them yet"
    );
    let id: ExecutionId = text("id").parse().context("its id")?;
    let repository = text("repository");
    let repository = repository.split_once('/').map(|(owner, name)| Repository {
        owner: owner.to_owned(),
        name: name.to_owned(),
        default_branch: execution["defaultBranch"].as_str().map(str::to_owned),
    });
    let shown_steps = shown["steps"].as_array().map_or(&[][..], Vec::as_slice);
    let mut steps = Vec::new();
    for step in shown_steps {
        steps.push(recorded(step, None)?);
        steps.extend(items(id, step, client).await?);
    }
    let version = execution["version"].as_u64().unwrap_or_default();
    Ok(Record {
        id,
        started_at: Timestamp::parse(&text("startedAt")).context("its start is not known")?,
        start: Start {
            repository,
            lane: word(&execution["lane"])?,
            rerun: rerun(execution, shown_steps)?,
            ..Start::new(
                WorkflowRef {
                    id: WorkflowId::new(),
                    name: text("workflow"),
                    version: u32::try_from(version).unwrap_or_default(),
                    hash: DefinitionHash::of(b"replayed"),
                },
                execution["input"].clone(),
                Trigger {
                    kind: TriggerKind::Manual,
                    by: text("triggeredBy"),
                    delivery: None,
                    depth: 0,
                    initiator: None,
                },
            )
        },
        status,
        error: error(&execution["error"])?,
        output: Some(execution["output"].clone()).filter(|output| !output.is_null()),
        steps,
    })
}

/// The items of a step, if it has some.
async fn items(
    execution: ExecutionId,
    step: &Value,
    client: &Client,
) -> anyhow::Result<Vec<RecordedStep>> {
    let Some(counts) = step["items"].as_object() else {
        return Ok(Vec::new());
    };
    let path = format!("/api/executions/{execution}/steps/{}/items", step["index"]);
    let names = ("items", "nextAfter", "after");
    let found = client.pages(&path, &[], names, MAX_ITEMS, None).await;
    let (found, _) = found.context("its items cannot be read")?;
    let count = |key: &str| counts.get(key).and_then(Value::as_u64).unwrap_or_default();
    let ended = count("completed") + count("failed");
    ensure!(
        found.len() as u64 >= ended,
        "the database has {} of {ended} items of step {} yet",
        found.len(),
        step["name"]
    );
    let mut recorded_items = Vec::new();
    for item in &found {
        let position = item["item"]
            .as_u64()
            .and_then(|item| u32::try_from(item).ok());
        recorded_items.push(recorded(item, position)?);
    }
    Ok(recorded_items)
}

/// A step, or an item of one.
fn recorded(step: &Value, item: Option<u32>) -> anyhow::Result<RecordedStep> {
    let value = |key: &str| Some(step[key].clone()).filter(|value| !value.is_null());
    Ok(RecordedStep {
        name: step["name"].as_str().unwrap_or_default().to_owned(),
        item,
        status: word::<StepStatus>(&step["status"])?,
        input: value("input"),
        output: value("output"),
        error: error(&step["error"])?,
    })
}

/// What a rerun took over: steps that have completed, though nobody was asked to run them.
fn rerun(execution: &Value, steps: &[Value]) -> anyhow::Result<Option<Box<Rerun>>> {
    let Some(of) = execution["rerunOf"].as_str() else {
        return Ok(None);
    };
    let mut kept = Vec::new();
    for step in steps {
        let runs = matches!(
            word::<StepAction>(&step["action"])?,
            StepAction::Tool | StepAction::Workflow
        );
        let completed = word::<StepStatus>(&step["status"])? == StepStatus::Completed;
        let attempted = step["attempts"]
            .as_array()
            .is_some_and(|all| !all.is_empty());
        if runs && completed && !attempted && step["items"].is_null() {
            kept.push(KeptStep {
                name: step["name"].as_str().unwrap_or_default().to_owned(),
                output: Some(step["output"].clone()),
            });
        }
    }
    Ok(Some(Box::new(Rerun {
        of: of.parse().context("what it repeats")?,
        kept,
        from_step: None,
        reason: None,
        scopes: Vec::new(),
    })))
}

fn error(shown: &Value) -> anyhow::Result<Option<StepError>> {
    if shown.is_null() {
        return Ok(None);
    }
    word(shown).map(Some)
}

fn word<T: DeserializeOwned>(value: &Value) -> anyhow::Result<T> {
    serde_json::from_value(value.clone()).with_context(|| format!("{value} is not known"))
}

fn skip(id: &str, reason: &anyhow::Error, output: Output) {
    let reason = format!("{reason:#}");
    output.json(&json!({ "event": "skipped", "executionId": id, "reason": reason }));
    let waiting = output.paint(Tone::Waiting, "cannot be replayed");
    output.text(format!("{id}: {waiting}: {reason}"));
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
