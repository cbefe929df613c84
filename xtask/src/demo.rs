//! `cargo xtask demo`: an issue of a simulated GitHub gets a label and becomes a pull request.
//!
//! It succeeds only if the simulated GitHub really holds the pull request, the execution is completed
//! and Postgres has its whole history.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use afu9_servers::{provision, sql, target_dir};
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::cargo::Profile;
use crate::console::Console;
use crate::http;
use crate::interrupt::{Interrupt, Interrupted};
use crate::system::{self, Github, LABEL, Options, REPOSITORY, System, WORKFLOW};
use crate::up::{self, Supervision};

mod pull_request;

/// What to do when all has been shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    End,
    Keep,
}

/// The issue that the simulated repository has from the start.
const ISSUE: u64 = 1;
/// The workflow takes less than a second; this is for a machine that is busy with something else.
const WITHIN: Duration = Duration::from_secs(60);
/// Lines of each log to show when it fails.
const TAIL: usize = 25;

pub(crate) fn run(
    profile: Profile,
    after: After,
    console: &mut Console,
    interrupt: &Interrupt,
) -> Result<ExitCode> {
    let options = Options {
        name: "demo",
        profile,
        durability: afu9_servers::Durability::Fast,
        github: Github::Simulated,
        workers: 1,
    };
    let mut system = System::start(&options, console, interrupt)?;
    if let Err(error) = show(&mut system, console, interrupt) {
        if !error.is::<Interrupted>() {
            console.heading("The demo failed; the ends of the logs");
            console.line(&system.log_tails(TAIL));
        }
        return Err(error);
    }
    let kept = match after {
        After::End => Ok(()),
        After::Keep => {
            up::print_addresses(&system, console);
            up::stay(&mut system, Supervision::On, interrupt)
        }
    };
    system.end().context("end everything")?;
    up::finish(kept, console)
}

fn show(system: &mut System, console: &mut Console, interrupt: &Interrupt) -> Result<()> {
    let before = executions(system)?;
    console.heading("Webhook");
    send_webhook(system, console)?;

    let id = system::wait_or_casualty(system, interrupt, "the execution", WITHIN, |system| {
        Ok(executions(system)?
            .into_iter()
            .find(|id| !before.contains(id)))
    })?;
    console.heading(&format!("Execution {id}"));
    let mut shown = BTreeSet::new();
    let steps = system::wait_or_casualty(system, interrupt, "its end", WITHIN, |system| {
        follow(system, &id, &mut shown, console)
    })?;

    console.heading("Pull request, as the simulated GitHub holds it");
    let github = system
        .addresses
        .github_url
        .clone()
        .context("no simulated GitHub")?;
    let state = http::get(&github, &format!("/_sim/state/{REPOSITORY}"), None)?.json()?;
    for line in pull_request::describe(&state)? {
        console.line(&line);
    }

    let client = history_client(system, console)?;
    let history = system::wait_or_casualty(system, interrupt, "the history", WITHIN, |_| {
        History::read(&client, &id).map(|history| history.complete(steps).then_some(history))
    });
    let history = history.context("Postgres does not have the whole history")?;
    history.print(console);
    Ok(())
}

fn send_webhook(system: &System, console: &mut Console) -> Result<()> {
    let github = system
        .addresses
        .github_url
        .as_deref()
        .context("no simulated GitHub")?;
    let order = json!({
        "url": format!("{}/api/webhooks/github", system.addresses.api_url),
        "secret": system.addresses.webhook_secret,
        "event": "issues",
        "action": "labeled",
        "repository": REPOSITORY,
        "issue": ISSUE,
        "label": LABEL,
    });
    console.line(&format!(
        "{REPOSITORY}#{ISSUE} gets the label `{LABEL}`: signed issues.labeled"
    ));
    let sent = http::post(github, "/_sim/webhook", &order)?.json()?;
    let status = sent["status"]
        .as_u64()
        .context("the simulated GitHub reports no status")?;
    let delivery = text(&sent["delivery_id"]);
    if status != 202 {
        bail!(
            "delivery {delivery} was answered with HTTP {status}: {}",
            text(&sent["body"])
        );
    }
    console.success(&format!(
        "delivery {delivery} was accepted with HTTP {status}"
    ));
    Ok(())
}

/// The ids of the newest executions of the workflow.
fn executions(system: &System) -> Result<Vec<String>> {
    let list = api(system, "/api/executions?limit=20")?;
    let all = list["executions"]
        .as_array()
        .context("the API lists no executions")?;
    let ours = all.iter().filter(|one| one["workflow"] == WORKFLOW);
    Ok(ours.map(|one| text(&one["id"])).collect())
}

/// Shows the steps that have ended since the last look. Returns how many have completed, once the
/// execution is.
fn follow(
    system: &System,
    id: &str,
    shown: &mut BTreeSet<String>,
    console: &mut Console,
) -> Result<Option<usize>> {
    let answer = http::get(
        &system.addresses.api_url,
        &format!("/api/executions/{id}"),
        Some(&system.addresses.token),
    )?;
    if answer.status == 404 {
        return Ok(None);
    }
    let shape = answer.json()?;
    let mut steps: Vec<&Value> = shape["steps"].as_array().into_iter().flatten().collect();
    steps.sort_by_key(|step| step["index"].as_u64());
    for step in &steps {
        let (name, status) = (text(&step["name"]), text(&step["status"]));
        let ended = ["completed", "failed", "skipped", "compensated"].contains(&status.as_str());
        if !ended || !shown.insert(name.clone()) {
            continue;
        }
        let took = step["durationMs"]
            .as_u64()
            .map_or(String::new(), |ms| format!("{ms} ms"));
        let retries = match step["retryCount"].as_u64() {
            None | Some(0) => String::new(),
            Some(count) => format!(", retries: {count}"),
        };
        let line = format!("{name:<28} {status:<10} {took:>8}{retries}");
        match status.as_str() {
            "failed" => console.failure(&format!("{line}  {}", text(&step["error"]))),
            _ => console.success(&line),
        }
    }
    let status = text(&shape["execution"]["status"]);
    match status.as_str() {
        "completed" => {
            console.success("the execution is completed");
            Ok(Some(
                steps
                    .iter()
                    .filter(|step| step["status"] == "completed")
                    .count(),
            ))
        }
        "failed" | "cancelled" => {
            bail!(
                "the execution is {status}: {}",
                text(&shape["execution"]["error"])
            )
        }
        _ => Ok(None),
    }
}

/// What Postgres knows of one execution.
struct History {
    execution: sql::Rows,
    steps: sql::Rows,
    calls: sql::Rows,
}

fn history_client(system: &System, console: &mut Console) -> Result<sql::Client> {
    let bin_dir = match &system.installation {
        Some(installation) => installation.bin_dir.clone(),
        // The database is somebody else's, and its client still has to be found.
        None => {
            provision::postgres(&target_dir(), console)
                .context("find psql")?
                .bin_dir
        }
    };
    Ok(sql::Client::new(
        &bin_dir,
        system.addresses.database_url.clone(),
    ))
}

impl History {
    fn read(client: &sql::Client, id: &str) -> Result<Self> {
        // It is pasted into statements.
        if !id.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
            bail!("`{id}` is not an execution's id");
        }
        let execution = client.query(&format!(
            "SELECT id, status, triggered_by, to_char(started_at, 'HH24:MI:SS.MS') AS started, \
             to_char(completed_at, 'HH24:MI:SS.MS') AS completed FROM workflow_executions WHERE id = '{id}'"
        ))?;
        let steps = client.query(&format!(
            "SELECT step_index, step_name, status, duration_ms, retry_count FROM workflow_steps \
             WHERE execution_id = '{id}' ORDER BY step_index"
        ))?;
        let calls = client.query(&format!(
            "SELECT server_name, tool_name, duration_ms, error FROM mcp_tool_calls \
             WHERE execution_id = '{id}' ORDER BY started_at"
        ))?;
        Ok(Self {
            execution,
            steps,
            calls,
        })
    }

    /// Every step of this workflow calls one tool.
    fn complete(&self, completed_steps: usize) -> bool {
        let status = self.execution.rows.first().and_then(|row| row.get(1));
        let ended = |row: &&Vec<String>| row.get(2).is_some_and(|status| status == "completed");
        status.is_some_and(|status| status == "completed")
            && completed_steps > 0
            && self.steps.rows.iter().filter(ended).count() == completed_steps
            && self.calls.rows.len() >= completed_steps
    }

    fn print(&self, console: &mut Console) {
        let tables = [
            ("workflow_executions", &self.execution),
            ("workflow_steps", &self.steps),
            ("mcp_tool_calls", &self.calls),
        ];
        for (name, rows) in tables {
            console.heading(&format!("Postgres: {name}"));
            console.table(&rows.columns, &rows.rows);
        }
    }
}

fn api(system: &System, path: &str) -> Result<Value> {
    http::get(
        &system.addresses.api_url,
        path,
        Some(&system.addresses.token),
    )?
    .json()
}

/// A JSON value as a person reads it.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
