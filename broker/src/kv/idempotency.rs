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

/// How often a claim is tried that is there when it is written and gone when it is read: a key is forgotten
/// once, so that the second time tells.
const MAX_TRIES: usize = 3;

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
        for _ in 0..MAX_TRIES {
            if let Swap::Stored(_) = swap(&self.store, &key, payload.clone(), 0).await? {
                return Ok(None);
            }
            let found = self.store.get(&key).await;
            // One that is gone by now was forgotten just then.
            if let Some(found) = found.map_err(|error| failed(error.into()))? {
                let found = codec::decode(&found);
                return found.map(Some).map_err(|error| failed(error.into()));
            }
        }
        Err(failed("the claim is there and not there".into()))
    }
}
