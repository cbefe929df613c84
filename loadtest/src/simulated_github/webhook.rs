//! Webhooks as GitHub sends them: payloads, signatures, headers.
//!
//! Pure, so that tests and load generators build deliveries without a running simulation.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::auth::Access;
use super::config::Visibility;
use super::repository::issue::NewIssue;
use super::repository::{Issue as StoredIssue, Place};
use super::view;

/// What GitHub's `X-GitHub-Hook-ID` would be; any constant does.
pub const HOOK_ID: u64 = 292_430_182;
/// The `User-Agent` of GitHub's deliveries.
pub const USER_AGENT: &str = "GitHub-Hookshot/044aadd";
const SENDER: &str = "octocat";

/// The facts of an issue that a payload shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Within the repository.
    pub number: u64,
    /// The title.
    pub title: String,
    /// Markdown.
    pub body: String,
    /// All labels, including one that was just added.
    pub labels: Vec<String>,
}

/// The payload of an `issues` event with the action `labeled`; `repo` is `owner/name`.
pub fn issues_labeled(repo: &str, issue: &Issue, label: &str) -> Value {
    issues("labeled", repo, issue, Some(label))
}

/// The payload of an `issues` event with any action; `label` is for `labeled` and `unlabeled`.
pub fn issues(action: &str, repo: &str, issue: &Issue, label: Option<&str>) -> Value {
    let place = place(repo);
    let stored = NewIssue {
        title: issue.title.clone(),
        body: Some(issue.body.clone()),
        labels: issue.labels.clone(),
        assignees: Vec::new(),
        author: SENDER.to_owned(),
        now: Utc::now(),
    };
    let stored = stored.numbered(view::stable_id(repo) * 100_000 + issue.number, issue.number);
    issues_payload(action, &place, &stored, label)
}

/// The payload of a `ping` event.
pub fn ping(repo: &str) -> Value {
    let place = place(repo);
    json!({
        "zen": "Keep it logically awesome.",
        "hook_id": HOOK_ID,
        "hook": {"type": "Repository", "id": HOOK_ID, "active": true, "events": ["issues"]},
        "repository": view::repository(&place, place.created_at, Access::Write),
        "sender": view::user(&place.base_url, SENDER),
    })
}

/// The value of `X-Hub-Signature-256`: `sha256=` and the HMAC of the body in hexadecimal digits.
pub fn sign(secret: &[u8], body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// All headers of a delivery, with `content-type`; `body` is what is sent, byte for byte.
pub fn headers(
    event: &str,
    delivery_id: &str,
    secret: &[u8],
    body: &[u8],
) -> Vec<(&'static str, String)> {
    vec![
        ("content-type", "application/json".to_owned()),
        ("accept", "*/*".to_owned()),
        ("user-agent", USER_AGENT.to_owned()),
        ("x-github-event", event.to_owned()),
        ("x-github-delivery", delivery_id.to_owned()),
        ("x-github-hook-id", HOOK_ID.to_string()),
        (
            "x-github-hook-installation-target-type",
            "repository".to_owned(),
        ),
        ("x-github-hook-installation-target-id", "1".to_owned()),
        ("x-hub-signature-256", sign(secret, body)),
    ]
}

pub(crate) fn issues_payload(
    action: &str,
    place: &Place,
    issue: &StoredIssue,
    label: Option<&str>,
) -> Value {
    let mut payload = json!({
        "action": action,
        "issue": view::issue::issue(place, issue),
    });
    if let Some(label) = label {
        payload["label"] = view::issue::label(place, label);
    }
    payload["repository"] = view::repository(place, place.created_at, Access::Write);
    payload["sender"] = view::user(&place.base_url, SENDER);
    payload
}

/// The repository of a payload that no simulation made.
fn place(repo: &str) -> Place {
    let (owner, name) = repo.split_once('/').unwrap_or((repo, "unnamed"));
    Place {
        id: view::stable_id(repo),
        base_url: Arc::from("https://api.github.com"),
        owner: owner.to_owned(),
        name: name.to_owned(),
        visibility: Visibility::Public,
        default_branch: "main".to_owned(),
        created_at: DateTime::UNIX_EPOCH,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_is_that_of_the_documentation() {
        let signature = sign(b"It's a Secret to Everybody", b"Hello, World!");
        assert_eq!(
            signature,
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
    }

    #[test]
    fn a_labeled_payload_has_what_a_receiver_reads() {
        let issue = Issue {
            number: 7,
            title: "t".to_owned(),
            body: "b".to_owned(),
            labels: vec!["afu9".to_owned()],
        };
        let payload = issues_labeled("octo/factory", &issue, "afu9");
        assert_eq!(payload["action"], "labeled");
        assert_eq!(payload["label"]["name"], "afu9");
        assert_eq!(payload["issue"]["number"], 7);
        assert_eq!(payload["issue"]["labels"][0]["name"], "afu9");
        assert_eq!(payload["repository"]["full_name"], "octo/factory");
        assert_eq!(payload["repository"]["owner"]["login"], "octo");
        assert_eq!(payload["sender"]["login"], "octocat");
    }
}
