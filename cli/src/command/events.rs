//! `afu9 executions events`: what happens, as it happens.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::run::exit_code_of_status;
use crate::client::Client;
use crate::output::Output;

/// The gateway sends a sign of life every 15 s: a connection without one is dead.
const SILENCE: Duration = Duration::from_secs(45);

/// Pause before a stream that broke off is opened again.
const OPEN_AGAIN: Duration = Duration::from_secs(1);

pub(crate) async fn run(
    id: Option<&str>,
    kinds: Option<Vec<String>>,
    client: &Client,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let path = match id {
        Some(id) => format!("/api/executions/{id}/events"),
        None => "/api/events".to_owned(),
    };
    let query: Vec<_> = kinds
        .map(|kinds| ("kinds", kinds.join(",")))
        .into_iter()
        .collect();
    loop {
        let mut stream = client.events(&path, &query).await?;
        let mut parser = Parser::default();
        while let Ok(Ok(Some(chunk))) = timeout(SILENCE, stream.chunk()).await {
            for (kind, data) in parser.take(&chunk) {
                let ended = id.and_then(|_| end(&kind, &data));
                output.text(line(&kind, &data));
                output.json(&json!({ "event": kind, "data": data }));
                if let Some(status) = ended {
                    return Ok(exit_code_of_status(&status));
                }
            }
        }
        // A gateway that ends, or a connection that died. Of one execution the state comes first, so
        // that nothing is lost.
        output.text("the stream broke off; what happens meanwhile may not be shown");
        output.json(&json!({ "event": "broken_off" }));
        tokio::time::sleep(OPEN_AGAIN).await;
    }
}

/// The status of an execution that has ended.
fn end(kind: &str, data: &Value) -> Option<String> {
    let status = data["status"].as_str()?;
    let is_terminal = matches!(status, "completed" | "failed" | "cancelled");
    (is_terminal && matches!(kind, "state" | "execution_ended")).then(|| status.to_owned())
}

fn line(kind: &str, data: &Value) -> String {
    let text = |key: &str| data[key].as_str();
    let mut words = vec![text("at").unwrap_or("now").to_owned(), kind.to_owned()];
    let told = [
        "executionId",
        "workflow",
        "step",
        "action",
        "status",
        "outcome",
        "by",
        "code",
    ];
    words.extend(told.into_iter().filter_map(text).map(str::to_owned));
    if let Some(item) = data["item"].as_u64() {
        words.push(format!("item {item}"));
    }
    if let Some(events) = data["events"].as_u64() {
        words.push(format!("{events} events"));
    }
    if let Some(message) = data["error"]["message"].as_str() {
        words.push(message.to_owned());
    }
    words.join("  ")
}

/// Reads server-sent events out of pieces of text.
#[derive(Debug, Default)]
struct Parser(Vec<u8>);

impl Parser {
    /// The events that are whole with `chunk`.
    fn take(&mut self, chunk: &[u8]) -> Vec<(String, Value)> {
        self.0.extend_from_slice(chunk);
        let mut events = Vec::new();
        while let Some(end) = self.0.windows(2).position(|two| two == b"\n\n") {
            let whole: Vec<u8> = self.0.drain(..end + 2).collect();
            let text = String::from_utf8_lossy(&whole);
            let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
            if let (Some(kind), Some(data)) = (field("event: "), field("data: ")) {
                let data = serde_json::from_str(data).unwrap_or_default();
                events.push((kind.to_owned(), data));
            }
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_wherever_the_text_is_cut() {
        let text = ": ready\n\nevent: state\ndata: {\"status\":\"running\"}\n\n\
                    : keep-alive\n\nevent: execution_ended\ndata: {\"status\":\"failed\"}\n\n";
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let read: Vec<_> = text
                .as_bytes()
                .chunks(size)
                .flat_map(|chunk| parser.take(chunk))
                .collect();
            let ends: Vec<_> = read.iter().map(|(kind, data)| end(kind, data)).collect();
            assert_eq!(ends, [None, Some("failed".to_owned())], "{size}");
        }
    }
}
