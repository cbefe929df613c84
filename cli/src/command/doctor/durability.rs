//! Whether the servers sync as `nats.durability` says they do. Nothing that a client of NATS can ask tells
//! it; the monitoring address does.

use std::time::Duration;

use afu9_broker::Durability;
use serde::Deserialize;

use super::{Check, Verdict, check};
use crate::settings::Settings;

const NAME: &str = "durability";

/// Monitoring answers from memory.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What the mode `fast` promises not to exceed: the server's default.
const LONGEST_INTERVAL: Duration = Duration::from_secs(120);

/// The part of `/varz` that counts.
#[derive(Debug, Deserialize)]
struct Varz {
    jetstream: JetStream,
}

#[derive(Debug, Deserialize)]
struct JetStream {
    config: Option<Config>,
}

#[derive(Debug, Default, Deserialize)]
struct Config {
    #[serde(default)]
    sync_always: bool,
    /// In nanoseconds.
    #[serde(default)]
    sync_interval: u64,
}

/// One check for each monitoring address.
pub(super) async fn run(settings: &Settings) -> Vec<Check> {
    let mode = settings.nats.durability;
    if settings.nats.monitor_urls.is_empty() {
        let message = "whether the server syncs as nats.durability says is not known; give its monitoring \
                       address, nats.monitor_urls (AFU9_NATS__MONITOR_URLS)";
        return vec![check(NAME, Verdict::NotConfigured, message)];
    }
    let mut checks = Vec::new();
    for url in &settings.nats.monitor_urls {
        let (verdict, found) = match ask(url).await {
            Ok(Varz { jetstream }) => judge(mode, jetstream.config.as_ref()),
            Err(error) => (Verdict::Error, format!("{error:#}")),
        };
        checks.push(check(NAME, verdict, format!("{url}: {found}")));
    }
    checks
}

async fn ask(url: &str) -> anyhow::Result<Varz> {
    let http = reqwest::Client::builder().timeout(TIMEOUT).build()?;
    let answer = http.get(format!("{url}/varz")).send().await?;
    Ok(answer.error_for_status()?.json().await?)
}

fn judge(mode: Durability, config: Option<&Config>) -> (Verdict, String) {
    let Some(config) = config else {
        return (Verdict::Error, "JetStream is not enabled".to_owned());
    };
    let interval = Duration::from_nanos(config.sync_interval);
    match (mode, config.sync_always) {
        (Durability::Durable, true) => (Verdict::Ok, "syncs every message".to_owned()),
        (Durability::Durable, false) => {
            let found = format!(
                "syncs every {} s, and nats.durability is durable: give the server \
                 `jetstream {{ sync_interval: always }}`",
                interval.as_secs()
            );
            (Verdict::Error, found)
        }
        (Durability::Fast, true) => (
            Verdict::Warning,
            "syncs every message, and nats.durability is fast: the work queues are then synced too, for \
             nothing; say durable"
                .to_owned(),
        ),
        (Durability::Fast, false) if interval > LONGEST_INTERVAL => {
            let found = format!(
                "syncs every {} s, so that a power cut takes more than the {} s that mode fast may lose; an \
                 interval needs quotes, `sync_interval: \"2m\"`, or is read as a count of seconds",
                interval.as_secs(),
                LONGEST_INTERVAL.as_secs()
            );
            (Verdict::Error, found)
        }
        (Durability::Fast, false) => (
            Verdict::Ok,
            format!("syncs every {} s", interval.as_secs()),
        ),
    }
}
