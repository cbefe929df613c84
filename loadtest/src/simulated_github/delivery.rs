//! Sending a webhook from the simulation to a receiver on the same machine.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::simulation::{Simulation, locked};
use super::webhook;

/// GitHub gives a receiver ten seconds.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// What to send, and where to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// On the loopback interface.
    pub url: String,
    /// Signs the body.
    pub secret: String,
    /// `issues` or `ping`, or any other together with `payload`.
    #[serde(default = "Delivery::default_event")]
    pub event: String,
    /// Of an `issues` event.
    #[serde(default = "Delivery::default_action")]
    pub action: String,
    /// `owner/name`.
    pub repository: String,
    /// The number of an issue that exists; required for `issues` without `payload`.
    #[serde(default)]
    pub issue: Option<u64>,
    /// The label of `labeled`; the issue's last one if absent.
    #[serde(default)]
    pub label: Option<String>,
    /// A new one if absent; give one to deliver again what was delivered before.
    #[serde(default)]
    pub delivery_id: Option<String>,
    /// Sent as it is.
    #[serde(default)]
    pub payload: Option<Value>,
}

impl Delivery {
    /// An `issues.labeled` delivery about an issue of the simulation.
    pub fn labeled(url: &str, secret: &str, repository: &str, issue: u64) -> Self {
        Self {
            url: url.to_owned(),
            secret: secret.to_owned(),
            event: Self::default_event(),
            action: Self::default_action(),
            repository: repository.to_owned(),
            issue: Some(issue),
            label: None,
            delivery_id: None,
            payload: None,
        }
    }

    fn default_event() -> String {
        "issues".to_owned()
    }

    fn default_action() -> String {
        "labeled".to_owned()
    }
}

/// The receiver's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// The `X-GitHub-Delivery` that was sent.
    pub delivery_id: String,
    /// Of the receiver.
    pub status: u16,
    /// Of the receiver.
    pub body: String,
}

pub(crate) async fn send(simulation: &Simulation, delivery: &Delivery) -> Result<Delivered> {
    let url = reqwest::Url::parse(&delivery.url).context("parse the webhook's URL")?;
    if !is_loopback(&url) {
        bail!("webhook URL {url} is not on the loopback interface");
    }
    let body = serde_json::to_vec(&payload(simulation, delivery)?)?;
    let delivery_id = delivery
        .delivery_id
        .clone()
        .unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let secret = delivery.secret.as_bytes();
    let mut request = simulation.client.post(url).timeout(DELIVERY_TIMEOUT);
    for (name, value) in webhook::headers(&delivery.event, &delivery_id, secret, &body) {
        request = request.header(name, value);
    }
    let response = request
        .body(body)
        .send()
        .await
        .context("deliver the webhook")?;
    let status = response.status().as_u16();
    let body = response
        .text()
        .await
        .context("read the answer to the webhook")?;
    Ok(Delivered {
        delivery_id,
        status,
        body,
    })
}

fn payload(simulation: &Simulation, delivery: &Delivery) -> Result<Value> {
    if let Some(payload) = &delivery.payload {
        return Ok(payload.clone());
    }
    let name = &delivery.repository;
    match delivery.event.as_str() {
        "ping" => Ok(webhook::ping(name)),
        "issues" => {
            let number = delivery
                .issue
                .context("an issues event needs the field `issue`")?;
            let Ok(repository) = simulation.repository(name) else {
                bail!("repository {name} does not exist");
            };
            let repository = locked(&repository);
            let Ok(issue) = repository.issue(number) else {
                bail!("issue {name}#{number} does not exist");
            };
            let is_about_label = matches!(delivery.action.as_str(), "labeled" | "unlabeled");
            let label = delivery
                .label
                .as_ref()
                .or(issue.labels.last())
                .filter(|_| is_about_label);
            let label = label.map(String::as_str);
            Ok(webhook::issues_payload(
                &delivery.action,
                &repository.place,
                issue,
                label,
            ))
        }
        event => bail!("event {event} needs the field `payload`"),
    }
}

fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
