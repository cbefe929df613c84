//! `afu9 dead-letters`: what nobody could finish, and what becomes of it.

use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::bulk::{is_all, tell, tell_count};
use super::control::json_argument;
use crate::arguments::{BulkLetters, DeadLetters, Key, LetterFilter};
use crate::client::Client;
use crate::output::{Output, Tone};
use crate::settings::Settings;

const PATH: &str = "/api/v1/dead-letters";

/// As much of an error is in a line of the list.
const SHOWN_CHARS: usize = 60;

pub(crate) async fn run(
    command: DeadLetters,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let client = Client::new(&settings.api)?;
    match command {
        DeadLetters::List {
            filter,
            state,
            limit,
            cursor,
        } => list(filter, state, limit, cursor, &client, output).await?,
        DeadLetters::Show { id } => {
            let found = client.get(&format!("{PATH}/{id}")).await?;
            output.json(&found);
            show(&found, output);
        }
        DeadLetters::Replay {
            id,
            params,
            note,
            key,
        } => {
            let mut body = note_body(note);
            if let Some(params) = params {
                body.insert("params".to_owned(), json_argument(&params)?);
            }
            settle("replay", &id, body, &key, &client, output).await?;
        }
        DeadLetters::Discard { id, note, key } => {
            let body = note_body(Some(note));
            settle("discard", &id, body, &key, &client, output).await?;
        }
        DeadLetters::Bulk(wanted) => return bulk(wanted, &client, output).await,
    }
    Ok(ExitCode::SUCCESS)
}

fn note_body(note: Option<String>) -> Map<String, Value> {
    let note = note.map(|note| ("note".to_owned(), json!(note)));
    note.into_iter().collect()
}

fn given(filter: LetterFilter) -> impl Iterator<Item = (&'static str, String)> {
    let LetterFilter {
        reason,
        kind,
        tool,
        workflow,
        execution,
        since,
        until,
    } = filter;
    let given = [
        ("reason", reason),
        ("kind", kind),
        ("tool", tool),
        ("workflow", workflow),
        ("execution", execution),
        ("since", since),
        ("until", until),
    ];
    given
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
}

async fn list(
    filter: LetterFilter,
    state: String,
    limit: usize,
    cursor: Option<String>,
    client: &Client,
    output: Output,
) -> anyhow::Result<()> {
    let mut query: Vec<_> = given(filter).collect();
    if state != "all" {
        query.push(("state", state));
    }
    let names = ("deadLetters", "nextCursor", "cursor");
    let (letters, next) = client.pages(PATH, &query, names, limit, cursor).await?;
    output.json(&json!({ "deadLetters": letters, "nextCursor": next }));
    let rows: Vec<Vec<String>> = letters
        .iter()
        .map(|letter| {
            let text = |key: &str| letter[key].as_str().unwrap_or("-").to_owned();
            let error = &letter["error"];
            let code = error["code"].as_str().unwrap_or("-");
            let said: String = error["message"]
                .as_str()
                .unwrap_or_default()
                .chars()
                .take(SHOWN_CHARS)
                .collect();
            vec![
                text("id"),
                text("at"),
                text("state"),
                text("reason"),
                about(letter),
                format!("{code}: {said}"),
            ]
        })
        .collect();
    output.table(&["ID", "AT", "STATE", "REASON", "ABOUT", "ERROR"], &rows);
    if let Some(cursor) = next.as_str() {
        output.text(format!("there are more: --cursor {cursor}"));
    }
    Ok(())
}

/// What a dead letter is about: the step of a workflow, or a delivery.
fn about(letter: &Value) -> String {
    let text = |key: &str| letter[key].as_str();
    match (text("workflow"), text("step"), text("delivery")) {
        (Some(workflow), Some(step), _) => format!("{workflow} {step}"),
        (_, _, Some(delivery)) => format!("delivery {delivery}"),
        (Some(workflow), None, None) => workflow.to_owned(),
        _ => text("kind").unwrap_or("-").to_owned(),
    }
}

fn show(letter: &Value, output: Output) {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let line = |name: &str, value: &Value| {
        let shown = match value {
            Value::Null => return,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        output.text(format!("{name:<12} {shown}"));
    };
    output.text(format!(
        "{}  {}  {}  {}",
        text(&letter["id"]),
        text(&letter["state"]),
        text(&letter["reason"]),
        text(&letter["at"]),
    ));
    let error = &letter["error"];
    output.text(format!(
        "{} {}: {}",
        output.paint(Tone::Bad, "error:"),
        text(&error["code"]),
        text(&error["message"])
    ));
    for cause in error["chain"].as_array().into_iter().flatten() {
        output.text(format!("  because {}", text(cause)));
    }
    for (name, key) in [
        ("workflow", "workflow"),
        ("execution", "executionId"),
        ("step", "step"),
        ("item", "item"),
        ("attempt", "attempt"),
        ("tool", "tool"),
        ("delivery", "delivery"),
        ("trace", "traceId"),
        ("earlier", "earlier"),
        ("trigger", "trigger"),
    ] {
        line(name, &letter[key]);
    }
    line("params", &letter["job"]["params"]);
    line("raw", &letter["raw"]["text"]);
    if letter["raw"]["text"].is_null() {
        line("raw (base64)", &letter["raw"]["base64"]);
    }
    for attempt in letter["attempts"].as_array().into_iter().flatten() {
        output.text(format!(
            "  attempt {} by {} at {}: {}",
            attempt["attempt"],
            text(&attempt["worker"]),
            text(&attempt["dispatchedAt"]),
            text(&attempt["error"]["message"]),
        ));
    }
    let settled = &letter["settled"];
    if settled.is_object() {
        output.text(format!(
            "{} by {} at {}: {}",
            text(&letter["state"]),
            text(&settled["by"]),
            text(&settled["at"]),
            text(&settled["note"]),
        ));
    } else if letter["replay"]["possible"] == false {
        output.text(format!(
            "it cannot be replayed: {} ({})",
            text(&letter["replay"]["why"]),
            text(&letter["replay"]["nextAction"]),
        ));
    }
}

async fn settle(
    action: &str,
    id: &str,
    body: Map<String, Value>,
    key: &Key,
    client: &Client,
    output: Output,
) -> anyhow::Result<()> {
    let path = format!("{PATH}/{id}/{action}");
    let answer = client.post(&path, &Value::Object(body), key).await?;
    output.json(&answer);
    let came_of_it = match answer["outcome"].as_str() {
        Some("applied") => "done",
        Some("unchanged") => "it was so already",
        _ => "stored; it takes effect as soon as the execution's orchestrator is back",
    };
    output.text(format!("{id}: {action}: {came_of_it}"));
    Ok(())
}

async fn bulk(wanted: BulkLetters, client: &Client, output: Output) -> anyhow::Result<ExitCode> {
    let filter: Map<String, Value> = given(wanted.filter)
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    let body = json!({
        "action": wanted.action.as_str(),
        "filter": filter,
        "all": wanted.all,
        "dryRun": wanted.dry_run,
        "limit": wanted.limit,
        "cursor": wanted.cursor,
        "note": wanted.note,
    });
    let path = format!("{PATH}/bulk");
    let answer = client.post(&path, &body, &wanted.key).await?;
    output.json(&answer);
    if wanted.dry_run {
        tell_count("dead letters", &answer, output);
    } else {
        tell("dead letters", &answer, output);
    }
    Ok(if is_all(&answer) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
