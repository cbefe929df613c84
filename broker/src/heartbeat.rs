//! Heartbeats: workers say that they live, whoever listens knows the fleet.

use afu9_schemas::message::Heartbeat;
use afu9_schemas::{codec, subject};
use futures::{Stream, StreamExt};

use crate::connection::Broker;
use crate::error::{PublishError, RequestError};

impl Broker {
    /// Sends a heartbeat. Nobody may be listening: it is not stored.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub async fn publish_heartbeat(&self, heartbeat: &Heartbeat) -> Result<(), PublishError> {
        let subject = subject::heartbeat(&heartbeat.kind, &heartbeat.worker);
        self.announce(subject, heartbeat).await
    }

    /// Every heartbeat from now on. Unreadable ones (of a newer version) are left out.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn heartbeats(
        &self,
    ) -> Result<impl Stream<Item = Heartbeat> + Send + use<>, RequestError> {
        let messages = self
            .client
            .subscribe(subject::HEARTBEAT_ALL)
            .await
            .map_err(|error| RequestError::new("subscribing to heartbeats", error))?;
        Ok(messages
            .filter_map(|message| async move { codec::decode::<Heartbeat>(&message.payload).ok() }))
    }
}
