//! The server as it is, without the crates under test.

use std::ops::Deref;

use afu9_broker::publish::Outgoing;
use afu9_loadtest::nats::Nats;
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{PATIENCE, POLL, World};

/// Waits until `probe` says yes.
pub(crate) async fn until(what: &str, mut probe: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !probe().await? {
        if Instant::now() > deadline {
            bail!("waited {PATIENCE:?} for {what}");
        }
        sleep(POLL).await;
    }
    Ok(())
}

impl World {
    /// The server.
    pub(crate) fn server(&self) -> Result<Server> {
        let port = self.url().rsplit(':').next().context("a port")?.parse()?;
        Ok(Server(Nats::new([port])))
    }

    /// Stores bytes as they are, and says where.
    pub(crate) async fn publish(&self, subject: String, payload: Vec<u8>) -> Result<u64> {
        let message = Outgoing {
            subject,
            payload: payload.into(),
            message_id: None,
        };
        Ok(self.broker().publish(message).await?.sequence)
    }
}

/// The server.
pub(crate) struct Server(Nats);

impl Deref for Server {
    type Target = Nats;

    fn deref(&self) -> &Nats {
        &self.0
    }
}

impl Server {
    /// A consumer, as the server tells of it.
    pub(crate) async fn consumer(&self, stream: &str, name: &str) -> Result<Value> {
        let call = format!("CONSUMER.INFO.{stream}.{name}");
        self.api(&call, &Value::Null).await
    }

    /// How many messages a stream holds.
    pub(crate) async fn messages(&self, stream: &str) -> Result<u64> {
        let call = format!("STREAM.INFO.{stream}");
        let info = self.api(&call, &Value::Null).await?;
        info["state"]["messages"].as_u64().context("a count")
    }

    /// How many consumers all streams have together.
    pub(crate) async fn consumers(&self) -> Result<u64> {
        let list = self.api("STREAM.LIST", &json!({})).await?;
        let streams = list["streams"].as_array().context("streams")?;
        let counts = streams
            .iter()
            .map(|stream| stream["state"]["consumer_count"].as_u64());
        counts.sum::<Option<u64>>().context("counts")
    }
}
