//! `POST /api/webhooks/github`: a signed delivery is stored as it came; routing it comes later.

use std::sync::Arc;

use afu9_schemas::DeliveryId;
use afu9_schemas::artifact::MAX_INLINE_BYTES;
use afu9_schemas::message::{InboxBody, InboxDelivery};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{body, computed};
use crate::app::{App, now};
use crate::problem::{Kind, Problem};
use crate::{form, signature, traceparent};

const SOURCE: &str = "github";

/// Headers that are stored with a delivery. A list of what is kept, because a proxy may add headers
/// that hold secrets.
const KEPT_HEADERS: [&str; 7] = [
    "content-type",
    "user-agent",
    "x-github-event",
    "x-github-delivery",
    "x-github-hook-id",
    "x-github-hook-installation-target-id",
    "x-github-hook-installation-target-type",
];

/// Longest header value and event name accepted, in bytes.
const MAX_HEADER_BYTES: usize = 256;

/// A body above this is checked where it holds up no other request.
const CHECKED_INLINE_BYTES: usize = 256 * 1024;

pub(super) async fn github(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let answer = accept(&app, &headers, body).await;
    let metrics = &app.metrics;
    let counter = match &answer {
        Ok((_, false)) => &metrics.webhooks_accepted,
        Ok((_, true)) => &metrics.webhooks_duplicate,
        Err(problem) => match problem.status() {
            StatusCode::UNAUTHORIZED => &metrics.webhooks_bad_signature,
            status if status.is_client_error() => &metrics.webhooks_refused,
            _ => &metrics.webhooks_unavailable,
        },
    };
    counter.add();
    let (id, duplicate) = answer?;
    let body = json!({"deliveryId": id, "duplicate": duplicate});
    Ok((StatusCode::ACCEPTED, Json(body)).into_response())
}

/// Checks and stores a delivery; whether it was there before.
async fn accept(
    app: &Arc<App>,
    headers: &HeaderMap,
    body: Body,
) -> Result<(DeliveryId, bool), Problem> {
    if app.config.webhook_secrets.is_empty() {
        return Err(Problem::new(
            Kind::WebhooksNotConfigured,
            "this gateway has no webhook secret",
            "an operator must configure the secret that signs the webhooks",
        ));
    }
    let signature = text(headers, "x-hub-signature-256").ok_or_else(|| {
        Problem::new(
            Kind::SignatureMissing,
            "the header X-Hub-Signature-256 is missing",
            "configure the webhook at GitHub with the secret of this gateway",
        )
    })?;
    let event = required(headers, "x-github-event", "X-GitHub-Event")?;
    let id = required(headers, "x-github-delivery", "X-GitHub-Delivery")?;
    let id = DeliveryId::new(id).map_err(|error| {
        Problem::new(
            Kind::Malformed,
            format!("X-GitHub-Delivery: {error}"),
            "send the delivery's own id",
        )
    })?;
    let read = body::read(app, headers, body, app.config.limits.webhook_bytes).await?;

    let check = Check {
        app: Arc::clone(app),
        signature: signature.to_owned(),
        content_type: text(headers, CONTENT_TYPE.as_str()).map(str::to_owned),
        body: read.bytes.clone(),
    };
    let action = if read.bytes.len() > CHECKED_INLINE_BYTES {
        computed(move || check.run()).await??
    } else {
        check.run()?
    };

    let stored_body = if read.bytes.len() > MAX_INLINE_BYTES {
        let stored = app.broker.put_artifact(&read.bytes).await;
        InboxBody::Artifact(stored.map_err(|error| Problem::request(&error))?)
    } else {
        InboxBody::Inline(read.bytes.to_vec())
    };
    let delivery = InboxDelivery {
        id: id.clone(),
        source: SOURCE.to_owned(),
        event: event.to_owned(),
        action,
        headers: kept(headers),
        body: stored_body,
        received_at: now(),
        replay_of: None,
        traceparent: traceparent::of(headers),
    };
    let stored = app.broker.publish_delivery(&delivery).await;
    let stored = stored.map_err(|error| Problem::publish(&error))?;
    Ok((id, stored.duplicate))
}

/// What is checked of a body: its signature first, so that nobody else learns anything about it.
struct Check {
    app: Arc<App>,
    signature: String,
    content_type: Option<String>,
    body: bytes::Bytes,
}

/// All that storing a delivery needs to know of its body. The rest is read past, so that the whole
/// is known to be JSON without being held twice.
#[derive(Deserialize)]
struct Payload {
    #[serde(default)]
    action: Option<Value>,
}

impl Check {
    /// The body's `action`.
    fn run(&self) -> Result<Option<String>, Problem> {
        if !signature::is_valid(
            &self.signature,
            &self.body,
            &self.app.config.webhook_secrets,
        ) {
            return Err(Problem::new(
                Kind::SignatureInvalid,
                "the signature does not fit the body",
                "check that the webhook's secret at GitHub is that of this gateway",
            ));
        }
        let malformed = |detail: String| {
            Problem::new(
                Kind::Malformed,
                detail,
                "send the payload as GitHub does: a JSON object",
            )
        };
        let json = form::json_of(self.content_type.as_deref(), &self.body)
            .ok_or_else(|| malformed("the form has no readable `payload`".to_owned()))?;
        if json.trim_ascii().first() != Some(&b'{') {
            return Err(malformed("the payload is not a JSON object".to_owned()));
        }
        let payload: Payload = serde_json::from_slice(&json)
            .map_err(|error| malformed(format!("the payload is not JSON: {error}")))?;
        Ok(match payload.action {
            Some(Value::String(action)) => Some(action),
            _ => None,
        })
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get(name)?
        .to_str()
        .ok()
        .filter(|text| !text.is_empty())
}

fn required<'a>(headers: &'a HeaderMap, name: &str, shown: &str) -> Result<&'a str, Problem> {
    let value = text(headers, name).ok_or_else(|| {
        Problem::new(
            Kind::HeaderMissing,
            format!("the header {shown} is missing"),
            "send the headers GitHub sends",
        )
    })?;
    if value.len() > MAX_HEADER_BYTES {
        return Err(Problem::new(
            Kind::Malformed,
            format!("the header {shown} is longer than {MAX_HEADER_BYTES} bytes"),
            "send the headers GitHub sends",
        ));
    }
    Ok(value)
}

fn kept(headers: &HeaderMap) -> Vec<(String, String)> {
    KEPT_HEADERS
        .iter()
        .filter_map(|name| {
            let value = text(headers, name).filter(|value| value.len() <= MAX_HEADER_BYTES)?;
            Some(((*name).to_owned(), value.to_owned()))
        })
        .collect()
}
