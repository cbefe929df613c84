//! The few requests to NATS that chaos and soak runs make: what is stored, and how much may be.
//!
//! Written by hand on a plain connection, one for each request: it sees the server as it is, and
//! shares no client, no reconnection and no cache with what it watches.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// A request is answered in milliseconds, and in seconds while a cluster elects a leader.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Longest answer; the largest is a page of streams.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// Where the answer comes. Each connection has its own subscriptions, but subjects are the
/// account's.
fn inbox() -> String {
    format!("_INBOX.afu9loadtest.{}", uuid::Uuid::new_v4().simple())
}

/// Servers that are asked in turn.
#[derive(Debug, Clone)]
pub struct Nats {
    /// `127.0.0.1:port`, of each.
    addresses: Vec<String>,
}

/// A stream at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamState {
    pub(crate) name: String,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) last_seq: u64,
}

impl Nats {
    /// The servers on these ports of this machine.
    pub fn new(ports: impl IntoIterator<Item = u16>) -> Self {
        let address = |port| format!("127.0.0.1:{port}");
        Self {
            addresses: ports.into_iter().map(address).collect(),
        }
    }

    /// Publishes `payload` and returns what a subscriber or a stream answers.
    pub(crate) async fn request(&self, subject: &str, payload: &[u8]) -> Result<Vec<u8>> {
        let mut last = None;
        for address in &self.addresses {
            let asked = tokio::time::timeout(ANSWER_WITHIN, ask(address, subject, payload)).await;
            match asked.context("no answer in time").and_then(|answer| answer) {
                Ok(answer) => return Ok(answer),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("no server to ask")?).with_context(|| format!("ask NATS {subject}"))
    }

    /// Asks JetStream; an answer that is an error is one.
    ///
    /// # Errors
    /// When no server answers, or it refuses.
    pub async fn api(&self, call: &str, request: &Value) -> Result<Value> {
        let subject = format!("$JS.API.{call}");
        let body = if request.is_null() {
            String::new()
        } else {
            request.to_string()
        };
        let answer = self.request(&subject, body.as_bytes()).await?;
        let answer: Value = serde_json::from_slice(&answer)
            .with_context(|| format!("read the answer to {call}"))?;
        match answer.get("error") {
            Some(error) => bail!("JetStream refuses {call}: {error}"),
            None => Ok(answer),
        }
    }

    /// Every stream, those of buckets included.
    pub(crate) async fn streams(&self) -> Result<Vec<StreamState>> {
        let mut streams = Vec::new();
        loop {
            let page = self
                .api("STREAM.LIST", &json!({ "offset": streams.len() }))
                .await?;
            let found = page["streams"].as_array().map_or(&[][..], Vec::as_slice);
            streams.extend(found.iter().map(state_of));
            let total = page["total"].as_u64().unwrap_or(0);
            if found.is_empty() || streams.len() as u64 >= total {
                return Ok(streams);
            }
        }
    }

    /// One stream.
    pub(crate) async fn stream(&self, name: &str) -> Result<StreamState> {
        let info = self
            .api(&format!("STREAM.INFO.{name}"), &Value::Null)
            .await?;
        Ok(state_of(&info))
    }

    /// The content of the message at `seq`; `None` where there is none.
    ///
    /// # Errors
    /// When no server answers, or with something else than a message.
    pub async fn message(&self, stream: &str, seq: u64) -> Result<Option<Vec<u8>>> {
        let call = format!("STREAM.MSG.GET.{stream}");
        let answer = self
            .request(
                &format!("$JS.API.{call}"),
                json!({ "seq": seq }).to_string().as_bytes(),
            )
            .await?;
        let answer: Value = serde_json::from_slice(&answer)?;
        if let Some(error) = answer.get("error") {
            if error["code"] == 404 {
                return Ok(None);
            }
            bail!("JetStream refuses {call}: {error}");
        }
        let data = answer["message"]["data"].as_str().unwrap_or_default();
        let bytes = base64::engine::general_purpose::STANDARD.decode(data)?;
        Ok(Some(bytes))
    }

    /// Sets how many bytes a stream may hold, and returns how many it could before.
    pub(crate) async fn bound(&self, stream: &str, max_bytes: i64) -> Result<i64> {
        let info = self
            .api(&format!("STREAM.INFO.{stream}"), &Value::Null)
            .await?;
        let mut config = info["config"].clone();
        let before = config["max_bytes"].as_i64().context("no max_bytes")?;
        config["max_bytes"] = json!(max_bytes);
        self.api(&format!("STREAM.UPDATE.{stream}"), &config)
            .await?;
        Ok(before)
    }
}

fn state_of(info: &Value) -> StreamState {
    let state = &info["state"];
    let number = |key: &str| state[key].as_u64().unwrap_or(0);
    StreamState {
        name: info["config"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        messages: number("messages"),
        bytes: number("bytes"),
        last_seq: number("last_seq"),
    }
}

async fn ask(address: &str, subject: &str, payload: &[u8]) -> Result<Vec<u8>> {
    let mut stream = BufReader::new(TcpStream::connect(address).await.context("connect")?);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    if !line.starts_with("INFO ") {
        bail!("{address} is no NATS server: {}", line.trim());
    }
    let inbox = inbox();
    let mut out = format!(
        "CONNECT {{\"verbose\":false,\"pedantic\":false,\"name\":\"afu9-loadtest\"}}\r\n\
         SUB {inbox} 1\r\nPUB {subject} {inbox} {}\r\n",
        payload.len()
    )
    .into_bytes();
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
    stream.get_mut().write_all(&out).await?;
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            bail!("the server closed the connection");
        }
        let mut words = line.split_whitespace();
        match words.next() {
            Some("PING") => stream.get_mut().write_all(b"PONG\r\n").await?,
            Some("MSG") => {
                let length: usize = words.next_back().context("no length")?.parse()?;
                if length > MAX_ANSWER_BYTES {
                    bail!("an answer of {length} bytes");
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).await?;
                return Ok(body);
            }
            Some("-ERR") => bail!("the server says {}", line.trim()),
            _ => {}
        }
    }
}
