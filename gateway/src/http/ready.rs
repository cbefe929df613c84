//! `GET /api/ready`: whether requests can be carried out. Every check has its own timeout, and they
//! run side by side.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use afu9_schemas::WorkerKind;
use afu9_schemas::message::DependencyStatus;
use afu9_schemas::tool::kind_profile;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use tokio::time::{Instant, timeout};

use crate::app::{App, now};
use crate::readiness::{Check, domain, report};

/// Longest time for one check; the whole answer is due within five seconds.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// Worker kinds whose state the contract names.
const DOMAINS: [(&str, &str); 3] = [
    ("github", "mcp-github"),
    ("deploy", "mcp-deploy"),
    ("observability", "mcp-observability"),
];

pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    let (database, nats, letters) = tokio::join!(database(&app), nats(&app), dead_letters(&app));
    let mut checks = vec![database, nats, environment(&app), letters];
    for (kind, name) in DOMAINS {
        let kind = WorkerKind::new(kind).expect("the names above are valid");
        let configured = kind_profile(&kind).is_some() && app.broker.config().kinds.contains(&kind);
        checks.push(domain(
            name,
            configured,
            &app.fleet.live(&kind, Instant::now()),
        ));
    }
    let (is_ready, body) = report(&checks, &app.config.version, &now().to_string());
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(body)).into_response()
}

async fn database(app: &App) -> Check {
    if !app.stored.is_configured() {
        return Check::new("database", false, DependencyStatus::NotConfigured, None);
    }
    let asked = async {
        match app.stored.check().await {
            Some(Ok(latency)) => Ok(latency),
            Some(Err(error)) => {
                tracing::debug!(error = %afu9_broker::error::chain(&error), "database not ready");
                Err(error.to_string())
            }
            None => Err("there is none".to_owned()),
        }
    };
    within("database", asked).await
}

async fn nats(app: &App) -> Check {
    let asked = async {
        app.broker.check().await.map_err(|error| {
            tracing::debug!(error = %afu9_broker::error::chain(&error), "nats not ready");
            "JetStream does not answer".to_owned()
        })
    };
    within("nats", asked).await
}

/// Never an error: the gateway works, and somebody has to.
async fn dead_letters(app: &App) -> Check {
    let check = |status, message| Check::new("dead_letters", false, status, message);
    let counted = match timeout(CHECK_TIMEOUT, app.open_letters()).await {
        Ok(Ok(Some(counted))) => counted,
        Ok(Ok(None)) => return check(DependencyStatus::NotConfigured, None),
        Ok(Err(_)) | Err(_) => {
            let message = "the database does not count them";
            return check(DependencyStatus::Warning, Some(message.to_owned()));
        }
    };
    let alarm = app.config.dead_letter_alarm;
    match counted.overdue(now(), alarm) {
        None => check(DependencyStatus::Ok, None),
        Some(age) => {
            let message = format!(
                "{} are open, the oldest for {} s, longer than {} s: replay or discard them",
                counted.count(),
                age.as_secs(),
                alarm.as_secs()
            );
            check(DependencyStatus::Warning, Some(message))
        }
    }
}

async fn within(
    name: &'static str,
    asked: impl Future<Output = Result<Duration, String>>,
) -> Check {
    let failed = |message: String| Check::new(name, true, DependencyStatus::Error, Some(message));
    match timeout(CHECK_TIMEOUT, asked).await {
        Ok(Ok(latency)) => Check::answered(
            name,
            true,
            u64::try_from(latency.as_millis()).unwrap_or(u64::MAX),
        ),
        Ok(Err(message)) => failed(message),
        Err(_) => failed(format!("no answer within {} s", CHECK_TIMEOUT.as_secs())),
    }
}

fn environment(app: &App) -> Check {
    let (mistakes, gaps) = (app.config.mistakes(), app.config.gaps());
    let (status, message) = if !mistakes.is_empty() {
        (DependencyStatus::Error, Some(mistakes.join("; ")))
    } else if !gaps.is_empty() {
        (DependencyStatus::Warning, Some(gaps.join("; ")))
    } else {
        (DependencyStatus::Ok, None)
    };
    Check::new("environment", true, status, message)
}
