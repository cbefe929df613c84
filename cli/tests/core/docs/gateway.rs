//! A gateway beside the examples: it routes webhooks, and repeats executions.

use afu9_gateway::{Config, Scope, TokenConfig};
use afu9_schemas::message::{InboxBody, InboxDelivery};
use afu9_schemas::{DeliveryId, ExecutionId, Timestamp};
use anyhow::{Context, Result, ensure};
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::expectation::{Again, Delivery};
use crate::world::World;

const TOKEN: &str = "of the examples";

pub(super) struct Gateway {
    base: String,
    client: reqwest::Client,
    stop: CancellationToken,
    running: JoinSet<Result<(), afu9_gateway::Error>>,
}

impl Gateway {
    pub(super) async fn start(world: &World) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut config = Config::new(address, "test");
        let token = SecretString::from(TOKEN);
        config.tokens = vec![TokenConfig::new("docs", vec![Scope::Admin], &token)];
        config.allow_test_kind = true;
        let gateway = afu9_gateway::Gateway::new(config, world.broker().clone(), None);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let mut running = JoinSet::new();
        running.spawn(gateway.run(listener, stopped));
        Ok(Self {
            base: format!("http://{address}"),
            client: reqwest::Client::builder().no_proxy().build()?,
            stop,
            running,
        })
    }

    /// Asks for an execution like `id`, which has ended; the answer, whatever it is.
    pub(super) async fn rerun(&self, id: ExecutionId, again: &Again) -> Result<Value> {
        let mut body = Map::new();
        if let Some(input) = &again.input {
            body.insert("input".to_owned(), input.clone());
        }
        if let Some(step) = &again.from_step {
            body.insert("fromStep".to_owned(), json!(step));
        }
        let url = format!("{}/api/executions/{id}/rerun", self.base);
        let request = self.client.post(url).bearer_auth(TOKEN).json(&body);
        Ok(request.send().await?.json().await?)
    }

    pub(super) async fn stop(mut self) -> Result<()> {
        self.stop.cancel();
        let ended = self.running.join_next().await.context("it runs")?;
        Ok(ended??)
    }
}

/// Stores a delivery as a gateway does that has checked its signature.
pub(super) async fn deliver(world: &World, delivery: &Delivery) -> Result<DeliveryId> {
    let id = DeliveryId::new(format!("docs-{}", ExecutionId::new()))?;
    let body = serde_json::to_vec(&delivery.payload)?;
    let stored = InboxDelivery {
        id: id.clone(),
        source: delivery.source.clone(),
        event: delivery.event.clone(),
        action: delivery.payload["action"].as_str().map(str::to_owned),
        headers: vec![("x-delivery".to_owned(), "an example".to_owned())],
        body: InboxBody::Inline(body),
        received_at: Timestamp::from_micros(0),
        replay_of: None,
        traceparent: None,
    };
    let stored = world.broker().publish_delivery(&stored).await;
    ensure!(stored.is_ok(), "the delivery is not stored: {stored:?}");
    Ok(id)
}
