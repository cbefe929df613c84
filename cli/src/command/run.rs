//! `afu9 run`: applies a definition, starts it, and shows each step as it ends.

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::executions::{duration, step_line};
use super::workflows::{print_mistakes, read};
use crate::arguments::{Given, Run};
use crate::client::{Client, Refused};
use crate::output::{Output, Tone};
use crate::settings::Settings;

/// How often progress is asked for. A person notices a tenth of a second; the owner answers such a
/// question from memory.
const POLL: Duration = Duration::from_millis(100);

const CANCELLED: u8 = 3;
const NOT_ENDED: u8 = 4;

pub(crate) async fn run(run: Run, settings: &Settings, output: Output) -> anyhow::Result<ExitCode> {
    let body = body(&run.given)?;
    let source = read(&run.file)?;
    let name = match source.compiled {
        Ok(compiled) => compiled.workflow.definition.name,
        Err(mistakes) => {
            print_mistakes(&run.file, &mistakes, output);
            bail!("{} has {} mistake(s)", run.file.display(), mistakes.len());
        }
    };
    let client = Client::new(&settings.api)?;
    let applied = client.put_definition(&name, source.text).await?;
    let path = format!("/api/workflows/{name}/trigger");
    let started = client.post(&path, &body, &run.key).await?;
    let id = started["executionId"]
        .as_str()
        .context("the gateway gave no execution id")?;
    output.text(format!(
        "{name} v{}  {}",
        applied["version"],
        output.paint(Tone::Quiet, id)
    ));
    output.json(&json!({ "event": "started", "executionId": id, "workflow": name }));
    follow(&client, id, Duration::from_secs(run.wait), output).await
}

/// The body that starts an execution.
pub(super) fn body(given: &Given) -> anyhow::Result<Value> {
    let mut body = json!({ "input": input(&given.input)? });
    if let Some(repository) = &given.repository {
        body["repository"] = json!(repository);
    }
    Ok(body)
}

/// The exit code that says how an execution ended.
pub(super) fn exit_code_of_status(status: &str) -> ExitCode {
    match status {
        "completed" => ExitCode::SUCCESS,
        "cancelled" => ExitCode::from(CANCELLED),
        _ => ExitCode::FAILURE,
    }
}

/// Shows each step of an execution as it ends, until all have, for at most `wait`.
pub(super) async fn follow(
    client: &Client,
    id: &str,
    wait: Duration,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let deadline = Instant::now() + wait;
    let path = format!("/api/executions/{id}");
    let mut shown: HashMap<u64, String> = HashMap::new();
    loop {
        let found = match client.get(&path).await {
            Ok(found) => found,
            // A gateway that restarts, or a partition that moves, is waited for.
            Err(error) if is_passing(&error) && Instant::now() < deadline => {
                tokio::time::sleep(POLL * 5).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        for step in found["steps"].as_array().into_iter().flatten() {
            let status = step["status"].as_str().unwrap_or_default();
            let line = match status {
                "completed" | "failed" | "skipped" | "compensated" => step_line(step, output),
                "waiting" => step_line(step, output),
                _ => continue,
            };
            let index = step["index"].as_u64().unwrap_or_default();
            let state = format!("{status}{}", step["retryCount"]);
            if shown.insert(index, state.clone()) != Some(state) {
                output.text(format!("  {line}"));
                output.json(&json!({ "event": "step", "step": step }));
            }
        }
        let execution = &found["execution"];
        let status = execution["status"].as_str().unwrap_or_default();
        let code = match status {
            "completed" | "failed" | "cancelled" => exit_code_of_status(status),
            _ if Instant::now() >= deadline => {
                output.text(format!("not ended within {} s; it goes on", wait.as_secs()));
                output.json(&json!({ "event": "not_ended", "execution": execution }));
                return Ok(ExitCode::from(NOT_ENDED));
            }
            _ => {
                tokio::time::sleep(POLL).await;
                continue;
            }
        };
        let took = duration(&execution["durationMs"]);
        output.text(format!("{} in {took}", output.status(status)));
        if let Some(message) = execution["error"]["message"].as_str() {
            output.text(format!("{} {message}", output.paint(Tone::Bad, "error:")));
        }
        output.json(&json!({ "event": "ended", "execution": execution }));
        return Ok(code);
    }
}

fn is_passing(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<Refused>() {
        Some(refused) => refused.status.is_server_error(),
        None => true,
    }
}

/// The input from the command line: later values replace earlier ones.
pub(crate) fn input(arguments: &[String]) -> anyhow::Result<Value> {
    let mut input = Map::new();
    for argument in arguments {
        if let Some(file) = argument.strip_prefix('@') {
            let text =
                std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
            input.extend(object(&text).with_context(|| format!("{file} is not a JSON object"))?);
        } else if argument.trim_start().starts_with('{') {
            input.extend(object(argument).context("--input is not a JSON object")?);
        } else if let Some((name, value)) = argument.split_once('=') {
            let value = serde_json::from_str(value)
                .unwrap_or_else(|_not_json| Value::String(value.to_owned()));
            input.insert(name.to_owned(), value);
        } else {
            bail!("--input `{argument}` is neither name=value, nor a JSON object, nor @file");
        }
    }
    Ok(Value::Object(input))
}

fn object(text: &str) -> anyhow::Result<Map<String, Value>> {
    Ok(serde_json::from_str(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_json_where_they_can_be() {
        let arguments = [
            "n=7",
            "name=seven",
            "list=[1,2]",
            r#"{"n": 8, "more": true}"#,
        ]
        .map(str::to_owned);
        let input = input(&arguments).expect("valid");
        assert_eq!(
            input,
            json!({"n": 8, "name": "seven", "list": [1, 2], "more": true})
        );
        assert!(super::input(&["nonsense".to_owned()]).is_err());
        assert!(super::input(&["{broken".to_owned()]).is_err());
        assert!(super::input(&["@/no/such/file".to_owned()]).is_err());
    }
}
