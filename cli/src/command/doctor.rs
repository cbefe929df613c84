//! `afu9 doctor`: checks the configuration and everything it points to, changes nothing, and says
//! what to do about what it finds.

mod durability;

use std::process::ExitCode;

use afu9_broker::Broker;
use serde_json::{Value, json};

use crate::client::Client;
use crate::output::{Output, Tone};
use crate::role;
use crate::settings::{Mistakes, Settings};

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warning,
    Error,
    NotConfigured,
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::NotConfigured => "not_configured",
        }
    }
}

struct Check {
    name: &'static str,
    verdict: Verdict,
    message: String,
}

fn check(name: &'static str, verdict: Verdict, message: impl Into<String>) -> Check {
    Check {
        name,
        verdict,
        message: message.into(),
    }
}

pub(crate) async fn run(
    settings: Result<Settings, Mistakes>,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let mut checks = Vec::new();
    match settings {
        Err(mistakes) => checks.push(check("configuration", Verdict::Error, mistakes.to_string())),
        Ok(settings) => {
            checks.push(check("configuration", Verdict::Ok, "valid"));
            checks.extend(secrets(&settings));
            checks.extend(nats(&settings).await);
            checks.extend(durability::run(&settings).await);
            checks.push(database(&settings).await);
            checks.extend(github(&settings).await);
            checks.push(api(&settings).await);
            if let Some(endpoint) = &settings.aws_endpoint {
                let message =
                    format!("aws.endpoint_url is {endpoint}; no worker of this build uses AWS");
                checks.push(check("aws", Verdict::NotConfigured, message));
            }
        }
    }
    for found in &checks {
        let tone = match found.verdict {
            Verdict::Ok => Tone::Good,
            Verdict::Warning => Tone::Waiting,
            Verdict::Error => Tone::Bad,
            Verdict::NotConfigured => Tone::Quiet,
        };
        let verdict = output.paint(tone, &format!("{:<15}", found.verdict.as_str()));
        output.text(format!("{:<16} {verdict} {}", found.name, found.message));
    }
    let healthy = checks.iter().all(|found| found.verdict != Verdict::Error);
    let found: Vec<Value> = checks
        .iter()
        .map(|found| {
            json!({
                "name": found.name,
                "status": found.verdict.as_str(),
                "message": found.message,
            })
        })
        .collect();
    output.json(&json!({ "healthy": healthy, "checks": found }));
    Ok(if healthy {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Names every secret that is missing, by its key in the secrets contract and by its setting.
fn secrets(settings: &Settings) -> Vec<Check> {
    let missing = |name, key: &str, setting: &str| {
        check(
            name,
            Verdict::NotConfigured,
            format!("{key} is missing; set {setting}"),
        )
    };
    let mut checks = Vec::new();
    if settings.github.is_none() {
        checks.push(missing(
            "secrets",
            "afu9/github: token (or app_id and private_key)",
            "AFU9_GITHUB__TOKEN, or AFU9_GITHUB__APP_ID and AFU9_GITHUB__PRIVATE_KEY",
        ));
    }
    if settings.gateway.webhook_secrets.is_empty() {
        checks.push(missing(
            "secrets",
            "afu9/github: webhook_secret",
            "AFU9_GATEWAY__WEBHOOK_SECRETS",
        ));
    }
    if settings.gateway.tokens.is_empty() {
        checks.push(missing(
            "secrets",
            "afu9/mcp: tokens",
            "AFU9_GATEWAY__TOKENS",
        ));
    }
    if settings.database.is_none() {
        checks.push(missing(
            "secrets",
            "afu9/database: url",
            "AFU9_DATABASE__URL",
        ));
    }
    checks
}

async fn nats(settings: &Settings) -> Vec<Check> {
    let broker = match Broker::connect(settings.broker("afu9-doctor")).await {
        Ok(broker) => broker,
        Err(error) => {
            let error = afu9_broker::error::chain(&error);
            let message = format!("{error}; is nats.url (AFU9_NATS__URL) right?");
            return vec![check("nats", Verdict::Error, message)];
        }
    };
    let reached = match broker.check().await {
        Ok(latency) => check(
            "nats",
            Verdict::Ok,
            format!("{} in {} ms", broker.server_version(), latency.as_millis()),
        ),
        Err(error) => check("nats", Verdict::Error, afu9_broker::error::chain(&error)),
    };
    let topology = match broker.inspect_topology().await {
        Err(error) => check(
            "topology",
            Verdict::Error,
            afu9_broker::error::chain(&error),
        ),
        Ok(report) if report.missing.is_empty() && report.drift.is_empty() => {
            check("topology", Verdict::Ok, "every stream is as configured")
        }
        Ok(report) if report.drift.is_empty() => check(
            "topology",
            Verdict::Warning,
            format!(
                "missing, created when a role starts: {}",
                report.missing.join(", ")
            ),
        ),
        Ok(report) => {
            let drift: Vec<String> = report.drift.iter().map(ToString::to_string).collect();
            check("topology", Verdict::Warning, drift.join("; "))
        }
    };
    vec![reached, topology]
}

async fn database(settings: &Settings) -> Check {
    let Some(database) = &settings.database else {
        return check(
            "database",
            Verdict::NotConfigured,
            "history is kept in the stream only",
        );
    };
    let checked = match role::store(database) {
        Ok(store) => store
            .check()
            .await
            .map_err(|error| afu9_broker::error::chain(&error)),
        Err(error) => Err(format!("{error:#}")),
    };
    match checked {
        Ok(latency) => check(
            "database",
            Verdict::Ok,
            format!("answers in {} ms", latency.as_millis()),
        ),
        Err(error) => check("database", Verdict::Error, error),
    }
}

async fn github(settings: &Settings) -> Vec<Check> {
    use afu9_schemas::message::DependencyStatus;
    let Some(github) = &settings.github else {
        return Vec::new();
    };
    let github = match role::github(github) {
        Ok(github) => github,
        Err(error) => return vec![check("github", Verdict::Error, format!("{error:#}"))],
    };
    github
        .check()
        .await
        .into_iter()
        .map(|found| {
            let verdict = match found.status {
                DependencyStatus::Ok => Verdict::Ok,
                DependencyStatus::Warning => Verdict::Warning,
                DependencyStatus::Error => Verdict::Error,
                DependencyStatus::NotConfigured => Verdict::NotConfigured,
            };
            let latency = found
                .latency_ms
                .map_or_else(String::new, |ms| format!("{ms} ms"));
            let message = found.message.unwrap_or(latency);
            let name = if found.name == "github_api" {
                "github_api"
            } else {
                "authentication"
            };
            check(name, verdict, message)
        })
        .collect()
}

async fn api(settings: &Settings) -> Check {
    let client = match Client::new(&settings.api) {
        Ok(client) => client,
        Err(error) => return check("api", Verdict::Error, format!("{error:#}")),
    };
    match client.get("/api/health").await {
        Ok(health) => {
            let version = health["version"].as_str().unwrap_or("unknown");
            check(
                "api",
                Verdict::Ok,
                format!("version {version} at {}", client.url()),
            )
        }
        // A machine that only runs a worker has none.
        Err(error) => check("api", Verdict::Warning, error.to_string()),
    }
}
