//! Questions to the owners of partitions.

use std::time::Duration;

use afu9_schemas::message::{ControlOutcome, Query, QueryReply, WorkQuery, WorkReply};
use afu9_schemas::{Partition, RequestId, codec, subject};
use async_nats::Subscriber;
use futures::StreamExt;

use crate::connection::Broker;
use crate::error::{PublishError, RequestError};

/// How long an owner may take. It answers between two ticks.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);

/// How long workers have to say what they run. They answer from memory.
const WORK_QUERY_TIMEOUT: Duration = Duration::from_millis(250);

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

/// The place at which somebody waits to hear what came of a wish.
#[derive(Debug)]
pub struct Outcomes {
    subject: String,
    messages: Subscriber,
}

impl Outcomes {
    /// Where answers go.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Waits for the next answer; `None` if none came in time.
    ///
    /// Cancel safety: safe.
    pub async fn next(&mut self, patience: Duration) -> Option<ControlOutcome> {
        let answers = async {
            loop {
                let message = self.messages.next().await?;
                if let Ok(outcome) = codec::decode(&message.payload) {
                    return Some(outcome);
                }
            }
        };
        tokio::time::timeout(patience, answers).await.ok().flatten()
    }
}

impl Broker {
    /// Opens a place to wait for answers at.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn outcomes(&self) -> Result<Outcomes, RequestError> {
        let subject = subject::answer(&RequestId::new().to_string());
        let messages = self
            .client
            .subscribe(subject.clone())
            .await
            .map_err(|error| RequestError::new("subscribing to answers", error))?;
        Ok(Outcomes { subject, messages })
    }

    /// Tells whoever waits at `to` what came of a wish.
    ///
    /// # Errors
    /// When it cannot be sent: whoever waits runs out of patience and asks for the state.
    pub async fn publish_outcome(
        &self,
        to: String,
        outcome: &ControlOutcome,
    ) -> Result<(), PublishError> {
        self.announce(to, outcome).await
    }

    /// Asks every worker which of `jobs` it runs. Those that do not answer in time are left out.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn ask_workers(&self, query: &WorkQuery) -> Result<Vec<WorkReply>, RequestError> {
        let failed = |error: async_nats::Error| RequestError::new("asking workers", error);
        let inbox = self.client.new_inbox();
        let mut answers = self
            .client
            .subscribe(inbox.clone())
            .await
            .map_err(|error| failed(error.into()))?;
        let payload = codec::encode(query).map_err(|error| failed(error.into()))?;
        self.client
            .publish_with_reply(subject::WORK_QUERY, inbox, payload)
            .await
            .map_err(|error| failed(error.into()))?;
        let mut replies: Vec<WorkReply> = Vec::new();
        let gather = async {
            while let Some(message) = answers.next().await {
                // No payload says that nobody listens at all.
                match codec::decode::<WorkReply>(&message.payload) {
                    Ok(reply) => replies.push(reply),
                    Err(_) => break,
                }
                let found: usize = replies.iter().map(|reply| reply.running.len()).sum();
                if found >= query.jobs.len() {
                    break;
                }
            }
        };
        // Those that run nothing of it stay silent, so the time is usually used up.
        let _elapsed = tokio::time::timeout(WORK_QUERY_TIMEOUT, gather).await;
        Ok(replies)
    }

    /// Answers questions about what a worker runs, until the connection is closed: `running` says
    /// which of the jobs it runs, and since when.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn answer_work_queries(
        &self,
        running: impl Fn(&WorkQuery) -> Option<WorkReply>,
    ) -> Result<(), RequestError> {
        let mut questions = self
            .client
            .subscribe(subject::WORK_QUERY)
            .await
            .map_err(|error| RequestError::new("subscribing to questions", error))?;
        while let Some(message) = questions.next().await {
            let Some(to) = message.reply else { continue };
            let Ok(query) = codec::decode::<WorkQuery>(&message.payload) else {
                continue;
            };
            if let Some(reply) = running(&query)
                && let Err(error) = self.announce(to.to_string(), &reply).await
            {
                tracing::debug!(%error, "question not answered");
            }
        }
        Ok(())
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
