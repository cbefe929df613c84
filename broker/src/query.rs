//! Questions to the owners of partitions.

use std::time::Duration;

use afu9_schemas::message::{Query, QueryReply};
use afu9_schemas::{Partition, codec, subject};
use async_nats::Subscriber;
use futures::StreamExt;

use crate::connection::Broker;
use crate::error::RequestError;

/// How long an owner may take. It answers between two ticks.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);

/// A question that waits for its answer.
#[derive(Debug)]
pub struct Question {
    /// What is asked.
    pub query: Query,
    reply: async_nats::Subject,
}

/// The questions to the owner of one partition.
#[derive(Debug)]
pub struct Questions {
    broker: Broker,
    messages: Subscriber,
}

impl Broker {
    /// Asks the owner of `partition`. `None` when it has no owner just now.
    ///
    /// # Errors
    /// When the owner does not answer in time or cannot be understood.
    pub async fn ask(
        &self,
        partition: Partition,
        query: &Query,
    ) -> Result<Option<QueryReply>, RequestError> {
        let failed = |error: async_nats::Error| {
            RequestError::new(format!("asking the owner of partition {partition}"), error)
        };
        let payload = codec::encode(query).map_err(|error| failed(error.into()))?;
        let asked = self.client.request(subject::query(partition), payload);
        let reply = match tokio::time::timeout(QUERY_TIMEOUT, asked).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error))
                if error.kind() == async_nats::client::RequestErrorKind::NoResponders =>
            {
                return Ok(None);
            }
            Ok(Err(error)) => return Err(failed(error.into())),
            Err(elapsed) => return Err(failed(elapsed.into())),
        };
        codec::decode(&reply.payload)
            .map(Some)
            .map_err(|error| failed(error.into()))
    }

    /// The questions to the owner of `partition`, from now on.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn questions(&self, partition: Partition) -> Result<Questions, RequestError> {
        let messages = self
            .client
            .subscribe(subject::query(partition))
            .await
            .map_err(|error| RequestError::new("subscribing to queries", error))?;
        Ok(Questions {
            broker: self.clone(),
            messages,
        })
    }
}

impl Questions {
    /// Waits for the next question that can be understood; `None` when the connection is closed.
    ///
    /// Cancel safety: safe.
    pub async fn next(&mut self) -> Option<Question> {
        loop {
            let message = self.messages.next().await?;
            let Some(reply) = message.reply else { continue };
            if let Ok(query) = codec::decode(&message.payload) {
                return Some(Question { query, reply });
            }
        }
    }

    /// Answers a question.
    ///
    /// # Errors
    /// When the answer cannot be sent; whoever asked then runs into a timeout.
    pub async fn answer(&self, question: Question, reply: &QueryReply) -> Result<(), RequestError> {
        let payload =
            codec::encode(reply).map_err(|error| RequestError::new("answering a query", error))?;
        self.broker
            .client
            .publish(question.reply, payload)
            .await
            .map_err(|error| RequestError::new("answering a query", error))
    }
}
