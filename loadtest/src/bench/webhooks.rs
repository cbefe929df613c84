//! Signed webhooks at a fixed rate, each timed from the instant it was due until its answer: an
//! answer of 202 says that the delivery is stored.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::load::MAX_LATENCY_US;
use crate::load::connection::Connections;
use crate::load::pacer::Pacer;
use crate::simulated_github::webhook;
use crate::system::{REPOSITORY, WEBHOOK_SECRET};

/// As many requests may be under way: a tenth of a second of two thousand each second. Above it the
/// next one waits, which counts as its latency.
const IN_FLIGHT: usize = 200;

/// With the rest of the payload some 10 KiB, as GitHub's are.
const TEXT_BYTES: usize = 7 * 1024;

/// Sends `count` of them, `rate` each second, and returns the latencies in microseconds.
pub(super) async fn run(gateway: &str, rate: f64, count: usize) -> Result<Histogram<u64>> {
    let host = gateway.trim_start_matches("http://");
    let connections = Arc::new(Connections::new(host));
    let delivery = Arc::new(Delivery::new(host));
    let pacer = Arc::new(Pacer::start(rate, count)?);
    let mut senders = JoinSet::new();
    for _ in 0..IN_FLIGHT.min(count) {
        let (connections, delivery) = (Arc::clone(&connections), Arc::clone(&delivery));
        let pacer = Arc::clone(&pacer);
        senders.spawn(async move {
            let mut latencies = Vec::new();
            while let Some(due) = pacer.next().await {
                let answer = connections.exchange(&delivery.request()).await?;
                latencies.push(Instant::now().saturating_duration_since(due));
                ensure!(
                    answer.status == 202,
                    "a webhook was refused: {}",
                    answer.text()
                );
            }
            Ok(latencies)
        });
    }
    let mut histogram = Histogram::new_with_max(MAX_LATENCY_US, 3).context("histogram")?;
    while let Some(sent) = senders.join_next().await {
        for latency in sent.context("a sender panicked")?? {
            let micros = u64::try_from(latency.as_micros()).unwrap_or(MAX_LATENCY_US);
            histogram.saturating_record(micros.max(1));
        }
    }
    ensure!(
        histogram.len() == count as u64,
        "of {count} webhooks {} were answered",
        histogram.len()
    );
    Ok(histogram)
}

/// One payload, signed once, and sent again and again as another delivery.
#[derive(Debug)]
struct Delivery {
    /// Up to the delivery's id, and from there on.
    before: String,
    after: Vec<u8>,
}

impl Delivery {
    fn new(host: &str) -> Self {
        let issue = webhook::Issue {
            number: 1,
            title: "The build is slow".to_owned(),
            body: "It takes long. ".repeat(TEXT_BYTES / 15),
            labels: vec!["performance".to_owned()],
        };
        let body = webhook::issues_labeled(REPOSITORY, &issue, "performance").to_string();
        let mut before = format!("POST /api/webhooks/github HTTP/1.1\r\nhost: {host}\r\n");
        let headers = webhook::headers("issues", "", WEBHOOK_SECRET.as_bytes(), body.as_bytes());
        for (name, value) in headers {
            if name != "x-github-delivery" {
                before.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        before.push_str(&format!("content-length: {}\r\n", body.len()));
        before.push_str("x-github-delivery: ");
        Self {
            before,
            after: format!("\r\n\r\n{body}").into_bytes(),
        }
    }

    fn request(&self) -> Vec<u8> {
        let id = Uuid::new_v4().to_string();
        [self.before.as_bytes(), id.as_bytes(), &self.after].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_is_another_delivery_of_the_same_signed_body() {
        let delivery = Delivery::new("127.0.0.1:1");
        let parts = |request: Vec<u8>| {
            let text = String::from_utf8(request).expect("text");
            let (head, body) = text.split_once("\r\n\r\n").expect("a body");
            let header = |name: &str| {
                let mut lines = head.lines().filter_map(|line| line.split_once(": "));
                let found = lines.find(|(known, _)| *known == name);
                found.expect("is there").1.to_owned()
            };
            assert_eq!(header("content-length"), body.len().to_string());
            let signature = webhook::sign(WEBHOOK_SECRET.as_bytes(), body.as_bytes());
            assert_eq!(header("x-hub-signature-256"), signature);
            (header("x-github-delivery"), body.len())
        };
        let (first, bytes) = parts(delivery.request());
        let (second, _) = parts(delivery.request());
        assert_ne!(first, second);
        assert!((9_000..12_000).contains(&bytes), "{bytes}");
    }
}
