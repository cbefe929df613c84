//! The event stream: server-sent events of ended executions.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Progress;
use super::api::Api;

/// The gateway says that it is ready to tell within this time.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// Longest line of the stream.
const MAX_LINE_BYTES: usize = 1024 * 1024;

/// What the stream says of an execution that has ended.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ended {
    pub(crate) execution_id: String,
    pub(crate) number: u64,
    pub(crate) status: String,
}

/// Begins to follow; returns once the gateway tells what happens from now on.
pub(super) async fn follow(
    api: Api,
    progress: Arc<Progress>,
    stop: CancellationToken,
) -> Result<JoinHandle<Result<()>>> {
    let mut response = api.ended_executions().await?;
    let mut lines = Lines::default();
    let ready = async {
        loop {
            let chunk = response.chunk().await.context("read the event stream")?;
            let Some(chunk) = chunk else {
                bail!("the event stream ended at once")
            };
            lines.add(&chunk)?;
            if lines.take_ready() {
                return Ok(());
            }
        }
    };
    tokio::time::timeout(READY_WITHIN, ready)
        .await
        .context("the event stream is not ready")??;
    let task = TaskTracker::new().spawn(async move {
        loop {
            while let Some(ended) = lines.next_ended() {
                let ended = ended.context("read an event")?;
                let completed = ended.status == "completed";
                progress.ended(ended.execution_id, ended.number, completed);
            }
            let chunk = tokio::select! {
                chunk = response.chunk() => chunk.context("read the event stream")?,
                () = stop.cancelled() => return Ok(()),
            };
            match chunk {
                Some(chunk) => lines.add(&chunk)?,
                None => bail!("the gateway ended the event stream"),
            }
        }
    });
    Ok(task)
}

/// Bytes of the stream, by lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    buffer: Vec<u8>,
    read: usize,
}

impl Lines {
    pub(crate) fn add(&mut self, chunk: &[u8]) -> Result<()> {
        if self.read > 0 {
            self.buffer.drain(..self.read);
            self.read = 0;
        }
        self.buffer.extend_from_slice(chunk);
        if self.buffer.len() > MAX_LINE_BYTES && !self.buffer.contains(&b'\n') {
            bail!("a line of the event stream is longer than {MAX_LINE_BYTES} bytes");
        }
        Ok(())
    }

    fn next_line(&mut self) -> Option<String> {
        let rest = &self.buffer[self.read..];
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let line = String::from_utf8_lossy(&rest[..end]).into_owned();
        self.read += end + 1;
        Some(line)
    }

    /// Whether the comment that opens the stream has come.
    fn take_ready(&mut self) -> bool {
        while let Some(line) = self.next_line() {
            if line.trim_end() == ": ready" {
                return true;
            }
        }
        false
    }

    /// What the next event says, once it is there as a whole.
    pub(crate) fn next_ended(&mut self) -> Option<serde_json::Result<Ended>> {
        loop {
            let line = self.next_line()?;
            if let Some(data) = line.strip_prefix("data:") {
                return Some(serde_json::from_str(data));
            }
        }
    }
}
