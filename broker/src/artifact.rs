//! Artifacts: payloads too large for a message, stored once and referred to.
//!
//! The name of an artifact is the hash of its content, so that storing the same content twice is
//! one artifact, and a reference cannot point to something else later.

use afu9_schemas::ArtifactRef;
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;

use crate::connection::Broker;
use crate::error::RequestError;
use crate::topology::ARTIFACTS;

/// Largest artifact, in bytes: GitHub's largest webhook is 25 MB.
pub const MAX_ARTIFACT_BYTES: usize = 64 * 1024 * 1024;

impl Broker {
    /// Stores `content`.
    ///
    /// # Errors
    /// When it is too large, or the server refuses or does not answer.
    pub async fn put_artifact(&self, content: &[u8]) -> Result<ArtifactRef, RequestError> {
        let failed = |error: async_nats::Error| RequestError::new("storing an artifact", error);
        if content.len() > MAX_ARTIFACT_BYTES {
            return Err(failed(
                format!("{} bytes are more than {MAX_ARTIFACT_BYTES}", content.len()).into(),
            ));
        }
        let sha256 = hex::encode(Sha256::digest(content));
        let store = self
            .jetstream
            .get_object_store(ARTIFACTS)
            .await
            .map_err(|error| failed(error.into()))?;
        let mut reader = content;
        store
            .put(sha256.as_str(), &mut reader)
            .await
            .map_err(|error| failed(error.into()))?;
        Ok(ArtifactRef {
            name: sha256.clone(),
            bytes: content.len() as u64,
            sha256,
        })
    }

    /// Reads an artifact and checks that it is what the reference says.
    ///
    /// # Errors
    /// When it is not there, too large, or has another content.
    pub async fn get_artifact(&self, artifact: &ArtifactRef) -> Result<Vec<u8>, RequestError> {
        let failed = |error: async_nats::Error| {
            RequestError::new(format!("reading artifact {}", artifact.name), error)
        };
        let limit = MAX_ARTIFACT_BYTES as u64;
        if artifact.bytes > limit {
            return Err(failed(
                format!("{} bytes are more than {limit}", artifact.bytes).into(),
            ));
        }
        let store = self
            .jetstream
            .get_object_store(ARTIFACTS)
            .await
            .map_err(|error| failed(error.into()))?;
        let object = store
            .get(artifact.name.as_str())
            .await
            .map_err(|error| failed(error.into()))?;
        let mut content = Vec::new();
        object
            .take(limit + 1)
            .read_to_end(&mut content)
            .await
            .map_err(|error| failed(error.into()))?;
        if hex::encode(Sha256::digest(&content)) != artifact.sha256 {
            return Err(failed("its content is not what the reference says".into()));
        }
        Ok(content)
    }
}
