//! Which execution belongs to which key of a submitter, until the key is forgotten.

use afu9_schemas::{ExecutionId, codec};
use async_nats::jetstream::kv;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Swap, swap};
use crate::connection::Broker;
use crate::error::RequestError;
use crate::topology::IDEMPOTENCY;

/// What is remembered of a submission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The execution it started.
    pub execution: ExecutionId,
    /// A hash of what was submitted: the same key with another content is a mistake.
    pub content: String,
}

/// The keys.
#[derive(Debug, Clone)]
pub struct IdempotencyStore {
    store: kv::Store,
}

impl Broker {
    /// Opens the keys.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn idempotency(&self) -> Result<IdempotencyStore, RequestError> {
        Ok(IdempotencyStore {
            store: self.bucket(IDEMPOTENCY).await?,
        })
    }
}

impl IdempotencyStore {
    /// Claims `key`. Returns `None` if the claim is new (or was forgotten), or the claim that was there.
    ///
    /// # Errors
    /// When the server does not answer, or there is no room for another key: see [`RequestError::is_full`].
    pub async fn claim(&self, key: &str, claim: &Claim) -> Result<Option<Claim>, RequestError> {
        // Keys are a submitter's own text: hashed, they are safe as a key here and of one length.
        let key = hex::encode(Sha256::digest(key));
        let failed = |error: async_nats::Error| RequestError::new("claiming a key", error);
        let payload = codec::encode(claim).map_err(|error| failed(error.into()))?;
        match swap(&self.store, &key, payload, 0).await? {
            Swap::Stored(_) => Ok(None),
            Swap::Lost => {
                let found = self
                    .store
                    .get(&key)
                    .await
                    .map_err(|error| failed(error.into()))?;
                let found = found.ok_or_else(|| failed("the claim vanished".into()))?;
                codec::decode(&found)
                    .map(Some)
                    .map_err(|error| failed(error.into()))
            }
        }
    }
}
