//! A consumer that is read without end: one pull after the other, opened again when it broke.

use std::time::Duration;

use async_nats::jetstream::consumer::{Consumer, pull};

/// How long one pull request lives. Short, so that a request the server lost stalls us for seconds
/// at most.
const EXPIRES: Duration = Duration::from_secs(10);

/// The server says this often that it is still there.
const HEARTBEAT: Duration = Duration::from_secs(3);

/// What a consumer delivers.
pub(crate) struct Pull {
    consumer: Consumer<pull::Config>,
    /// Messages asked for ahead.
    read_ahead: usize,
    stream: Option<pull::Stream>,
}

impl Pull {
    pub(crate) fn new(consumer: Consumer<pull::Config>, read_ahead: usize) -> Self {
        Self {
            consumer,
            read_ahead,
            stream: None,
        }
    }

    /// Its messages, from the pull that is open, or from a new one.
    ///
    /// Cancel safety: safe.
    pub(crate) async fn messages(&mut self) -> Result<&mut pull::Stream, async_nats::Error> {
        let stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                self.consumer
                    .stream()
                    .max_messages_per_batch(self.read_ahead)
                    .expires(EXPIRES)
                    .heartbeat(HEARTBEAT)
                    .messages()
                    .await?
            }
        };
        Ok(self.stream.insert(stream))
    }

    /// The pull that is open has failed or ended.
    pub(crate) fn close(&mut self) {
        self.stream = None;
    }
}
