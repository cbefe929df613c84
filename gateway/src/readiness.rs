//! Whether the control plane is ready: from the result of each check to the answer, without asking
//! anybody.

use afu9_schemas::message::{DependencyStatus, Heartbeat};
use serde_json::{Map, Value, json};

/// A check that takes longer is a warning.
const SLOW_MS: u64 = 2000;

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    pub(crate) status: DependencyStatus,
    pub(crate) message: Option<String>,
    pub(crate) latency_ms: Option<u64>,
}

impl Check {
    /// A check without a latency.
    pub(crate) fn new(
        name: &'static str,
        required: bool,
        status: DependencyStatus,
        message: Option<String>,
    ) -> Self {
        Self {
            name,
            required,
            status,
            message,
            latency_ms: None,
        }
    }

    /// A check of something that answered after `latency_ms`.
    pub(crate) fn answered(name: &'static str, required: bool, latency_ms: u64) -> Self {
        let slow = latency_ms > SLOW_MS;
        Self {
            name,
            required,
            status: if slow {
                DependencyStatus::Warning
            } else {
                DependencyStatus::Ok
            },
            message: slow.then(|| format!("it took more than {SLOW_MS} ms to answer")),
            latency_ms: Some(latency_ms),
        }
    }
}

/// The state of a tool domain: as good as its best live worker.
pub(crate) fn domain(name: &'static str, configured: bool, workers: &[Heartbeat]) -> Check {
    if !configured {
        return Check::new(name, false, DependencyStatus::NotConfigured, None);
    }
    let best = workers
        .iter()
        .filter(|worker| !worker.draining)
        .map(|worker| (worst(worker), worker))
        .min_by_key(|(status, _)| rank(*status));
    let Some((status, worker)) = best else {
        let message = if workers.is_empty() {
            "no live worker"
        } else {
            "every live worker is about to end"
        };
        return Check::new(
            name,
            false,
            DependencyStatus::Error,
            Some(message.to_owned()),
        );
    };
    let complaint = worker.checks.iter().find(|check| check.status == status);
    let message = match status {
        DependencyStatus::Ok | DependencyStatus::NotConfigured => None,
        DependencyStatus::Warning | DependencyStatus::Error => {
            complaint.map(|check| match &check.message {
                Some(message) => format!("{}: {message}", check.name),
                None => format!("{}: {}", check.name, status_name(check.status)),
            })
        }
    };
    let latency_ms = worker
        .checks
        .iter()
        .filter_map(|check| check.latency_ms)
        .max();
    Check {
        latency_ms,
        ..Check::new(name, false, status, message)
    }
}

/// The worst of a worker's own checks.
fn worst(worker: &Heartbeat) -> DependencyStatus {
    worker
        .checks
        .iter()
        .map(|check| match (check.status, check.latency_ms) {
            (DependencyStatus::NotConfigured, _) => DependencyStatus::Ok,
            (DependencyStatus::Ok, Some(ms)) if ms > SLOW_MS => DependencyStatus::Warning,
            (status, _) => status,
        })
        .max_by_key(|status| rank(*status))
        .unwrap_or(DependencyStatus::Ok)
}

const fn rank(status: DependencyStatus) -> u8 {
    match status {
        DependencyStatus::Ok | DependencyStatus::NotConfigured => 0,
        DependencyStatus::Warning => 1,
        DependencyStatus::Error => 2,
    }
}

const fn status_name(status: DependencyStatus) -> &'static str {
    match status {
        DependencyStatus::Ok => "ok",
        DependencyStatus::Warning => "warning",
        DependencyStatus::Error => "error",
        DependencyStatus::NotConfigured => "not_configured",
    }
}

/// The answer of `/api/ready`, and whether it is a yes.
pub(crate) fn report(checks: &[Check], version: &str, now: &str) -> (bool, Value) {
    let names = |required: bool| -> Vec<&str> {
        checks
            .iter()
            .filter(|check| check.required == required)
            .map(|check| check.name)
            .collect()
    };
    let errors: Vec<String> = checks
        .iter()
        .filter(|check| check.required && check.status == DependencyStatus::Error)
        .map(|check| {
            let message = check.message.as_deref().unwrap_or("no reason given");
            format!("{} check failed: {message}", check.name)
        })
        .collect();
    let ready = errors.is_empty();
    let mut shown = Map::new();
    for check in checks {
        let mut entry = Map::new();
        entry.insert("status".to_owned(), json!(status_name(check.status)));
        if let Some(message) = &check.message {
            entry.insert("message".to_owned(), json!(message));
        }
        if let Some(latency) = check.latency_ms {
            entry.insert("latency_ms".to_owned(), json!(latency));
        }
        shown.insert(check.name.to_owned(), Value::Object(entry));
    }
    let mut answer = json!({
        "ready": ready,
        "service": crate::http::SERVICE,
        "version": version,
        "timestamp": now,
        "checks": shown,
        "dependencies": {"required": names(true), "optional": names(false)},
    });
    if !ready {
        answer["errors"] = json!(errors);
    }
    (ready, answer)
}

#[cfg(test)]
mod tests {
    use afu9_schemas::message::DependencyCheck;

    use super::*;
    use crate::fleet::tests::heartbeat;

    fn worker(status: DependencyStatus, draining: bool) -> Heartbeat {
        let mut heartbeat = heartbeat("w", "github");
        heartbeat.draining = draining;
        heartbeat.checks = vec![DependencyCheck {
            name: "github_api".to_owned(),
            status,
            message: Some("why".to_owned()),
            latency_ms: Some(12),
        }];
        heartbeat
    }

    #[test]
    fn a_domain_is_as_good_as_its_best_worker() {
        use DependencyStatus::{Error, NotConfigured, Ok, Warning};
        let status = |workers: &[Heartbeat]| domain("mcp-github", true, workers).status;
        assert_eq!(domain("mcp-github", false, &[]).status, NotConfigured);
        assert_eq!(status(&[]), Error);
        assert_eq!(status(&[worker(Error, false), worker(Ok, false)]), Ok);
        assert_eq!(status(&[worker(Error, false), worker(Ok, true)]), Error);
        assert_eq!(status(&[worker(Warning, false)]), Warning);
        assert_eq!(status(&[heartbeat("w", "github")]), Ok);
        let check = domain("mcp-github", true, &[worker(Error, false)]);
        assert_eq!(check.message.as_deref(), Some("github_api: why"));
    }

    #[test]
    fn only_required_errors_make_it_not_ready() {
        let check = |name, required, status| Check::new(name, required, status, None);
        let optional_error = [
            check("nats", true, DependencyStatus::Warning),
            check("mcp-github", false, DependencyStatus::Error),
        ];
        let (ready, answer) = report(&optional_error, "1", "t");
        assert!(ready && answer.get("errors").is_none());
        assert_eq!(
            answer["dependencies"],
            json!({"required": ["nats"], "optional": ["mcp-github"]})
        );
        let (ready, answer) = report(&[check("nats", true, DependencyStatus::Error)], "1", "t");
        assert!(!ready);
        assert_eq!(
            answer["errors"],
            json!(["nats check failed: no reason given"])
        );
        assert_eq!(
            Check::answered("nats", true, SLOW_MS + 1).status,
            DependencyStatus::Warning
        );
        assert_eq!(
            Check::answered("nats", true, SLOW_MS).status,
            DependencyStatus::Ok
        );
    }
}
