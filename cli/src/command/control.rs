//! `afu9 executions` with a wish: what people want changed about executions.

use std::process::ExitCode;

use anyhow::Context;
use serde_json::{Map, Value, json};

use super::run::input;
use crate::arguments::{Executions, Wish};
use crate::client::Client;
use crate::output::{Output, Tone};

pub(crate) async fn run(
    command: Executions,
    client: &Client,
    output: Output,
) -> anyhow::Result<ExitCode> {
    match command {
        // Lists and the like are not wishes; whoever calls has dealt with them.
        Executions::Ls { .. }
        | Executions::Show { .. }
        | Executions::Items { .. }
        | Executions::Events { .. }
        | Executions::Bulk(_) => Ok(ExitCode::SUCCESS),
        Executions::Explain { id } => explain(&id, client, output).await,
        Executions::Cancel(wish) => send("cancel", wish, Map::new(), client, output).await,
        Executions::Pause(wish) => send("pause", wish, Map::new(), client, output).await,
        Executions::Resume(wish) => send("resume", wish, Map::new(), client, output).await,
        Executions::Retry { wish, step, params } => {
            let mut body = Map::new();
            body.extend(step.map(|step| ("step".to_owned(), json!(step))));
            if let Some(params) = params {
                body.insert("params".to_owned(), json_argument(&params)?);
            }
            send("retry", wish, body, client, output).await
        }
        Executions::Approve { wish, step } => {
            let body = step.map(|step| ("step".to_owned(), json!(step)));
            send("approve", wish, body.into_iter().collect(), client, output).await
        }
        Executions::Reject { wish, step } => {
            let body = step.map(|step| ("step".to_owned(), json!(step)));
            send("reject", wish, body.into_iter().collect(), client, output).await
        }
        Executions::Move { wish, to } => {
            let body = Map::from_iter([("version".to_owned(), json!(to))]);
            send("move", wish, body, client, output).await
        }
        Executions::Signal {
            id,
            name,
            payload,
            key,
        } => {
            let path = format!("/api/executions/{id}/signal/{name}");
            let answer = client.post(&path, &json_argument(&payload)?, &key).await?;
            tell(&id, &answer, output);
            Ok(ExitCode::SUCCESS)
        }
        Executions::Rerun {
            wish,
            input: given,
            from_step,
            of_version,
        } => {
            let mut body = Map::new();
            if !given.is_empty() {
                body.insert("input".to_owned(), input(&given)?);
            }
            body.extend(from_step.map(|step| ("fromStep".to_owned(), json!(step))));
            body.extend(of_version.map(|version| ("version".to_owned(), json!(version))));
            body.extend(
                wish.reason
                    .map(|reason| ("reason".to_owned(), json!(reason))),
            );
            let path = format!("/api/executions/{}/rerun", wish.id);
            let answer = client.post(&path, &Value::Object(body), &wish.key).await?;
            output.json(&answer);
            let new = answer["executionId"].as_str().unwrap_or("-");
            output.text(format!("{}: runs again as {new}", wish.id));
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn send(
    action: &str,
    wish: Wish,
    mut body: Map<String, Value>,
    client: &Client,
    output: Output,
) -> anyhow::Result<ExitCode> {
    body.extend(
        wish.reason
            .map(|reason| ("reason".to_owned(), json!(reason))),
    );
    let path = format!("/api/executions/{}/{action}", wish.id);
    let answer = client.post(&path, &Value::Object(body), &wish.key).await?;
    tell(&wish.id, &answer, output);
    Ok(ExitCode::SUCCESS)
}

fn tell(id: &str, answer: &Value, output: Output) {
    output.json(answer);
    let action = answer["action"].as_str().unwrap_or("request");
    let came_of_it = match answer["outcome"].as_str() {
        Some("applied") => "done",
        Some("unchanged") => "it was so already",
        _ => "stored; it takes effect as soon as the execution's orchestrator is back",
    };
    output.text(format!("{id}: {action}: {came_of_it}"));
}

async fn explain(id: &str, client: &Client, output: Output) -> anyhow::Result<ExitCode> {
    let path = format!("/api/executions/{id}/explain");
    let found = client.get(&path).await?;
    output.json(&found);
    let text = |key: &str| found[key].as_str().unwrap_or("-");
    let status = output.status(text("status"));
    output.text(format!("{id}  {}  {status}", text("workflow")));
    if let Some(message) = found["error"]["message"].as_str() {
        output.text(format!("{} {message}", output.paint(Tone::Bad, "error:")));
    }
    for line in found["summary"].as_array().into_iter().flatten() {
        output.text(format!("  {}", line.as_str().unwrap_or_default()));
    }
    if let Some(more) = found["more"].as_u64().filter(|more| *more > 0) {
        output.text(format!("  and {more} more of the same sort"));
    }
    Ok(ExitCode::SUCCESS)
}

/// JSON, or a file that holds it.
pub(super) fn json_argument(argument: &str) -> anyhow::Result<Value> {
    let text = match argument.strip_prefix('@') {
        Some(file) => {
            std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?
        }
        None => argument.to_owned(),
    };
    serde_json::from_str(&text).with_context(|| format!("`{argument}` is not JSON"))
}
